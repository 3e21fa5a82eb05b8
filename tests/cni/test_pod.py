"""Which pods are the node's to capture, and which run without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pilotfish.capture import ALL, CaptureSpec
from pilotfish.capture.flags import render_flags
from pilotfish.cni.pod import NodePod, find_broken, find_capture

FLAGS = ("-p", "15001", "-z", "15006", "-u", "1337", "-g", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*")


def pod(
    *arguments: str, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **meta: str
) -> NodePod:
    validation = {"name": "istio-validation", "image": "x", "args": ["capture", "check", *(arguments or FLAGS)]}
    found = {
        "metadata": {"name": "web-0", "namespace": "vm", "uid": "1", **meta},
        "spec": {"initContainers": [{"name": "other"}, validation], "containers": [{"name": "web"}], **(spec or {})},
        "status": {"podIPs": [{"ip": "10.244.0.7"}], **(status or {})},
    }
    return msgspec.json.decode(msgspec.json.encode(found), type=NodePod)


def test_what_the_injector_wrote_is_what_is_captured() -> None:
    spec = find_capture(pod())
    assert spec == CaptureSpec(inbound_ports_include=ALL, outbound_ip_ranges_include=ALL)


@pytest.mark.parametrize(
    "spec",
    [
        CaptureSpec(),
        CaptureSpec(inbound_ports_include=(80, 443), outbound_ports_exclude=(5432,), enable_ipv6=True),
        CaptureSpec(owner_groups_include=("java",), redirect_dns=True, capture_all_dns=True, drop_invalid=True),
        CaptureSpec(inbound_ports_include=ALL, inbound_ports_exclude=(15090,), proxy_uids=(0,), proxy_gids=(1337,)),
    ],
)
def test_all_that_an_injector_can_say_is_understood(spec: CaptureSpec) -> None:
    assert find_capture(pod(*render_flags(spec))) == spec


def test_istio_s_own_validation_is_understood() -> None:
    mine = ("istio-iptables", *FLAGS, "-d", "15090,15021", "--log_output_level=default:info", "--run-validation")
    spec = find_capture(pod(*mine, "--skip-rule-apply", "--redirect-dns=true", "--capture-all-dns"))
    expected = CaptureSpec(
        inbound_ports_include=ALL, outbound_ip_ranges_include=ALL, inbound_ports_exclude=(15090, 15021)
    )
    assert spec == replace(expected, redirect_dns=True, capture_all_dns=True)


def test_others_are_left_alone() -> None:
    assert find_capture(pod(spec={"hostNetwork": True})) is None
    assert find_capture(pod(spec={"initContainers": [{"name": "istio-init"}]})) is None
    assert find_capture(pod(spec={"initContainers": []})) is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("-p",), "'-p' has no value"),
        (("--include-everything",), "'--include-everything' is no flag of capture"),
        (("-b", "many"), "inbound_ports_include"),
    ],
)
def test_a_flag_that_says_nothing_is_named(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_capture(pod(*flags))


def status(state: dict[str, Any], last: dict[str, Any] | None = None, phase: str = "Pending") -> dict[str, Any]:
    own = {"name": "istio-validation", "state": state, "lastState": last or {}}
    return {"phase": phase, "initContainerStatuses": [own]}


ENDED = {"terminated": {"exitCode": 126}}
WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        (pod(status={}), ""),
        (pod(status=status({"running": {"startedAt": "2026-01-01T00:00:00Z"}})), "waits"),
        (pod(status=status(ENDED)), "waits"),
        (pod(status=status(WAITING, ENDED)), "waits"),
        (pod(status=status(WAITING, {"terminated": {"exitCode": 1}})), ""),
        (pod(status=status(ENDED, phase="Failed")), "failed"),
        (pod(status=status({"terminated": {"exitCode": 0}}, phase="Running")), ""),
        (pod(status={**status(ENDED), "podIPs": []}), ""),
        (pod(status=status(ENDED), deletionTimestamp="2026-01-01T00:00:00Z"), ""),
        (pod(status=status(ENDED), spec={"hostNetwork": True}), ""),
    ],
)
def test_who_runs_without_rules(found: NodePod, broken: str) -> None:
    assert find_broken(found) == broken
