"""What an installation says of the proxies that it puts into pods: `pilotfish install --set`, as far as a pod shows it.

It stands in the ConfigMap with the meshConfig, under a key of its own, so that whoever injects knows it.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pilotfish.config.decode import decode
from pilotfish.config.injection import InjectionPolicy, revised
from pilotfish.config.kubernetes import Struct
from pilotfish.config.mesh import LabelSelector
from pilotfish.config.report import Report
from pilotfish.config.text import read
from pilotfish.model.wellknown import CLUSTER_NAME, DISCOVERY_ACCOUNT, SECURE_XDS_PORT, STATUS_PORT

VALUES_KEY: Final = "injection"
"""Of the ConfigMap `istio[-REVISION]`."""


class Resources(Struct):
    """Of a container, as in a pod."""

    requests: dict[str, Any] = {}
    limits: dict[str, Any] = {}


class Proxy(Struct):
    """Every sidecar and gateway; a pod's annotations go before it."""

    resources: Resources = Resources(requests={"cpu": "100m", "memory": "128Mi"}, limits={"cpu": "2", "memory": "1Gi"})
    """Of a sidecar, and of what sets its capture up."""
    log_level: str = "warning"
    component_log_level: str = ""
    """`rbac:debug,jwt:debug`."""
    native: bool = True
    """Whether it is an init container that stays, which starts before the app and ends after it. Every cluster from
    1.29 on runs such."""
    hold_application_until_proxy_starts: bool = False
    """Of one that is none: the app's containers are started when it is ready."""
    status_port: int = STATUS_PORT
    startup_failure_threshold: int = 600
    """Tries, one a second, after which a proxy that has no configuration is started anew; 0 for no such probe."""
    readiness_initial_delay_seconds: int = 0
    readiness_period_seconds: int = 15
    readiness_failure_threshold: int = 4
    include_outbound_ip_ranges: str = "*"
    """These six hold where a pod's annotations `traffic.sidecar.istio.io/...` say nothing."""
    exclude_outbound_ip_ranges: str = ""
    include_inbound_ports: str = "*"
    exclude_inbound_ports: str = ""
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""
    rewrite_probes: bool = True
    """The app's probes and hooks are made by its agent, so that capture is not in their way."""
    privileged: bool = False
    seccomp_profile: dict[str, Any] = {}
    lifecycle: dict[str, Any] = {}
    """In the place of the hooks that the container has of itself."""


class Choice(Struct):
    """Which pods get a sidecar, of those whose namespace has them asked for, and which say nothing themselves."""

    by_default: bool = True
    never_inject_selector: tuple[LabelSelector, ...] = ()
    always_inject_selector: tuple[LabelSelector, ...] = ()


class InjectionValues(Struct):
    revision: str = ""
    image: str = "pilotfish"
    """With its registry and its tag."""
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    pull_secrets: tuple[str, ...] = ()
    """Secrets, which every namespace is to have."""
    cni: bool = False
    """The node sets capture up; a pod's init container only looks whether it has."""
    cluster_name: str = CLUSTER_NAME
    network: str = ""
    mesh_id: str = ""
    """"": the trust domain."""
    ca_address: str = ""
    """`HOST:PORT` of who signs; "": discovery."""
    annotations: dict[str, str] = {}
    """What every injected pod gets beside its own."""
    choice: Choice = Choice()
    proxy: Proxy = Proxy()

    @property
    def policy(self) -> InjectionPolicy:
        choice = self.choice
        return InjectionPolicy(choice.by_default, choice.never_inject_selector, choice.always_inject_selector)

    def discovery_address(self, root_namespace: str) -> str:
        """`istiod-canary.istio-system.svc:15012`."""
        return f"{revised(DISCOVERY_ACCOUNT, self.revision)}.{root_namespace}.svc:{SECURE_XDS_PORT}"


def parse_values(text: str, report: Report, field: str) -> InjectionValues | None:
    """From YAML or JSON. None where that adds an error to the report."""
    before = report.errors
    document = next(iter(read(text, "")), None)
    for fault in document.faults if document is not None else ():
        report.error(f"{field}.{fault.path}" if fault.path else field, fault.reason, fault.message)
    value = document.value if document is not None and document.value is not None else {}
    found = decode(value, InjectionValues, report, field)
    return None if report.errors > before else found
