"""What the server sees of a path, in each mode of `pathNormalization`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.envoy.conftest import POD4, Start

MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: "pathNormalization: {{normalization: {mode}}}"
---
apiVersion: v1
kind: Service
metadata: {{name: webapp, namespace: vm}}
spec: {{selector: {{app: webapp}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: webapp-0, namespace: vm, labels: {{app: webapp}}}}
spec: {{containers: [{{name: app, command: [x]}}]}}
status: {{podIP: 10.245.1.1}}
"""


@pytest.mark.parametrize("mode", ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"])
def test_paths_are_normalised_as_by_istio(mode: str, start: Start, conformance: Path) -> None:
    table = yaml.safe_load((conformance / "security" / "live" / "normalization.yaml").read_text())
    rows: list[Any] = [row for row in (*table["rows"], *table["observed_rows"]) if row["mode"] == mode]
    if mode == "DECODE_AND_MERGE_SLASHES":
        kept = (f"/admin%{byte}" for byte in table["kept_encoded_bytes"].split())
        rows += [{"path": path, "upstream_path": path} for path in kept]
    live = start(MESH.format(mode=mode))
    live.start_app(live.netns, POD4, 8080, "app")

    def seen(path: str) -> str:
        answer = live.request(live.peer, POD4, 8080, "webapp", path)
        head, _, body = answer.partition("\n\n")
        return body.split(" ")[2] if " 200 " in head.partition("\n")[0] else head.partition("\n")[0]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(seen, [row["path"] for row in rows]))
    expected = [row.get("upstream_path") or f"HTTP/1.1 {row['status']} " for row in rows]
    wrong = {row["path"]: (f, e) for row, f, e in zip(rows, found, expected, strict=True) if not _fits(f, e)}
    assert wrong == {}


def _fits(found: str, expected: str) -> bool:
    return found.startswith(expected) if expected.startswith("HTTP/1.1 ") else found == expected
