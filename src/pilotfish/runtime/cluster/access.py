"""Which cluster is meant: by what the user gave, by the environment, by the pod that this process runs in. Blocks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pilotfish.cluster.kubeconfig import Access, KubeconfigError, merge, service_account
from pilotfish.runtime.errors import MachineError

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_USUAL: Final = Path(".kube/config")


def find_access(
    kubeconfig: Path | None = None,
    context: str = "",
    *,
    environment: Mapping[str, str] = os.environ,
    account: Path = ACCOUNT,
) -> Access:
    """As kubectl: that file, else those of $KUBECONFIG, else ~/.kube/config, else the pod's own account.

    `context`: "" for the current one. Raises MachineError.
    """
    try:
        found = _read_all(kubeconfig, environment)
        if found:
            return merge(found).access(context)
    except KubeconfigError as error:
        raise MachineError(str(error)) from error
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "")
    if not (host and port and (account / "token").is_file()):
        looked = environment.get("KUBECONFIG") or "~/.kube/config"
        raise MachineError(
            f"no cluster is known: there is no {looked}, and this is no pod with a service account",
            "give --kubeconfig FILE, or set KUBECONFIG",
        )
    if context:
        raise MachineError(f"context {context} is not known: there is no kubeconfig", "give --kubeconfig FILE")
    return service_account(host, port, account, _text(account / "namespace").strip())


def list_contexts(kubeconfig: Path | None = None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Those that could be meant. Raises MachineError."""
    try:
        return tuple(merge(_read_all(kubeconfig, environment)).contexts)
    except KubeconfigError as error:
        raise MachineError(str(error)) from error


def _read_all(kubeconfig: Path | None, environment: Mapping[str, str]) -> list[tuple[Path, str]]:
    """Of files that are only listed or usual, those that there are."""
    if kubeconfig is not None:
        return [(path := kubeconfig.expanduser().absolute(), _text(path))]
    listed = environment.get("KUBECONFIG", "")
    names = [Path(name) for name in listed.split(os.pathsep) if name] or [_home(environment) / _USUAL]
    paths = dict.fromkeys(name.expanduser().absolute() for name in names)
    return [(path, _text(path)) for path in paths if path.exists()]


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or "/")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise MachineError(
            f"{path} can't be read: {error.strerror}", "mend its permissions, or give another"
        ) from error
