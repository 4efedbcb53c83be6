"""`classwire completion`: the script that lets a shell complete commands and options."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print the script that completes commands and options in SHELL.

    For bash, add this line to ~/.bashrc: eval "$(classwire completion bash)". For zsh, add it to
    ~/.zshrc, with zsh in place of bash. For fish, write the script to
    ~/.config/fish/completions/classwire.fish.
    """
    from click.shell_completion import get_completion_class

    made: type[ShellComplete] | None = get_completion_class(shell)
    assert made is not None
    root = context.find_root()
    click.echo(made(root.command, {}, "classwire", "_CLASSWIRE_COMPLETE").source())
