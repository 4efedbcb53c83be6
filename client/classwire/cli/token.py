"""`classwire token new`: a token for a caller, and what a server keeps of it."""

import json
import tomllib
from pathlib import Path

import click

from .failures import WrongUse


@click.group()
def token() -> None:
    """Make tokens, by which a server knows its callers."""


@token.command()
@click.argument("name")
@click.option(
    "--callers",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the server's callers, to add this one to.  [default: print what to add]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="A model it may use; repeated.  [default: all]",
)
@click.option(
    "--text-tokens-per-s",
    type=click.IntRange(min=1),
    help="How much text it may send, in the tokens of the model.  [default: any]",
)
def new(
    *, name: str, callers: Path | None, models: tuple[str, ...], text_tokens_per_s: int | None
) -> None:
    """Print a new token for the caller NAME, which is shown only now.

    A server keeps a salted hash of it, in the file that `classwire serve --callers` names.
    """
    from ..contract.tokens import NAME, hash_of, new_token

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
    """Write the file anew, in one step: a server may be about to read it."""
    path = path.resolve()
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        known = tomllib.loads(before)
    except tomllib.TOMLDecodeError as error:
        raise WrongUse(f"{path}: {error}") from None
    if name in known:
        raise WrongUse(f"{path} has a caller {name} already; a second token goes into its list")
    after = f"{before.rstrip()}\n\n{entry}".lstrip()
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(after, encoding="utf-8")
    if path.exists():
        scratch.chmod(path.stat().st_mode)
    scratch.replace(path)
