"""What the plugin passes on."""

from __future__ import annotations

import json

import pytest

from pilotfish.cni.request import Code, Request, fail, succeed

BEFORE = {"cniVersion": "1.0.0", "ips": [{"address": "10.244.0.7/24"}]}


def packed(config: object, **variables: str) -> bytes:
    head = "".join(f"{name}={value}\0" for name, value in variables.items())
    return head.encode() + b"\0" + json.dumps(config).encode()


ADD = packed(
    {"cniVersion": "1.0.0", "prevResult": BEFORE},
    CNI_COMMAND="ADD",
    CNI_CONTAINERID="c",
    CNI_NETNS="/var/run/netns/cni-1",
    CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=vm;K8S_POD_NAME=web-0",
)


def test_a_request_for_a_pod() -> None:
    request = Request.parse(ADD)
    assert (request.command, request.container, request.netns) == ("ADD", "c", "/var/run/netns/cni-1")
    assert (request.namespace, request.pod, request.version) == ("vm", "web-0", "1.0.0")


def test_success_passes_on_what_others_did() -> None:
    answer = succeed(Request.parse(ADD))
    assert answer.code == 0
    assert json.loads(answer.text) == BEFORE
    assert bytes(answer)[:1] == b"\0"


def test_other_commands_have_nothing_to_say() -> None:
    assert bytes(succeed(Request.parse(ADD.replace(b"=ADD", b"=DEL")))) == b"\0"


def test_a_failure_is_cni_s() -> None:
    answer = fail("1.0.0", Code.TRY_AGAIN, "later", "why")
    assert answer.code == 1
    assert json.loads(answer.text) == {"cniVersion": "1.0.0", "code": 11, "msg": "later", "details": "why"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends within its variables"),
        (b"CNI_COMMAND=ADD\0", "ends within its variables"),
        (b"CNI_COMMAND=ADD\0\0{", "is not JSON"),
        (b"CNI_COMMAND=ADD\0\0[]", "is no JSON object"),
        (b"CNI_COMMAND=ADD\0\0\xff", "is not JSON"),
    ],
)
def test_what_is_no_request_is_said(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Request.parse(data)
