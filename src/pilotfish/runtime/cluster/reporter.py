"""What discovery finds, written where kubectl's user looks: into the status of objects, and as Events.

    judge ─▶ verdicts ─Ledger─▶ one object at a time ─▶ PATCH .../status, POST events
      ▲
    moved (at most once a second)

Who leads does it alone. At its start it reads what stands there, and writes what is different. What it writes comes
back over the watch as an object of the same generation and the same spec, from which nothing follows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pilotfish.cluster.conditions import PROPAGATING, RECONCILED, Verdict, merge
from pilotfish.cluster.events import About, mended, warning
from pilotfish.cluster.ledger import Ledger
from pilotfish.cluster.paths import collection, item
from pilotfish.model import ObjectRef
from pilotfish.model.kind import Kind
from pilotfish.model.kinds import KINDS
from pilotfish.runtime.cluster.api import MERGE_PATCH
from pilotfish.runtime.cluster.errors import ApiError, Unreachable
from pilotfish.runtime.cluster.leader import Acting
from pilotfish.runtime.discovery.notice import Notice

_log = logging.getLogger(__name__)
GATHER: Final = 1.0
"""Seconds between two looks at what there is to say."""
SLOW: Final = 10.0
"""Seconds for which nothing is said of an object that proxies have not acknowledged yet: most have within one. Nor that
one is good again which is as it was: who refused it may be on the way from one replica to another."""
_EVENTS: Final = "/api/v1/namespaces/{}/events"


class Reporter:
    def __init__(self, judge: Callable[[], Mapping[ObjectRef, Verdict]], moved: Notice, instance: str) -> None:
        """`judge`: what there is to say now. `moved` wakes when that may be something else. `instance`: who says it."""
        self._judge = judge
        self._moved = moved
        self._instance = instance
        self._without_status: set[Kind] = set()
        """Kinds whose definitions have no such subresource."""
        self._unsettled: dict[ObjectRef, float] = {}
        """Since when they are so."""

    async def lead(self, acting: Acting) -> None:
        ledger = Ledger()
        await self._read_all(acting, ledger)
        while True:
            seen = self._moved.count
            verdicts = self._judge()
            ledger.want(verdicts, self._held(ledger, verdicts, time.monotonic()))
            while (found := ledger.take(time.monotonic())) is not None:
                await self._write(acting, ledger, *found)
            wakes = [*(since + SLOW for since in self._unsettled.values()), ledger.wake_at(time.monotonic())]
            wake = min((at for at in wakes if at is not None), default=None)
            await asyncio.sleep(GATHER)
            await self._moved.next(None if wake is None else max(0.0, wake - time.monotonic()), since=seen)

    def _held(self, ledger: Ledger, verdicts: Mapping[ObjectRef, Verdict], now: float) -> frozenset[ObjectRef]:
        """Those of which it is too early to say anything."""
        unsettled = [ref for ref, verdict in verdicts.items() if _is_unsure(verdict, ledger.known(ref))]
        self._unsettled = {ref: self._unsettled.get(ref, now) for ref in unsettled}
        return frozenset(ref for ref, since in self._unsettled.items() if now < since + SLOW)

    async def _read_all(self, acting: Acting, ledger: Ledger) -> None:
        """What stands there already is not written again."""
        verdicts = self._judge()
        for kind in (each for each in KINDS if each.is_istio and each.discovery):
            try:
                async for page in acting.api.pages(collection(kind)):
                    for document in page.items:
                        about = _about(kind, document)
                        verdict = verdicts.get(about.ref)
                        if verdict is not None and merge(verdict, about.generation, _status(document), _now()) is None:
                            ledger.wrote(about.ref, verdict)
            except ApiError as error:
                if error.code != 404:  # there is no such kind in this cluster
                    raise

    async def _write(self, acting: Acting, ledger: Ledger, ref: ObjectRef, verdict: Verdict) -> None:
        try:
            document = await acting.api.get(item(ref.kind, ref.namespace, ref.name))
            about = _about(ref.kind, document)
            if verdict.generation not in (0, about.generation):
                ledger.failed(ref, time.monotonic())  # it is another by now, of which nothing is known yet
                return
            before = _status(document)
            if ref.kind.is_istio:
                await self._patch(acting, about, verdict, before)
            was_bad = _reason(before)
            known = ledger.wrote(ref, verdict)
            await self._tell(acting, about, verdict, known, was_bad)
        except Unreachable:
            ledger.failed(ref, time.monotonic())
            raise
        except ApiError as error:
            if error.code == 404:
                ledger.wrote(ref, Verdict(0))  # it is gone
                return
            ledger.failed(ref, time.monotonic())
            if error.code != 409:
                raise

    async def _patch(self, acting: Acting, about: About, verdict: Verdict, before: Mapping[str, Any]) -> None:
        status = merge(verdict, about.generation, before, _now())
        if status is None or about.ref.kind in self._without_status:
            return
        ref = about.ref
        patch = {"metadata": {"resourceVersion": about.resource_version}, "status": status}
        path = item(ref.kind, ref.namespace, ref.name, "status")
        try:
            await acting.send("PATCH", path, patch, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.code != 404:
                raise
            self._without_status.add(ref.kind)
            _log.warning("the definition of %s has no status subresource, so that nothing is written there", ref.kind)

    async def _tell(self, acting: Acting, about: About, verdict: Verdict, known: Verdict | None, was_bad: str) -> None:
        """What is bad, and what was, as far as that is news."""
        bad = [told for told in verdict.told if told.keeps_out]
        bad_before = [told.problem for told in known.told if told.keeps_out] if known is not None else []
        for told in bad:
            if told.problem not in bad_before:
                await self._post(acting, about, warning(about, told, self._instance, _now()))
        past = was_bad or next((problem.reason for problem in bad_before), "")
        if past and not bad:
            await self._post(acting, about, mended(about, past, self._instance, _now()))

    async def _post(self, acting: Acting, about: About, event: Mapping[str, Any]) -> None:
        try:
            await acting.send("POST", _EVENTS.format(about.namespace), event)
        except ApiError as error:
            # It was told already; or its namespace is on its way out, where nobody looks.
            if error.code != 409 and not (error.code == 403 and "being terminated" in error.said):
                raise


def _is_unsure(verdict: Verdict, before: Verdict | None) -> bool:
    if verdict.keeps_out:
        return False
    return not verdict.is_settled or (
        before is not None and before.keeps_out and before.generation == verdict.generation
    )


def _about(kind: Kind, document: Mapping[str, Any]) -> About:
    metadata = document.get("metadata") or {}
    return About(
        kind.ref(str(metadata.get("namespace") or ""), str(metadata.get("name"))),
        str(document.get("apiVersion") or kind.api_versions[0]),
        str(metadata.get("uid") or ""),
        str(metadata.get("resourceVersion") or ""),
        int(metadata.get("generation") or 0),
    )


def _status(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found = document.get("status")
    return found if isinstance(found, dict) else {}


def _reason(status: Mapping[str, Any]) -> str:
    """Why the status says that something keeps the object out of force; "" if it does not."""
    conditions = status.get("conditions")
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, dict) and each.get("type") == RECONCILED and each.get("status") == "False":
            return str(each["reason"]) if each.get("reason") not in (None, PROPAGATING) else ""
    return ""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
