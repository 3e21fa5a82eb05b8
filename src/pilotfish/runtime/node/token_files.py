"""The tokens in a pod's volumes: each is made when it is first written, and anew when most of its time has passed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pilotfish.node.identity import PodIdentity
from pilotfish.node.projected import File, TokenFile
from pilotfish.node.volumes import VolumeContent, VolumeFiles
from pilotfish.runtime.node.tokens import TokenMaker

_SPENT = 0.8
"""The part of its life after which a token is replaced, as the kubelet does it."""


@dataclass(frozen=True, slots=True)
class _Held:
    token: bytes
    renewed_at: float
    """Seconds since the epoch."""


class TokenFiles:
    """One pod's."""

    def __init__(self, pod: PodIdentity, maker: TokenMaker) -> None:
        self._pod = pod
        self._maker = maker
        self._held: dict[tuple[str, int], _Held] = {}

    @property
    def renewed_at(self) -> float | None:
        """When the next one is due, in seconds since the epoch; None where there is none."""
        return min((held.renewed_at for held in self._held.values()), default=None)

    def fill(self, contents: Iterable[VolumeContent]) -> tuple[VolumeContent, ...]:
        """With tokens in their files."""
        return tuple(self._filled(each) if isinstance(each, VolumeFiles) else each for each in contents)

    def _filled(self, volume: VolumeFiles) -> VolumeFiles:
        files = {
            path: File(self._token(file.audience, file.seconds), file.mode) if isinstance(file, TokenFile) else file
            for path, file in volume.files.items()
        }
        return replace(volume, files=files)

    def _token(self, audience: str, seconds: int) -> bytes:
        held = self._held.get((audience, seconds))
        if held is None or held.renewed_at <= time.time():
            token = self._maker.make(self._pod, audience, seconds)
            held = self._held[audience, seconds] = _Held(token, time.time() + seconds * _SPENT)
        return held.token
