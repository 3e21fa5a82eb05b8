"""What an image says of the containers made from it, and by what leave it is pulled.

Source: https://kubernetes.io/docs/concepts/containers/images/ and, of an image's configuration,
https://github.com/opencontainers/image-spec/blob/main/config.md
"""

from __future__ import annotations

import json
import signal
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pilotfish.config.images import runs_image
from pilotfish.config.kubernetes import Container, ServiceAccount
from pilotfish.config.values import decode_base64
from pilotfish.model.kinds import SECRET, SERVICE_ACCOUNT
from pilotfish.node.environment import object_data
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Store

Policy = Literal["Always", "IfNotPresent", "Never"]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where an image names none, as container runtimes have it."""


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    layers: tuple[str, ...]
    """Directories of this machine, the uppermost first."""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    """NAME=VALUE."""
    user: str = ""
    """USER[:GROUP], each a name or a number; "" for root."""
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    """Directories that can be written even where the rest can't be."""

    @property
    def environment(self) -> dict[str, str]:
        given = (each.partition("=") for each in self.env)
        return {"PATH": _PATH, **{name: value for name, equals, value in given if name and equals}}

    @property
    def stop(self) -> int:
        """The signal that asks a container to end."""
        word = self.stop_signal.upper().removeprefix("SIG")
        if word.isdecimal() and 0 < int(word) <= signal.SIGRTMAX:
            return int(word)
        name, plus, offset = word.partition("+")
        found = signal.Signals.__members__.get(f"SIG{name}", signal.SIGTERM)
        return found + int(offset) if plus and name == "RTMIN" and offset.isdecimal() else found

    def argv(self, container: Container) -> tuple[str, ...]:
        """A command takes the place of both, arguments that of the image's own."""
        if container.command:
            return (*container.command, *container.args)
        return (*self.entrypoint, *(container.args or self.cmd))


def names_image(pod: PodIdentity, container: Container) -> bool:
    """It runs as its image."""
    return runs_image(pod.annotations, container)


def pull_policy(container: Container) -> Policy:
    """Kubernetes pulls `latest` each time where nothing is said. Here what has just been built or loaded is meant."""
    return container.image_pull_policy or "IfNotPresent"


def build_credentials(pod: PodIdentity, store: Store) -> tuple[bytes | None, tuple[str, ...]]:
    """(what registries are told, as the content of a `config.json` of Docker's, or None; what is missing of it).

    Of two Secrets for one registry the first counts. One that lacks does not keep an image from being pulled, as in
    Kubernetes.
    """
    auths: dict[str, Any] = {}
    missing = []
    for name in _secret_names(pod, store):
        found = _read_auths(object_data(SECRET.ref(pod.namespace, name), store))
        if isinstance(found, str):
            missing.append(f"the pull secret {name}: {found}")
        else:
            auths = {**found, **auths}
    return (json.dumps({"auths": auths}).encode() if auths else None), tuple(missing)


def _secret_names(pod: PodIdentity, store: Store) -> Iterator[str]:
    """The pod's own, else its service account's."""
    named = pod.spec.image_pull_secrets
    if not named:
        stored = store.objects.get(SERVICE_ACCOUNT.ref(pod.namespace, pod.service_account))
        account = stored.manifest.resource if stored else None
        named = account.image_pull_secrets if isinstance(account, ServiceAccount) else ()
    yield from dict.fromkeys(each.name for each in named if each.name)


def _read_auths(data: Mapping[str, bytes] | str) -> dict[str, Any] | str:
    """Of Secrets of type kubernetes.io/dockerconfigjson, or of the older kubernetes.io/dockercfg."""
    if isinstance(data, str):
        return data
    for key, inner in ((".dockerconfigjson", "auths"), (".dockercfg", "")):
        if key not in data:
            continue
        try:
            content = json.loads(data[key])
        except ValueError:
            return f"{key} is no JSON"
        auths = content.get(inner) if inner and isinstance(content, dict) else content
        if not isinstance(auths, dict):
            return f"{key} has no registries"
        return {host: _with_auth(entry) for host, entry in auths.items() if isinstance(entry, dict)}
    return "it has neither .dockerconfigjson nor .dockercfg"


def _with_auth(entry: Mapping[str, Any]) -> dict[str, Any]:
    """podman reads `auth` alone, people write user and password."""
    if isinstance(entry.get("auth"), str) and _is_base64(entry["auth"]):
        return {"auth": entry["auth"]}
    return {"auth": b64encode(f"{entry.get('username', '')}:{entry.get('password', '')}".encode()).decode()}


def _is_base64(text: str) -> bool:
    try:
        return bool(decode_base64(text))
    except ValueError:
        return False
