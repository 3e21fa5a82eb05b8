"""One object, all the way: identified, decoded, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches

from pilotfish.config.building import Fault
from pilotfish.config.checks.by_kind import check
from pilotfish.config.decode import decode
from pilotfish.config.foreign import recognise
from pilotfish.config.kinds import describe_unread, struct_of
from pilotfish.config.kubernetes import ConfigMap, Resource
from pilotfish.config.manifest import Manifest, WrittenMeshConfig
from pilotfish.config.meshconfig import decode_operator, mesh_config_field, parse_mesh_config, value_at
from pilotfish.config.old_gateway import read_old_gateway
from pilotfish.config.old_versions import modernise
from pilotfish.config.report import Report
from pilotfish.config.text import Positions
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.kinds import CONFIG_MAP, kind_written
from pilotfish.model.wellknown import ROOT_NAMESPACE, SOURCE_ANNOTATION

MOST_VALUES = 50_000
"""Of one object: what is done for each of them is done in one go. An API server takes 1.5 MB."""
_OPERATOR = "IstioOperator"
_UNNAMED = "(unnamed)"
MESH_CONFIG_MAP = CONFIG_MAP.ref(ROOT_NAMESPACE, "istio")


@dataclass(frozen=True, slots=True)
class RawObject:
    """One object before it is decoded, and where it stands."""

    value: object
    file: str
    """"" for an object of an API server."""
    default_namespace: str
    positions: Positions | None = None
    prefix: str = ""
    """The way to it inside of its document, as in `items[3]`."""
    faults: tuple[Fault, ...] = ()
    json: bytes | None = None
    """What the value was decoded from, if it was JSON and the object alone."""
    mesh_config: ObjectRef = MESH_CONFIG_MAP
    """The ConfigMap that holds the meshConfig."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one object comes to."""

    manifest: Manifest | None = None
    problems: tuple[Problem, ...] = ()
    broken: ObjectRef | None = None
    mesh_config: WrittenMeshConfig | None = None
    incomplete: bool = False
    """It could not be told which object was meant."""
    is_foreign: bool = False
    """It is no object, and none is meant: that is said once of a text."""


def read_object(raw: RawObject) -> Piece:
    foreign = None if raw.prefix or raw.faults else recognise(raw.value, raw.file)
    if foreign is not None:
        source = Source(raw.file, raw.positions.line("") if raw.positions else 1)
        problem = Problem(None, "", foreign.reason, foreign.message, foreign.severity, source)
        return Piece(problems=(problem,), is_foreign=True)
    piece = _read(raw)
    if piece.problems and _annotated_source(raw.value) is not None:
        # Whoever wrote the annotation has read the object itself, and has said what is without effect in it.
        errors = tuple(problem for problem in piece.problems if problem.severity is Severity.ERROR)
        return replace(piece, problems=errors)
    return piece


def _read(raw: RawObject) -> Piece:
    report = Report(
        identify(raw.value, raw.default_namespace), raw.file, raw.positions, raw.prefix, _annotated_source(raw.value)
    )
    for fault in raw.faults:
        report.add(fault.path, fault.reason, fault.message, Severity.ERROR, fault.line)
    value = raw.value
    if isinstance(value, dict):
        api_version, kind = _required(value, report, "apiVersion"), _required(value, report, "kind")
        if report.ref is not None and api_version and kind:
            return _read_identified(value, api_version, report.ref, raw, report)
        if kind and report.ref is None:
            known = kind_written(kind, api_version)
            if known.without_effect is not None:
                report.add("kind", *describe_unread(known, api_version))
                return Piece(problems=report.in_order())
            _report_nameless(value, report)
    elif not raw.faults:
        report.error("", "WrongType", "an object is a mapping with apiVersion, kind and metadata; this is not used")
    return Piece(problems=report.in_order(), broken=report.ref, incomplete=report.ref is None)


def identify(value: object, default_namespace: str) -> ObjectRef | None:
    """Which object is meant; None where that can't be told."""
    kind, name = value_at(value, "kind"), value_at(value, "metadata", "name")
    if kind == _OPERATOR and name is None:
        # What `istioctl install -f` is given mostly has none.
        name = _UNNAMED
    if not (isinstance(kind, str) and kind and isinstance(name, str) and name):
        return None
    namespace = value_at(value, "metadata", "namespace")
    stated = namespace if isinstance(namespace, str) and namespace else default_namespace
    version = value_at(value, "apiVersion")
    return kind_written(kind, version if isinstance(version, str) else "").ref(stated, name)


def _annotated_source(value: object) -> Source | None:
    annotation = value_at(value, "metadata", "annotations", SOURCE_ANNOTATION)
    return Source.parse(annotation) if isinstance(annotation, str) else None


def _required(value: dict[str, object], report: Report, field: str) -> str:
    text = value.get(field)
    if isinstance(text, str) and text:
        return text
    if text is None or text == "":
        report.missing(field)
    else:
        report.error(field, "WrongType", "text is wanted here, so the object is not used")
    return ""


def _report_nameless(value: dict[str, object], report: Report) -> None:
    name = value_at(value, "metadata", "name")
    field = "metadata.name"
    if name is None or name == "":
        hint = " (generateName needs an API server)" if value_at(value, "metadata", "generateName") else ""
        report.error(field, "MissingField", f"the object has no name{hint}, so it is not used; add one")
    else:
        report.error(field, "WrongType", f'text is wanted here, so the object is not used; quote it: "{name}"')


def _read_identified(
    value: dict[str, object], api_version: str, ref: ObjectRef, raw: RawObject, report: Report
) -> Piece:
    if ref.kind.name == _OPERATOR:
        _report_unused(value, report)
        config = decode_operator(value, report)
        if config is None:
            return Piece(problems=report.in_order(), broken=ref)
        written = WrittenMeshConfig(config, ref, report.source(mesh_config_field(value)))
        return Piece(problems=report.in_order(), mesh_config=written)
    if (modern := modernise(ref.kind, api_version, value)) is not value:
        raw = replace(raw, json=None)
        value, api_version = modern, str(modern["apiVersion"])
    struct = struct_of(ref.kind, api_version)
    if struct is None:
        reason, message, severity = describe_unread(ref.kind, api_version)
        report.add("kind", reason, message, severity)
        return Piece(problems=report.in_order(), broken=ref if severity is Severity.ERROR else None)
    is_small = raw.json is not None and len(raw.json) <= MOST_VALUES
    if not is_small and _has_more_values(value, MOST_VALUES):
        what = f"the object has more than {MOST_VALUES} values"
        report.error("", "TooLarge", f"{what}, so it is not used; divide it into several objects")
        return Piece(problems=report.in_order(), broken=ref)
    document = _with_namespace(value, ref)
    body = {name: item for name, item in document.items() if name not in ("apiVersion", "kind")}
    resource = decode(body, struct, report)
    mesh_config = _mesh_config_of(ref, resource, raw.mesh_config, report)
    if resource is not None:
        resource = read_old_gateway(resource, report)
        check(resource, report)
    if resource is None or report.errors:
        return Piece(problems=report.in_order(), broken=ref)
    form = raw.json if document is value and raw.json is not None else document
    of_text = raw.positions if report.fixed_source is None else None
    lines = of_text.record(document, raw.prefix) if of_text is not None else b""
    manifest = Manifest(ref, resource, form, report.source(""), lines)
    return Piece(manifest, report.in_order(), mesh_config=mesh_config)


def _report_unused(value: dict[str, object], report: Report) -> None:
    """Once, of all that an IstioOperator says of an installation."""
    spec = value.get("spec")
    given = spec if isinstance(spec, dict) else {}
    unused = sorted(name for name in given if name != "meshConfig" and not _is_mesh_config_alone(name, given[name]))
    for name in unused:
        if get_close_matches(name, ("meshConfig",), cutoff=0.85):
            report.warning(f"spec.{name}", "UnknownField", "it has no effect; did you mean 'meshConfig'?")
            unused.remove(name)
            break
    if unused:
        have = "has" if len(unused) == 1 else "have"
        message = f"only its meshConfig is used; {', '.join(unused)} {have} no effect: what they install, pilotfish is"
        report.add(f"spec.{unused[0]}", "UnsupportedField", message, Severity.INFO)


def _is_mesh_config_alone(name: str, value: object) -> bool:
    return name == "values" and isinstance(value, dict) and value.keys() == {"meshConfig"}


def _has_more_values(value: object, most: int) -> bool:
    ahead = [value]
    while ahead and most >= 0:
        item = ahead.pop()
        if isinstance(item, dict):
            most -= len(item)
            ahead += item.values()
        elif isinstance(item, list):
            most -= len(item)
            ahead += item
    return most < 0


def _with_namespace(value: dict[str, object], ref: ObjectRef) -> dict[str, object]:
    metadata = value["metadata"]
    if not isinstance(metadata, dict) or metadata.get("namespace", "") == ref.namespace:
        return value
    stated = metadata.get("namespace")
    if stated is not None and not isinstance(stated, str):
        return value
    rest = {name: item for name, item in metadata.items() if name not in ("name", "namespace")}
    own = {"namespace": ref.namespace} if ref.namespace else {}
    return {**value, "metadata": {"name": ref.name, **own, **rest}}


def _mesh_config_of(
    ref: ObjectRef, resource: Resource | None, wanted: ObjectRef, report: Report
) -> WrittenMeshConfig | None:
    if not isinstance(resource, ConfigMap):
        return None
    if ref != wanted:
        if "mesh" in resource.data and (ref.name == "istio" or ref.name.startswith("istio-")):
            text = f"the meshConfig is that of {wanted}, so this has no effect; write it there"
            report.warning("data.mesh", "Ignored", text)
        return None
    if "mesh" not in resource.data:
        if resource.data:
            text = "the meshConfig is what the key 'mesh' holds, and there is none, so that nothing is used"
            report.warning("data", "Ignored", f"{text}; call it so")
        return None
    config = parse_mesh_config(resource.data["mesh"], report, "data.mesh")
    return None if config is None else WrittenMeshConfig(config, ref, report.source("data.mesh"))
