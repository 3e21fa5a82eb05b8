"""Who of several replicas leads: the state of one candidate for a Lease. Pure.

    Lease read ─observe─▶ Candidate ─wanted─▶ Lease to write ─(the API server took it) won─▶ Candidate that leads
                                       └─ None: another holds it

As client-go does it, with no clock in common: the times in a Lease are for people. Who wants to follow another waits
until it has seen the same Lease, by its own clock, for as long as the Lease says; who leads does so for `deadline` from
the moment in which it began to ask for what was granted, and that is shorter. So no two lead at a time, as long as no
clock runs faster than another by the ratio of the two (`Terms.drift`). That of those who write at the same time one
alone succeeds is the API server's to see to, by the resourceVersion.

Source: https://kubernetes.io/docs/concepts/architecture/leases/, https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from typing import Any, Final

API_VERSION: Final = "coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds; client-go's defaults."""

    duration: float = 15.0
    """For which a Lease that is not renewed is respected. Whole seconds: it is written so."""
    deadline: float = 10.0
    """After which who could not renew it leads no longer."""
    retry: float = 2.0
    """Between two attempts."""

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.deadline < self.duration or self.duration % 1:
            raise ValueError("a Lease needs 0 < retry < deadline < duration, in whole seconds")

    @property
    def drift(self) -> float:
        """How much faster than another's one replica's clock may run."""
        return self.duration / self.deadline


@dataclass(frozen=True, slots=True)
class Lease:
    """What of it matters here."""

    holder: str = ""
    """"" of one that was let go."""
    duration: float = 0.0
    acquired: str = ""
    """When the holder got it, as Kubernetes writes times."""
    renewed: str = ""
    transitions: int = 0
    """How often it came to another holder."""
    version: str = ""
    """Its resourceVersion; "" of one that is not there yet."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Lease:
        """Of an object of the API. What is missing, or of another type than it should be, counts as not there."""
        metadata, spec = _mapping(document.get("metadata")), _mapping(document.get("spec"))
        duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
        return cls(
            holder=str(spec.get("holderIdentity") or ""),
            duration=float(duration) if isinstance(duration, int) else 0.0,
            acquired=str(spec.get("acquireTime") or ""),
            renewed=str(spec.get("renewTime") or ""),
            transitions=transitions if isinstance(transitions, int) else 0,
            version=str(metadata.get("resourceVersion") or ""),
        )

    def document(self, namespace: str, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
        """To be created, or to replace the one of this version."""
        version = {"resourceVersion": self.version} if self.version else {}
        spec = {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": int(self.duration),
            "acquireTime": self.acquired,
            "renewTime": self.renewed,
            "leaseTransitions": self.transitions,
        }
        return {
            "apiVersion": API_VERSION,
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels), **version},
            "spec": spec,
        }


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value; each step gives another. `now` is its own clock, which never goes back."""

    me: str
    """A name that no other process has, of the past either."""
    terms: Terms = Terms()
    seen: Lease | None = None
    """As it was read, or written, last."""
    seen_at: float = -inf
    """When it was first seen to be as it is."""
    leads_until: float = -inf

    def leads(self, now: float) -> bool:
        return now < self.leads_until

    def observe(self, lease: Lease, now: float) -> Candidate:
        """`now`: when it was had, and not when it was asked for."""
        lost = lease.holder != self.me
        return replace(
            self,
            seen=lease,
            seen_at=now if self.seen != lease else self.seen_at,
            leads_until=-inf if lost else self.leads_until,
        )

    def wanted(self, now: float, time: str) -> Lease | None:
        """What to write: nothing while another holds it. `time`: `now` as Kubernetes writes it."""
        seen = self.seen or Lease()
        mine = seen.holder == self.me
        if seen.holder and not mine and now < self.seen_at + seen.duration:
            return None
        return Lease(
            holder=self.me,
            duration=self.terms.duration,
            acquired=seen.acquired if mine else time,
            renewed=time,
            transitions=seen.transitions + (not mine and bool(seen.version)),
            version=seen.version,
        )

    def won(self, lease: Lease, began: float, now: float) -> Candidate:
        """The API server took it. `began`: before it was asked to."""
        return replace(self.observe(lease, now), leads_until=began + self.terms.deadline)

    def resigned(self, time: str) -> tuple[Candidate, Lease | None]:
        """It leads no longer; and what to write so that another need not wait. To be written only after whatever a
        leader does has ended."""
        seen = self.seen
        quiet = replace(self, leads_until=-inf)
        if seen is None or seen.holder != self.me:
            return quiet, None
        # A Lease that is free is respected for no longer than a second, as client-go writes it.
        return quiet, replace(seen, holder="", duration=1.0, renewed=time)


def micro_time(seconds: float) -> str:
    """Seconds since the epoch as a Lease has them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
