"""The namespaces of which the mesh takes notice: meshConfig.discoverySelectors.

    objects ─within─▶ those that the mesh sees

Pods stay, wherever they are: they run, and their proxies are served.
Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-discovery_selectors
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.selecting import fits
from pilotfish.mesh.namespaces import namespace_labels
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.kinds import NAMESPACE, POD

Manifests = Mapping[ObjectRef, Manifest]


def within(manifests: Manifests, config: MeshConfig) -> Manifests:
    """The same mapping where nothing is left out."""
    if not config.discovery_selectors:
        return manifests
    is_seen: dict[str, bool] = {}
    for ref in manifests:
        if ref.namespace not in is_seen:
            is_seen[ref.namespace] = not ref.namespace or _is_selected(ref.namespace, manifests, config)
    found = {ref: each for ref, each in manifests.items() if is_seen[ref.namespace] or _is_kept(ref)}
    return found if len(found) < len(manifests) else manifests


def unseen(given: Manifests, seen: Manifests) -> Iterator[Problem]:
    """What `within` left out."""
    for ref in sorted(given.keys() - seen.keys()) if given is not seen else ():
        text = (
            f"the labels of namespace {ref.namespace} fit none of meshConfig.discoverySelectors, so proxies are told "
            f"nothing of it; label the Namespace, or widen the selectors"
        )
        yield Problem(ref, "metadata.namespace", "NotSelected", text, Severity.INFO, given[ref].source)


def _is_kept(ref: ObjectRef) -> bool:
    return ref.kind is POD or not ref.kind.discovery


def _is_selected(namespace: str, manifests: Manifests, config: MeshConfig) -> bool:
    manifest = manifests.get(NAMESPACE.ref("", namespace))
    return selects(config, namespace, manifest.resource.metadata.labels if manifest is not None else {})


def selects(config: MeshConfig, namespace: str, stated: Mapping[str, str]) -> bool:
    """`stated`: its labels. The root namespace always is selected: it is the mesh's own."""
    if not config.discovery_selectors or namespace == config.root_namespace:
        return True
    labels = namespace_labels(namespace, stated)
    return any(fits(each, labels) for each in config.discovery_selectors)
