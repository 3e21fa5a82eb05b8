"""Findings → text: for people, for editors and for CI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pilotfish.cli.render.documents import render_document

if TYPE_CHECKING:
    from pilotfish.offline.findings import Finding

_DOCUMENTATION: Final = "https://istio.io/latest/docs/reference/config/analysis/{}/"


def render_lines(findings: Iterable[Finding]) -> str:
    """As compilers write them: `mesh.yaml:12:5: error: VirtualService vm/shop spec.http: the message [Reason]`."""
    return "".join(f"{_line(finding)}\n" for finding in findings)


def render_log(findings: Iterable[Finding]) -> str:
    """As istioctl writes them: `Error [IST0101] (VirtualService vm/shop mesh.yaml:12) the message`."""
    return "".join(f"{_log(finding)}\n" for finding in findings)


def _line(finding: Finding) -> str:
    place = _reference(finding)
    return f"{f'{place}: ' if place else ''}{str(finding.level).lower()}: {_text(finding)} [{finding.code}]"


def _log(finding: Finding) -> str:
    problem = finding.problem
    where = " ".join(str(part) for part in (problem.ref, _reference(finding)) if part)
    what = f"{problem.field}: {problem.message}" if problem.field else problem.message
    return f"{finding.level} [{finding.code}] {f'({where}) ' if where else ''}{what}"


def _text(finding: Finding) -> str:
    """`VirtualService vm/shop spec.http: the message`."""
    problem = finding.problem
    what = " ".join(str(part) for part in (problem.ref, problem.field) if part)
    return f"{what}: {problem.message}" if what else problem.message


def _reference(finding: Finding) -> str:
    """`mesh.yaml:12:5`."""
    source = finding.problem.source
    if source is None:
        return ""
    place = f"{near_file(source.file)}:{source.line}"
    return f"{place}:{finding.column}" if finding.column else place


def near_file(file: str) -> str:
    """As its user sees it: from the working folder, where it lies below that."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def as_document(finding: Finding) -> dict[str, Any]:
    """istioctl's fields, and what programs would have to take apart else."""
    problem, source = finding.problem, finding.problem.source
    found: dict[str, Any] = {
        "code": finding.code,
        "level": str(finding.level),
        "origin": str(problem.ref) if problem.ref else "",
        "reference": _reference(finding),
        "message": problem.message,
        "reason": problem.reason,
        "field": problem.field,
        "file": near_file(source.file) if source else "",
        "line": source.line if source else 0,
        "column": finding.column,
    }
    if finding.is_istios:
        found["documentationUrl"] = _DOCUMENTATION.format(finding.code.lower())
    return found


def _as_json(findings: Iterable[Finding]) -> str:
    return render_document([as_document(finding) for finding in findings], "json")


def _as_yaml(findings: Iterable[Finding]) -> str:
    return render_document([as_document(finding) for finding in findings], "yaml")


def _as_github(findings: Iterable[Finding]) -> str:
    """Workflow commands, of which GitHub makes annotations.

    Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    return "".join(f"{_command(finding)}\n" for finding in findings)


_COMMANDS: Final = {"Error": "error", "Warning": "warning", "Info": "notice"}


def _command(finding: Finding) -> str:
    source = finding.problem.source
    places = {} if source is None else {"file": near_file(source.file), "line": source.line, "col": finding.column}
    fields = {name: value for name, value in {**places, "title": finding.code}.items() if value}
    listed = ",".join(f"{name}={_escape(str(value), ':,')}" for name, value in fields.items())
    return f"::{_COMMANDS[str(finding.level)]} {listed}::{_escape(_text(finding))}"


def _escape(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _as_sarif(findings: Iterable[Finding]) -> str:
    """Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html"""
    listed = tuple(findings)
    rules = {finding.code: finding for finding in listed}
    driver = {
        "name": "pilotfish",
        "rules": [
            {"id": code, **({"helpUri": _DOCUMENTATION.format(code.lower())} if rules[code].is_istios else {})}
            for code in sorted(rules)
        ],
    }
    run = {"tool": {"driver": driver}, "results": [_result(finding) for finding in listed]}
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return render_document(document, "json")


_SARIF: Final = {"Error": "error", "Warning": "warning", "Info": "note"}


def _result(finding: Finding) -> dict[str, Any]:
    source = finding.problem.source
    message = {"text": _text(finding)}
    result: dict[str, Any] = {"ruleId": finding.code, "level": _SARIF[str(finding.level)], "message": message}
    if source is not None and source.is_file:
        region = {"startLine": source.line, **({"startColumn": finding.column} if finding.column else {})}
        place = {"artifactLocation": {"uri": _uri(source.file)}, "region": region}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _uri(file: str) -> str:
    near = Path(near_file(file))
    return near.as_uri() if near.is_absolute() else near.as_posix()


FORMATS: Final[Mapping[str, Callable[[Iterable[Finding]], str]]] = {
    "json": _as_json, "yaml": _as_yaml, "sarif": _as_sarif, "github": _as_github
}  # fmt: skip
"""For programs, by what `-o` calls them."""
