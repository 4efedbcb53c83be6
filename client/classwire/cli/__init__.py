"""The `classwire` command.

This module imports nothing heavy: each command loads rich, gRPC and the server when it needs them.
So `classwire --help` is fast, and the client needs no torch.
"""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from itertools import chain

import click

from .admin import admin
from .classify import classify
from .completion import completion
from .failures import FAILED, Interrupted, explain
from .inspection import health, models, tokenize
from .rank import rank
from .serving import compile_, demo, doctor, ray, serve
from .token import token
from .top import top
from .zero_shot import zero_shot

_GROUPS: Mapping[str, Sequence[click.Command]] = {
    "Classify": (classify, rank, zero_shot, tokenize),
    "Serve": (serve, compile_, doctor, ray),
    "Operate": (top, health, models, admin, token),
    "Try": (demo,),
    "Shell": (completion,),
}
"""All commands, by what they are for."""


class _Commands(click.Group):
    """A group that turns Ctrl-C and a closed pipe into exit codes. Its help groups the commands."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand."""
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except BrokenPipeError:
            # Without this, Python reports at exit that it cannot flush its buffer.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(FAILED) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of commands under its title."""
        width = max(map(len, self.commands))
        for title, commands in _GROUPS.items():
            rows = [
                (each.name.ljust(width), each.get_short_help_str(formatter.width - width - 6))
                for each in commands
                if each.name
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from classwire._version import __version__

        click.echo(f"classwire {__version__}")
        context.exit()


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 success; 1 the server or one of several texts failed; 2 wrong command or "
    "input; 130 interrupted; 143 terminated. CLASSWIRE_DEBUG=1 prints the traceback of an error.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.pass_context
def command(context: click.Context) -> None:
    """Serve Hugging Face text classifiers over gRPC, and classify texts with them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _subcommand in chain.from_iterable(_GROUPS.values()):
    command.add_command(_subcommand)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` unless given) and return its exit code.

    Every error is one line on standard error: `classwire: ...`.
    """
    # A stream is None if it was closed before Python started (`>&-`).
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    try:
        code = command.main(args, prog_name="classwire", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except Exception as error:
        if os.environ.get("CLASSWIRE_DEBUG"):
            traceback.print_exc()
        message, failure_code = explain(error)
        click.echo(f"classwire: {message}", err=True)
        return failure_code
