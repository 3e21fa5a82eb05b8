"""The files of a chart.

Source: https://helm.sh/docs/topics/charts/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import yaml
from msgspec import inspect

from pilotfish.install.chart.variants import templates
from pilotfish.install.crds import build_crds
from pilotfish.install.crds.descriptions import describe_field
from pilotfish.install.crds.schema import struct_schema
from pilotfish.install.names import OURS
from pilotfish.install.values import DEFAULTS, Values

_HELPERS: Final = """\
{{- define "pilotfish.suffix" -}}
{{- with .Values.revision }}-{{ . }}{{ end -}}
{{- end -}}
{{- define "pilotfish.hub" -}}
{{- with .Values.hub }}{{ trimSuffix "/" . }}/{{ end -}}
{{- end -}}
"""
_NOTES: Final = """\
The control plane is being started. For sidecars in a namespace's new pods:
{{- if .Values.revision }}
  kubectl label namespace NAME istio.io/rev={{ .Values.revision }}
{{- else }}
  kubectl label namespace NAME istio-injection=enabled
{{- end }}
To see that all is well: pilotfish check --post
"""
_OWN: Final = ("namespace",)
"""Values that a chart has no say in."""
_KEPT: Final = {"helm.sh/resource-policy": "keep"}
"""Objects of a kind go with its definition: Helm is not to take them along."""


def build_chart(version: str) -> Mapping[str, str]:
    """Path → text. `version`: of the application, and of the chart."""
    return {
        "Chart.yaml": _yaml(
            {
                "apiVersion": "v2",
                "name": "pilotfish",
                "description": "A service mesh: Istio's and Kubernetes' APIs around the real Envoy.",
                "type": "application",
                "version": version,
                "appVersion": version,
                "kubeVersion": ">=1.28.0-0",
            }
        ),
        "values.yaml": "".join(f"{line}\n" for line in _values(inspect.type_info(Values), DEFAULTS, "")),
        "values.schema.json": json.dumps(_schema(), indent=1) + "\n",
        "templates/_helpers.tpl": _HELPERS,
        "templates/NOTES.txt": _NOTES,
        "templates/definitions.yaml": f"{{{{- if .Values.crds }}}}\n{_definitions()}{{{{- end }}}}\n",
        **{f"templates/{kind.lower()}-{_file_name(name)}.yaml": text for (kind, name), text in templates()},
    }


def _file_name(name: str) -> str:
    return name.replace(".", "-")


def _definitions() -> str:
    made = ({**crd, "metadata": {**crd["metadata"], "annotations": _KEPT}} for crd in build_crds(OURS))
    return "".join(f"---\n{_yaml(each)}" for each in made)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=1000, allow_unicode=True)


def _values(kind: inspect.Type, value: Any, indent: str) -> Iterator[str]:
    """Every field with its default, and what is said of it."""
    assert isinstance(kind, inspect.StructType)
    for field in kind.fields:
        if field.encode_name in _OWN:
            continue
        held = getattr(value, field.name)
        described = describe_field(kind.cls, field.name)
        yield from (f"{indent}# {line}" for line in described.splitlines() if line)
        if held is None:
            yield f"{indent}# {field.encode_name}:"
        elif isinstance(held, msgspec.Struct):
            yield f"{indent}{field.encode_name}:"
            yield from _values(inspect.type_info(type(held)), held, f"{indent}  ")
        else:
            yield f"{indent}{field.encode_name}: {json.dumps(msgspec.to_builtins(held))}"


def _schema() -> dict[str, Any]:
    """A field that there is not is refused, as by `--set`. (`global` is Helm's own, of charts inside of others.)"""
    made = _closed(struct_schema(Values))
    properties = {name: held for name, held in made["properties"].items() if name not in _OWN}
    return {**made, "$schema": "http://json-schema.org/draft-07/schema#", "properties": {**properties, "global": {}}}


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Of JSON alone; a mapping has no other fields than those that are known. Null takes a default back."""
    made = {name: held for name, held in schema.items() if not name.startswith("x-kubernetes")}
    if "properties" in made:
        made["properties"] = {name: _closed(held) for name, held in made["properties"].items()}
        made["additionalProperties"] = False
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = _closed(made[name])
    return made
