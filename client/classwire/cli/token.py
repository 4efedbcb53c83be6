"""`classwire token new`: a token for a caller, and its hash for the server."""

import json
import tomllib
from pathlib import Path

import click

from .failures import WrongUse


@click.group()
def token() -> None:
    """Create tokens that identify callers to a server."""


@token.command()
@click.argument("name")
@click.option(
    "--callers",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the server's callers; add this caller.  [default: print the entry]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="Model that the caller may use. May be repeated.  [default: all]",
)
@click.option(
    "--text-tokens-per-s",
    type=click.IntRange(min=1),
    help="Rate limit of its texts, in tokens per second.  [default: none]",
)
def new(
    *, name: str, callers: Path | None, models: tuple[str, ...], text_tokens_per_s: int | None
) -> None:
    """Print a new token for the caller NAME. Keep it: nothing can show it again.

    The server keeps only a salted hash, in the file of `classwire serve --callers`.
    """
    from classwire.contract.tokens import NAME, hash_of, new_token

    if not NAME.fullmatch(name):
        raise WrongUse(f"the name {name!r} is not of the form [a-z0-9-]{{1,63}}")
    made = new_token(name)
    lines = [f"[{name}]", f'tokens = ["{hash_of(made)}"]']
    if models:
        lines.append(f"models = {json.dumps(models, ensure_ascii=False)}")
    if text_tokens_per_s is not None:
        lines.append(f"text_tokens_per_s = {text_tokens_per_s}")
    entry = "\n".join(lines) + "\n"
    if callers is None:
        click.echo(f"{made}\n\n{entry}", nl=False)
        return
    _add(callers, name, entry)
    click.echo(made)


def _add(path: Path, name: str, entry: str) -> None:
    """Replace the file in one step, since a server may read it at any moment."""
    path = path.resolve()
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        known = tomllib.loads(before)
    except tomllib.TOMLDecodeError as error:
        raise WrongUse(f"{path}: {error}") from None
    if name in known:
        raise WrongUse(f"{path} already has a caller {name}; add a second token to its list")
    after = f"{before.rstrip()}\n\n{entry}".lstrip()
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(after, encoding="utf-8")
    if path.exists():
        scratch.chmod(path.stat().st_mode)
    scratch.replace(path)
