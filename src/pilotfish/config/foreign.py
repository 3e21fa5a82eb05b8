"""Documents that stand among manifests and are none: what they are, and what to do with them.

Nothing is lost by leaving them alone, so that they are notes. What looks like an object with a slip in it is not
among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from pilotfish.config.mesh import MeshConfig
from pilotfish.config.schema import api_fields
from pilotfish.model import Severity
from pilotfish.model.kinds import GROUPS, group_of

_DEPENDENCIES = frozenset({"dependencies", "digest", "generated"})
_CHART = "render the chart and give what comes out: `helm template CHART | pilotfish up -`"
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Foreign:
    reason: str
    what: str
    remedy: str
    severity: Severity = Severity.INFO

    @property
    def message(self) -> str:
        return f"{self.what}, and is not applied; {self.remedy}"


_KUSTOMIZATION = Foreign(
    "Kustomization",
    "it is a kustomization, which says how to make objects of others",
    "build it and give what comes out: `kubectl kustomize FOLDER | pilotfish up -`, or `kustomize build FOLDER`",
    Severity.WARNING,
)
_HELM_CHART = Foreign("HelmChart", "it describes a Helm chart and holds no object", _CHART)
_LIST = Foreign("NotAnObject", "it is a list and holds no object", "move it elsewhere if it is in the way")


def recognise(value: object, file: str) -> Foreign | None:
    """None for an object, and for what seems to be meant as one."""
    if isinstance(value, list):
        return None if any(isinstance(item, dict) and _says_a_kind(item) for item in value) else _LIST
    if not isinstance(value, dict):
        return None
    name = PurePath(file).name.lower()
    version, kind = value.get("apiVersion"), value.get("kind")
    if _is_kustomization(name, value):
        return _KUSTOMIZATION
    if name == "chart.yaml" or (kind is None and version in ("v1", "v2") and {"name", "version"} <= value.keys()):
        return _HELM_CHART
    if kind is None and version is None:
        return _recognise_fields(name, value)
    if isinstance(version, str) and "/" in version and group_of(version) not in GROUPS and not _has_name(value):
        what = f"it is {f'a {kind} of {version}' if kind else version}, which is no part of a mesh"
        return Foreign("NotAnObject", what, "move it elsewhere if it is in the way")
    return None


def _says_a_kind(value: Fields) -> bool:
    return "apiVersion" in value or "kind" in value


def _has_name(value: Fields) -> bool:
    metadata = value.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("name"))


def _is_kustomization(name: str, value: Fields) -> bool:
    if name in ("kustomization.yaml", "kustomization.yml"):
        return True
    return group_of(str(value.get("apiVersion", ""))) == "kustomize.config.k8s.io"


def _recognise_fields(name: str, value: Fields) -> Foreign | None:
    """Of a mapping that has neither apiVersion nor kind."""
    for is_it, foreign in _BY_LOOKS:
        if is_it(name, value):
            return foreign
    if "metadata" in value or "spec" in value:
        return None
    return Foreign(
        "NotAnObject",
        "it has neither apiVersion nor kind, so it holds no object",
        "if one is meant, write what it is; else move it elsewhere if it is in the way",
    )


def _other(reason: str, what: str, remedy: str) -> Foreign:
    return Foreign(reason, f"it is {what} and holds no object", remedy)


def _is_mesh_config(value: Fields) -> bool:
    """Most of it, so that a slip in a name is none here."""
    return 2 * len(value.keys() & api_fields(MeshConfig)) > len(value)


_BY_LOOKS: tuple[tuple[Callable[[str, Fields], bool], Foreign], ...] = (
    (
        lambda _, value: isinstance(value.get("meshConfig"), dict),
        _other("BareMeshConfig", "the values of Istio's chart", "give what meshConfig holds with `--mesh-config FILE`"),
    ),
    (
        lambda name, _: "values" in name,
        _other("HelmValues", "the values of a Helm chart", _CHART),
    ),
    (
        lambda name, value: name == "requirements.yaml" or (bool(value) and value.keys() <= _DEPENDENCIES),
        _other("HelmChart", "the list of what a Helm chart depends on", _CHART),
    ),
    (
        lambda name, value: "compose" in name or isinstance(value.get("services"), dict),
        _other("ComposeFile", "a Compose file", "write its services as Deployments and Services"),
    ),
    (
        lambda _, value: "openapi" in value or "swagger" in value,
        _other("NotAnObject", "an OpenAPI description", "move it elsewhere if it is in the way"),
    ),
    (
        lambda name, value: "gitlab-ci" in name or ("on" in value and "jobs" in value) or "stages" in value,
        _other("NotAnObject", "a pipeline's definition", "move it elsewhere if it is in the way"),
    ),
    (
        lambda _, value: _is_mesh_config(value),
        _other("BareMeshConfig", "a meshConfig", "give it with `--mesh-config FILE`"),
    ),
)
