"""`--publish [ADDRESS:]PORT:[pod/]NAME[.NAMESPACE]:PORT[/udp]`: a Service's or a pod's port on a port of the host.

8080:webapp.vm:8889   8080:webapp:http   0.0.0.0:8080:webapp.vm:8889   [::1]:8080:webapp.vm:8889
5353:dns.vm:53/udp    8000:pod/web-0.vm:8000
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from pilotfish.model.addresses import host_port

Transport = Literal["TCP", "UDP"]
Endpoints = tuple[tuple[str, int], ...]
"""(address, port) of each that takes connections."""
_FORM = re.compile(
    r"(?:(?P<address>\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(?P<port>[0-9]+)"
    r":(?:(?P<kind>[a-z]+)/)?(?P<name>[a-z0-9-]+)(?:\.(?P<namespace>[a-z0-9-]+)(?:\.svc[a-z0-9.-]*)?)?"
    r":(?P<target>[a-z0-9-]+)(?:/(?P<protocol>tcp|udp))?"
)
_KINDS: Final = {"svc": False, "service": False, "services": False, "pod": True, "pods": True, "po": True}


@dataclass(frozen=True, slots=True)
class Publish:
    address: str
    """Where the host listens; loopback unless the user named an address."""
    port: int
    """0 lets the machine choose a free one."""
    name: str
    """The Service's, or the pod's."""
    namespace: str
    target_port: str
    """A number or a name, as the Service or the pod declares it."""
    protocol: Transport = "TCP"
    is_pod: bool = False

    @classmethod
    def parse(cls, text: str, default_namespace: str = "default") -> Publish:
        """Raises ValueError, with words for the user, for anything that has another form."""
        found = _FORM.fullmatch(text)
        if found is None or (kind := found["kind"] or "svc") not in _KINDS:
            raise ValueError(f"{text!r} is not of the form [ADDRESS:]PORT:[pod/]NAME[.NAMESPACE]:PORT[/udp]")
        address = (found["address"] or "127.0.0.1").strip("[]")
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise ValueError(f"{text!r}: {address} is not an IP address of this machine") from error
        port = int(found["port"])
        if port > 65535:
            raise ValueError(f"{text!r}: {port} is no port; ports end at 65535")
        return cls(
            address,
            port,
            found["name"],
            found["namespace"] or default_namespace,
            found["target"],
            "UDP" if found["protocol"] == "udp" else "TCP",
            _KINDS[kind],
        )

    def listening(self, port: int | None = None) -> str:
        """`127.0.0.1:8080`, `[::1]:8080`; `port` where the machine chose it."""
        return host_port(self.address, self.port if port is None else port)

    @property
    def target(self) -> str:
        """`webapp.vm:8889`, `dns.vm:53/udp`, `pod/web-0.vm:8000`."""
        protocol = "" if self.protocol == "TCP" else f"/{self.protocol.lower()}"
        return f"{'pod/' if self.is_pod else ''}{self.name}.{self.namespace}:{self.target_port}{protocol}"


Resolve = Callable[[Publish], Endpoints]
"""Where a new connection goes."""
