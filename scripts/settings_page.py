"""Writes docs/reference/settings.md and deploy/systemd/classwire.toml from the settings.

python -m scripts.settings_page
"""

import dataclasses
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from classwire_server.config.server_config import SETTING_GROUPS
from classwire_server.config.sources import ENVIRONMENT_PREFIX, kind

from .pages import ROOT

PAGE = ROOT / "docs" / "reference" / "settings.md"
HEAD = f"""# Settings

```
classwire serve --max-streams 8
{ENVIRONMENT_PREFIX}MAX_STREAMS=8 classwire serve
classwire serve --config classwire.toml        # with the line: max_streams = 8
```

Each setting is a flag of `classwire serve`, an environment variable and a key in a TOML file
(`--config FILE` or `{ENVIRONMENT_PREFIX}CONFIG`). The flag overrides the variable, and the variable
overrides the file. For several models, the variable separates them by commas, and the file has a
list. A switch is `true` or `false`; `--no-…` turns it off.
[An example file](../../deploy/systemd/classwire.toml) has every setting, commented out.
`python -m scripts.settings_page` writes both.
"""
TABLE_HEAD = "| flag | type | default | meaning |\n|---|---|---|---|\n"
EXAMPLE = ROOT / "deploy" / "systemd" / "classwire.toml"
EXAMPLE_HEAD = """\
# Every setting of the server, with its default. To change one, remove the # before its name.
# Check the file:  classwire serve --config classwire.toml --check
# python -m scripts.settings_page writes it.
"""
WIDTH = 100


def page() -> str:
    """Return the up-to-date page."""
    return HEAD + "".join(
        f"\n## {title}\n\n{TABLE_HEAD}" + "".join(map(_row, group))
        for title, group in SETTING_GROUPS.items()
    )


def example() -> str:
    """Return the up-to-date example file: a setting's line starts with `#`, a comment's with
    `# `.
    """
    return EXAMPLE_HEAD + "".join(
        f"\n\n# {f' {title} ':-^{WIDTH - 2}}\n" + "".join(map("".join, map(_lines, group)))
        for title, group in SETTING_GROUPS.items()
    )


def _row(field: "dataclasses.Field[Any]") -> str:
    name = {"str": "text", "int": "integer", "float": "number", "bool": "switch"}.get(
        kind(field).__name__, "text, repeated"
    )
    default = "" if field.default in ("", ()) else str(field.default).lower()
    flag = "--" + field.name.replace("_", "-")
    return f"| `{flag}` | {name} | {default} | {field.metadata['help']} |\n"


def _lines(field: "dataclasses.Field[Any]") -> Iterator[str]:
    help = field.metadata["help"]
    yield "\n"
    yield textwrap.fill(help, WIDTH, initial_indent="# ", subsequent_indent="# ")
    # What TOML and JSON share: strings, numbers, switches and lists of strings.
    yield f"\n#{field.name} = {json.dumps(field.default)}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    EXAMPLE.write_text(example(), encoding="utf-8")
