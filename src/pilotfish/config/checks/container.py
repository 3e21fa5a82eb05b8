"""One container: an image, or a process of this machine.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.names import check_at_least, check_port, check_unique, is_port_name
from pilotfish.config.checks.probe import check_lifecycle, check_probes
from pilotfish.config.images import PROCESS, RUN, Reference
from pilotfish.config.injection import TEMPLATES, runs_router
from pilotfish.config.kubernetes import (
    Capabilities,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    PodSecurityContext,
    Resources,
    SecurityContext,
)
from pilotfish.config.report import Report
from pilotfish.model import Severity, capabilities
from pilotfish.model.wellknown import PROXY_UID

_FIELD_PATH = re.compile(
    r"metadata\.(?:name|namespace|uid)|metadata\.(?:labels|annotations)\['[^']+'\]"
    r"|spec\.(?:nodeName|serviceAccountName)|status\.(?:hostIP|hostIPs|podIP|podIPs)"
)
"""Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/"""
_WHOLE = ("metadata.labels", "metadata.annotations")


def check_container(container: Container, as_image: bool, volumes: frozenset[str], field: str, report: Report) -> None:
    _check_command(container, as_image, field, report)
    if container.working_dir and not container.working_dir.startswith("/"):
        report.invalid(f"{field}.workingDir", f"{container.working_dir!r} is not absolute", "begin it with /")
    for index, variable in enumerate(container.env):
        _check_variable(variable, f"{field}.env[{index}]", report)
    for index, source in enumerate(container.env_from):
        _check_env_from(source, f"{field}.envFrom[{index}]", report)
    _check_ports(container, field, report)
    _check_mounts(container, volumes, field, report)
    check_probes(container, field, report)
    if container.lifecycle is not None:
        check_lifecycle(container.lifecycle, container, f"{field}.lifecycle", report)
    _check_limits(container.resources, f"{field}.resources", report)
    if container.security_context is not None:
        _check_security(container.security_context, f"{field}.securityContext", report)


def check_gateway(container: Container, volumes: frozenset[str], field: str, report: Report) -> None:
    """A gateway pod's `istio-proxy`: the Envoy itself, which is the machine's own."""
    for index, variable in enumerate(container.env):
        _check_variable(variable, f"{field}.env[{index}]", report)
    _check_ports(container, field, report)
    _check_mounts(container, volumes, field, report)
    check_probes(container, field, report)
    if runs_router(container):
        what = "it runs as a gateway of pilotfish's own Envoy: its image, arguments, probes and Istio's own volumes"
        remedy = f"in their place a cluster takes the annotation {TEMPLATES}: gateway and image: auto"
        report.add(f"{field}.args", "UnsupportedField", f"{what} have no effect; {remedy}", Severity.INFO)
        return
    if container.image not in ("", "auto"):
        what = f"the image {container.image!r} is not pulled: the gateway runs pilotfish's own Envoy"
        message = f"{what}; write auto, which injection replaces in a cluster"
        report.add(f"{field}.image", "UnsupportedField", message, Severity.INFO)
    given = {
        "command": container.command,
        "args": container.args,
        "envFrom": container.env_from,
        "livenessProbe": container.liveness_probe,
        "readinessProbe": container.readiness_probe,
        "startupProbe": container.startup_probe,
        "lifecycle": container.lifecycle,
    }
    for name in (name for name, value in given.items() if value):
        what = "has no effect: pilotfish starts, probes and drains a gateway's Envoy as it does a sidecar's"
        report.warning(f"{field}.{name}", "UnsupportedField", f"{what}; remove it")


def _check_command(container: Container, as_image: bool, field: str, report: Report) -> None:
    if as_image:
        try:
            Reference.parse(container.image)
        except ValueError as error:
            report.invalid(
                f"{field}.image", str(error), "write one such as nginx:1.27 or example.com/team/shop@sha256:..."
            )
    elif not container.command or not container.command[0]:
        why = f"with {RUN}: {PROCESS}" if container.image else "without an image"
        message = f"{why} a container is a process of this machine and needs a command, so the object is not used"
        remedy = f"write command: [PROGRAM, ARGUMENT, ...]{'' if container.image else ', or an image'}"
        report.error(f"{field}.command", "MissingField", f"{message}; {remedy}")
    words = (*container.command, *container.args, container.working_dir)
    if any("\0" in word for word in words):
        report.invalid(f"{field}.command", "a word has a zero byte in it", "remove it")


def _check_variable(variable: EnvVar, field: str, report: Report) -> None:
    if not variable.name or "=" in variable.name or not variable.name.isprintable():
        report.invalid(f"{field}.name", f"{variable.name!r} is no name of a variable", "use letters, digits and _")
    if "\0" in variable.value:
        report.invalid(f"{field}.value", "the value has a zero byte in it", "remove it")
    if variable.value_from is None:
        return
    if variable.value:
        report.invalid(f"{field}.valueFrom", "value is set as well", "keep one of the two")
    _check_source(variable.value_from, f"{field}.valueFrom", report)


def _check_source(source: EnvVarSource, field: str, report: Report) -> None:
    keys = {"configMapKeyRef": source.config_map_key_ref, "secretKeyRef": source.secret_key_ref}
    sources: Mapping[str, object] = {**keys, "fieldRef": source.field_ref}
    if source != EnvVarSource() or not any(name.startswith(f"{field}.") for name in report.left_out):
        check_exactly_one(sources, field, report)
    for name, key in keys.items():
        if key is not None and not key.name:
            report.missing(f"{field}.{name}.name", "name the object that holds the key")
    if source.field_ref is not None and not _FIELD_PATH.fullmatch(source.field_ref.field_path):
        remedy = "write one such as metadata.name, metadata.labels['app'], status.podIP or spec.nodeName"
        report.invalid(f"{field}.fieldRef.fieldPath", f"{source.field_ref.field_path!r} is no such field", remedy)


def check_downward_path(path: str, field: str, report: Report) -> None:
    """Of a file. Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/#downwardapi-fieldRef"""
    if not (path.startswith("metadata.") and (path in _WHOLE or _FIELD_PATH.fullmatch(path))):
        remedy = "write one such as metadata.name, metadata.labels or metadata.annotations['team']"
        report.invalid(field, f"{path!r} is no field that a file can have", remedy)


def _check_env_from(source: EnvFromSource, field: str, report: Report) -> None:
    sources = {"configMapRef": source.config_map_ref, "secretRef": source.secret_ref}
    check_exactly_one(sources, field, report)


def _check_limits(resources: Resources, field: str, report: Report) -> None:
    for name in (name for name in resources.limits if name not in ("cpu", "memory")):
        report.warning(f"{field}.limits[{name}]", "UnsupportedField", "it is not enforced; only cpu and memory are")


def _check_ports(container: Container, field: str, report: Report) -> None:
    for index, port in enumerate(container.ports):
        inner = f"{field}.ports[{index}]"
        check_port(port.container_port, f"{inner}.containerPort", report)
        if port.name and not is_port_name(port.name):
            remedy = "use at most 15 lower-case letters, digits and dashes"
            report.invalid(f"{inner}.name", f"{port.name!r} is no name of a port", remedy)
    named = ((f"{field}.ports[{i}].name", p.name) for i, p in enumerate(container.ports) if p.name)
    check_unique(named, "the port", report)


def _check_mounts(container: Container, volumes: frozenset[str], field: str, report: Report) -> None:
    for index, mount in enumerate(container.volume_mounts):
        inner = f"{field}.volumeMounts[{index}]"
        if mount.name not in volumes:
            known = f"one of {', '.join(sorted(volumes))}" if volumes else "one under spec.volumes"
            report.invalid(f"{inner}.name", f"the pod has no volume {mount.name!r}", f"name {known}")
        if not mount.mount_path.startswith("/") or "\0" in mount.mount_path or ".." in mount.mount_path.split("/"):
            report.invalid(f"{inner}.mountPath", f"{mount.mount_path!r} is no absolute path", "begin it with /")
        check_relative(mount.sub_path, f"{inner}.subPath", report)
    paths = (
        (f"{field}.volumeMounts[{i}].mountPath", mount.mount_path.rstrip("/"))
        for i, mount in enumerate(container.volume_mounts)
    )
    check_unique(paths, "the path", report)


def check_relative(path: str, field: str, report: Report) -> None:
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        report.invalid(field, f"{path!r} leads out of the volume", "write a relative path without ..")


def check_user(context: SecurityContext | PodSecurityContext, field: str, report: Report) -> None:
    """What pods and containers have in common."""
    check_at_least(context.run_as_user, 0, f"{field}.runAsUser", report)
    check_at_least(context.run_as_group, 0, f"{field}.runAsGroup", report)
    for name, number in (("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)):
        if number == PROXY_UID:
            what = f"traffic of {PROXY_UID}, the proxy's own id, is not captured: this container is outside of the mesh"
            report.warning(f"{field}.{name}", "BypassesMesh", f"{what}; choose another")


def _check_security(context: SecurityContext, field: str, report: Report) -> None:
    check_user(context, field, report)
    listed = context.capabilities or Capabilities()
    for name, words in (("add", listed.add), ("drop", listed.drop)):
        for index, word in enumerate(words):
            if capabilities.parse(word) is None:
                remedy = "write one such as NET_ADMIN, or ALL (capabilities(7))"
                report.invalid(f"{field}.capabilities.{name}[{index}]", f"{word!r} is no capability", remedy)
    if context.privileged:
        what = "the container gets all capabilities, so that its root is root on the machine"
        report.warning(f"{field}.privileged", "UnsupportedField", f"{what}; process ids and network stay the pod's own")
    if not context.allow_privilege_escalation:
        _check_escalation(context, listed, field, report)


def _check_escalation(context: SecurityContext, listed: Capabilities, field: str, report: Report) -> None:
    """Source: ValidateSecurityContext in Kubernetes' pkg/apis/core/validation/validation.go"""
    inner = f"{field}.allowPrivilegeEscalation"
    if context.privileged:
        report.invalid(inner, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true", "drop one")
    if any(capabilities.parse(word) == "CAP_SYS_ADMIN" for word in listed.add):
        what = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        report.invalid(inner, what, "drop one")
