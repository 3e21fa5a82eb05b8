"""`pilotfish completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_PILOTFISH_COMPLETE"
"""click's own protocol: the script calls `pilotfish` with this variable set."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  source <(pilotfish completion bash)
    zsh:   source <(pilotfish completion zsh)
    fish:  pilotfish completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    # Not `source()`: for bash that runs a bash to see its version, and this may be made on a machine without one.
    script = kind(ctx.find_root().command, {}, "pilotfish", _VARIABLE)
    click.echo(script.source_template % script.source_vars())
