"""A Trace on its way from one process to another of the same version; for everybody else there is `document`."""

from __future__ import annotations

import msgspec

from pilotfish.explain.trace import Trace


def encode(trace: Trace) -> bytes:
    return msgspec.json.encode(trace)


def decode(data: bytes) -> Trace:
    """Raises ValueError for what is none, also where its steps are no tree."""
    try:
        trace = msgspec.json.decode(data, type=Trace)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    for index, step in enumerate(trace.steps):
        if step.id != index or not (step.parent is None or 0 <= step.parent < index):
            raise ValueError(f"steps[{index}] has the id {step.id} and the parent {step.parent}; each follows its own")
    return trace
