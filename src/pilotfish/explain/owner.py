"""Whose a step is: the user's object, which part of it, and where that was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pilotfish.config.manifest import Manifest
from pilotfish.envoy.message import config_path
from pilotfish.explain.trace import Stage, Step
from pilotfish.model.kinds import AUTHORIZATION_POLICY, DESTINATION_RULE, KINDS, REQUEST_AUTHENTICATION, VIRTUAL_SERVICE

_RULE: Final = re.compile(r"(?<=-rule)\[(\d+)\]$")
_KINDS = {kind.path: kind.name for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Owner:
    kind: str
    namespace: str
    name: str
    file: str = ""
    line: int = 0
    """0: not known."""
    field: str = ""
    """The part of it that the step is of: `spec.http[1]`. "" is the whole, or not known."""

    def document(self) -> Mapping[str, object]:
        where = {"file": self.file, "line": self.line} if self.file else {}
        field = {"field": self.field} if self.field else {}
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name, **where, **field}

    def __str__(self) -> str:
        return " ".join(filter(None, (self.object, self.field, self.where)))

    @property
    def object(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def where(self) -> str:
        """`FILE:LINE`; "" where it is not known."""
        return f"{self.file}:{self.line}" if self.file else ""


class FindOwner(Protocol):
    def __call__(self, path: str, step: Step | None = None, /) -> Owner | None:
        """Of the path that resources name an object by; of the part of it that a step is of, if one is given."""


def index_owners(manifests: Iterable[Manifest]) -> FindOwner:
    by_path = {config_path(each.ref): each for each in manifests if each.ref.namespace}

    def find(path: str, step: Step | None = None) -> Owner | None:
        manifest = by_path.get(path)
        return _owner(manifest, step) if manifest is not None else None

    return find


def parse_owner(path: str, step: Step | None = None) -> Owner | None:
    """Of the path alone: `/apis/networking.istio.io/v1/namespaces/vm/virtual-service/calculator`."""
    words = path.split("/")
    if len(words) < 5 or words[-4] != "namespaces":
        return None
    return Owner(_KINDS.get(words[-2], words[-2]), words[-3], words[-1])


def _owner(manifest: Manifest, step: Step | None) -> Owner:
    ref, field = manifest.ref, _field(manifest, step) if step is not None else ""
    source = manifest.at(field) if field else manifest.source
    file, line = (source.file, source.line) if source is not None else ("", 0)
    return Owner(str(ref.kind), ref.namespace, ref.name, file, line, field)


def _field(manifest: Manifest, step: Step) -> str:
    spec: Any = manifest.document.get("spec")
    if not isinstance(spec, Mapping):
        return ""
    if manifest.ref.kind is VIRTUAL_SERVICE and step.stage is Stage.ROUTE:
        index = _find_route(spec.get("http") or (), step)
        return f"spec.http[{index}]" if index is not None else ""
    if manifest.ref.kind is DESTINATION_RULE and step.stage is Stage.CLUSTER and step.name.count("|") == 3:
        names = [subset.get("name") for subset in spec.get("subsets") or ()]
        subset = step.name.split("|")[2]
        return f"spec.subsets[{names.index(subset)}]" if names.count(subset) == 1 else ""
    if manifest.ref.kind is AUTHORIZATION_POLICY:
        number = _RULE.search(str(step.evidence.get("rule")))
        return f"spec.rules{number[0]}" if number and int(number[1]) < len(spec.get("rules") or ()) else ""
    if manifest.ref.kind is REQUEST_AUTHENTICATION and "issuer" in step.evidence:
        issuers = [rule.get("issuer") for rule in spec.get("jwtRules") or ()]
        issuer = step.evidence["issuer"]
        return f"spec.jwtRules[{issuers.index(issuer)}]" if issuers.count(issuer) == 1 else ""
    return ""


def _find_route(rules: Sequence[Mapping[str, Any]], step: Step) -> int | None:
    """A proxy has a route for each match of each rule, in order, but for those that are not for it.

    So a route is found by its name, if no other has it, or by its position, if all are there. Else nobody knows.
    """
    if any("delegate" in rule for rule in rules):
        return None
    listed = tuple(_flatten(rules))
    named = {index for index, name in listed if name == step.name}
    if len(named) == 1:
        return named.pop()
    number, _, count = str(step.evidence.get("position", "")).partition(" of ")
    return listed[int(number) - 1][0] if count == str(len(listed)) else None


def _flatten(rules: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """(a rule's index, name of a route that comes of it). None behind a rule that takes every request."""
    for index, rule in enumerate(rules):
        for name in [match.get("name") for match in rule.get("match") or ()] or [""]:
            yield index, ".".join(filter(None, (rule.get("name"), name)))
        if not rule.get("match"):
            return
