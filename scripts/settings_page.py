"""Writes docs/reference/settings.md from the definitions of the settings."""

import dataclasses
from pathlib import Path
from typing import Any

from classwire_server.config.server_config import SETTING_GROUPS
from classwire_server.config.sources import ENVIRONMENT_PREFIX, kind

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"
HEAD = f"""# Settings

```
classwire serve --max-streams 8
{ENVIRONMENT_PREFIX}MAX_STREAMS=8 classwire serve
classwire serve --config classwire.toml        # with the line: max_streams = 8
```

Each setting is a flag of `classwire serve`, an environment variable and a key in a TOML file
(`--config FILE` or `{ENVIRONMENT_PREFIX}CONFIG`). The flag overrides the variable, and the variable
overrides the file. For several models, the variable separates them by commas, and the file has a
list. A switch is `true` or `false`; `--no-…` turns it off. `python -m scripts.settings_page` writes
this page.
"""
TABLE_HEAD = "| flag | type | default | meaning |\n|---|---|---|---|\n"


def page() -> str:
    """Return the up-to-date page."""
    return HEAD + "".join(
        f"\n## {title}\n\n{TABLE_HEAD}" + "".join(map(_row, group))
        for title, group in SETTING_GROUPS.items()
    )


def _row(field: "dataclasses.Field[Any]") -> str:
    name = {"str": "text", "int": "integer", "float": "number", "bool": "switch"}.get(
        kind(field).__name__, "text, repeated"
    )
    default = "" if field.default in ("", ()) else str(field.default).lower()
    flag = "--" + field.name.replace("_", "-")
    return f"| `{flag}` | {name} | {default} | {field.metadata['help']} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
