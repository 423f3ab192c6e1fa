"""mm completion: commands, options and arguments completed by the shell."""

import click
from click.shell_completion import get_completion_class

from mmplatform.cli.command import OK, Command
from mmplatform.cli.output import show


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that completes mm commands in a shell.

    \b
      mm completion bash > ~/.local/share/bash-completion/completions/mm
      mm completion zsh > ~/.zfunc/_mm       # with fpath+=~/.zfunc before compinit
      mm completion fish > ~/.config/fish/completions/mm.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    show(found(context.find_root().command, {}, "mm", "_MM_COMPLETE").source())
    return OK
