"""All objects of an installation, in the order in which each finds what it needs.

`uninstall` goes the other way, so that nobody is asked who is gone.
"""

from __future__ import annotations

from pilotfish.install.access import cni_access, discovery_access
from pilotfish.install.cni import daemon
from pilotfish.install.control_plane import disruption, scaling, service, workload
from pilotfish.install.crds import build_crds
from pilotfish.install.gateway import gateway
from pilotfish.install.injection import injection_webhooks, validation_webhooks
from pilotfish.install.mesh import mesh_config
from pilotfish.install.names import CNI, OURS, Names, Object
from pilotfish.install.values import Values


def build_objects(values: Values) -> tuple[Object, ...]:
    return tuple(each for stage in build_stages(values) for each in stage)


def build_stages(values: Values) -> tuple[tuple[Object, ...], ...]:
    """Each is to be ready before the next: who answers before who asks it, and gateways, which the injector fills in,
    when it is asked."""
    names = Names(values.revision, values.namespace)
    webhooks = (
        injection_webhooks(names.own, names.label, values, names, names.labels),
        validation_webhooks(names.own, names.label, names, names.labels),
    )
    stages = (
        (
            *(build_crds(OURS) if values.crds else ()),
            namespace(names),
            *_control_plane(values, names),
            *(_cni(values, names) if values.cni.enabled else ()),
        ),
        webhooks,
        gateway(values, names, names.labels) if values.gateway.enabled else (),
    )
    return tuple(stage for stage in stages if stage)


def namespace(names: Names) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names.namespace, "labels": OURS}}


def account(name: str, names: Names, labels: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": names.namespace, "labels": labels},
    }


def _control_plane(values: Values, names: Names) -> tuple[Object, ...]:
    labels = names.labels
    return (
        account(names.service, names, labels),
        *discovery_access(names, labels),
        mesh_config(values, names, labels),
        service(values, names, labels),
        workload(values, names, labels),
        disruption(names, labels),
        *scaling(values, names, labels),
    )


def _cni(values: Values, names: Names) -> tuple[Object, ...]:
    """One for all revisions: a node has one."""
    return (
        account(CNI, names, OURS),
        *cni_access(names, OURS, may_delete=values.cni.repair == "delete"),
        daemon(values, names, OURS),
    )
