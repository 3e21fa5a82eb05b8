"""Manifests whose apps are stood in for."""

from __future__ import annotations

import json
from typing import Any

from pilotfish.offline.reading import read
from pilotfish.offline.standin import log_all, stand_in
from pilotfish.offline.world import build

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: vm}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {sidecar.istio.io/inject: "INJECT"}}
    spec:
      containers:
      - {name: app, command: [web], ports: [{containerPort: 7000}], volumeMounts: [{name: v, mountPath: /v}]}
      volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 7000}]}
---
"""
SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: web, namespace: vm}
spec:
  ingress:
  - {port: {number: 9000, protocol: HTTP, name: http}, defaultEndpoint: "127.0.0.1:9001"}
"""
GATEWAY = """
apiVersion: v1
kind: Pod
metadata: {name: edge, namespace: vm, labels: {istio: edge}, annotations: {inject.istio.io/templates: gateway}}
spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: vm}
spec: {containers: [{name: app, command: [client]}]}
"""


def documents(text: str) -> dict[str, Any]:
    world = build(read([("mesh.yaml", text)]))
    made = stand_in(world, lambda places: ("echo", *sorted(places)))
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in made}


def command(document: Any) -> list[str]:
    spec = document["spec"].get("template", document)["spec"]
    (container,) = spec["containers"]
    assert "volumes" not in spec
    return list(container["command"])


def test_an_app_listens_where_services_lead_and_where_it_says() -> None:
    for inject in ("true", "false"):
        found = documents(DEPLOYMENT.replace("INJECT", inject))
        assert command(found["Deployment/web"]) == ["echo", "0.0.0.0:7000", "0.0.0.0:8080"]
        assert found["Deployment/web"]["spec"]["replicas"] == 2
        assert found["Service/web"]["spec"]["ports"][0]["targetPort"] == 8080


def test_an_app_listens_where_a_sidecar_says() -> None:
    found = documents(DEPLOYMENT.replace("INJECT", "true") + SIDECAR)
    assert command(found["Deployment/web"]) == ["echo", "0.0.0.0:7000", "127.0.0.1:9001"]


def test_gateways_stay_and_who_serves_nothing_is_idle() -> None:
    found = documents(GATEWAY)
    assert found["Pod/edge"]["spec"]["containers"][0]["image"] == "auto"
    assert command(found["Pod/client"]) == ["sleep", "infinity"]


def test_access_logs_are_on_in_the_usual_form() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"
    text += "data: {mesh: 'accessLogEncoding: JSON\\n'}\n"
    config = log_all(read([("mesh.yaml", text.replace("'", '"'))]).mesh_config)
    assert (config.access_log_file, config.access_log_encoding, config.access_log_format) == ("/dev/stdout", "TEXT", "")


def test_pods_of_every_kind_are_stood_in_for() -> None:
    pod = "restartPolicy: POLICY, containers: [{name: a, command: [a]}]"
    template = f"template: {{metadata: {{labels: {{a: b}}}}, spec: {{{pod}}}}}"
    ever, once = (template.replace("POLICY", policy) for policy in ("Always", "OnFailure"))
    set_of = f"selector: {{matchLabels: {{a: b}}}}, {ever}"
    made_for = {
        **dict.fromkeys(("StatefulSet", "DaemonSet", "ReplicaSet"), ("apps", set_of)),
        "Job": ("batch", once),
        "CronJob": ("batch", f'schedule: "@daily", jobTemplate: {{spec: {{{once}}}}}'),
    }
    text = "".join(
        f"apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{{spec}}}\n---\n"
        for kind, (group, spec) in made_for.items()
    )
    made = documents(text)
    again = build(read([("again.yaml", "\n---\n".join(map(json.dumps, made.values())))]))
    assert again.problems == ()
    for kind in ("StatefulSet", "DaemonSet", "ReplicaSet", "Job"):
        assert command(made[f"{kind}/a"]) == ["sleep", "infinity"], kind
    job = made["CronJob/a"]["spec"]["jobTemplate"]
    assert command(job) == ["sleep", "infinity"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
