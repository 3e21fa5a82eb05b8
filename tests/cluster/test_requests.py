"""Paths of the API server, what RBAC calls a request, and what a refusal says."""

from __future__ import annotations

import pytest

from pilotfish.cluster.paths import attributes, collection, item
from pilotfish.cluster.status import read_refusal
from pilotfish.model.kinds import NAMESPACE, POD, VIRTUAL_SERVICE
from pilotfish.runtime.cluster.errors import ApiError, Forbidden, Unauthorized, refused

_NO = b'{"message":"secrets is forbidden: User \\"ann\\" cannot list ...","reason":"Forbidden","code":403}'


def test_paths() -> None:
    assert collection(POD) == "/api/v1/pods"
    assert collection(POD, "vm") == "/api/v1/namespaces/vm/pods"
    assert (
        collection(VIRTUAL_SERVICE, "vm", "v1beta1")
        == "/apis/networking.istio.io/v1beta1/namespaces/vm/virtualservices"
    )
    assert collection(NAMESPACE, "vm") == "/api/v1/namespaces"
    assert item(NAMESPACE, "", "vm") == "/api/v1/namespaces/vm"
    assert item(VIRTUAL_SERVICE, "vm", "a", "status").endswith("/namespaces/vm/virtualservices/a/status")
    assert item(POD, "../x", "a/b") == "/api/v1/namespaces/..%2Fx/pods/a%2Fb"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", "list pods in the whole cluster"),
        ("GET", "/api/v1/namespaces/vm/pods", "list pods in namespace vm"),
        ("GET", "/api/v1/namespaces/vm/pods/a", "get pods a in namespace vm"),
        ("GET", "/api/v1/namespaces/vm/pods/a/portforward", "get pods/portforward a in namespace vm"),
        ("POST", "/api/v1/namespaces/vm/pods", "create pods in namespace vm"),
        ("GET", "/api/v1/namespaces", "list namespaces in the whole cluster"),
        ("PATCH", "/api/v1/namespaces/vm", "patch namespaces vm in namespace vm"),
        ("PUT", "/api/v1/namespaces/vm/status", "update namespaces/status vm in namespace vm"),
        ("DELETE", "/apis/apps/v1/namespaces/vm/deployments", "deletecollection deployments.apps in namespace vm"),
        ("DELETE", "/apis/apps/v1/namespaces/vm/deployments/a", "delete deployments.apps a in namespace vm"),
        ("GET", "/version", "get /version"),
        ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
    ],
)
def test_what_rbac_calls_a_request(method: str, path: str, expected: str) -> None:
    found = attributes(method, path)
    assert f"{found.verb} {found.what}" == expected


def test_a_missing_permission_is_named_with_the_rule_that_would_give_it() -> None:
    asked = attributes("GET", "/apis/networking.istio.io/v1/virtualservices", watch=True)
    error = refused(asked, read_refusal(403, _NO), "context a")
    assert isinstance(error, Forbidden)
    assert str(error) == (
        "the API server forbids ann to watch virtualservices.networking.istio.io in the whole cluster; allow it by a "
        'ClusterRole with apiGroups: ["networking.istio.io"], resources: ["virtualservices"], verbs: ["watch"]'
    )


def test_what_a_webhook_denies_is_no_missing_permission() -> None:
    said = b'{"message":"admission webhook \\"a.b\\" denied the request: no","code":403,"reason":"Forbidden"}'
    error = refused(attributes("POST", "/api/v1/namespaces/vm/pods"), read_refusal(403, said), "context a")
    assert type(error) is ApiError
    assert (
        str(error)
        == 'the API server refuses to create pods in namespace vm: admission webhook "a.b" denied the request: no'
    )


def test_credentials_that_are_not_valid_are_those_of_their_context() -> None:
    error = refused(attributes("GET", "/api/v1/pods"), read_refusal(401, b"Unauthorized"), "context a")
    assert isinstance(error, Unauthorized)
    assert "the credentials of context a are not, or no longer, valid" in str(error)


@pytest.mark.parametrize(
    ("body", "header", "expected"),
    [
        (b"", "", None),
        (b"", "3", 3.0),
        (b"", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (b'{"details":{"retryAfterSeconds":2}}', "", 2.0),
        (b'{"details":{"retryAfterSeconds":-2}}', "", None),
        (b'{"details":{"retryAfterSeconds":"x"}}', "", None),
        (b"\xff<html>", "", None),
    ],
)
def test_how_long_to_wait(body: bytes, header: str, expected: float | None) -> None:
    assert read_refusal(429, body, header).retry_after == expected
