"""`--publish [ADDRESS:]PORT:SERVICE.NAMESPACE:SERVICE_PORT`: a Service on a port of the host.

8080:webapp.vm:8889   8080:webapp:http   0.0.0.0:8080:webapp.vm:8889   [::1]:8080:webapp.vm:8889
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from pilotfish.model.addresses import host_port

_FORM = re.compile(
    r"(?:(?P<address>\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(?P<port>[0-9]+)"
    r":(?P<service>[a-z0-9-]+)(?:\.(?P<namespace>[a-z0-9-]+)(?:\.svc[a-z0-9.-]*)?)?:(?P<target>[a-z0-9-]+)"
)


@dataclass(frozen=True, slots=True)
class Publish:
    address: str
    """Where the host listens; loopback unless the user named an address."""
    port: int
    """0 lets the machine choose a free one."""
    service: str
    namespace: str
    service_port: str
    """A number or a name, as the Service declares it."""

    @classmethod
    def parse(cls, text: str, default_namespace: str = "default") -> Publish:
        """Raises ValueError, with words for the user, for anything that has another form."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not of the form [ADDRESS:]PORT:SERVICE[.NAMESPACE]:SERVICE_PORT")
        address = (found["address"] or "127.0.0.1").strip("[]")
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise ValueError(f"{text!r}: {address} is not an IP address of this machine") from error
        port = int(found["port"])
        if port > 65535:
            raise ValueError(f"{text!r}: {port} is no port; ports end at 65535")
        return cls(address, port, found["service"], found["namespace"] or default_namespace, found["target"])

    def listening(self, port: int | None = None) -> str:
        """`127.0.0.1:8080`, `[::1]:8080`; `port` where the machine chose it."""
        return host_port(self.address, self.port if port is None else port)

    @property
    def target(self) -> str:
        return f"{self.service}.{self.namespace}:{self.service_port}"
