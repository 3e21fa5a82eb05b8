"""Under which names proxies count: Istio's own table, and more."""

from __future__ import annotations

import pytest

from pilotfish.mesh.stat_names import stat_name, stat_name_of
from pilotfish.model import Protocol, kinds
from pilotfish.model.service import Service, ServicePort

PORT = ServicePort(7443, "grpc-svc", Protocol.GRPC, 8443)
REVIEWS = Service(kinds.SERVICE.ref("default", "reviews"), "reviews.default.svc.cluster.local", "default", (PORT,))
OUTSIDE = Service(kinds.SERVICE_ENTRY.ref("default", "out"), "*.example.org", "default", (PORT,))


@pytest.mark.parametrize(
    ("pattern", "subset", "expected"),
    [
        ("%SERVICE%", "", "reviews.default"),
        ("%SERVICE_NAME%", "", "reviews"),
        ("%SERVICE%.%SERVICE_PORT%", "", "reviews.default.7443"),
        ("%SERVICE%_%SERVICE_PORT_NAME%_%SERVICE_PORT%", "", "reviews.default_grpc-svc_7443"),
        ("%SERVICE_FQDN%%SUBSET_NAME%_%SERVICE_PORT%", "", "reviews.default.svc.cluster.local_7443"),
        ("%SERVICE_FQDN%.%SUBSET_NAME%", "v1", "reviews.default.svc.cluster.local.v1"),
        ("%SERVICE_FQDN%.%DUMMY%", "v1", "reviews.default.svc.cluster.local.%DUMMY%"),
        ("%SERVICE%_%TARGET_PORT%", "", "reviews.default_8443"),
    ],
)
def test_a_service(pattern: str, subset: str, expected: str) -> None:
    assert stat_name(pattern, REVIEWS, PORT, subset, 8443) == expected


def test_what_is_no_kubernetes_service_has_its_host() -> None:
    assert stat_name("%SERVICE%/%SERVICE_NAME%", OUTSIDE, PORT) == "*.example.org/*.example.org"
    assert stat_name_of("in %SERVICE%:%SERVICE_PORT%", "proxy.vm", 9080) == "in proxy.vm:9080"
