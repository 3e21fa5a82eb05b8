"""Which Deployment `scale` and `rollout` mean: `deploy/NAME[.NAMESPACE]` or `deployment NAME`."""

from __future__ import annotations

import click

from pilotfish.cli.render.objects import name_of, namespace_of
from pilotfish.cli.session import Session
from pilotfish.cli.target import split_deployment
from pilotfish.model.kinds import DEPLOYMENT


def join_words(words: tuple[str, ...]) -> str:
    """`deployment NAME` → `deployment/NAME`. Raises click.UsageError where there are more or fewer words."""
    if len(words) == 2 and "/" not in words[0]:
        return "/".join(words)
    if len(words) != 1 or "/" not in words[0]:
        raise click.UsageError("name one Deployment, as in deploy/NAME")
    return words[0]


def find_deployment(session: Session, target: str) -> tuple[str, str]:
    """Namespace and name. Raises Failure where it names no Deployment; the mesh says if there is none of the name."""
    readings = split_deployment(target, session.namespace)
    if len(readings) > 1:
        stored = {(namespace_of(each), name_of(each)) for each in session.client.objects(DEPLOYMENT)}
        return next((reading for reading in readings if reading in stored), readings[0])
    return readings[0]
