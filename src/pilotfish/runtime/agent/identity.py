"""Where a pod's Envoy has its certificates from, and the sockets that its agent serves them on.

| the pod has | the workload's (`sds-grpc`) | for discovery, over TLS |
|---|---|---|
| an authority | `sds`, from the authority | the same |
| another's SDS socket | that socket | `discovery-sds`, from the authority |
| files | `sds`, from the files | `discovery-sds`, from the authority |
| files or a socket, and no authority | as above | the same |
| none | nothing | plaintext |
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from pilotfish.envoy.naming import WORKLOAD_CERTIFICATE
from pilotfish.model.renewal import RenewalPolicy
from pilotfish.model.wellknown import DISCOVERY_NAME, IDENTITY_SOCKET, XDS_PORT
from pilotfish.runtime.agent.authority_client import AuthorityClient
from pilotfish.runtime.agent.certificates import Certificates
from pilotfish.runtime.agent.external import ExternalFiles, ExternalSocket, FileCertificates, find_external
from pilotfish.runtime.agent.host import AgentHost
from pilotfish.runtime.agent.sds import SecretServer
from pilotfish.runtime.agent.sockets import open_socket, owned_by
from pilotfish.runtime.agent.spec import AgentSpec, AuthoritySpec, CertificateStatus, SecretSources

_WORKLOAD = "sds"
_DISCOVERY = "discovery-sds"
"""In the agent's directory. It is Envoy's working directory, as a socket's path has 107 bytes at the most."""


class ServedIdentity:
    """`start` once, `close` once. `on_change` is called when `status` became another."""

    def __init__(self, spec: AgentSpec, host: AgentHost, on_change: Callable[[], None]) -> None:
        self._spec = spec
        self._on_change = on_change
        external = find_external(spec.identities)
        self._served: list[_Served] = []
        if isinstance(external, ExternalFiles):
            self._serve(_WORKLOAD, lambda changed: FileCertificates(external, changed))
        if (authority := spec.authority) is not None:
            name = _WORKLOAD if external is None else _DISCOVERY
            self._serve(name, lambda changed: make_certificates(spec, authority, host, changed))
        self.sources = self._describe(external)

    async def start(self, user: int, group: int) -> None:
        """For an Envoy that runs as this user. AgentError if a socket can't be made."""
        for each in self._served:
            await each.server.start(self._spec.directory / each.name, user, group)
            each.certificates.start()

    async def close(self) -> None:
        for each in self._served:
            await each.certificates.close()
            await each.server.close()

    @property
    def status(self) -> CertificateStatus:
        """The workload's, where the agent knows it; else of what is shown to discovery."""
        return self._served[0].certificates.status if self._served else CertificateStatus()

    @property
    def lack(self) -> str:
        """Why the pod can't prove who it is, for people; "" if it can, or need not."""
        return next((lack for each in self._served if (lack := describe_lack(each.certificates.status))), "")

    @property
    def server(self) -> SecretServer:
        """Of the workload's, where the agent serves it."""
        return self._served[0].server

    def _describe(self, external: ExternalSocket | ExternalFiles | None) -> SecretSources:
        is_external = isinstance(external, ExternalSocket)
        if external is None and self._spec.authority is None:
            return SecretSources()
        workload = IDENTITY_SOCKET if is_external else f"./{_WORKLOAD}"
        mounts = (external.mount,) if isinstance(external, ExternalSocket) else ()
        if self._spec.discovery.endswith(f":{XDS_PORT}"):
            return SecretSources(workload, mounts=mounts)
        has_own = self._spec.authority is not None and external is not None
        name = self._spec.authority.name if self._spec.authority is not None else DISCOVERY_NAME
        return SecretSources(workload, f"./{_DISCOVERY}" if has_own else workload, name, mounts)

    def _serve(self, name: str, make: Callable[[Callable[[], None]], Certificates | FileCertificates]) -> None:
        server = SecretServer()

        def changed() -> None:
            if certificates.secrets != server.secrets:
                server.update(certificates.secrets)
            self._on_change()

        certificates = make(changed)
        self._served.append(_Served(name, server, certificates))


def make_certificates(
    spec: AgentSpec,
    authority: AuthoritySpec,
    host: AgentHost,
    on_change: Callable[[], None],
    name: str = WORKLOAD_CERTIFICATE,
) -> Certificates:
    """A pod's. `name`: what Envoy calls its certificate."""

    def open_there(family: int) -> socket.socket:
        """From the pod's address, past its capture: there alone its token is good."""
        with owned_by(spec.user):
            return open_socket(spec.netns, family)

    policy = RenewalPolicy.of_environment(spec.proxy_config.proxy_metadata)
    return Certificates(AuthorityClient(authority, open_there), host.roots.of(authority), policy, on_change, name)


def describe_lack(status: CertificateStatus) -> str:
    """Why its pod can't prove who it is, for people; "" if it can."""
    if status.certificate is None:
        return f"no certificate yet: {status.error or 'it is asked for'}"
    if status.certificate.not_after <= time.time():
        return f"its certificate has expired: {status.error or 'another is asked for'}"
    return ""


@dataclass(frozen=True, slots=True)
class _Served:
    name: str
    server: SecretServer
    certificates: Certificates | FileCertificates
