"""The lines of fields, as they are kept with an object."""

from __future__ import annotations

import pytest

from pilotfish.config import load
from pilotfish.model import Source

TEXT = """
# a comment
apiVersion: v1
kind: Service
metadata:
  annotations:
    example.com/note: |
      two
      lines
    example.com/other: x
  name: web
spec:
  selector: &labels
    app: web

  ports:
  - name: http
    port: 80
  - {name: tcp,
     port: 81}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: inner, namespace: vm}
  spec:
    ports:
    - port: 80
"""
LINES = TEXT.splitlines()


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", "apiVersion: v1"),
        ("metadata.name", "  name: web"),
        ("metadata.annotations[example.com/other]", "    example.com/other: x"),
        ("spec", "spec:"),
        ("spec.selector.app", "    app: web"),
        ("spec.ports[0].port", "    port: 80"),
        ("spec.ports[1]", "  - {name: tcp,"),
        ("spec.ports[1].port", "     port: 81}"),
        ("spec.ports[1].targetPort", "  - {name: tcp,"),
        ("spec.ports[7].port", "  ports:"),
        ("spec.nothing.here", "spec:"),
    ],
)
def test_a_field_stands_where_it_was_written(path: str, line: str) -> None:
    web = load(TEXT, "mesh.yaml").manifests[0]
    source = web.at(path)
    assert source is not None
    assert (source.file, LINES[source.line - 1]) == ("mesh.yaml", line)


def test_an_object_of_a_list_has_lines_of_its_own() -> None:
    inner = load(TEXT, "mesh.yaml").manifests[1]
    source = inner.at("spec.ports[0].port")
    assert source is not None
    assert LINES[source.line - 1] == "    - port: 80"


def test_an_annotated_object_is_where_the_annotation_says() -> None:
    text = TEXT.replace("example.com/other: x", "pilotfish.io/source: elsewhere.yaml:7")
    assert str(load(text, "-").manifests[0].at("spec.ports")) == "elsewhere.yaml:7"


def test_a_field_of_json_stands_where_it_was_written() -> None:
    text = '\n{"apiVersion": "v1", "kind": "List", "items": [\n {"apiVersion": "v1", "kind": "Service",\n'
    text += '  "metadata": {"name": "web"},\n  "spec": {"ports": [\n    {"port": 80}]}}]}\n'
    (web,) = load(text, "mesh.json").manifests
    found = [web.at(path) for path in ("", "metadata.name", "spec", "spec.ports[0].port")]
    assert found == [Source("mesh.json", line) for line in (3, 4, 5, 6)]
