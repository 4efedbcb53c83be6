"""Write docs/reference/settings.md from the code that defines the settings."""

import dataclasses
from pathlib import Path

from classwire_server.config import ServerConfig
from classwire_server.settings import ENVIRONMENT_PREFIX, kind

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"
HEAD = f"""# Settings

Each is a flag of `classwire serve`, an environment variable (`--max-streams` is
`{ENVIRONMENT_PREFIX}MAX_STREAMS`) and a key of the TOML file (`max_streams`). The flag wins
over the variable, the variable over the file (`--config FILE` or `{ENVIRONMENT_PREFIX}CONFIG`), the
file over the default. Several models are separated by commas in the variable, and are a list in the
file; switches are `true` or `false`, and `--no-…` turns one off. Written by
`python -m scripts.settings_page`.

| flag | type | default | what it does |
|---|---|---|---|
"""


def page() -> str:
    """The page as it should be."""
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
