"""What a cluster holds of installations: which objects are ours, whose the others are, and what goes when one goes.

Ours is what bears our labels (`names.OURS`), or those that Helm gives our chart's. Of a revision is what bears its
name; what bears none is shared by all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.config.injection import REVISION
from pilotfish.install.names import (
    APP,
    CNI,
    PART_OF,
    TAG,
    VALUES,
    Object,
)
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import CONFIG_MAP, DAEMON_SET, DEPLOYMENT, KINDS, NAMESPACE, SECRET, SERVICE, kind_written
from pilotfish.model.wellknown import MANAGED_BY, PILOTFISH, ROOT_CONFIG_MAP

_MANAGERS: Final = (PILOTFISH, "Helm")
"""Helm writes its own name on what it installs of our chart."""
SELECTOR: Final = f"{PART_OF}={PILOTFISH},{MANAGED_BY} in ({','.join(_MANAGERS)})"
"""Of a list: ours alone."""
HELM_RELEASE: Final = "meta.helm.sh/release-name"
_BY_NAME: Final = {kind.name: kind for kind in KINDS if not kind.is_istio and kind.group != "gateway.networking.k8s.io"}
DEFINITION: Final = _BY_NAME["CustomResourceDefinition"]
REMOVED: Final[tuple[Kind, ...]] = (
    _BY_NAME["MutatingWebhookConfiguration"],
    _BY_NAME["ValidatingWebhookConfiguration"],
    _BY_NAME["HorizontalPodAutoscaler"],
    _BY_NAME["PodDisruptionBudget"],
    DEPLOYMENT,
    DAEMON_SET,
    SERVICE,
    _BY_NAME["Lease"],
    CONFIG_MAP,
    SECRET,
    _BY_NAME["RoleBinding"],
    _BY_NAME["Role"],
    _BY_NAME["ClusterRoleBinding"],
    _BY_NAME["ClusterRole"],
    _BY_NAME["ServiceAccount"],
)
"""The kinds of what is ours beside definitions and the namespace, in the order in which they go: who asks before who
answers, who acts before what he acts with."""
ENDED_FIRST: Final = REMOVED[:6]
"""Who asks discovery, who starts it, and it itself: the rest goes when these have ended."""
_ITS_OWN: Final = {
    (CONFIG_MAP.name, "kube-root-ca.crt"),
    ("ServiceAccount", "default"),
}
"""What a cluster puts into every namespace."""


def kind_of(source: Object) -> Kind:
    return kind_written(source["kind"], source["apiVersion"])


def ref_of(source: Object) -> ObjectRef:
    metadata = source["metadata"]
    return kind_of(source).ref(metadata.get("namespace", ""), metadata["name"])


def labels_of(source: Object) -> Mapping[str, str]:
    return source.get("metadata", {}).get("labels") or {}


def is_ours(source: Object) -> bool:
    labels = labels_of(source)
    return labels.get(PART_OF) == PILOTFISH and labels.get(MANAGED_BY) in _MANAGERS


def release_of(source: Object) -> str:
    """The Helm release that made it, or ""."""
    annotations = source.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(HELM_RELEASE, ""))


def owner_of(source: Object) -> str:
    """Whose an object is that isn't ours, as far as it says."""
    labels = labels_of(source)
    if release := release_of(source):
        return f"Helm's release {release}"
    if "operator.istio.io/component" in labels or str(labels.get("app", "")).startswith("istio"):
        return "Istio's"
    manager = labels.get(MANAGED_BY) or _manager_of(source)
    return f"{manager}'s" if manager else "somebody else's"


def _manager_of(source: Object) -> str:
    fields = source.get("metadata", {}).get("managedFields") or [{}]
    return str(fields[0].get("manager", ""))


@dataclass(frozen=True, slots=True)
class Conflict:
    """An object of the name of one of ours, which is not ours."""

    ref: ObjectRef
    owner: str
    is_ours: bool
    """It is, and Helm's to change."""

    def __str__(self) -> str:
        place = f" in namespace {self.ref.namespace}" if self.ref.namespace else ""
        return f"{self.ref.kind} {self.ref.name}{place} is {self.owner}"


def find_conflict(wanted: Object, live: Object | None) -> Conflict | None:
    """A namespace may be anybody's. So may a definition that has what is read."""
    if live is None or (is_ours(live) and not release_of(live)):
        return None
    kind = kind_of(wanted)
    if kind is NAMESPACE or (kind is DEFINITION and not unserved(wanted, live)):
        return None
    return Conflict(ref_of(wanted), owner_of(live), is_ours(live))


def unserved(wanted: Object, live: Object) -> tuple[str, ...]:
    """Versions that the definition lacks, the first of which discovery reads."""
    served = {version["name"] for version in live["spec"]["versions"] if version.get("served")}
    preferred = wanted["spec"]["versions"][0]["name"]
    return () if preferred in served else (preferred,)


def is_left_alone(wanted: Object, live: Object | None) -> bool:
    """There already, not ours, and good as it is."""
    return live is not None and kind_of(wanted) in (NAMESPACE, DEFINITION) and not is_ours(live)


def revisions_of(sources: Iterable[Object]) -> tuple[str, ...]:
    """Of the control planes among the objects, as `istio.io/rev` says them."""
    return tuple(sorted({revision_of(source) for source in sources if is_control_plane(source)}))


def revision_of(source: Object) -> str:
    """As `istio.io/rev` says it; "" for what all revisions share."""
    return labels_of(source).get(REVISION, "")


def is_control_plane(source: Object) -> bool:
    return source.get("kind") == DEPLOYMENT.name and labels_of(source).get("app") == APP and is_ours(source)


def values_of(control_plane: Object) -> str:
    """What it was installed with, as JSON."""
    annotations = control_plane["metadata"].get("annotations") or {}
    return str(annotations.get(VALUES, ""))


def bundle_of(webhooks: Object) -> str:
    """Whom the API server trusts that it is discovery, as far as that is written."""
    found = (webhook["clientConfig"].get("caBundle", "") for webhook in webhooks.get("webhooks") or ())
    return next(filter(None, found), "")


def find_superfluous(ours: Iterable[Object], wanted: Iterable[Object], revision: str) -> tuple[Object, ...]:
    """What an installation of the revision had before, and has no longer. What discovery itself writes, and tags, stay;
    of what is shared, the node's plugin goes where there is no other revision that may need it."""
    ours = tuple(ours)
    kept = {ref_of(each) for each in wanted}
    is_alone = revisions_of(ours) == (revision,)
    found = (each for each in ours if ref_of(each) not in kept and TAG not in labels_of(each))
    return tuple(each for each in found if _was_applied(each, revision, is_alone))


def _was_applied(source: Object, revision: str, is_alone: bool) -> bool:
    name = source["metadata"]["name"]
    if source["kind"] in ("Lease", SECRET.name) or name == ROOT_CONFIG_MAP:
        return False
    return revision_of(source) == revision or (is_alone and name == CNI)


def tags_of(sources: Iterable[Object]) -> Mapping[str, str]:
    """Tag → revision, of webhook configurations."""
    labels = (labels_of(source) for source in sources if source.get("kind") == REMOVED[0].name)
    return {each[TAG]: each.get(REVISION, "") for each in labels if TAG in each}


def is_foreign_in_namespace(source: Object) -> bool:
    """What a namespace holds that neither we nor the cluster itself put there."""
    metadata = source.get("metadata", {})
    if is_ours(source) or (source.get("kind"), metadata.get("name")) in _ITS_OWN:
        return False
    return not metadata.get("ownerReferences")
