"""The cluster of the tests is a whole one: pods run, are probed, resolve names and reach Services."""

from __future__ import annotations

import pytest

from tests.cluster import settings
from tests.cluster.images import TOOLS
from tests.cluster.kubectl import Kubectl
from tests.cluster.node import Node

pytestmark = pytest.mark.long

WEB = f"""
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: {TOOLS}
        command: [sh, -c, "mkdir /www; hostname > /www/index.html; echo started; exec httpd -f -p 8080 -h /www"]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: client, image: "{TOOLS}", command: [sleep, infinity]}}]
"""


@pytest.fixture
def web(pods: Kubectl) -> Kubectl:
    pods.apply(WEB)
    pods.rolled_out("deployment/web")
    pods.wait("condition=Ready", "pod/client")
    return pods


def test_a_service_is_reached_by_name_by_its_addresses_of_both_families_and_from_outside(
    web: Kubectl, node: Node
) -> None:
    names = {pod["metadata"]["name"] for pod in web.items("pods", "-l", "app=web")}
    service = web.get("service/web")["spec"]
    hosts = ("web", *(f"[{each}]" if ":" in each else each for each in service["clusterIPs"]))
    assert len(hosts) == 3
    inside = [web.exec("client", "curl", "-sS", "-m", "5", f"http://{host}/").strip() for host in hosts]
    port = service["ports"][0]["nodePort"]
    outside = node.run("curl", "-sS", "-m", "5", f"http://{settings.ADDRESS}:{port}/").stdout.strip()
    assert {*inside, outside} <= names


def test_a_pod_tells_by_log_and_exit_code(web: Kubectl) -> None:
    pod = web.items("pods", "-l", "app=web")[0]["metadata"]["name"]
    assert web.logs(pod) == "started\n"
    assert web.run_in("client", "sh", "-c", "cat; exit 7", stdin="heard", check=False).returncode == 7
    assert "Started" in {event["reason"] for event in web.events(of=pod)}


def test_its_api_server_comes_back_with_what_it_held(web: Kubectl, node: Node) -> None:
    node.end("kube-apiserver")
    node.start("kube-apiserver")
    node.await_ready()
    web("scale", "deployment/web", "--replicas", "1")
    web.wait_until("one pod is left", "pods", "-l", "app=web", holds=lambda found: len(found["items"]) == 1)
