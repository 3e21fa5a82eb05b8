"""How a pod of an Indexed Job is told which one it is.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from pilotfish.config.kubernetes import Container, EnvVar, EnvVarSource, FieldSelector
from pilotfish.node.controllers.values import INDEX_ANNOTATION, Create, with_spec

_FIELD: Final = f"metadata.annotations['{INDEX_ANNOTATION}']"
_VARIABLE: Final = "JOB_COMPLETION_INDEX"


def with_index(create: Create, index: int) -> Create:
    """It knows its index by an annotation, a variable and its host name."""
    name = f"{create.prefix}-{index}"
    spec = create.template.spec
    written = create.document.get("spec")
    listed = written if isinstance(written, Mapping) else {}
    changes = {each: tuple(_told(c) for c in getattr(spec, each)) for each in ("containers", "init_containers")}
    documents = {
        key: [_written_told(each) for each in found]
        for key in ("containers", "initContainers")
        if isinstance(found := listed.get(key), list)
    }
    create = with_spec(create, {**changes, "hostname": name}, {**documents, "hostname": name})
    about = {INDEX_ANNOTATION: str(index)}
    return replace(create, prefix=name, labels={**create.labels, **about}, annotations=about)


def _told(container: Container) -> Container:
    source = EnvVarSource(field_ref=FieldSelector(field_path=_FIELD))
    return msgspec.structs.replace(container, env=(*container.env, EnvVar(name=_VARIABLE, value_from=source)))


def _written_told(container: Mapping[str, object]) -> dict[str, object]:
    variable = {"name": _VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": _FIELD}}}
    listed = container.get("env")
    return {**container, "env": [*(listed if isinstance(listed, list) else []), variable]}
