"""Each step's owner, and where it was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from pilotfish.envoy.naming import usual_name
from pilotfish.explain.owner import Owner, find_ref
from pilotfish.explain.trace import Side, Stage, Step, Trace
from pilotfish.mesh.ingresses import made_of
from pilotfish.model import FieldRef, ObjectRef, Source
from pilotfish.offline.owners import client, gateway, server
from pilotfish.offline.owners.facts import Claims, Facts, Known, before, document_of
from pilotfish.offline.owners.fields import deepest, subset_labels
from pilotfish.offline.owners.past import find_annotation

Locate = Callable[[ObjectRef, str], Source | None]
"""Where a field of an object was written; of one that was not, the deepest part of its path that was."""


def find_owners(known: Known, trace: Trace, locate: Locate) -> Mapping[int, Owner]:
    """By a step's id; of steps that nobody's object decided nothing is said."""
    found = find_fields(known, trace)
    return {id: Owner.of(each.object, each.field, locate(each.object, each.field)) for id, each in found.items()}


def find_fields(known: Known, trace: Trace) -> Mapping[int, FieldRef]:
    """The same, by who does not know where they were written."""
    trace = replace(trace, steps=tuple(map(_as_usual, trace.steps)))
    found = ((step.id, next(iter(_claims(known, trace, step)), None)) for step in trace.steps)
    return {id: _written(known, claim) for id, claim in found if claim is not None}


def _as_usual(step: Step) -> Step:
    """What a machine's proxy took, by the name that it has for all else that is known of it."""
    return replace(step, name=usual_name(step.name)) if step.machine else step


def locate_in(known: Known) -> Locate:
    """By the manifests themselves."""

    def locate(ref: ObjectRef, field: str) -> Source | None:
        manifest = known.desired.manifests.get(ref)
        return manifest.at(field) if manifest is not None else None

    return locate


def describe_subset(known: Known, config: str, name: str) -> str:
    """What a subset asks of its pods: `version=v3`. `config`: the path of one of the host's DestinationRules."""
    ref = find_ref(config)
    manifest = known.desired.manifests.get(ref) if ref is not None else None
    return subset_labels(manifest.document, name) if manifest is not None else ""


def _written(known: Known, claim: FieldRef) -> FieldRef:
    """As much of it as its author wrote."""
    claim = _by_its_author(known, claim)
    return FieldRef(claim.object, deepest(document_of(known, claim.object), claim.field))


def _by_its_author(known: Known, claim: FieldRef) -> FieldRef:
    """Of what is made of an Ingress: the Ingress."""
    manifest = known.mesh.desired.manifests.get(claim.object)
    ingress = made_of(manifest) if manifest is not None else None
    return claim if ingress is None else FieldRef(ingress, "spec.rules")


def _claims(known: Known, trace: Trace, step: Step) -> Claims:
    proxy = known.proxies.get(step.pod)
    if step.stage is Stage.NETFILTER:
        is_the_proxy_s = step.side is Side.CLIENT and before(trace, step, Stage.LISTENER) is not None
        yield from () if is_the_proxy_s else find_annotation(known, step)
    elif proxy is not None:
        facts = Facts(known, trace, proxy)
        if step.side is Side.GATEWAY:
            yield from gateway.claims(facts, step)
        elif step.side is Side.SERVER or step.stage is Stage.APP:
            yield from server.claims(facts, step)
        else:
            yield from client.claims(facts, step)
