"""A Trace as plain values, in the form of `schema.json`, which is versioned: a field is added, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pilotfish.explain.ask import Ask
from pilotfish.explain.live import Observed, compare
from pilotfish.explain.owner import Owner, Owners
from pilotfish.explain.trace import Outcome, Step, Trace

VERSION: Final = "v1"
Document = dict[str, Any]


def build_document(source: str, ask: Ask, trace: Trace, owners: Owners, observed: Observed | None = None) -> Document:
    """`observed`: the same request, really sent."""
    marks = compare(trace, observed) if observed is not None else {}
    return {
        "version": VERSION,
        "request": _request(source, ask),
        "steps": [_step(step, owners.get(step.id), marks.get(step.id)) for step in trace.steps],
        "outcomes": [_outcome(outcome) for outcome in trace.outcomes],
        **({"live": _live(observed)} if observed is not None else {}),
    }


def _request(source: str, ask: Ask) -> Document:
    request = ask.request
    about = {
        "from": source,
        "url": ask.url if "://" in ask.url else f"{'http' if ask.is_http else 'tcp'}://{ask.url}",
        "host": ask.host,
        "port": ask.port,
        "application": ask.application.value,
    }
    if ask.is_http:
        about |= {
            "method": request.method,
            "path": request.path,
            "headers": {"host": request.host, **ask.shown_headers},
        }
    if ask.tls is not None:
        about["tls"] = {"server_name": ask.tls.server_name, "alpn": ",".join(ask.tls.alpn)}
    more = {"resolved": ask.address, "source_ip": ask.source, "uid": ask.uid, "server_first": ask.server_first}
    return about | _filled({key: value or None for key, value in more.items()})


def _live(observed: Observed) -> Document:
    seen: Document = {"status": observed.status, "end": observed.end.value}
    if (entry := observed.entry) is not None:
        seen |= {"flag": ",".join(entry.response_flags), "route": entry.route_name}
        seen |= {"cluster": entry.upstream_cluster, "endpoint": entry.upstream_host}
    return _filled(seen)


def _step(step: Step, owner: Owner | None, mark: bool | None) -> Document:
    return {
        "id": step.id,
        "parent": step.parent,
        "side": step.side.value,
        "pod": step.pod,
        **({"machine": step.machine} if step.machine else {}),
        "stage": step.stage.value,
        "name": step.name,
        "verdict": step.verdict.value,
        "probability": step.probability,
        "evidence": dict(step.evidence),
        **({"owner": dict(owner.document())} if owner is not None else {}),
        "rejected": [{"name": each.name, "reason": each.reason} for each in step.rejected],
        **({"live": "confirmed" if mark else "contradicted"} if mark is not None else {}),
    }


def _outcome(outcome: Outcome) -> Document:
    return {"probability": outcome.probability, "kind": outcome.kind.value, "last_step": outcome.last_step} | _filled(
        {
            "status": outcome.status,
            "flag": outcome.flag,
            "cluster": outcome.cluster,
            "endpoint": outcome.endpoint,
            "pod": outcome.pod,
            "machine": outcome.machine,
            "cause": outcome.cause,
        }
    )


def _filled(values: Mapping[str, Any]) -> Document:
    return {key: value for key, value in values.items() if value not in (None, "", {}, [])}


def read_schema() -> Document:
    """The JSON schema of the documents."""
    from importlib.resources import files  # it costs more to import than the rest of this

    text = files("pilotfish.explain").joinpath("schema.json").read_bytes()
    document: Document = msgspec.json.decode(text)
    return document
