"""Manifests that tests save: texts of small objects in the namespace `vm`, and how an editor writes a file."""

from __future__ import annotations

from pathlib import Path


def service(name: str, cluster_ip: str, endpoint: str = "") -> str:
    """A Service with the HTTP port 8000, and where it leads if that is not for others to say."""
    text = f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: vm}}
spec: {{clusterIP: {cluster_ip}, ports: [{{name: http, port: 8000}}]}}
"""
    if endpoint:
        text += f"""---
apiVersion: v1
kind: Endpoints
metadata: {{name: {name}, namespace: vm}}
subsets: [{{addresses: [{{ip: {endpoint}}}], ports: [{{name: http, port: 8000}}]}}]
"""
    return text


def virtual_service(name: str, uri: str) -> str:
    """Of the service of that name; its first route matches `uri`, such as `{prefix: /first}`. Its `kind` stands in the
    third line."""
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}]
  http:
  - match: [{{uri: {uri}}}]
    route: [{{destination: {{host: {name}}}}}]
  - route: [{{destination: {{host: {name}}}}}]
"""


def save(path: Path, text: str) -> None:
    """In one step: a new file in the old one's place."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
