"""The annotations by which Prometheus finds a pod: once injected they lead to the agent, which serves the app's metrics
with the proxy's.

Source: https://istio.io/latest/docs/ops/integrations/prometheus/#option-1-metrics-merging
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

_OWN: Final = ("scrape", "port", "path", "scheme")
_MERGED: Final = "/stats/prometheus"
_NAMED: Final = re.compile(r"prometheus[._-]io[/._-](scrape|port|path|scheme)")
"""Prometheus knows a name by its letters alone: https://prometheus.io/docs/prometheus/latest/configuration/configuration/
(`__meta_kubernetes_pod_annotation_`)."""


def plain(annotations: Mapping[str, str]) -> dict[str, str]:
    """With `prometheus.io/...` in its usual form."""
    return {_usual(name): value for name, value in annotations.items()}


def point_at_agent(annotations: Mapping[str, str], status_port: int) -> dict[str, str]:
    """What a pod says that did not ask to be left alone (`prometheus.io/scrape: "false"`)."""
    stated = plain(annotations)
    if stated.get("prometheus.io/scrape", "true").lower() == "false":
        return dict(annotations)
    others = {name: value for name, value in annotations.items() if not _NAMED.fullmatch(name)}
    return {
        **others,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(status_port),
        "prometheus.io/path": _MERGED,
    }


def restore(annotations: Mapping[str, str], text: str) -> dict[str, str]:
    """As they were before; `text`: of the variable with where the app's metrics are, "" if it has none."""
    if annotations.get("prometheus.io/path") != _MERGED:
        return dict(annotations)
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = {}
    others = {name: value for name, value in annotations.items() if not _NAMED.fullmatch(name)}
    app = {f"prometheus.io/{name}": str(found[name]) for name in _OWN if isinstance(found, dict) and name in found}
    return {**others, **app}


def _usual(name: str) -> str:
    found = _NAMED.fullmatch(name)
    return f"prometheus.io/{found[1]}" if found else name
