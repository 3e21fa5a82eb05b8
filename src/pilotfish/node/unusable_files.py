"""Files of certificates and keys that a proxy can't be given: which objects name them, and what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pilotfish.config import istio
from pilotfish.config.manifest import Manifest
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.credential import UnusableFiles
from pilotfish.model.kinds import DESTINATION_RULE, GATEWAY, SIDECAR
from pilotfish.node.identity import PodIdentity

_UNTIL: Final = "until it can be used"
_CONSEQUENCES: Final = {
    GATEWAY: f"every handshake with this server fails {_UNTIL}",
    SIDECAR: f"every handshake with this port fails {_UNTIL}",
    DESTINATION_RULE: f"what these pods send there is answered 503 {_UNTIL}",
}
_KEPT: Final = "what was read before stays in use"


def describe_unusable(
    pod: PodIdentity, lacking: tuple[UnusableFiles, ...], manifests: Mapping[ObjectRef, Manifest]
) -> tuple[Problem, ...]:
    """The same for all pods of one template."""
    if not lacking:
        return ()
    naming = [(ref, manifest) for ref, manifest in sorted(manifests.items()) if _concerns(manifest, pod)]
    return tuple(
        _describe(pod, each, manifest, field)
        for each in lacking
        for _, manifest in naming
        for field in _fields(manifest.document.get("spec"), each, "spec")
    )


def _concerns(manifest: Manifest, pod: PodIdentity) -> bool:
    if isinstance(gateway := manifest.resource, istio.Gateway):
        return gateway.spec.selector.items() <= pod.labels.items()
    return manifest.ref.kind is SIDECAR or manifest.ref.kind is DESTINATION_RULE


def _fields(value: object, lacking: UnusableFiles, path: str) -> Iterator[str]:
    """Where something names them all; of several the one that is told of."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _fields(each, lacking, f"{path}[{index}]")
    elif isinstance(value, dict):
        names = {text: name for name, text in value.items() if isinstance(text, str)}
        if names.keys() >= set(lacking.paths):
            told = next((each for each in lacking.paths if each in lacking.why), lacking.paths[0])
            yield f"{path}.{names[told]}"
        for name, each in value.items():
            yield from _fields(each, lacking, f"{path}.{name}")


def _describe(pod: PodIdentity, lacking: UnusableFiles, manifest: Manifest, field: str) -> Problem:
    ref = manifest.ref
    what = _KEPT if lacking.had else _CONSEQUENCES[ref.kind]
    message = (
        f"in the pods of {pod.owner or pod.ref}, {lacking.why}: {what}; mount it there, mend it or correct the path"
    )
    return Problem(ref, field, "UnusableFile", message, Severity.WARNING, manifest.source)
