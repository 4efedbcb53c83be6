"""Write docs/reference/settings.md from the code that defines the settings."""

import dataclasses
from pathlib import Path

from classwire_server.config.server_config import ServerConfig
from classwire_server.config.sources import ENVIRONMENT_PREFIX, kind

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"
HEAD = f"""# Settings

```
classwire serve --max-streams 8
{ENVIRONMENT_PREFIX}MAX_STREAMS=8 classwire serve
classwire serve --config classwire.toml        # with the line: max_streams = 8
```

Each setting is a flag of `classwire serve`, an environment variable and a key of a TOML file. The
flag wins over the variable, the variable over the file (`--config FILE` or
`{ENVIRONMENT_PREFIX}CONFIG`), and the file over the default. Several models are separated by commas
in the variable and are a list in the file. A switch is `true` or `false`; `--no-…` turns it off.
Written by `python -m scripts.settings_page`.

| flag | type | default | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the current page."""
    rows = []
    for field in dataclasses.fields(ServerConfig):
        wanted = kind(field)
        name = {"str": "text", "int": "integer", "float": "number", "bool": "switch"}.get(
            wanted.__name__, "text, repeated"
        )
        default = "" if field.default in ("", ()) else str(field.default).lower()
        flag = "--" + field.name.replace("_", "-")
        rows.append(f"| `{flag}` | {name} | {default} | {field.metadata['help']} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
