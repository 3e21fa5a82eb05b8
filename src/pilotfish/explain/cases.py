"""Ways that somebody expects: a file of requests, each with how it must end.

    manifests: [mesh.yaml]              files and folders, from where this file is; without them, what a mesh holds
    namespace: shop                     of FROM, and of objects that name none; `default` if nothing is said
    cases:
    - name: jason gets v2
      from: deploy/webapp               as `explain` takes it
      to: http://reviews:9080/
      headers: {end-user: jason}
      expect: {pod: reviews-v2-*}
    - from: webapp-0
      to: http://reviews:9080/
      expect:
      - {pod: reviews-v1-*, probability: 0.9}
      - {pod: reviews-v2-*, probability: 0.1}

Every outcome must fit one of the expectations, and each of these some outcome; a probability is that of all outcomes
that fit. In texts `*` stands for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import msgspec

from pilotfish.explain.ask import Ask, parse
from pilotfish.explain.trace import Outcome, Trace
from pilotfish.model.struct import Frozen

_NEAR: Final = 0.005
"""So far a probability may be from what is expected: 33 % is a third."""


class Expected(Frozen, forbid_unknown_fields=True):
    """Of an outcome; what is not said may be anything."""

    kind: Literal["delivered", "response", "reset", "refused", "timeout", "unknown"] | None = None
    status: int | None = None
    flag: str | None = None
    """One of them."""
    cluster: str | None = None
    endpoint: str | None = None
    pod: str | None = None
    cause: str | None = None
    probability: float | None = None

    def __str__(self) -> str:
        said = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return " ".join(f"{name}={value}" for name, value in said if value is not None) or "anything"

    def fits(self, outcome: Outcome) -> bool:
        texts = (
            (self.kind, outcome.kind.value),
            (self.cluster, outcome.cluster),
            (self.endpoint, outcome.endpoint),
            (self.cause, outcome.cause),
        )
        return (
            all(pattern is None or fnmatchcase(value, pattern) for pattern, value in texts)
            and (self.status is None or self.status == outcome.status)
            and (self.flag is None or any(fnmatchcase(flag, self.flag) for flag in outcome.flags))
            and (self.pod is None or _is_pod(outcome.pod, self.pod))
        )


class Case(Frozen, forbid_unknown_fields=True):
    source: str = msgspec.field(name="from")
    to: str
    expect: Expected | list[Expected]
    name: str = ""
    method: str = ""
    headers: dict[str, str] = {}
    jwt: str = ""
    """A token that the request carries; it has not expired, whatever it says."""
    sni: str = ""
    alpn: str = ""
    tls: bool = False
    http2: bool = False
    server_first: bool = msgspec.field(default=False, name="serverFirst")
    source_ip: str = msgspec.field(default="", name="sourceIP")
    resolve: dict[str, str] = {}
    """Addresses by `HOST:PORT`."""

    @property
    def title(self) -> str:
        return self.name or f"{self.source} → {self.method or 'GET'} {self.to}"

    @property
    def expected(self) -> list[Expected]:
        return self.expect if isinstance(self.expect, list) else [self.expect]

    def ask(self) -> Ask:
        """ValueError says what is wrong with it."""
        places = ((place.rpartition(":"), address) for place, address in self.resolve.items())
        return parse(
            self.to,
            method=self.method,
            headers=[f"{name}: {value}" for name, value in self.headers.items()],
            sni=self.sni,
            alpn=self.alpn,
            tls=self.tls,
            http2=self.http2,
            source=self.source_ip,
            server_first=self.server_first,
            jwt=self.jwt,
            resolve={(host, int(port)): address for (host, _, port), address in places},
        )


class CaseFile(Frozen, forbid_unknown_fields=True):
    cases: list[Case]
    manifests: list[str] | None = None
    """None: the objects are those of a mesh."""
    namespace: str = "default"


def parse_cases(document: Any) -> CaseFile:
    """ValueError names the field."""
    try:
        return msgspec.convert(document, CaseFile)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def differences(trace: Trace, expected: list[Expected]) -> Iterator[str]:
    """Nothing where it ends as it should."""
    for outcome in trace.outcomes:
        if not any(each.fits(outcome) for each in expected):
            yield f"it also ends so: {describe(outcome)}"
    for each in expected:
        fitting = [outcome.probability for outcome in trace.outcomes if each.fits(outcome)]
        if not fitting:
            yield f"it never ends so: {each}"
        elif each.probability is not None and abs(sum(fitting) - each.probability) > _NEAR:
            yield f"{sum(fitting):.3g} of the requests, not {each.probability:g}, end so: {each}"


def describe(outcome: Outcome) -> str:
    said = {
        "kind": outcome.kind.value,
        "status": outcome.status,
        "flag": outcome.flag,
        "pod": outcome.pod,
        "cluster": outcome.cluster,
        "probability": f"{outcome.probability:.3g}",
    }
    words = " ".join(f"{name}={value}" for name, value in said.items() if value)
    return f"{words} ({outcome.cause})" if outcome.cause else words


def _is_pod(name: str, pattern: str) -> bool:
    """With its namespace, or without."""
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(".")[0], pattern)
