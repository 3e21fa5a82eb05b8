"""Faults that are made on purpose, in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPFaultInjection
"""

from __future__ import annotations

from pilotfish.config import istio
from pilotfish.config.grpc import STATUSES
from pilotfish.model.route import MILLION, Abort, Delay, Fault


def lower_fault(source: istio.HTTPFaultInjection | None) -> Fault | None:
    """None where no request is ever hit."""
    if source is None:
        return None
    delay, abort = _delay(source.delay), _abort(source.abort)
    return Fault(delay, abort) if delay is not None or abort is not None else None


def share_of(percentage: istio.Percent | None, otherwise: int = 0) -> int:
    """In millionths."""
    return round(percentage.value * MILLION / 100) if percentage is not None else otherwise


def _delay(source: istio.Delay | None) -> Delay | None:
    if source is None or source.fixed_delay is None:
        return None
    share = share_of(source.percentage, source.percent * MILLION // 100)
    return Delay(source.fixed_delay, share) if share else None


def _abort(source: istio.Abort | None) -> Abort | None:
    share = share_of(source.percentage) if source is not None else 0
    if source is None or not share:
        return None
    if source.grpc_status is not None:
        return Abort(share, grpc_status=STATUSES.index(source.grpc_status))
    return Abort(share, http_status=source.http_status)
