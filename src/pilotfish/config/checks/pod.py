"""Pods.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config.checks.container import (
    check_container,
    check_downward_path,
    check_gateway,
    check_relative,
    check_user,
)
from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.names import (
    check_at_least,
    check_dns_label,
    check_object_name,
    check_unique,
)
from pilotfish.config.checks.regex import find_fault
from pilotfish.config.checks.run import check_run
from pilotfish.config.images import runs_image
from pilotfish.config.injection import COUNTED, TEMPLATES, asks_for_gateway, wants_sidecar
from pilotfish.config.kubernetes import (
    Container,
    DownwardFile,
    KeyToPath,
    Metadata,
    PodSpec,
    PodStatus,
    Projection,
    Volume,
)
from pilotfish.config.mesh import ProxyConfig
from pilotfish.config.meshconfig import parse_proxy_config
from pilotfish.config.proxying import check_proxying
from pilotfish.config.reading import check_asked
from pilotfish.config.report import Report
from pilotfish.config.sidecar_ports import check_app_port, held_ports
from pilotfish.model.addresses import is_ip
from pilotfish.model.kinds import PERSISTENT_VOLUME_CLAIM, SERVICE_ACCOUNT
from pilotfish.model.wellknown import INIT_CONTAINER, PROXY_CONTAINER

PROXY_CONTAINERS = (PROXY_CONTAINER, INIT_CONTAINER)
PROXY_CONFIG_ANNOTATION = "proxy.istio.io/config"


def check_pod(
    metadata: Metadata, spec: PodSpec, field: str, report: Report, claims: frozenset[str] = frozenset()
) -> None:
    """`field` is the way to the metadata and the spec: "" or `spec.template.`. `claims`: the volumes that it is given
    beside its own."""
    text = metadata.annotations.get(PROXY_CONFIG_ANNOTATION)
    config: ProxyConfig | None = None
    if text is not None:
        inner = f"{field}metadata.annotations[{PROXY_CONFIG_ANNOTATION}]"
        config = parse_proxy_config(text, ProxyConfig(), report, inner)
    for name in (name for name, meant in COUNTED.items() if meant == "inclusion_regexps"):
        for pattern in metadata.annotations.get(name, "").split(","):
            if fault := find_fault(pattern):
                what = "correct the expression: Envoy would not start"
                report.invalid(f"{field}metadata.annotations[{name}]", fault, what)
    is_gateway = asks_for_gateway(metadata, spec)
    if wants_sidecar(metadata, spec) and not is_gateway:
        _check_app_ports(spec, f"{field}spec", config or ProxyConfig(), report)
    check_run(metadata, field, report)
    check_asked(metadata, field, report)
    check_proxying(metadata, field, report)
    _check_spec(metadata, spec, f"{field}spec", is_gateway, claims, report)


def _check_app_ports(spec: PodSpec, field: str, config: ProxyConfig, report: Report) -> None:
    held = held_ports(config)
    for inner, container in _containers(spec, field):
        for index, port in enumerate(container.ports):
            check_app_port(port, held, report, f"{inner}.ports[{index}].containerPort")


def _check_spec(
    metadata: Metadata, spec: PodSpec, field: str, is_gateway: bool, claims: frozenset[str], report: Report
) -> None:
    if not spec.containers:
        report.missing(f"{field}.containers", "write at least one container")
    for index, volume in enumerate(spec.volumes):
        check_volume(volume, f"{field}.volumes[{index}]", report)
    check_unique(((f"{field}.volumes[{i}].name", v.name) for i, v in enumerate(spec.volumes)), "the volume", report)
    volumes = claims.union(volume.name for volume in spec.volumes)
    for inner, container in _containers(spec, field):
        if is_gateway and container.name == PROXY_CONTAINER:
            check_gateway(container, volumes, inner, report)
            continue
        _check_container_name(container.name, f"{inner}.name", report)
        check_container(container, runs_image(metadata.annotations, container), volumes, inner, report)
    check_unique(((f"{f}.name", c.name) for f, c in _containers(spec, field)), "the container", report)
    if spec.host_network:
        what = "the pod still gets a network namespace, and an address, of its own; as in Istio it has no sidecar"
        report.warning(f"{field}.hostNetwork", "UnsupportedField", what)
    _check_shared_ports(spec, field, report)
    _check_init(spec, field, report)
    check_at_least(spec.active_deadline_seconds, 1, f"{field}.activeDeadlineSeconds", report)
    check_at_least(spec.termination_grace_period_seconds, 0, f"{field}.terminationGracePeriodSeconds", report)
    for name, value in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if value:
            check_dns_label(value, f"{field}.{name}", report)
    if spec.service_account_name:
        check_object_name(spec.service_account_name, SERVICE_ACCOUNT, f"{field}.serviceAccountName", report)
    if spec.security_context is not None:
        inner = f"{field}.securityContext"
        check_user(spec.security_context, inner, report)
        check_at_least(spec.security_context.fs_group, 0, f"{inner}.fsGroup", report)
        for index, group in enumerate(spec.security_context.supplemental_groups):
            check_at_least(group, 0, f"{inner}.supplementalGroups[{index}]", report)


def _check_shared_ports(spec: PodSpec, field: str, report: Report) -> None:
    """Containers that run side by side share the pod's addresses."""
    holders: dict[tuple[int, str], str] = {}
    for index, container in enumerate(spec.containers):
        for at, port in enumerate(container.ports):
            first = holders.setdefault((port.container_port, port.protocol), container.name)
            if first != container.name:
                text = f"container {first} has port {port.container_port} too, and only one can listen; change one"
                report.warning(f"{field}.containers[{index}].ports[{at}].containerPort", "PortCollision", text)


def _containers(spec: PodSpec, field: str) -> Iterator[tuple[str, Container]]:
    for index, container in enumerate(spec.init_containers):
        yield f"{field}.initContainers[{index}]", container
    for index, container in enumerate(spec.containers):
        yield f"{field}.containers[{index}]", container


def _check_container_name(name: str, field: str, report: Report) -> None:
    check_dns_label(name, field, report)
    if name in PROXY_CONTAINERS:
        remedy = f"choose another name, or, for a gateway, write the annotation {TEMPLATES}: gateway"
        report.invalid(field, f"the mesh itself adds a container named {name!r}", remedy)


def _check_init(spec: PodSpec, field: str, report: Report) -> None:
    for index, container in enumerate(spec.containers):
        if container.restart_policy is not None:
            what = "only an init container (a native sidecar) has a restart policy of its own"
            report.invalid(f"{field}.containers[{index}].restartPolicy", what, "write it in the pod's spec")
    for index, container in enumerate(spec.init_containers):
        if container.restart_policy is not None:
            continue
        given = {
            "livenessProbe": container.liveness_probe,
            "readinessProbe": container.readiness_probe,
            "startupProbe": container.startup_probe,
            "lifecycle": container.lifecycle,
        }
        for name in (name for name, value in given.items() if value is not None):
            what = "an init container runs to its end"
            remedy = "remove it, or write restartPolicy: Always for a native sidecar"
            report.invalid(f"{field}.initContainers[{index}].{name}", what, remedy)


def check_volume(volume: Volume, field: str, report: Report) -> None:
    check_dns_label(volume.name, f"{field}.name", report)
    sources = {
        "configMap": volume.config_map,
        "secret": volume.secret,
        "emptyDir": volume.empty_dir,
        "hostPath": volume.host_path,
        "persistentVolumeClaim": volume.persistent_volume_claim,
        "projected": volume.projected,
        "downwardAPI": volume.downward_api,
    }
    if any(source is not None for source in sources.values()):  # else it is an emptyDir: Kubernetes' SetDefaults_Volume
        check_exactly_one(sources, field, report)
    for name, source in (("configMap", volume.config_map), ("secret", volume.secret)):
        if source is not None:
            _check_mode(source.default_mode, f"{field}.{name}.defaultMode", report)
            _check_items(source.items, f"{field}.{name}.items", report)
    if volume.host_path is not None and not volume.host_path.path.startswith("/"):
        report.invalid(f"{field}.hostPath.path", f"{volume.host_path.path!r} is not absolute", "begin it with /")
    if volume.persistent_volume_claim is not None:
        claim = volume.persistent_volume_claim.claim_name
        check_object_name(claim, PERSISTENT_VOLUME_CLAIM, f"{field}.persistentVolumeClaim.claimName", report)
    if volume.downward_api is not None:
        _check_mode(volume.downward_api.default_mode, f"{field}.downwardAPI.defaultMode", report)
        _check_downward(volume.downward_api.items, f"{field}.downwardAPI.items", report)
    if volume.projected is not None:
        _check_mode(volume.projected.default_mode, f"{field}.projected.defaultMode", report)
        for index, projection in enumerate(volume.projected.sources):
            _check_projection(projection, f"{field}.projected.sources[{index}]", report)


def _check_projection(source: Projection, field: str, report: Report) -> None:
    sources = {
        "configMap": source.config_map,
        "secret": source.secret,
        "downwardAPI": source.downward_api,
        "serviceAccountToken": source.service_account_token,
    }
    if not any(f"{field}.{name}" in report.left_out for name in ("clusterTrustBundle", "podCertificate")):
        check_exactly_one(sources, field, report)
    for name, files in (("configMap", source.config_map), ("secret", source.secret)):
        if files is not None:
            _check_items(files.items, f"{field}.{name}.items", report)
    if source.downward_api is not None:
        _check_downward(source.downward_api.items, f"{field}.downwardAPI.items", report)
    if (token := source.service_account_token) is not None:
        _check_file(token.path, f"{field}.serviceAccountToken.path", report)
        inner = f"{field}.serviceAccountToken.expirationSeconds"
        if not 600 <= token.expiration_seconds <= 1 << 32:
            report.invalid(
                inner, f"{token.expiration_seconds} is out of range", f"write a number from 600 to {1 << 32}"
            )


def _check_downward(items: tuple[DownwardFile, ...], field: str, report: Report) -> None:
    for index, item in enumerate(items):
        inner = f"{field}[{index}]"
        _check_file(item.path, f"{inner}.path", report)
        if item.mode is not None:
            _check_mode(item.mode, f"{inner}.mode", report)
        if item.field_ref is not None:
            check_downward_path(item.field_ref.field_path, f"{inner}.fieldRef.fieldPath", report)
        elif f"{inner}.resourceFieldRef" not in report.left_out:
            report.missing(f"{inner}.fieldRef", "name the field of the pod")


def _check_items(items: tuple[KeyToPath, ...], field: str, report: Report) -> None:
    for index, item in enumerate(items):
        _check_file(item.path, f"{field}[{index}].path", report)
        if item.mode is not None:
            _check_mode(item.mode, f"{field}[{index}].mode", report)


def _check_file(path: str, field: str, report: Report) -> None:
    check_relative(path, field, report)
    if not path:
        report.missing(field, "name the file")


def _check_mode(mode: int, field: str, report: Report) -> None:
    if not 0 <= mode <= 0o777:
        report.invalid(field, f"{mode} is no file mode", "write one from 0 to 0777")


def check_pod_status(status: PodStatus, report: Report) -> None:
    addresses = (
        ("status.podIP", status.pod_ip),
        *((f"status.podIPs[{i}].ip", p.ip) for i, p in enumerate(status.pod_ips)),
    )
    for field, address in addresses:
        if address and not is_ip(address):
            report.invalid(field, f"{address!r} is no address", "remove the status; whoever runs the pod writes it")
