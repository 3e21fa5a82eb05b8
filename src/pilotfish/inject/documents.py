"""Manifests, and the same with a proxy in every pod that is to have one.

    text ─inject_text─▶ pieces: documents that are changed, and, byte for byte, the text of all others
    object ─inject_object─▶ the object, with its pod, or the pods that it is a template of, injected

Source: https://istio.io/latest/docs/reference/commands/istioctl/#istioctl-kube-inject
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from pilotfish.config.meshconfig import value_at
from pilotfish.config.text import ParsedDocument, read
from pilotfish.config.workloads import template_path
from pilotfish.inject.pod.injection import Injected, inject
from pilotfish.inject.pod.installation import Installation
from pilotfish.model import Kind, Problem, Severity, Source
from pilotfish.model.kinds import CRON_JOB, MAKE_PODS, POD, kind_written

_MAKE_PODS: Final = frozenset({*MAKE_PODS, CRON_JOB, kind_written("ReplicationController", "v1")})
_SEPARATOR: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
Lines = Callable[[str], Source]
"""Where a field of an object was written."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    installation: Installation
    namespace: str = "default"
    """Of objects that name none."""
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The labels of those that are among the manifests, which may keep sidecars away."""


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    """As it was given."""
    document: object = None
    """What stands in its place; None where it stays."""
    problems: tuple[Problem, ...] = ()


def inject_text(text: str, file: str, given: Circumstances) -> Iterator[Piece]:
    """The pieces' texts together are the text."""
    for piece, line in _split(text):
        parsed = next(iter(read(piece, file)), None)
        if parsed is None:
            yield Piece(piece)
        elif parsed.faults:
            faults = (
                Problem(None, fault.path, fault.reason, fault.message, source=Source(file, line + fault.line))
                for fault in parsed.faults
            )
            yield Piece(piece, problems=tuple(faults))
        else:
            document, problems = inject_object(parsed.value, given, _lines(parsed, file, line))
            yield Piece(piece, None if document is parsed.value else document, problems)


def inject_object(value: object, given: Circumstances, lines: Lines) -> tuple[object, tuple[Problem, ...]]:
    """The same object if nothing of it is changed."""
    kind_name, version = value_at(value, "kind"), value_at(value, "apiVersion")
    if not isinstance(value, dict) or not isinstance(kind_name, str):
        return value, ()
    if kind_name.endswith("List") and isinstance(items := value.get("items"), list):
        return _inject_list(value, items, given, lines)
    kind = kind_written(kind_name, version if isinstance(version, str) else "")
    path = () if kind is POD else template_path(kind) if kind in _MAKE_PODS else None
    template = value_at(value, *path) if path is not None else None
    if path is None or not isinstance(template, dict):
        return value, ()
    injected = _inject_template(value, kind, template, given, lines)
    problems = tuple(_placed(problem, ".".join(path), lines) for problem in injected.problems)
    if not injected.is_changed:
        return value, problems or (_describe_left(injected, kind, path, value, given, lines),)
    return _with(value, path, injected.pod), problems


def _inject_template(
    value: dict[str, Any], kind: Kind, template: dict[str, Any], given: Circumstances, lines: Lines
) -> Injected:
    place, name = _namespace(value, given), value_at(value, "metadata", "name")
    owner = kind.ref(place, name) if kind is not POD and isinstance(name, str) else None
    return inject(
        template,
        given.installation,
        namespace=place,
        workload=owner,
        source=lines(""),
        namespace_labels=given.namespaces.get(place, {}),
    )


def _namespace(value: dict[str, Any], given: Circumstances) -> str:
    stated = value_at(value, "metadata", "namespace")
    return stated if isinstance(stated, str) and stated else given.namespace


def _inject_list(
    value: dict[str, Any], items: list[Any], given: Circumstances, lines: Lines
) -> tuple[object, tuple[Problem, ...]]:
    made: list[object] = []
    problems: list[Problem] = []
    for index, item in enumerate(items):
        found, said = inject_object(item, given, _inside(lines, f"items[{index}]"))
        made.append(found)
        problems += said
    is_changed = any(new is not old for new, old in zip(made, items, strict=True))
    return {**value, "items": made} if is_changed else value, tuple(problems)


def _with(value: dict[str, Any], path: tuple[str, ...], pod: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, with the pod in its place."""
    if not path:
        return dict(pod)
    return {**value, path[0]: _with(value[path[0]], path[1:], pod)}


def _placed(problem: Problem, path: str, lines: Lines) -> Problem:
    """With the field as the object has it, and on its line."""
    named = problem.field
    if path and named and not named.startswith(f"{path}."):
        named = f"{path}.{named}"
    return replace(problem, field=named, source=lines(named))


def _describe_left(
    injected: Injected, kind: Kind, path: tuple[str, ...], value: dict[str, Any], given: Circumstances, lines: Lines
) -> Problem:
    name = value_at(value, "metadata", "name")
    ref = kind.ref(_namespace(value, given), name) if isinstance(name, str) else None
    what, named = _why(injected, path)
    return Problem(ref, named, "NotInjected", what, Severity.INFO, lines(named))


def _why(injected: Injected, path: tuple[str, ...]) -> tuple[str, str]:
    if injected.has_proxy:
        return "it is left as it is: it has its proxy already", ""
    if value_at(injected.before, "spec", "hostNetwork") is True:
        return "it has no proxy: what that captures would be its node's", ".".join((*path, "spec.hostNetwork"))
    return "it has no proxy: its labels, its annotations or its namespace say so", ""


def _split(text: str) -> Iterator[tuple[str, int]]:
    """(text of a document with the line that begins it, lines before it)."""
    starts = (found.start() for found in _SEPARATOR.finditer(text))
    for start, end in pairwise(sorted({0, *starts, len(text)})):
        yield text[start:end], text.count("\n", 0, start)


def _lines(parsed: ParsedDocument, file: str, before: int) -> Lines:
    return lambda named: Source(file, before + parsed.positions.line(named))


def _inside(lines: Lines, prefix: str) -> Lines:
    return lambda named: lines(f"{prefix}.{named}" if named else prefix)
