"""Istio's own tables: policies and a workload → filters; one value → one matcher."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from envoy.config.core.v3.address_pb2 import CidrRange  # noqa: F401  (for what stands in an Any)
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2  # noqa: F401
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2  # noqa: F401
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2  # noqa: F401
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2  # noqa: F401
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from pilotfish.config import istio, load
from pilotfish.config.conditions import (
    claim_path,
    find_path_fault,
    in_brackets,
    parse_key,
    parse_port,
)
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.derive import Graph
from pilotfish.envoy.authorization import build_connection_filters, build_custom, build_verdicts
from pilotfish.envoy.rbac import build_header, build_permission, build_principal, build_rbac, build_text
from pilotfish.mesh import inputs
from pilotfish.mesh.policy.policies import scope_of
from pilotfish.mesh.security.guards import authorization, guard_of
from pilotfish.mesh.security.lowering import lower_policy, of_connections
from pilotfish.mesh.security.trust_domains import domain_of, expand, has_domain, is_listed, with_domain
from pilotfish.model import Proxy
from pilotfish.model.authorization import Attribute, Match, Policy

RULES: Final = {
    "operation.hosts": Attribute.HOST,
    "operation.paths": Attribute.PATH,
    "operation.methods": Attribute.METHOD,
}


@pytest.fixture
def tables(conformance: Path) -> Path:
    return conformance / "security" / "authorization"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def same(found: Message, expected: Mapping[str, Any]) -> None:
    """`metadata` is deprecated; `sourcedMetadata` says the same."""
    wanted = ParseDict(_with_sources(expected), type(found)())
    assert MessageToDict(found) == MessageToDict(wanted)


def _with_sources(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_sources(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_sources(item) for key, item in value.items()}
    if "filter" in found.get("metadata", {}):
        found["sourcedMetadata"] = {"metadataMatcher": found.pop("metadata")}
    return found


def test_policies_become_istios_filters(tables: Path) -> None:
    cases = read(tables / "cases.yaml")["cases"]
    assert len(cases) == 29
    for case in cases:
        found = list(_filters(tables, case))
        assert len(found) == len(case["expect"]), case["id"]
        for each, file in zip(found, case["expect"], strict=True):
            same(each, read(tables / file))


def _filters(tables: Path, case: Mapping[str, Any]) -> Iterator[HttpFilter | Filter]:
    context = case["context"]
    graph = Graph()
    services = "\n---\n".join(_service(each) for each in context["services"])
    loaded = load((tables / case["input"]).read_text() + "\n---\n" + services, "in.yaml")
    inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    config = {
        **context["mesh_config"],
        "rootNamespace": context["root_namespace"],
        "trustDomain": context["trust_domain"],
        "trustDomainAliases": context["trust_domain_aliases"],
    }
    mesh_config, _ = load_mesh_config(yaml.safe_dump(config), "mesh.yaml")
    assert mesh_config is not None
    inputs.apply_mesh_config(graph, mesh_config)
    proxy = Proxy.of_pod("httpbin-0", context["namespace"], ("10.0.0.1",), labels=context["labels"])
    guard = guard_of(graph, proxy, scope_of(graph, proxy))
    is_http = case["protocol"] == "http"
    found = graph.get(authorization, guard, is_http)
    if is_http:
        yield from build_custom(found) if case["mode"] == "custom" else build_verdicts(found)
        return
    for each in build_connection_filters(found):
        is_custom = each.name.endswith("ext_authz") or b"istio_ext_authz_" in each.typed_config.value
        if is_custom == (case["mode"] == "custom"):
            yield each


def _service(known: Mapping[str, str]) -> str:
    spec = {"ports": [{"name": "grpc", "port": 9000}], "selector": {"app": "x"}}
    name = known["hostname"].partition(".")[0]
    metadata = {"name": name, "namespace": known["namespace"]}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})


def test_values_become_istios_matchers(tables: Path) -> None:
    table = read(tables / "matchers.yaml")
    for row in table["string_matcher"]:
        # What is inserted is never there for a wildcard alone.
        same(build_text(row["value"], row["insert_prefix"]), row["expect"])
    for row in table["string_matcher_examples"]:
        pattern = build_text(row["value"], row["insert_prefix"]).safe_regex.regex
        assert all(re.fullmatch(pattern, text) for text in row["matches"])
        assert not any(re.fullmatch(pattern, text) for text in row["does_not_match"])
    for row in table["header_matcher"]:
        same(build_header(row["header"], row["value"]), row["expect"])
    for row in table["host_matcher"]:
        same(build_header(row["header"], row["value"], ignore_case=True), row["expect"])
    for row in table["path_matcher"]:
        same(build_permission(Match(Attribute.PATH, (row["value"],))).or_rules.rules[0].url_path, row["expect"])
    for row in table["path_template"]:
        found = build_permission(Match(Attribute.PATH, (row["value"],))).or_rules.rules[0].uri_template
        assert row["expect"]["pathTemplate"].encode() in found.typed_config.value


def test_lists_and_texts_of_metadata(tables: Path) -> None:
    for row in read(tables / "matchers.yaml")["metadata_matcher"]:
        value = f"[{row['value']}]" if row["kind"] == "list" else row["value"]
        found = build_permission(Match(Attribute.METADATA, (value,), (row["filter"], row["keys"][0])))
        expected = dict(row["expect"], path=row["expect"]["path"][:1])
        same(found.sourced_metadata.metadata_matcher, expected)


def test_attributes_become_istios_permissions(tables: Path) -> None:
    for row in read(tables / "matchers.yaml")["permission"]:
        attribute = RULES.get(row["attribute"])
        path: tuple[str, ...] = ()
        if attribute is None:
            key = row["attribute"].replace("experimental.", "experimental.envoy.filters.")
            known = parse_key(key) or parse_key(row["attribute"])
            if row.get("error"):
                assert known is None
                continue
            assert known is not None
            attribute = known[0]
            path = tuple(part.removeprefix("envoy.filters.") for part in known[1])
        found = build_permission(Match(attribute, (row["value"],), path))
        same(found if attribute is Attribute.METADATA else found.or_rules.rules[0], row["expect"])


def test_ports_and_names_in_brackets(tables: Path) -> None:
    table = read(tables / "matchers.yaml")
    for row in table["port_value"]:
        assert parse_port(row["value"]) == row.get("expect")
    for row in table["header_name_in_brackets"]:
        assert in_brackets(row["value"]) == row.get("expect")
    for row in table["claim_path_in_brackets"]:
        expected = row.get("expect")
        assert claim_path(row["value"]) == (tuple(expected) if expected is not None else None)


def _lowered(rule: Mapping[str, Any], action: str, domains: tuple[str, ...]) -> Policy:
    spec = {"action": action, "rules": [rule]}
    metadata = {"name": "p", "namespace": "foo"}
    document = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}
    (manifest,) = load(yaml.safe_dump(document), "in.yaml").manifests
    assert isinstance(manifest.resource, istio.AuthorizationPolicy)
    return lower_policy(manifest.ref, manifest.resource, domains)


def _rules(rule: Mapping[str, Any], action: str, domains: tuple[str, ...], protocol: str) -> str | None:
    """What one rule comes to, as text; None if nothing is left of it."""
    policy = _lowered(rule, action, domains)
    rules = policy.rules if protocol == "http" else of_connections(policy).rules
    return str(build_rbac(policy.action, rules)) if rules else None


def test_a_rule_by_action_and_protocol(tables: Path) -> None:
    table = read(tables / "matchers.yaml")["rule_composition"]
    for row in table["rows"]:
        found = _rules(table["rule"], row["action"], ("cluster.local",), row["protocol"])
        assert (found is not None) is row["generated"], row
        assert all(text in (found or "") for text in row["contains"]), row
        assert not any(text in (found or "") for text in row["absent"]), row


def test_admission_of_conditions_and_templates(tables: Path) -> None:
    table = read(tables / "matchers.yaml")
    for row in table["condition_validation"]:
        assert _is_taken({"when": [{"key": row["key"], "values": row["values"]}]}) is row["valid"], row
    for row in table["path_template_validation"]:
        assert (not find_path_fault(row["path"])) is row["valid"], row
        assert _is_taken({"to": [{"operation": {"paths": [row["path"]]}}]}) is row["valid"], row


def _is_taken(rule: Mapping[str, Any]) -> bool:
    metadata = {"name": "p", "namespace": "foo"}
    document = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata}
    return bool(load(yaml.safe_dump({**document, "spec": {"rules": [rule]}}), "in.yaml").manifests)


def test_principals(tables: Path) -> None:
    table = read(tables / "principals.yaml")
    for row in table["request_principal"]:
        found = build_principal(Match(Attribute.REQUEST_PRINCIPAL, (row["value"],))).or_ids.ids[0]
        same(found, row["expect"])
    for row in table["principal"]:
        known = parse_key(row["attribute"])
        assert known is not None
        same(build_principal(Match(known[0], (row["value"],), known[1])).or_ids.ids[0], row["expect"])
    for row in table["values_and_not_values"]:
        if row.get("waypoint"):
            continue  # by filter state that filters of Istio's proxy alone set
        known = parse_key(row["attribute"])
        assert known is not None
        lists = ((row["values"], False), (row["notValues"], True))
        for (values, negated), expected in zip(lists, row["expect"], strict=True):
            same(build_principal(Match(known[0], tuple(values), (), negated)), expected)


def _pattern(rule: Mapping[str, Any], namespace: str) -> str:
    """Of the only caller of a rule."""
    metadata = {"name": "p", "namespace": namespace or "default"}
    document = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata}
    found = load(yaml.safe_dump({**document, "spec": {"rules": [rule]}}), "in.yaml").manifests
    assert isinstance(found[0].resource, istio.AuthorizationPolicy)
    policy = lower_policy(found[0].ref, found[0].resource, ())
    principal = build_principal(policy.rules[0].callers[0][0]).or_ids.ids[0]
    return str(principal.authenticated.principal_name.safe_regex.regex)


def test_service_accounts_and_namespaces(tables: Path) -> None:
    table = read(tables / "principals.yaml")
    for row in table["service_account_regex"]:
        if row["policy_namespace"] == "ns+foo":  # no object's namespace; quoting is shown by the others, and here
            match = Match(Attribute.SERVICE_ACCOUNT, (f"{row['policy_namespace']}/{row['value']}",))
            found = build_principal(match).or_ids.ids[0].authenticated.principal_name.safe_regex.regex
        else:
            found = _pattern({"from": [{"source": {"serviceAccounts": [row["value"]]}}]}, row["policy_namespace"])
        assert found == row["regex"]
    for row in table["service_account_match"]:
        pattern = _pattern({"from": [{"source": {"serviceAccounts": [row["value"]]}}]}, "")
        assert bool(re.fullmatch(pattern, row["identity"])) is row["match"], row
    for row in table["namespace_match"]:
        pattern = _pattern({"from": [{"source": {"namespaces": [row["value"]]}}]}, "")
        assert all(re.fullmatch(pattern, text) for text in row["matches"])
        assert not any(re.fullmatch(pattern, text) for text in row["does_not_match"])


def test_trust_domains(tables: Path) -> None:
    table = read(tables / "principals.yaml")
    for row in table["trust_domain_alias_expansion"]:
        domains = (row["trust_domain"], *row["trust_domain_aliases"])
        assert expand(row["principals"], domains) == tuple(row["expect"]), row["name"]
    for row in table["trust_domain_in_rule"]:
        # The values, before an issuer and its subject are told apart.
        found = str(_lowered(row["rule"], "ALLOW", (row["trust_domain"], *row["trust_domain_aliases"])).rules)
        assert all(text in found for text in row["contains"]), row
        assert not any(text in found for text in row["absent"]), row
    for row in table["trust_domain_is_enforced"]:
        assert has_domain(row["principal"]) is row["trust_domain_is_enforced"], row
    for row in table["trust_domain_of_principal"]:
        assert domain_of(row["principal"]) == row["trust_domain"], row
    for row in table["replace_trust_domain"]:
        assert with_domain(row["principal"], row["trust_domain"]) == row.get("expect"), row
    for row in table["trust_domain_list_match"]:
        assert is_listed(row["value"], tuple(row["list"])) is row["match"], row


def test_every_table_is_looked_at(tables: Path) -> None:
    assert set(read(tables / "matchers.yaml")) == {
        "string_matcher", "string_matcher_examples", "header_matcher", "host_matcher", "path_matcher",
        "path_template", "metadata_matcher", "permission", "port_value", "header_name_in_brackets",
        "claim_path_in_brackets", "rule_composition", "condition_validation", "path_template_validation", "field_map",
    }  # fmt: skip
    assert set(read(tables / "principals.yaml")) == {
        "request_principal", "principal", "values_and_not_values", "service_account_regex", "service_account_match",
        "namespace_match", "trust_domain_alias_expansion", "trust_domain_in_rule", "trust_domain_is_enforced",
        "trust_domain_of_principal", "replace_trust_domain", "trust_domain_list_match",
    }  # fmt: skip
