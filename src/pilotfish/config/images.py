"""What an image is called, and whether a container runs as one.

    [DOMAIN/]PATH[:TAG][@DIGEST]     nginx ─▶ docker.io/library/nginx:latest

Source: https://github.com/distribution/reference, and https://kubernetes.io/docs/concepts/containers/images/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.config.kubernetes import Container

RUN: Final = "pilotfish.io/run"
"""An annotation of a pod, or of a Namespace for its pods: `process` runs their containers' commands on this machine's
files, `image` is as usual."""
PROCESS: Final = "process"
IMAGE: Final = "image"
DEFAULT_DOMAIN: Final = "docker.io"
LOCAL_DOMAIN: Final = "localhost"
"""Of what is built on a machine, and given no domain."""

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_DOMAIN = re.compile(r"(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Reference:
    domain: str
    """"" where none is written."""
    path: str
    tag: str
    digest: str
    """"" unless it is written; then it says which image is meant, and the tag nothing."""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises ValueError for what no image can be called."""
        fault = ValueError(f"{text[:_LONGEST]!r} is no name of an image")
        if len(text) > _LONGEST:
            raise fault
        name, at, digest = text.partition("@")
        first, slash, rest = name.partition("/")
        has_domain = bool(slash) and (
            any(sign in first for sign in ".:") or first == LOCAL_DOMAIN or first != first.lower()
        )
        domain, name = (first, rest) if has_domain else ("", name)
        path, colon, tag = name.partition(":")
        if not _NAME.fullmatch(path) or (has_domain and not _DOMAIN.fullmatch(domain)):
            raise fault
        if (colon and not _TAG.fullmatch(tag)) or (at and not _DIGEST.fullmatch(digest)):
            raise fault
        return cls(domain, path, tag or ("" if digest else "latest"), digest)

    @property
    def full(self) -> str:
        """As registries are asked for it."""
        domain = DEFAULT_DOMAIN if self.domain in ("", "index.docker.io") else self.domain
        path = f"library/{self.path}" if domain == DEFAULT_DOMAIN and "/" not in self.path else self.path
        return self._named(domain, path)

    @property
    def local(self) -> tuple[str, ...]:
        """What it may be called on this machine, the first that is there first: what was built here has no domain."""
        return (self.full,) if self.domain else (self._named(LOCAL_DOMAIN, self.path), self.full)

    def _named(self, domain: str, path: str) -> str:
        # With both podman knows no image.
        return f"{domain}/{path}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


def inherit(annotations: Mapping[str, str], namespace: Mapping[str, str]) -> Mapping[str, str]:
    """A pod's annotations, with what its Namespace's say where they say nothing."""
    return {RUN: namespace[RUN], **annotations} if RUN in namespace else annotations


def runs_image(annotations: Mapping[str, str], container: Container) -> bool:
    """Else it is a process of this machine. `annotations`: its pod's."""
    return bool(container.image) and annotations.get(RUN, IMAGE) != PROCESS
