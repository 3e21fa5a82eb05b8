"""Whether an installation does what it is for, from what the cluster says of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pilotfish.install.injecting import asked_of, has_sidecar, lacks_sidecar, revision_of_proxy
from pilotfish.install.inventory import bundle_of
from pilotfish.install.names import TAG, Names, Object
from pilotfish.install.progress import unready
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.kinds import NAMESPACE, POD

_NAMED = 3
"""Pods that are called by name; of more there is the number."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What was read of one."""

    names: Names
    objects: Mapping[ObjectRef, Object | None]
    """Its objects as they are; None for one that is gone."""
    roots: tuple[str, ...] = ()
    """Certificates of whom the mesh trusts, in base64 of PEM."""
    namespaces: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    """All of the cluster."""
    tried: Object | None = None
    """A pod as the API server would have stored it, or None."""
    refusal: str = ""
    """What it said in its place."""
    proxies: Mapping[str, str] | None = None
    """`NAME.NAMESPACE` of each that is connected → what it lacks, or ""; None where no replica could be asked."""
    unasked: str = ""
    """Why none could be."""
    troubles: Mapping[ObjectRef, str] = field(default_factory=dict)
    """Why a workload is not there, as its pods say it."""


def find_problems(installed: Installed) -> tuple[Problem, ...]:
    return (
        *_of_objects(installed),
        *_of_certificates(installed),
        *_of_trial(installed),
        *_of_pods(installed),
        *_of_proxies(installed),
    )


def _of_objects(installed: Installed) -> Iterator[Problem]:
    for ref, live in installed.objects.items():
        if live is None:
            yield _error("Missing", "it is gone; run `pilotfish install` again", ref)
        elif lacking := unready(live):
            why = installed.troubles.get(ref, "")
            yield _error("NotReady", f"it {lacking}{f': {why}' if why else ''}", ref)


def _of_certificates(installed: Installed) -> Iterator[Problem]:
    """Whom the API server trusts is whom the mesh trusts."""
    for ref, live in installed.objects.items():
        bundle = bundle_of(live) if live is not None else ""
        if bundle and installed.roots and bundle not in installed.roots:
            text = (
                "it trusts another certificate than the mesh has, so that the API server believes nothing of discovery"
            )
            yield _error("Certificate", f"{text}; see the log of the control plane that leads", ref)


def _of_trial(installed: Installed) -> Iterator[Problem]:
    if installed.tried is not None and not has_sidecar(installed.tried):
        text = "a pod that asks for a sidecar would be stored without one: no webhook was called"
        yield _error("Injection", f"{text}; run `pilotfish install` again")
    elif installed.refusal:
        yield _error("Injection", f"a pod that asks for a sidecar is refused: {installed.refusal}")


def _of_pods(installed: Installed) -> Iterator[Problem]:
    names = {installed.names.label} | set(_tags(installed.objects.values()))
    asked = {each["metadata"]["name"] for each in installed.namespaces if asked_of(each) in names}
    lacking: dict[str, list[str]] = {}
    for pod in installed.pods:
        namespace = pod["metadata"]["namespace"]
        if namespace in asked and lacks_sidecar(pod):
            lacking.setdefault(namespace, []).append(pod["metadata"]["name"])
    for namespace, pods in sorted(lacking.items()):
        more = f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else ""
        text = f"pods {', '.join(sorted(pods)[:_NAMED])}{more} have no sidecar, as they are older than the label"
        remedy = f"kubectl rollout restart deployment -n {namespace}"
        yield Problem(
            NAMESPACE.ref("", namespace), "", "NotInjected", f"{text}; replace them: {remedy}", Severity.WARNING
        )


def _of_proxies(installed: Installed) -> Iterator[Problem]:
    if installed.proxies is None:
        if installed.unasked:
            yield _error("NotAsked", f"whether proxies have what they are to have is not known: {installed.unasked}")
        return
    for pod in installed.pods:
        metadata, phase = pod["metadata"], (pod.get("status") or {}).get("phase")
        if not has_sidecar(pod) or phase != "Running" or revision_of_proxy(pod) != installed.names.label:
            continue
        ref = POD.ref(metadata["namespace"], metadata["name"])
        lacking = installed.proxies.get(f"{metadata['name']}.{metadata['namespace']}")
        if lacking is None:
            text = "its proxy is connected to no replica of the control plane"
            yield _error("NotConnected", f"{text}; its log says why: kubectl logs -c istio-proxy", ref)
        elif lacking:
            text = f"its proxy has not what it is to have: {lacking}"
            yield Problem(ref, "", "NotSynced", f"{text}; see `pilotfish proxy-status`", Severity.WARNING)


def _tags(objects: Iterable[Object | None]) -> Iterator[str]:
    for each in objects:
        tag = (each or {}).get("metadata", {}).get("labels", {}).get(TAG)
        if tag:
            yield tag


def _error(reason: str, message: str, ref: ObjectRef | None = None) -> Problem:
    return Problem(ref, "", reason, message, Severity.ERROR)
