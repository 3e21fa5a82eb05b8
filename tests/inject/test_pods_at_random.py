"""Whatever pods are like: a patch makes the pod, twice is once, and what was there is there."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.inject.pod import Installation, inject
from pilotfish.inject.values import InjectionValues, Proxy
from pilotfish.node.patching import json_patch

_PORT = st.one_of(st.integers(1, 65535), st.sampled_from(["http", "8080", "none"]))
_ACTION = st.one_of(
    st.fixed_dictionaries({"httpGet": st.fixed_dictionaries({"port": _PORT}, optional={"path": st.just("/a")})}),
    st.fixed_dictionaries({"tcpSocket": st.fixed_dictionaries({"port": _PORT})}),
    st.fixed_dictionaries({"grpc": st.fixed_dictionaries({"port": st.integers(1, 65535)})}),
    st.just({"exec": {"command": ["true"]}}),
)
_HOOKS = st.dictionaries(st.sampled_from(["postStart", "preStop"]), _ACTION)
_NAMES = ("web", "log", "istio-proxy", "istio-init", "istio-validation", "wéb")
_CONTAINER = st.fixed_dictionaries(
    {"image": st.sampled_from(["auto", "web:1"])},
    optional={
        "ports": st.just([{"name": "http", "containerPort": 8080, "hostPort": 9}]),
        "livenessProbe": _ACTION,
        "readinessProbe": _ACTION,
        "startupProbe": _ACTION,
        "lifecycle": _HOOKS,
        "resizePolicy": st.just([{"resourceName": "cpu", "restartPolicy": "NotRequired"}]),
        "env": st.lists(
            st.sampled_from([{"name": "A", "value": "b"}, {"name": "PROXY_CONFIG", "value": "{}"}]), max_size=2
        ),
        "securityContext": st.fixed_dictionaries({}, optional={"runAsUser": st.integers(0, 2000)}),
        "args": st.sampled_from([["proxy", "router"], ["run"]]),
        "restartPolicy": st.just("Always"),
        "volumeMounts": st.just([{"name": "data", "mountPath": "/etc/istio/pod"}]),
    },
)


def _containers(least: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    named = st.dictionaries(st.sampled_from(_NAMES), _CONTAINER, min_size=least, max_size=3)
    return named.map(lambda found: [{"name": name, **container} for name, container in found.items()])


_ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        [
            "prometheus.io/port", "prometheus.io/scrape", "prometheus_io_path", "sidecar.istio.io/nativeSidecar",
            "sidecar.istio.io/interceptionMode", "sidecar.istio.io/status", "proxy.istio.io/overrides",
            "inject.istio.io/templates", "sidecar.istio.io/rewriteAppHTTPProbers", "status.sidecar.istio.io/port",
            "sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount", "proxy.istio.io/config",
        ]
    ),
    st.sampled_from(
        [
            "", "true", "false", "TPROXY", "gateway", "15020", "16000", "null", "[]", "{}", "concurrency: 2",
            '{"containers": ["istio-proxy"]}', '{"containers": [{"name": "istio-proxy"}]}',
            '{"data": {"emptyDir": {}}}',
        ]
    ),
    max_size=5,
)  # fmt: skip
_POD = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("web")},
            optional={"annotations": _ANNOTATIONS, "labels": st.just({"app": "web"}), "uid": st.just("u")},
        ),
        "spec": st.fixed_dictionaries(
            {"containers": _containers(1)},
            optional={
                "initContainers": _containers(0),
                "volumes": st.lists(st.sampled_from([{"name": "data", "csi": {"driver": "d"}}]), max_size=1),
                "imagePullSecrets": st.just([{"name": "own"}]),
                "nodeSelector": st.just({"a": "b"}),
                "hostNetwork": st.booleans(),
            },
        ),
    }
)
_VALUES = st.builds(
    InjectionValues,
    cni=st.booleans(),
    pull_secrets=st.sampled_from([(), ("own",), ("mesh",)]),
    proxy=st.builds(Proxy, native=st.booleans(), hold_application_until_proxy_starts=st.booleans()),
)


@given(_POD, _VALUES)
def test_a_pod_at_random(pod: dict[str, Any], values: InjectionValues) -> None:
    pod = json.loads(json.dumps(pod))  # nothing in it twice, as an API server has it
    given = copy.deepcopy(pod)
    installation = Installation(values=values)
    once = inject(pod, installation, namespace="shop")
    assert pod == given
    assert json_patch(copy.deepcopy(pod), once.patch) == once.pod
    if once.has_errors:
        assert not once.is_changed
        return
    assert inject(once.pod, installation, namespace="shop").patch == []
    kept = {each["name"] for key in ("containers", "initContainers") for each in pod["spec"].get(key, ())}
    made = [each["name"] for key in ("containers", "initContainers") for each in once.pod["spec"].get(key, ())]
    claimed = {"istio-proxy", "istio-init", "istio-validation"}  # a pod may say that they are an injection's
    assert kept - claimed <= set(made)
    assert all(made.count(name) == 1 for name in claimed & set(made) - kept)
    for field in pod["spec"].keys() - {"containers", "initContainers", "volumes", "imagePullSecrets"}:
        assert once.pod["spec"][field] == pod["spec"][field]
