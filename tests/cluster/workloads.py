"""Pods that tests make again and again, of the image of tools."""

from __future__ import annotations

import subprocess

from tests.cluster.images import TOOLS
from tests.cluster.kubectl import Kubectl, Object

CLIENT = "client"


def pod(name: str, *command: str, **spec: object) -> Object:
    container = {"name": "app", "image": TOOLS, "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def client() -> Object:
    """One from which commands are run."""
    return pod(CLIENT, "sleep", "infinity")


def server(name: str) -> Object:
    """It answers with its name, on port 8080."""
    made = pod(name, "sh", "-c", f"mkdir /www; echo {name} > /www/index.html; exec httpd -f -p 8080 -h /www")
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    made["spec"]["containers"][0].update(ports=[{"containerPort": 8080}], readinessProbe=probe)
    return made


def service(name: str) -> Object:
    """Of the server with this name, on port 80."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def deployment(name: str, replicas: int) -> Object:
    """Of servers."""
    made = server(name)
    template = {"metadata": {"labels": made["metadata"]["labels"]}, "spec": made["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def run(kubectl: Kubectl, *objects: Object) -> None:
    """Until the pods among them are ready."""
    kubectl.apply(*objects)
    for each in objects:
        if each["kind"] == "Pod":
            kubectl.wait("condition=Ready", f"pod/{each['metadata']['name']}")


def curl(kubectl: Kubectl, url: str, *options: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """From the client. It exits with curl's code, which is 22 for an answer of 400 and above."""
    return kubectl.run_in(CLIENT, "curl", "-sS", "-f", "-m", "5", *options, url, container="app", check=check)
