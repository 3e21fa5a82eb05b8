"""The command `pilotfish`: the list of its commands, and how an expected failure ends any of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import click
from click.shell_completion import CompletionItem

from pilotfish.cli.failure import expected, line
from pilotfish.cli.meant import WORDS, place_options

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start a mesh from manifests."),
    "down": ("down", "Take a mesh down, and remove what a dead one left."),
    "status": ("status", "Show one mesh on one screen."),
    "get": ("get", "List pods, services, proxies, meshes, problems or any stored object."),
    "describe": ("describe", "Show all that is known of an object, with its problems and events."),
    "wait": ("wait", "Wait until objects are in a condition, exist, or are gone."),
    "exec": ("exec_", "Run a command in a container of a pod."),
    "cp": ("cp", "Copy files into a container, or out of it."),
    "top": ("top", "Show how much CPU and memory pods use."),
    "logs": ("logs", "Print a container's log."),
    "publish": ("publish", "Open ports of this machine that lead to Services and pods."),
    "port-forward": ("port_forward", "Forward local ports to a pod."),
    "apply": ("apply", "Create or configure the objects of manifests."),
    "diff": ("diff", "Show what applying manifests would change, in which proxies."),
    "delete": ("delete", "Delete objects, by manifest or by name."),
    "label": ("label", "Set or remove labels of objects."),
    "annotate": ("annotate", "Set or remove annotations of objects."),
    "patch": ("patch", "Change fields of an object."),
    "edit": ("edit", "Change an object in an editor."),
    "set": ("set_", "Set images or variables of containers."),
    "scale": ("scale", "Set the number of pods of a Deployment, StatefulSet or ReplicaSet."),
    "rollout": ("rollout", "Watch, restart, hold or undo a rollout."),
    "proxy-status": ("proxy_status", "Show whether proxies have what they are meant to have."),
    "proxy-config": ("proxy_config", "Show what a pod's Envoy has been configured with."),
    "proxy-restart": ("proxy_restart", "Let another Envoy take over, without a failed request."),
    "identity": ("identity", "Show certificates and what signs them, issue one, change the root."),
    "explain": ("explain", "Explain the way of a request, step by step, and why."),
    "why": ("why", "Say what a status or a response flag means, and what led to it."),
    "test": ("test", "Check that requests go the ways that files expect."),
    "image": ("image", "Load images into this machine, and list them."),
    "inject": ("inject", "Print manifests with their sidecars in them, for a cluster without the webhook."),
    "validate": ("validate", "Check manifests, each object by itself."),
    "analyze": ("analyze", "Look for what is wrong across objects: of manifests, or of the mesh."),
    "authz": ("authz", "Show which policies hold for a workload."),
    "xds": ("xds", "Show what a proxy would be sent, out of manifests."),
    "version": ("version", "Print the versions of pilotfish and Envoy."),
    "completion": ("completion", "Print the shell's completion script."),
    "install": ("install", "Install the control plane in a Kubernetes cluster."),
    "upgrade": ("upgrade", "Bring a cluster's control plane to this release."),
    "uninstall": ("uninstall", "Remove the control plane from a cluster."),
    "tag": ("tag", "Give revisions names that namespaces carry."),
    "check": ("check", "Look at a cluster before an installation, or after it."),
    "manifest": ("manifest", "Print the objects of an installation in a cluster."),
    "discovery": ("discovery", "Run the control plane alone."),
    "agent": ("agent", "Run one sidecar's agent alone."),
    "agent-request": ("agent_request", "Ask the agent of this pod: for hooks of its containers."),
    "cni": ("cni", "Capture for the pods of a cluster's node."),
    "capture": ("capture", "Render, apply, verify or remove capture rules."),
}
"""Name → (module of this folder, short help). Each module has its click command as `command`."""

ALIASES = {"pc": "proxy-config"}


class LazyGroup(click.Group):
    """Imports a command's module when the command is called or completed; its own help and completion need none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = import_module(f"pilotfish.cli.{COMMANDS[name][0]}")
        return cast(click.Command, module.command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from pilotfish.cli.foreign import instead

            meant = instead(args, (*COMMANDS, *ALIASES))
            hint = f"; use '{meant}'" if meant else ""
            raise click.UsageError(f"No such command {args[0]!r}{hint}", ctx)
        ctx.meta[WORDS] = tuple(args)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(n, help=h) for n, (_, h) in COMMANDS.items() if n.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run = cast(Callable[..., Any], super().main)
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        try:
            code = run(*args, standalone_mode=False, **extra)
        except click.Abort:
            sys.exit(130)
        except Exception as error:
            failure = error if isinstance(error, click.ClickException) else expected(error)
            if failure is None:
                raise
            click.echo(line(failure), err=True)
            sys.exit(failure.exit_code)
        # Outside of its standalone mode click returns what `ctx.exit` was given.
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@place_options
@click.pass_context
def pilotfish(ctx: click.Context, /, **places: str | None) -> None:
    """A service mesh on one machine, and the same in a cluster: Istio's and Kubernetes' APIs around the real Envoy.

    Start with `pilotfish up FILE`, where FILE holds ordinary Kubernetes and Istio manifests.
    """
    if os.environ.get("NO_COLOR"):  # https://no-color.org
        ctx.color = False
