"""Installations as tests choose them."""

from __future__ import annotations

from pilotfish.install.names import Object
from pilotfish.install.objects import build_objects
from pilotfish.install.settings import read_values
from pilotfish.install.values import Values


def values(*settings: str) -> Values:
    """Of `--set`, without problems, and of an image that is the same in every release."""
    read = read_values((), ("tag=1.2.3", *settings))
    assert read.problems == ()
    assert read.values is not None
    return read.values


def objects(*settings: str) -> tuple[Object, ...]:
    """Without the definitions."""
    return build_objects(values("crds=false", *settings))


def named(found: tuple[Object, ...], kind: str, name: str = "") -> Object:
    (one,) = (each for each in found if each["kind"] == kind and name in ("", each["metadata"]["name"]))
    return one
