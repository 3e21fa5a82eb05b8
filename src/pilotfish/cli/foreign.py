"""Commands of others, and what does the same here; the command that a slip of the pen stands for; and the other way
round, what does in a cluster what a command of ours does on one machine. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

FOREIGN: dict[str, str] = {
    # docker and docker compose
    "compose ps": "get pods",
    "compose ls": "get meshes",
    "compose up": "up FILE",
    "compose down": "down",
    "compose stop": "down",
    "compose logs": "logs POD",
    "compose port": "publish",
    "compose exec": "exec POD -- COMMAND",
    "compose restart": "rollout restart deploy/NAME",
    "compose config": "validate FILE",
    "compose cp": "cp SOURCE TARGET",
    "compose top": "top pods",
    "compose": "up FILE",
    "container ls": "get pods",
    "container": "get pods",
    "port": "publish",
    "tunnel": "publish",
    "ps": "get pods' (as docker ps) or 'pilotfish proxy-status' (as istioctl ps)",
    "ls": "get meshes",
    "stop": "down",
    "kill": "down",
    "rm": "delete KIND NAME",
    "restart": "rollout restart deploy/NAME",
    "start": "up FILE",
    "run": "apply -f FILE",
    "inspect": "describe KIND NAME",
    "stats": "top pods",
    # kind, minikube and k3d
    "create cluster": "up FILE",
    "delete cluster": "down",
    "get clusters": "get meshes",
    "cluster": "up FILE",
    "build": "up FILE",
    # kubectl
    "create": "apply -f FILE",
    "replace": "apply -f FILE",
    "attach": "logs -f POD",
    "autoscale": "scale deploy/NAME --replicas N",
    "cluster-info": "status",
    "events": "get events",
    "debug": "exec POD -- COMMAND",
    "expose": "publish PORT:SERVICE:PORT",
    "kustomize": "apply -k FOLDER",
    "api-resources": "get --help",
    "config": "get meshes",
    "auth": "authz check POD",
    # istioctl and helm
    "kube-inject": "inject -f FILE",
    "x": "--help",
    "experimental": "--help",
    "dashboard envoy": "port-forward POD 15000",
    "dashboard": "status",
    "bug-report": "status",
    "ztunnel-config": "proxy-config",
    "precheck": "check --pre",
    "verify-install": "check --post",
    "tags": "tag list",
    "revision": "tag list",
    "profile": "manifest",
    "template": "apply -f CHART",
    # what people try
    "show": "get pods",
    "list": "get pods",
    "shell": "exec POD -- sh",
    "help": "--help",
    "lint": "validate FILE",
}  # fmt: skip
"""What is typed elsewhere → what is typed here; of two words the first alone, too."""


def instead(words: Sequence[str], known: Iterable[str]) -> str:
    """What to type in the place of a command that is not there: `pilotfish get pods`; "" if nothing is like it."""
    for count in (2, 1):
        if found := FOREIGN.get(" ".join(words[:count])):
            return f"pilotfish {found}"
    from difflib import get_close_matches  # here: only who mistyped pays for it

    close = get_close_matches(words[0], known, n=1, cutoff=0.6)
    return f"pilotfish {close[0]}" if close else ""


IN_A_CLUSTER: dict[str, str] = {
    "up": "pilotfish install' and 'kubectl apply -f FILE",
    "down": "pilotfish uninstall",
    "publish": "kubectl port-forward svc/NAME PORT",
}
"""What a command of one machine is in a cluster, where it is not kubectl's of the same name."""
NOT_IN_A_CLUSTER: dict[str, str] = {
    "proxy-restart": "there Envoy comes with its pod, so 'kubectl rollout restart' gives it another",
    "identity issue": "a certificate is issued to a pod alone, by its service account",
}
"""What nobody does there from outside, and what there is instead."""
_OURS = ("--name", "--revision")
_PLACES = ("--context", "--kubeconfig")
"""kubectl calls them so, too."""


def in_a_cluster(words: Sequence[str], places: Iterable[tuple[str, str]] = ()) -> str:
    """What to type in a cluster in the place of these words, a command's name and what follows it. `places`: the
    options that say which cluster, with their values."""
    other = IN_A_CLUSTER.get(words[0]) if words else "kubectl"
    if other is not None:
        return other
    said = (word for option, value in places if value for word in (option, value))
    return shlex.join(("kubectl", *said, words[0], *_without(words[1:], (*_OURS, *_PLACES))))


def why_not_in_a_cluster(words: Sequence[str]) -> str:
    """ "" for what can be done there."""
    return NOT_IN_A_CLUSTER.get(" ".join([word for word in words if not word.startswith("-")][:2]), "")


def _without(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """Up to `--`: what follows is another's."""
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from (word, *rest)
        elif word in options:
            next(rest, None)
        elif word.partition("=")[0] not in options:
            yield word
