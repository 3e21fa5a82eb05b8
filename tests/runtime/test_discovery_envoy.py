"""Discovery as a process, and a real Envoy that it configures."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pilotfish.runtime.linux.netns import NetNs
from tests.manifests import service, virtual_service
from tests.runtime.discovery_envoy import Lab, lab
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")

SERVICES = (
    service("web", "10.96.0.9").replace("{clusterIP", "{selector: {app: web}, clusterIP")
    + service("one", "10.96.0.10", "10.0.0.1")
    + service("two", "10.96.0.11")
)
CLUSTER = "outbound|8000||one.vm.svc.cluster.local"


GOOD_ONE, GOOD_TWO = virtual_service("one", "{prefix: /first}"), virtual_service("two", "{prefix: /first}")
BAD_ONE = virtual_service("one", f"{{prefix: /}}, queryParams: {{? {'q' * 1025} : {{exact: '1'}}}}")
"""A name of a parameter that is too long for Envoy (1,024 bytes); `config` leaves that to Envoy."""


@pytest.fixture
async def running(netns: NetNs, tmp_path: Path) -> AsyncIterator[Lab]:
    """Discovery and an Envoy that has all."""
    async with lab(netns, tmp_path) as made:
        made.write(SERVICES + GOOD_ONE + GOOD_TWO)
        await made.start_discovery()
        await made.start_envoy()
        await until("Envoy has all", made.synced)
        yield made


async def test_envoy_gets_all_and_a_saved_file_reaches_it(running: Lab) -> None:
    dump = await running.json("/config_dump?include_eds", 15000)
    text = str(dump)
    for name in ("virtualOutbound", "virtualInbound", "'8000'", CLUSTER, "BlackHoleCluster", "10.0.0.1"):
        assert name in text, name
    assert "virtualOutbound" in await running.get("/debug/config_dump?proxyID=web-0.vm")

    running.write(SERVICES + virtual_service("one", "{prefix: /second}") + GOOD_TWO)
    await until("the new route is in force", lambda: _has(running, '"/second"'))
    running.write((SERVICES + GOOD_ONE + GOOD_TWO).replace("10.0.0.1", "10.0.0.77"))
    await until("the new endpoint is in force", lambda: _has_endpoint(running, "10.0.0.77"))


async def test_a_changed_cluster_becomes_warm_again(running: Lab) -> None:
    rule = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: one, namespace: vm}
spec: {host: one, trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}}
"""
    running.write(SERVICES + GOOD_ONE + GOOD_TWO + rule)

    async def changed() -> bool:
        active = await running.get("/config_dump?resource=dynamic_active_clusters", 15000)
        return '"max_connections": 7' in active

    await until("the changed cluster is active, so it got its endpoints", changed)
    await until("nothing is warming", lambda: _stat(running, "cluster_manager.warming_clusters: 0"))
    await until("discovery knows", running.synced)


async def test_after_a_restart_envoy_is_sent_nothing_that_it_has(running: Lab) -> None:
    before = await running.json("/config_dump?include_eds", 15000)
    await running.kill(running.discovery)
    await running.start_discovery()
    await until("Envoy is back and has all", running.synced)
    assert await running.metric("pilot_xds_pushes_total") == 0
    assert await running.json("/config_dump?include_eds", 15000) == before


async def test_a_connection_that_is_old_is_ended_and_nothing_is_sent_again(running: Lab) -> None:
    before = await running.json("/config_dump?include_eds", 15000)
    await running.kill(running.discovery)
    await running.start_discovery("--connection-age", "1s")
    log = running.directory / "discovery.log"
    await until("Envoy has come again and again", lambda: log.read_text().count("connected from") >= 5, 30)
    await until("Envoy is back and has all", running.synced)
    assert await running.metric("pilot_xds_pushes_total") == 0
    assert await running.json("/config_dump?include_eds", 15000) == before
    running.write(SERVICES + virtual_service("one", "{prefix: /second}") + GOOD_TWO)
    await until("the new route is in force", lambda: _has(running, '"/second"'))


async def test_a_refused_object_is_named_and_others_changes_go_through(running: Lab) -> None:
    text = SERVICES + BAD_ONE + GOOD_TWO
    line = text[: text.index("queryParams")].count("\n") + 1
    running.write(text)
    problem = (await until("the problem is known", running.problems))[0]
    assert (problem["kind"], problem["namespace"], problem["name"]) == ("VirtualService", "vm", "one")
    assert problem["reason"] == "RefusedByEnvoy"
    assert "a value is out of its bounds" in problem["message"]
    assert problem["field"] == "spec.http[0].match[0]"
    assert problem["source"] == f"{running.config}/mesh.yaml:{line}", "the line of what changed"
    assert problem["proxies"] == ["web-0.vm"]
    rows = await running.json("/api/syncs")
    assert rows[0]["types"]["rds"] == "REFUSED"
    assert "VirtualService vm/one" in rows[0]["error"]

    running.write(SERVICES + BAD_ONE + virtual_service("two", "{prefix: /second}"))
    await until("the other's change is in force", lambda: _has(running, '"/second"'))
    assert '"/first"' in await running.envoy_routes(), "the last good form of the refused one, too"
    assert (await running.problems())[0]["name"] == "one"

    running.write(SERVICES + virtual_service("one", "{prefix: /mended}") + virtual_service("two", "{prefix: /second}"))
    await until("the mended form is in force", lambda: _has(running, '"/mended"'))
    await until("there is no problem any more", lambda: _no_problems(running))


POLICY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: who, namespace: vm}
spec: {rules: [{from: [{source: {namespaces: [%s]}}]}]}
"""


async def test_a_refused_policy_closes_what_it_is_for_until_it_has_a_good_form(running: Lab) -> None:
    objects = SERVICES + GOOD_ONE + GOOD_TWO
    running.write(objects + POLICY % ("x" * 40_000))  # more than Envoy takes in a regular expression
    await until("the refusal is told", lambda: _is_said(running, "nothing passes where it holds"))
    await until("all is closed", lambda: _listens(running, "ns[vm]-policy[who]-rule[0]"))
    assert await _listens(running, '"action": "DENY"')

    running.write(objects + POLICY % "good")
    await until("the good form is in force", lambda: _listens(running, ".*/ns/good/.*"))
    await until("nothing is wrong", lambda: _no_problems(running))
    running.write(objects + POLICY % ("x" * 40_000))
    await until("the refusal is told", lambda: _is_said(running, "its last good form stays in force"))
    assert await _listens(running, ".*/ns/good/.*")


async def test_a_refused_object_is_found_among_many_after_a_restart(running: Lab) -> None:
    await running.kill(running.discovery)
    running.write(SERVICES + BAD_ONE + virtual_service("two", "{prefix: /second}"))
    await running.start_discovery()
    await until("the good one is in force", lambda: _has(running, '"/second"'))
    problems = await until("the problem is known", running.problems)
    assert [p["name"] for p in problems] == ["one"]


async def test_a_refused_object_keeps_its_last_good_form_over_a_restart(running: Lab) -> None:
    running.write(SERVICES + BAD_ONE + GOOD_TWO)
    refused = await until("the problem is known", running.problems)
    await until("the last good form is kept", lambda: _kept(running, '"/first"'))
    before = await running.json("/config_dump?include_eds", 15000)
    await running.kill(running.discovery)
    await running.start_discovery()
    await until("Envoy is back and has all", running.synced)
    assert await running.problems() == refused
    assert await running.metric("pilot_xds_pushes_total") == 0
    assert await running.json("/config_dump?include_eds", 15000) == before

    running.write(SERVICES + BAD_ONE + virtual_service("two", "{prefix: /second}"))
    await until("the other's change is in force", lambda: _has(running, '"/second"'))
    assert '"/first"' in await running.envoy_routes(), "the last good form of the refused one, too"
    running.write(SERVICES + virtual_service("one", "{prefix: /mended}") + virtual_service("two", "{prefix: /second}"))
    await until("the mended form is in force", lambda: _has(running, '"/mended"'))
    await until("there is no problem any more", lambda: _no_problems(running))


async def test_several_refused_objects_are_all_found(running: Lab) -> None:
    running.write(SERVICES + BAD_ONE + virtual_service("two", r"{regex: '\p{Other}'}"))

    async def both() -> bool:
        return {p["name"] for p in await running.problems()} == {"one", "two"}

    await until("both are named", both)
    assert (await running.envoy_routes()).count('"/first"') == 2
    running.write(SERVICES + BAD_ONE + virtual_service("two", "{prefix: /second}"))
    await until("the mended one is in force", lambda: _has(running, '"/second"'))
    await until("one is left", running.problems)
    assert [p["name"] for p in await running.problems()] == ["one"]


async def _has(lab: Lab, text: str) -> bool:
    return text in await lab.envoy_routes()


def _kept(lab: Lab, text: str) -> bool:
    file = lab.directory / "state" / "last-good.json"
    return file.exists() and text in file.read_text()


async def _has_endpoint(lab: Lab, text: str) -> bool:
    return text in await lab.get("/clusters", 15000)


async def _stat(lab: Lab, text: str) -> bool:
    return text in await lab.get("/stats?filter=warming", 15000)


async def _listens(lab: Lab, text: str) -> bool:
    return text in await lab.get("/config_dump?resource=dynamic_listeners", 15000)


async def _is_said(lab: Lab, text: str) -> bool:
    return any(text in problem["message"] for problem in await lab.json("/api/problems"))


async def _no_problems(lab: Lab) -> bool:
    return not await lab.problems()
