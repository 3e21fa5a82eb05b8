"""A pod, and the same pod with its proxy."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pilotfish.agent.probes import ProbeTable, read_hooks
from pilotfish.config.decode import decode
from pilotfish.config.kubernetes import Pod
from pilotfish.config.report import Report
from pilotfish.config.values import parse_boolean
from pilotfish.inject.json_patch import Operation, build_patch
from pilotfish.inject.node_mode import IN_A_CLUSTER as NO_NODE_PROXY
from pilotfish.inject.own_annotations import USER_VOLUME
from pilotfish.inject.pod import probes, prometheus
from pilotfish.inject.pod.asked import BEFORE_PROXY, IN_A_CLUSTER, REWRITE_PROBES, check_asked
from pilotfish.inject.pod.capture import build_capture, with_user
from pilotfish.inject.pod.installation import Document, Installation
from pilotfish.inject.pod.merging import OURS, merge
from pilotfish.inject.pod.metadata import build_annotations, build_labels, render_status, workload_of
from pilotfish.inject.pod.previous import OVERRIDES, Previous, original, read_previous
from pilotfish.inject.pod.proxy import build_proxy
from pilotfish.inject.pod.volumes import build_volumes
from pilotfish.inject.sidecar import Place, Sidecar, build_sidecar, merges_metrics
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.kinds import JOB, POD
from pilotfish.model.proxy import ProxyType
from pilotfish.model.wellknown import PROXY_CONTAINER, SIDECAR_STATUS


@dataclass(frozen=True, slots=True)
class Injected:
    before: Mapping[str, Any]
    """The pod as it was given."""
    pod: Mapping[str, Any]
    """As it is to be; the same object if it is left alone."""
    problems: tuple[Problem, ...] = ()
    """With an error among them the pod must not be started."""
    has_proxy: bool = False

    @property
    def is_changed(self) -> bool:
        return self.pod is not self.before

    @property
    def has_errors(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self.problems)

    @property
    def patch(self) -> list[Operation]:
        """RFC 6902: applied to what was given, it gives the pod."""
        return build_patch(self.before, self.pod) if self.is_changed else []


def inject(
    pod: Mapping[str, Any],
    installation: Installation,
    *,
    namespace: str = "",
    workload: ObjectRef | None = None,
    source: Source | None = None,
    namespace_labels: Mapping[str, str] | None = None,
) -> Injected:
    """`pod`: metadata and spec, of a Pod or of a template. `namespace`: where it says none itself; `workload`: what
    made it, where its owners don't tell; `namespace_labels`: those that keep sidecars away, where nobody has looked
    yet."""
    if not _is_pod(pod):
        return Injected(pod, pod, (_describe_unreadable(workload, source),))
    document: Document = dict(pod)
    document["metadata"] = {**(pod.get("metadata") or {})}
    document["metadata"]["annotations"] = dict(document["metadata"].get("annotations") or {})
    document["spec"] = dict(pod.get("spec") or {})
    previous = read_previous(document["metadata"]["annotations"])
    plain = original(document, previous)
    read = _read(plain, installation, namespace)
    if read is None:
        return Injected(pod, pod, (_describe_unreadable(workload, source),))
    ref = workload or workload_of(read.metadata)
    sidecar, said = build_sidecar(
        read,
        installation.effective_mesh,
        workload=ref,
        # Which families a pod has is known when it runs.
        ipv6=True,
        source=source,
        namespace_labels=namespace_labels or {},
        proxy_configs=installation.proxy_configs,
        place=Place(
            installation.values.policy,
            IN_A_CLUSTER,
            captures_dns=False,
            takes_routers=False,
            is_read=False,
            lacks_node_proxy=NO_NODE_PROXY,
        ),
    )
    if sidecar is None and not said:
        return Injected(pod, pod)
    asked = check_asked(read.metadata.annotations, plain["spec"], ref, source)
    problems = (*asked, *filter(_holds_in_a_cluster, said))
    found = Injected(pod, pod, problems)
    if sidecar is None or found.has_errors:
        return found
    making = _Making(sidecar, read, ref, installation, plain)
    if ref.kind is JOB and not making.is_native:
        problems = (*problems, _describe_endless(ref, sidecar, source))
    result = making.result(document, previous)
    return Injected(pod, result if result != dict(pod) else pod, problems, has_proxy=True)


@dataclass(frozen=True, slots=True)
class _Making:
    sidecar: Sidecar
    pod: Pod
    workload: ObjectRef
    installation: Installation
    plain: Document
    """The pod without what an earlier injection has added."""

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.pod.metadata.annotations

    @property
    def is_gateway(self) -> bool:
        return self.sidecar.type is ProxyType.ROUTER

    @property
    def is_native(self) -> bool:
        return not self.is_gateway and self.installation.is_native(self.annotations)

    @property
    def holds_app(self) -> bool:
        held = self.installation.holds_app(self.sidecar.proxy_config.hold_application_until_proxy_starts)
        return held and not self.is_native and not self.is_gateway

    @property
    def status_port(self) -> int:
        return self.sidecar.proxy_config.status_port

    def result(self, document: Document, previous: Previous) -> Document:
        written = self._own()
        added = self._added(written.get(PROXY_CONTAINER))
        names = {each["name"] for name in probes.LISTS for each in added["spec"][name]}
        own = {name: container for name, container in written.items() if name in names}
        before = (each.strip() for each in self.annotations.get(BEFORE_PROXY, "").split(","))
        spec = merge(
            document["spec"], added["spec"], own, previous, first=self.holds_app, before=tuple(filter(None, before))
        )
        spec = copy.deepcopy(spec)
        probes.rewrite(spec, self._table(), self.status_port)
        metadata = document["metadata"]
        labels = dict(metadata.get("labels") or {})
        metadata["labels"] = {**labels, **build_labels(labels, self.sidecar, self.workload, self.installation)}
        metadata["annotations"] = self._annotations(own, render_status(added, self.installation.revision))
        document["spec"] = spec
        return document

    def _own(self) -> dict[str, Document]:
        """What the pod's author wrote of containers that are added, by name."""
        listed = (each for name in probes.LISTS for each in self.plain["spec"].get(name) or ())
        found = {each["name"]: each for each in listed if each.get("name") in OURS}
        if self.sidecar.transparent and (context := found.get(PROXY_CONTAINER, {}).get("securityContext")):
            # It keeps its clients' addresses as root alone.
            others = {name: value for name, value in context.items() if name != "runAsUser"}
            found[PROXY_CONTAINER] = {**found[PROXY_CONTAINER], "securityContext": others}
        return found

    def _added(self, own: Document | None) -> Document:
        containers: dict[str, list[Document]] = {"initContainers": [], "containers": []}
        if self.sidecar.capture is not None:
            capture = build_capture(self.sidecar.capture, self.annotations, self.installation)
            containers["initContainers"].append(self._with_user(capture, own))
        proxy = build_proxy(
            self.sidecar,
            self.annotations,
            self._table(),
            self.installation,
            native=self.is_native,
            holds_app=self.holds_app,
        )
        containers["initContainers" if self.is_native else "containers"].append(proxy)
        secrets = [{"name": name} for name in self.installation.values.pull_secrets]
        return {"spec": {**containers, "volumes": build_volumes(self.annotations), "imagePullSecrets": secrets}}

    def _with_user(self, capture: Document, own: Document | None) -> Document:
        context = (own or {}).get("securityContext") or {}
        if self.sidecar.transparent:
            return capture
        return with_user(capture, context.get("runAsUser"), context.get("runAsGroup"))

    def _table(self) -> ProbeTable:
        rewrites = self.installation.values.proxy.rewrite_probes
        stated = parse_boolean(self.annotations.get(REWRITE_PROBES))
        if not (rewrites if stated is None else stated):
            return {}
        spec = self.pod.spec
        hooks = read_hooks((*spec.init_containers, *spec.containers), spec.termination_grace_period_seconds)
        return probes.without_proxy({**self.sidecar.probes, **hooks})

    def _annotations(self, own: Mapping[str, Document], status: str) -> dict[str, str]:
        stated = {name: text for name, text in self.plain["metadata"]["annotations"].items() if name != OVERRIDES}
        if merges_metrics(self.annotations, self.installation.mesh):
            stated = prometheus.point_at_agent(stated, self.status_port)
        containers = self.plain["spec"].get("containers") or ()
        stated |= build_annotations(stated, containers, self.sidecar, self.installation)
        if own:
            stated[OVERRIDES] = self._render_overrides(own.keys())
        return {**stated, SIDECAR_STATUS: status}

    def _render_overrides(self, names: Collection[str]) -> str:
        """What is to be known of them when it is injected again, each in the list in which it stood."""
        spec = self.plain["spec"]
        listed = {key: [each for each in spec.get(key) or () if each["name"] in names] for key in probes.LISTS}
        return msgspec.json.encode({key: found for key, found in listed.items() if found}).decode()


def _is_pod(pod: Mapping[str, Any]) -> bool:
    """As far as it is looked into by hand: what an API server takes is, and what a file holds may be anything."""
    metadata, spec = pod.get("metadata") or {}, pod.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict) or not spec.get("containers"):
        return False
    if not all(isinstance(metadata.get(name, ""), str) for name in ("name", "generateName", "namespace")):
        return False
    texts = (metadata.get("labels") or {}, metadata.get("annotations") or {})
    if not all(isinstance(each, dict) and all(isinstance(text, str) for text in each.values()) for each in texts):
        return False
    lists = (spec.get(name) or [] for name in (*probes.LISTS, "volumes", "imagePullSecrets"))
    return all(
        isinstance(each, list)
        and all(isinstance(item, dict) and isinstance(item.get("name"), str) and item["name"] for item in each)
        for each in lists
    )


def _read(plain: Document, installation: Installation, namespace: str) -> Pod | None:
    """What is known of the pod; None for what is none. What an API server takes is not doubted here."""
    stated = plain["metadata"]
    annotations = {**installation.defaults, **prometheus.plain(stated["annotations"])}
    metadata = {**stated, "annotations": annotations, "namespace": stated.get("namespace") or namespace}
    return decode({"metadata": metadata, "spec": plain["spec"]}, Pod, Report(POD.ref(namespace, ""), "-"))


def _holds_in_a_cluster(problem: Problem) -> bool:
    """Of volumes for the proxy, whatever a cluster has can be had."""
    return problem.severity is Severity.ERROR or not problem.field.startswith(f"metadata.annotations[{USER_VOLUME}]")


def _describe_unreadable(workload: ObjectRef | None, source: Source | None) -> Problem:
    what = "this is no pod, so that nothing is injected"
    remedy = "write a spec with containers, each with a name, and names, labels and annotations as text"
    return Problem(workload, "spec", "WrongType", f"{what}; {remedy}", source=source)


def _describe_endless(ref: ObjectRef, sidecar: Sidecar, source: Source | None) -> Problem:
    what = "its proxy is a container like the others, so that the Job does not complete until one of them has it end"
    port = sidecar.proxy_config.status_port
    remedy = f"write sidecar.istio.io/nativeSidecar: 'true', or POST http://127.0.0.1:{port}/quitquitquit at the end"
    return Problem(ref, "metadata.annotations", "EndlessJob", f"{what}; {remedy}", Severity.WARNING, source)
