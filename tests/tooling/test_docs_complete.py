"""The documentation names all reasons, options, commands, features and packages, and no removed
ones.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from classwire.cli import command
from classwire.contract.reasons import ADMIN_CODES, CODES
from classwire_server.config.server_config import ServerConfig
from classwire_server.service.models import FEATURES
from scripts import cli_page, errors_page

DOCS = Path(__file__).parents[2] / "docs"
SERVER = DOCS.parent / "server" / "classwire_server"


def first_column(section: str, page: str, column: int = 1) -> str:
    """Return the cells of one column, by default the first, of a section's tables."""
    text = (DOCS / page).read_text(encoding="utf-8")
    _, _, rest = text.partition(section)
    rows = re.split(r"^##+ ", rest, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    return "\n".join(re.split(r"(?<!\\)\|", row)[column] for row in rows if row.startswith("| "))


def test_every_reason_is_documented() -> None:
    """docs/reference/errors.md has each reason of both services: its code, its cause, the
    remedy.
    """
    written = errors_page.PAGE.read_text(encoding="utf-8")
    assert written == errors_page.page(), "run: python -m scripts.errors_page"
    for reason in (*CODES, *ADMIN_CODES):
        assert written.count(f"\n| `{reason.value}` | ") == 1


def test_limits_of_errors_are_documented() -> None:
    """docs/reference/errors.md has the server's default of each limit that it lists, and the
    server's metadata keys.
    """
    keys, defaults, settings = (
        first_column("## Limits\n", "reference/errors.md", column) for column in (3, 4, 5)
    )
    source = "\n".join(path.read_text(encoding="utf-8") for path in SERVER.rglob("*.py"))
    used = set(re.findall(r'"(\w+)": ', source)) | set(re.findall(r"\b(\w+)=", source))
    assert set(re.findall(r"`(\w+)`", keys)) - used == set()
    numbers = [re.match(r" ([\d,]+) ", cell) for cell in defaults.splitlines()]
    names = [re.match(r" `--([a-z-]+)` ", cell) for cell in settings.splitlines()]
    listed = {
        name[1].replace("-", "_"): int(number[1].replace(",", ""))
        for number, name in zip(numbers, names, strict=True)
        if number and name
    }
    assert {name: getattr(ServerConfig(), name) for name in listed} == listed
    assert len(listed) == 8


def test_every_option_is_documented() -> None:
    """docs/reference/cli.md has exactly the options of the commands."""
    written = cli_page.PAGE.read_text(encoding="utf-8")
    assert written == cli_page.page(), "run: python -m scripts.cli_page"


def test_every_command_has_a_row() -> None:
    """The table of commands names exactly the commands, or their groups."""
    names = re.findall(r"`([a-z-]+)", first_column("# Commands\n", "reference/cli.md"))
    assert set(names) == set(command.commands)


def test_every_feature_is_documented() -> None:
    """docs/project/versioning.md explains each feature name of a server."""
    table = first_column("**A feature has a name.**", "project/versioning.md")
    assert tuple(re.findall(r"`(\w+)`", table)) == FEATURES


def test_every_package_is_in_the_architecture() -> None:
    """docs/concepts/architecture.md has one row for each package of the server, and no others."""
    table = first_column("## Packages of the server", "concepts/architecture.md", column=2)
    rooms = {path.stem for path in SERVER.iterdir() if path.suffix == ".py" or is_package(path)}
    named = re.findall(r"^ `(\w+)` $", table, re.MULTILINE)
    assert sorted(named) == sorted(rooms - {"__init__"})


def test_every_thread_is_documented() -> None:
    """docs/concepts/threads.md has each name that a call gives to a thread, and no name that is
    not in the code.
    """
    page = "concepts/threads.md"
    tables = first_column("## Threads of the server", page), first_column("## Threads of a m", page)
    named = {re.sub(r"\b[A-Z]+\b", "*", name) for name in re.findall("`(.+?)`", str(tables))}
    started = {
        pattern
        for call in calls_of("Thread", "ThreadPoolExecutor", "CallPool")
        for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        if (pattern := literal(argument)) and re.fullmatch(r"[a-z*-]+", pattern)
    }

    assert started - named == set()
    # Some calls get their name from elsewhere.
    texts = {literal(node) for node in nodes() if isinstance(node, ast.JoinedStr | ast.Constant)}
    assert named - texts == set()


def test_every_stage_of_a_start_is_documented() -> None:
    """docs/operate/logs.md lists exactly the stages that the log names while a model loads."""
    text = " ".join((DOCS / "operate" / "logs.md").read_text(encoding="utf-8").split())
    listed = re.findall(r"when it ends, with its time: (.+?)\.", text)[0].split(", ")
    logged = {str(literal(call.args[1])).removesuffix(" for *") for call in calls_of("stage")}
    assert set(listed) == logged


def test_every_language_can_send_a_token() -> None:
    """The page of each language shows how to send a token, and where TLS comes from."""
    pages = [path for path in (DOCS / "guides" / "clients").glob("*.md") if path.stem != "README"]
    assert len(pages) >= 6
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.search(r"\bauthorization\b|\btoken=", text), page.name
        assert "TLS" in text


def calls_of(*names: str) -> Iterator[ast.Call]:
    """Yield the server's calls of functions and classes with these names."""
    for node in nodes():
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            yield node


def nodes() -> Iterator[ast.AST]:
    """Yield all nodes of the server's code."""
    for path in SERVER.rglob("*.py"):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def literal(node: ast.expr) -> str | None:
    """Return a string's text, with `*` for each value in it; None if it is none."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def is_package(path: Path) -> bool:
    """Return whether a folder holds Python files."""
    return path.is_dir() and any(path.glob("*.py"))
