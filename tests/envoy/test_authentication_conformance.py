"""Istio's own table: RequestAuthentications of a workload → the JWT filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2  # noqa: F401  (for what stands in an Any)
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.json_format import MessageToDict, ParseDict

from pilotfish.config import istio
from pilotfish.config.checks.request_authentication import find_uri_fault
from pilotfish.config.decode import decode
from pilotfish.config.report import Report
from pilotfish.envoy.jwt_authn import NOBODYS_KEYS, build_tokens
from pilotfish.mesh.security.guards import lower_token_rule
from pilotfish.model import FieldRef, ObjectRef
from pilotfish.model.authentication import Verified
from pilotfish.model.kinds import REQUEST_AUTHENTICATION

REMOTE: Final = "remoteJwks"
"""Keys that Envoy fetches, which Istio does when a flag of its own says so; here discovery always does."""


def test_rules_become_istios_filter(conformance: Path) -> None:
    table = yaml.safe_load((conformance / "security" / "authentication" / "jwt.yaml").read_text())
    left_out = 0
    for case in table["cases"]:
        if REMOTE in json.dumps(case["expect"]):
            left_out += 1
            continue
        found = list(build_tokens(_authentication(case)))
        if case["expect"] is None:
            assert found == [], case["name"]
            continue
        expected = json.loads(json.dumps(case["expect"]).replace('"UNUSABLE_JWKS"', json.dumps(NOBODYS_KEYS)))
        (filter,) = found
        assert MessageToDict(filter) == MessageToDict(ParseDict(expected, HttpFilter())), case["name"]
    assert left_out == 3


def _authentication(case: Mapping[str, Any]) -> tuple[Verified, ...]:
    """The keys of the table are none, so that no object with them would be taken: rules are lowered by themselves."""
    fetched = case["context"]["jwks_documents"]
    found = []
    for document in case["input"]:
        ref = REQUEST_AUTHENTICATION.ref(document["metadata"]["namespace"], document["metadata"]["name"])
        for rule in _rules(ref, document["spec"]):
            lowered = lower_token_rule(FieldRef(ref, "spec"), rule)
            keys = lowered.keys if isinstance(lowered.keys, str) else fetched.get(lowered.keys.url, "")
            found.append(Verified(lowered, keys))
    return tuple(sorted(found, key=lambda each: each.rule.issuer))


def _rules(ref: ObjectRef, spec: Mapping[str, Any]) -> tuple[istio.JWTRule, ...]:
    decoded = decode(spec, istio.RequestAuthenticationSpec, Report(ref, "in.yaml"))
    assert decoded is not None
    return decoded.jwt_rules


def test_claims_that_are_lists(conformance: Path) -> None:
    table = yaml.safe_load((conformance / "security" / "authentication" / "jwt.yaml").read_text())
    for row in table["space_delimited_claims"]:
        rule = istio.JWTRule(issuer="x", space_delimited_claims=tuple(row["input"] or ()))
        lowered = lower_token_rule(FieldRef(REQUEST_AUTHENTICATION.ref("foo", "x"), ""), rule)
        assert lowered.list_claims == tuple(row["expect"])


def test_where_keys_are(conformance: Path) -> None:
    table = yaml.safe_load((conformance / "security" / "authentication" / "jwt.yaml").read_text())
    for row in table["jwks_uri"]:
        assert bool(find_uri_fault(row["uri"])) is row.get("error", False), row
