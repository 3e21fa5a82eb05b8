"""The ConfigMap with the meshConfig, and with what is said of the proxies that are put into pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from pilotfish.inject.values import VALUES_KEY
from pilotfish.install.injection import proxies
from pilotfish.install.names import Names, Object
from pilotfish.install.values import Values
from pilotfish.model.wellknown import SECURE_XDS_PORT


def mesh_config(values: Values, names: Names, labels: Mapping[str, str]) -> Object:
    data = {"mesh": _merged(_own(names), values.mesh_config), VALUES_KEY: msgspec.to_builtins(proxies(values))}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names.mesh, "namespace": names.namespace, "labels": dict(labels)},
        "data": {key: yaml.safe_dump(value, sort_keys=True) for key, value in data.items()},
    }


def _own(names: Names) -> Object:
    """What follows from where the control plane is."""
    address = f"{names.service}.{names.namespace}.svc:{SECURE_XDS_PORT}"
    return {"rootNamespace": names.namespace, "defaultConfig": {"discoveryAddress": address}}


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Object:
    merged = dict(base)
    for name, value in over.items():
        held = merged.get(name)
        merged[name] = _merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return merged
