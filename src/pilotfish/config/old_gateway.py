"""Gateways as Istio's installation manifests had them before injection: a whole `istio-proxy`, with all that it needs.

    spec of a pod ──▶ the same without what is Istio's own: volumes of its certificates and tokens, probes, the init
                      container that says where the kernel puts cores

What runs is the mesh's own Envoy, which has its own. Source: the chart `gateways/istio-ingress` of Istio 1.5 to 1.24,
https://github.com/istio/istio/blob/1.24.0/manifests/charts/gateways/istio-ingress/templates/deployment.yaml
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from pilotfish.config.injection import is_router
from pilotfish.config.kubernetes import Container, Pod, PodSpec, Resource
from pilotfish.config.report import Report
from pilotfish.config.workloads import template_of, template_path, with_template
from pilotfish.model.wellknown import PROXY_CONTAINER

_OWN: Final = (
    "/etc/istio/config",
    "/etc/istio/pod",
    "/etc/istio/proxy",
    "/var/lib/istio",
    "/var/run/secrets",
)
"""Where the proxy has what Istio gives it: of what is mounted there, nothing is read."""
_CORES: Final = "enable-core-dump"

R = TypeVar("R", bound=Resource)


def read_old_gateway(resource: R, report: Report) -> R:
    """The object, where it is such a gateway without what has no effect: `check_gateway` says that, and once."""
    match resource:
        case Pod() if is_router(resource.spec):
            return replace(resource, spec=_read(resource.spec, "spec", report))
    template = template_of(resource)
    if template is None or not is_router(template.spec):
        return resource
    field = ".".join((*template_path(resource.kind), "spec"))
    return with_template(resource, replace(template, spec=_read(template.spec, field, report)))


def _read(spec: PodSpec, field: str, report: Report) -> PodSpec:
    containers = tuple(_read_container(each) for each in spec.containers)
    inits = tuple(each for each in spec.init_containers if each.name != _CORES)
    before = {mount.name for each in spec.containers if each.name == PROXY_CONTAINER for mount in each.volume_mounts}
    mounted = {mount.name for each in (*containers, *inits) for mount in each.volume_mounts}
    for index, volume in enumerate(spec.volumes):
        if volume.name in before - mounted:
            report.withdraw(f"{field}.volumes[{index}]")
    volumes = tuple(volume for volume in spec.volumes if volume.name not in before - mounted)
    return replace(spec, containers=containers, init_containers=inits, volumes=volumes)


def _read_container(container: Container) -> Container:
    if container.name != PROXY_CONTAINER:
        return container
    return replace(
        container,
        image="auto",
        command=(),
        env_from=(),
        volume_mounts=tuple(mount for mount in container.volume_mounts if not _is_own(mount.mount_path)),
        liveness_probe=None,
        readiness_probe=None,
        startup_probe=None,
        lifecycle=None,
    )


def _is_own(path: str) -> bool:
    return any(path == own or path.startswith(f"{own}/") for own in _OWN)
