"""The namespaces of which the mesh takes notice: meshConfig.discoverySelectors.

    objects ─within─▶ those that the mesh sees
    objects, what they were before ─Selection─▶ the same, at the cost of what has changed

Pods stay, wherever they are: they run, and their proxies are served.
Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-discovery_selectors
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pilotfish.config.changes import Manifests, find_changes
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.selecting import fits
from pilotfish.mesh.namespaces import namespace_labels
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.kinds import NAMESPACE, POD


class Selection:
    """`within`, asked again at each change."""

    def __init__(self) -> None:
        self._config = MeshConfig()
        self._given: Manifests = {}
        self._seen: Manifests = {}

    def within(self, manifests: Manifests, config: MeshConfig) -> Manifests:
        """The mapping of the time before where the mesh sees nothing else."""
        before, self._config = self._config, config
        was, self._given = self._given, manifests
        if not config.discovery_selectors:
            self._seen = manifests
        elif _chooses(before) != _chooses(config):
            self._seen = within(manifests, config)
        else:
            self._follow(was, manifests)
        return self._seen

    def _follow(self, was: Manifests, manifests: Manifests) -> None:
        changes = find_changes(was, manifests, lambda had, has: True)
        if any(ref.kind is NAMESPACE for ref in changes):
            self._seen = within(manifests, self._config)
            return
        told = {ref: each for ref, each in changes.items() if _sees(ref, manifests, self._config)}
        if told:
            seen = dict(self._seen)
            for ref, each in told.items():
                if each is not None:
                    seen[ref] = each
                else:
                    seen.pop(ref, None)
            self._seen = seen

    def unseen(self) -> Iterator[Problem]:
        return unseen(self._given, self._seen)


def _chooses(config: MeshConfig) -> tuple[object, ...]:
    return config.discovery_selectors, config.root_namespace


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


def _sees(ref: ObjectRef, manifests: Manifests, config: MeshConfig) -> bool:
    return not ref.namespace or _is_kept(ref) or _is_selected(ref.namespace, manifests, config)


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
