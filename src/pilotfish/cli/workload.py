"""Which object `scale` and `rollout` mean: `deploy/NAME[.NAMESPACE]`, `sts/NAME` or `statefulset NAME`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pilotfish.cli.render.objects import name_of, namespace_of
from pilotfish.cli.session import Session
from pilotfish.cli.target import split_workload
from pilotfish.model import Kind, ObjectRef


def join_words(words: tuple[str, ...]) -> str:
    """`deployment NAME` → `deployment/NAME`. Raises click.UsageError where there are more or fewer words."""
    if len(words) == 2 and "/" not in words[0]:
        return "/".join(words)
    if len(words) != 1 or "/" not in words[0]:
        raise click.UsageError("name one object, as in deploy/NAME or sts/NAME")
    return words[0]


def find_workload(session: Session, target: str, kinds: Sequence[Kind]) -> ObjectRef:
    """Raises Failure where it names none of these kinds; the mesh says if there is none of the name."""
    kind, readings = split_workload(target, session.namespace, kinds)
    if len(readings) > 1:
        stored = {(namespace_of(each), name_of(each)) for each in session.client.objects(kind)}
        return kind.ref(*next((reading for reading in readings if reading in stored), readings[0]))
    return kind.ref(*readings[0])
