"""What a pod's annotations `sidecar.istio.io/...` ask of its own proxy: what it logs, and which volumes it sees.

Source: https://istio.io/latest/docs/reference/config/annotations/ and, of the forms that Istio takes, its injection
template: https://github.com/istio/istio/blob/master/manifests/charts/istio-control/istio-discovery/files/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pilotfish.config.checks.container import check_relative
from pilotfish.config.checks.pod import check_volume
from pilotfish.config.decode import decode
from pilotfish.config.kubernetes import Pod, Struct, Volume, VolumeMount
from pilotfish.config.report import Report
from pilotfish.model import ObjectRef, Problem, Source

LOG_LEVEL: Final = "sidecar.istio.io/logLevel"
COMPONENT_LOG_LEVEL: Final = "sidecar.istio.io/componentLogLevel"
USER_VOLUME: Final = "sidecar.istio.io/userVolume"
USER_VOLUME_MOUNT: Final = "sidecar.istio.io/userVolumeMount"
MERGE_METRICS: Final = "prometheus.istio.io/merge-metrics"
OF_THE_PROXY: Final = (LOG_LEVEL, COMPONENT_LOG_LEVEL, USER_VOLUME, USER_VOLUME_MOUNT, MERGE_METRICS)

_LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical", "off")
_LEVEL: Final = "warning"
_COMPONENTS: Final = (
    "a2a admin ai_protocol_manager alternate_protocols_cache aws assert backtrace basic_auth cache_filter client "
    "config connection conn_handler compression credential_injector decompression dns dubbo envoy_bug ext_authz "
    "ext_proc rocketmq file filter forward_proxy geolocation grpc happy_eyeballs hc health_checker http http2 hystrix "
    "init io jwt json_rpc kafka key_value_store lua local_rate_limit main matcher mcp misc mongo multi_connection "
    "notification oauth2 quic quic_stream pool rate_limit_quota rbac rds redis router runtime stats secret sse tap "
    "testing thrift tracing upstream udp wasm websocket golang stats_sinks dynamic_modules ip_tagging"
)
"""Envoy 1.40's: it does not start with one that it does not know. Its admin lists them (POST /logging)."""
_NOT_STARTED: Final = "the pod is not started until it is corrected"

S = TypeVar("S", bound=Struct)


@dataclass(frozen=True, slots=True)
class ProxyWishes:
    log_level: str = _LEVEL
    component_log_level: str = ""
    """`rbac:debug,jwt:debug`."""
    volumes: tuple[Volume, ...] = ()
    """Beside the pod's own."""
    mounts: tuple[VolumeMount, ...] = ()
    """Of these, and of the pod's own."""


NO_WISHES: Final = ProxyWishes()


def read_wishes(pod: Pod, workload: ObjectRef, source: Source | None) -> tuple[ProxyWishes, tuple[Problem, ...]]:
    """With an error among the Problems the pod must not be started."""
    annotations = pod.metadata.annotations
    report = Report(workload, "-", fixed_source=source)
    volumes = _read_list(USER_VOLUME, annotations, Volume, report)
    mounts = _read_list(USER_VOLUME_MOUNT, annotations, VolumeMount, report)
    _check_volumes(pod, volumes, mounts, report)
    return ProxyWishes(_level(annotations, report), _components(annotations, report), volumes, mounts), tuple(
        report.problems
    )


def _level(annotations: Mapping[str, str], report: Report) -> str:
    text = annotations.get(LOG_LEVEL, "").strip().lower()
    return text if text and _is_level(text, LOG_LEVEL, report) else _LEVEL


def _components(annotations: Mapping[str, str], report: Report) -> str:
    text = annotations.get(COMPONENT_LOG_LEVEL, "").replace(" ", "")
    for part in filter(None, text.split(",")):
        name, _, level = part.partition(":")
        if name not in _COMPONENTS.split():
            what = f"{name!r} is no component of Envoy; write such as rbac:debug,jwt:debug; {_NOT_STARTED}"
            report.error(_field(COMPONENT_LOG_LEVEL), "InvalidValue", what)
            return ""
        if not _is_level(level.lower(), COMPONENT_LOG_LEVEL, report):
            return ""
    return text.lower()


def _is_level(text: str, name: str, report: Report) -> bool:
    if text in _LEVELS:
        return True
    report.error(_field(name), "InvalidValue", f"{text!r} is none of {', '.join(_LEVELS)}; {_NOT_STARTED}")
    return False


def _read_list(name: str, annotations: Mapping[str, str], kind: type[S], report: Report) -> tuple[S, ...]:
    if name not in annotations:
        return ()
    try:
        value = read_objects(annotations[name])
    except (ValueError, RecursionError) as error:
        report.error(_field(name), "InvalidValue", f"{error}; {_NOT_STARTED}")
        return ()
    found = (decode(each, kind, report, f"{_field(name)}[{index}]") for index, each in enumerate(value))
    return tuple(each for each in found if each is not None)


def read_objects(text: str) -> list[Any]:
    """A list of objects with names, or a map by name, in JSON. Raises ValueError."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if isinstance(value, dict):
        value = [{"name": key, **each} if isinstance(each, dict) else each for key, each in value.items()]
    if not isinstance(value, list):
        raise ValueError("it is no list and no map")
    return value


def _check_volumes(pod: Pod, volumes: tuple[Volume, ...], mounts: tuple[VolumeMount, ...], report: Report) -> None:
    own = {volume.name for volume in pod.spec.volumes}
    for index, volume in enumerate(volumes):
        field = f"{_field(USER_VOLUME)}[{index}]"
        check_volume(volume, field, report)
        if volume.name in own:
            report.invalid(f"{field}.name", f"the pod has a volume {volume.name!r} of its own", "choose another name")
        own.add(volume.name)
    for index, mount in enumerate(mounts):
        field = f"{_field(USER_VOLUME_MOUNT)}[{index}]"
        check_relative(mount.sub_path, f"{field}.subPath", report)
        if mount.name not in own:
            report.invalid(f"{field}.name", f"the pod has no volume {mount.name!r}", f"name it in {USER_VOLUME}, too")
        if not mount.mount_path.startswith("/"):
            report.invalid(f"{field}.mountPath", f"{mount.mount_path!r} is not absolute", "begin it with /")


def _field(name: str) -> str:
    return f"metadata.annotations[{name}]"
