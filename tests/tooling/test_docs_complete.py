"""What programs and people meet by name is documented, and nothing that is gone."""

import re
from pathlib import Path

from classwire.cli import command
from classwire.contract.reasons import CODES, AdminReason
from classwire_server.service.models import FEATURES
from scripts import cli_page

DOCS = Path(__file__).parents[2] / "docs"


def first_column(section: str, page: str) -> str:
    """The first cells of a section's tables."""
    text = (DOCS / page).read_text(encoding="utf-8")
    _, _, rest = text.partition(section)
    rows = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    return "\n".join(re.split(r"(?<!\\)\|", row)[1] for row in rows if row.startswith("| "))


def test_the_table_of_errors_has_every_reason() -> None:
    """docs/serving.md says under each code what a caller does for each of its reasons."""
    text = (DOCS / "serving.md").read_text(encoding="utf-8")
    _, _, section = text.partition("\n## Errors\n")
    rows = re.findall(r"^\| ([A-Z_]+) \| ((?:`[A-Z_]+`(?:, )?)+) \|", section, re.MULTILINE)
    said = [(code, reason) for code, reasons in rows for reason in re.findall("[A-Z_]+", reasons)]
    assert sorted(said) == sorted((code, reason.value) for reason, code in CODES.items())


def test_every_reason_of_the_admin_service_is_told() -> None:
    """Somewhere in the documentation, with the rest of that service."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    assert [reason for reason in AdminReason if f"`{reason.value}`" not in pages] == []


def test_every_option_is_documented() -> None:
    """docs/cli.md has the options of the commands as they are, and no others."""
    written = cli_page.PAGE.read_text(encoding="utf-8")
    assert written == cli_page.page(), "run: python -m scripts.cli_page"


def test_every_command_has_its_line() -> None:
    """The table of commands names each, or its group, and none that is not there."""
    names = re.findall(r"`([a-z]+)", first_column("# The command line\n", "cli.md"))
    assert set(names) == set(command.commands)


def test_every_feature_is_told() -> None:
    """docs/versioning.md says what a server has that names it."""
    table = first_column("**A feature has a name.**", "versioning.md")
    assert tuple(re.findall(r"`(\w+)`", table)) == FEATURES
