"""Who a workload is, as certificates prove it.

Source: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md, and Istio's form of it:
https://istio.io/latest/docs/concepts/security/#istio-identity
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DEFAULT_TRUST_DOMAIN: Final = "cluster.local"
_FORM: Final = re.compile(r"spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)")


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A service account of a namespace, within a trust domain."""

    trust_domain: str
    namespace: str
    account: str

    @classmethod
    def parse(cls, uri: str) -> Identity | None:
        """The reverse of `str`; None for anything else."""
        found = _FORM.fullmatch(uri)
        return cls(*found.groups()) if found is not None else None

    def __str__(self) -> str:
        """`spiffe://cluster.local/ns/vm/sa/calculator`."""
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.account}"
