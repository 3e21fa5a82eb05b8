"""Which checks an object gets."""

from __future__ import annotations

from pilotfish.config import istio, kubernetes, workloads
from pilotfish.config.checks.authorization_policy import check_authorization_policy
from pilotfish.config.checks.data import check_config_map, check_secret
from pilotfish.config.checks.destination_rule import check_destination_rule
from pilotfish.config.checks.distribution import check_traffic_distribution
from pilotfish.config.checks.gateway import check_gateway
from pilotfish.config.checks.ingress import check_ingress
from pilotfish.config.checks.injection import check_injection
from pilotfish.config.checks.names import check_metadata
from pilotfish.config.checks.peer_authentication import check_peer_authentication
from pilotfish.config.checks.pod import check_pod, check_pod_status
from pilotfish.config.checks.proxy_config import check_proxy_config
from pilotfish.config.checks.request_authentication import check_request_authentication
from pilotfish.config.checks.run import check_run
from pilotfish.config.checks.service import check_endpoint_slice, check_endpoints, check_service
from pilotfish.config.checks.service_entry import check_service_entry
from pilotfish.config.checks.sidecar import check_sidecar
from pilotfish.config.checks.storage import check_claim, check_persistent_volume
from pilotfish.config.checks.virtual_service import check_virtual_service
from pilotfish.config.checks.workload_entry import check_workload_entry
from pilotfish.config.checks.workload_group import check_workload_group
from pilotfish.config.checks.workloads import (
    check_cron_job,
    check_daemon_set,
    check_deployment,
    check_job,
    check_replica_set,
    check_stateful_set,
)
from pilotfish.config.kubernetes import Resource
from pilotfish.config.proxying import check_proxying
from pilotfish.config.report import Report


def check(resource: Resource, report: Report) -> None:
    """Adds what is wrong with the object to the report."""
    check_metadata(resource.metadata, resource.kind, report)
    match resource:
        case kubernetes.Service():
            check_service(resource, report)
        case kubernetes.EndpointSlice():
            check_endpoint_slice(resource, report)
        case kubernetes.Endpoints():
            check_endpoints(resource, report)
        case kubernetes.ConfigMap():
            check_config_map(resource, report)
        case kubernetes.Secret():
            check_secret(resource, report)
        case kubernetes.Pod():
            check_pod(resource.metadata, resource.spec, "", report)
            check_pod_status(resource.status, report)
        case kubernetes.Deployment():
            check_deployment(resource.spec, report)
        case workloads.ReplicaSet():
            check_replica_set(resource.spec, report)
        case workloads.StatefulSet():
            check_stateful_set(resource, report)
        case workloads.DaemonSet():
            check_daemon_set(resource.spec, report)
        case workloads.Job():
            check_job(resource.spec, "spec", report)
        case workloads.CronJob():
            check_cron_job(resource, report)
        case workloads.PersistentVolumeClaim():
            check_claim(resource.spec, "spec", report)
        case workloads.PersistentVolume():
            check_persistent_volume(resource.spec, report)
        case kubernetes.Ingress():
            check_ingress(resource.spec, report)
        case istio.VirtualService():
            check_virtual_service(resource.spec, report)
        case istio.DestinationRule():
            check_destination_rule(resource.spec, report)
        case istio.Gateway():
            check_gateway(resource.spec, report)
        case istio.ServiceEntry():
            check_service_entry(resource.spec, resource.metadata.labels, report)
            check_traffic_distribution(resource.metadata, report)
        case istio.Sidecar():
            check_sidecar(resource.spec, report)
        case istio.WorkloadEntry():
            check_workload_entry(resource.spec, report)
        case istio.ProxyConfig():
            check_proxy_config(resource.spec, report)
        case istio.PeerAuthentication():
            check_peer_authentication(resource.spec, report)
        case istio.WorkloadGroup():
            check_workload_group(resource.spec, report)
        case istio.AuthorizationPolicy():
            check_authorization_policy(resource, report)
        case istio.RequestAuthentication():
            check_request_authentication(resource, report)
        case kubernetes.Namespace():
            check_traffic_distribution(resource.metadata, report)
            check_injection(resource.metadata, report)
            check_run(resource.metadata, "", report)
            check_proxying(resource.metadata, "", report)
        case kubernetes.ServiceAccount() | kubernetes.IngressClass():
            pass
        case _:
            raise NotImplementedError(f"{resource.kind} is not checked")
