"""A control plane and its sidecars, without sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.derive import Graph
from pilotfish.discovery import patience
from pilotfish.discovery.admission import Caller, Reason
from pilotfish.discovery.findings import Finding, findings
from pilotfish.discovery.isolation import isolate
from pilotfish.discovery.plane import GATHERING
from pilotfish.discovery.standing import standings
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from pilotfish.model import Duration, ObjectRef, Proxy, Severity
from pilotfish.model.kinds import VIRTUAL_SERVICE
from pilotfish.model.sync import Sync
from tests.discovery.sidecars import Sidecar, World
from tests.envoy.machine import NAME, pod_object
from tests.manifests import service, virtual_service

SERVICES = service("one", "10.96.0.10", "10.0.0.7") + service("two", "10.96.0.11")


def mesh(one: str, two: str = "/two") -> str:
    """Two services, each with a VirtualService that matches a path."""
    return SERVICES + virtual_service("one", f"{{prefix: {one}}}") + virtual_service("two", f"{{prefix: {two}}}")


def faults(world: World) -> list[Finding]:
    """What is more than a note: that the Services here have no endpoints."""
    return [finding for finding in findings(world.plane) if finding.problem.severity is not Severity.INFO]


def rejected(world: World) -> list[str]:
    return sorted(ref.name for ref in world.plane.quarantine.rejected)


def settled_world(sidecar: Sidecar, text: str) -> World:
    world = World(text)
    world.connect(sidecar)
    world.settle()
    assert world.plane.is_settled
    return world


def test_a_sidecar_gets_all_and_a_change_is_told_once_all_have_it() -> None:
    web, other = Sidecar(), Sidecar("other-0")
    world = settled_world(web, mesh("/first"))
    world.connect(other)
    world.settle()
    assert web.holds("/first")
    assert other.holds("/first")
    world.settled.clear()
    world.now = 10.0
    world.change(mesh("/second"))
    assert not world.plane.is_settled
    world.now = 10.5
    world.settle()
    assert web.holds("/second")
    assert other.holds("/second")
    assert world.settled == [0.5]
    sent = world.sent
    world.change(mesh("/second"))
    world.settle()
    assert world.sent == sent, "nothing has changed"


def test_a_change_in_the_middle_of_a_push_reaches_all() -> None:
    sidecars = [Sidecar(f"web-{n}") for n in range(3)]
    world = World(mesh("/first"))
    for sidecar in sidecars:
        world.connect(sidecar)
    world.settle()
    world.change(mesh("/second"))
    world.push()
    world.change(mesh("/third"))
    world.disconnect(sidecars[1])
    world.settle()
    assert [s.holds("/third") for s in sidecars] == [True, False, True]
    assert world.plane.is_settled


def test_a_sidecar_that_leaves_is_waited_for_no_longer() -> None:
    web, silent = Sidecar(), Sidecar("silent-0")
    world = settled_world(web, mesh("/first"))
    world.connect(silent)
    while world.plane.roster.is_behind or web.inbox:
        if world.plane.roster.is_behind:
            world.push()
        else:
            world.answer(web)
    assert [str(session.proxy) for session in world.plane.roster.unsettled] == ["silent-0.vm"]
    world.settled.clear()
    world.disconnect(silent)
    assert world.plane.is_settled
    assert len(world.settled) == 1


def test_a_sidecar_that_comes_back_is_not_counted_before_it_has_asked_for_everything() -> None:
    """After discovery was started again its clusters may be as they are to be while its routes lead to a pod that is
    about to leave."""
    web = Sidecar()
    settled_world(web, mesh("/first"))
    world = World(mesh("/second"))
    world.join(web)
    world.ask(web, CLUSTER)
    assert (world.plane.roster.is_told, world.plane.serving) == (True, frozenset())
    for type_url in (ENDPOINT, LISTENER, ROUTE):
        world.ask(web, type_url)
    world.settle()
    assert web.holds("/second")
    assert world.plane.roster.is_told
    assert len(world.plane.serving) == 1


def test_a_sidecar_that_refuses_before_it_has_asked_for_everything_is_counted() -> None:
    """Nobody waits for it."""
    world = World(mesh("/first"))
    stubborn = Sidecar(refuses=("virtualOutbound",))
    world.connect(stubborn)
    world.settle()
    assert len(world.plane.serving) == 1


def test_what_is_refused_names_its_object_and_stops_nobody_else() -> None:
    web, strict = Sidecar(), Sidecar("strict-0", refuses=("/poison",))
    other = Sidecar("strict-1", refuses=("/poison",))
    world = settled_world(strict, mesh("/first"))
    world.connect(web)
    world.connect(other)
    world.settle()
    world.change(mesh("/poison", "/changed"))
    world.settle()
    for sidecar in (web, strict, other):
        assert sidecar.holds("/first"), "the last good form is in force"
        assert sidecar.holds("/changed")
    assert rejected(world) == ["one"]
    found = [finding for finding in findings(world.plane) if finding.problem.reason == "RefusedByEnvoy"]
    assert [str(finding.problem.ref) for finding in found] == ["VirtualService vm/one"]
    assert "its last good form stays in force" in found[0].problem.message
    states = {standing.proxy: standing.types["rds"] for standing in standings(world.plane)}
    assert states == {"web-0.vm": Sync.SYNCED, "strict-0.vm": Sync.REFUSED, "strict-1.vm": Sync.REFUSED}
    world.change(mesh("/mended", "/changed"))
    world.settle()
    assert web.holds("/mended")
    assert rejected(world) == []


def test_what_was_refused_is_offered_again_once_the_mesh_config_is_another() -> None:
    web = Sidecar(refuses=("/poison",))
    world = settled_world(web, mesh("/first"))
    world.change(mesh("/poison"))
    world.settle()
    assert rejected(world) == ["one"]
    web.refuses = ()
    world.change(mesh("/poison"), MeshConfig(dns_refresh_rate=Duration(10**9)))
    world.settle()
    assert web.holds("/poison")
    assert rejected(world) == []


def rule(header: str, name: str = "one", more: str = "") -> str:
    """What the subset `all` of a service asks for stands in the routes that lead to it, and nowhere else."""
    policy = f"{{loadBalancer: {{consistentHash: {{httpHeaderName: {header}}}}}}}"
    return f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec: {{host: {name}, subsets: [{{name: all, labels: {{app: one}}, trafficPolicy: {policy}}}{more}]}}
"""


def to_subset(path: str) -> str:
    """The VirtualService `one`, which leads to the subset."""
    return mesh(path).replace("route: [{destination: {host: one}}]", "route: [{destination: {host: one, subset: all}}]")


def test_what_was_refused_for_what_another_object_says_is_offered_again_once_that_is_mended() -> None:
    """The VirtualService is to blame for what the DestinationRule has: nobody was led to the subset before."""
    web = Sidecar(refuses=("x-poison",))
    world = settled_world(web, mesh("/first") + rule("x-poison"))
    world.change(to_subset("/second") + rule("x-poison"))
    world.settle()
    assert rejected(world) == ["one"]
    assert web.holds("/first")
    world.change(to_subset("/second") + rule("x-mended"))
    world.settle()
    assert rejected(world) == []
    assert web.holds("/second")
    assert web.holds("x-mended")


def test_what_was_refused_is_offered_again_once_an_object_is_added_that_goes_into_it() -> None:
    web = Sidecar(refuses=("x-poison",))
    common = rule("x-poison").replace(
        "metadata: {name: one, namespace: vm}", "metadata: {name: one, namespace: istio-system}"
    )
    common = common.replace("host: one,", "host: one.vm.svc.cluster.local,")
    world = settled_world(web, mesh("/first") + common)
    world.change(to_subset("/second") + common)
    world.settle()
    assert rejected(world) == ["one"]
    world.change(to_subset("/second") + common + rule("x-own"))
    world.settle()
    assert rejected(world) == []
    assert web.holds("x-own")


def test_what_is_refused_still_is_left_out_again_and_others_changes_go_through() -> None:
    web = Sidecar(refuses=("/poison",))
    world = refusing_world(web)
    for path in ("/changed", "/again"):
        world.change(mesh("/poison", path))
        world.settle()
        assert rejected(world) == ["one"]
        assert web.holds("/first")
        assert web.holds(path)
        assert world.plane.is_settled


def test_endpoints_that_come_and_go_offer_nothing_again() -> None:
    web = Sidecar(refuses=("/poison",))
    world = refusing_world(web)
    refusals = world.refusals
    for address in ("10.0.0.8", "10.0.0.9"):
        world.change(mesh("/poison").replace("10.0.0.7", address) + ready_pod(f"pod-{address[-1]}"))
        world.settle()
        assert web.holds(address)
    assert world.refusals == refusals
    assert rejected(world) == ["one"]


def test_who_refuses_what_others_took_stands_alone_and_rolls_nothing_back() -> None:
    liar, web = Sidecar("liar-0", refuses=("/",)), Sidecar()
    world = settled_world(web, mesh("/first"))
    world.connect(liar)
    world.settle()
    world.change(mesh("/second"))
    world.settle()
    assert web.holds("/second")
    assert rejected(world) == []
    found = [finding for finding in findings(world.plane) if finding.problem.reason == "RefusedByProxy"]
    assert "proxy liar-0.vm refuses" in found[0].problem.message
    assert not world.plane.is_settled, "one has not what it should have"
    assert world.plane.roster.is_told, "and nobody waits for it"
    states = {standing.proxy: set(standing.types.values()) for standing in standings(world.plane)}
    assert Sync.REFUSED not in states["web-0.vm"]
    assert Sync.REFUSED in states["liar-0.vm"]
    world.disconnect(liar)
    assert not faults(world)
    assert world.plane.is_settled


def test_who_starts_or_leaves_makes_up_for_nobody_who_is_away() -> None:
    """A pod that leaves waits for so many proxies as take traffic."""

    def pod(name: str, ready: bool, **metadata: str) -> str:
        conditions = [{"type": "Ready", "status": str(ready)}]
        spec = {"containers": [{"name": "app", "command": ["x"]}]}
        status = {"podIP": "10.0.0.9", "conditions": conditions}
        made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "vm", **metadata}}
        return f"---\n{json.dumps({**made, 'spec': spec, 'status': status})}\n"

    leaves = pod("leaves-0", True, deletionTimestamp="2026-01-01T00:00:00Z")
    world = World(mesh("/first") + pod("web-0", True) + pod("starts-0", False) + leaves)
    for name in ("starts-0", "leaves-0"):
        world.connect(Sidecar(name))
    assert not world.plane.serving
    world.connect(Sidecar("web-0"))
    world.connect(Sidecar("stranger-0"))
    world.settle()
    assert sorted(id.split("~")[2] for id in world.plane.serving) == ["stranger-0.vm", "web-0.vm"]


def ready_pod(name: str) -> str:
    status = {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "vm"}, "status": status}
    return f"---\n{json.dumps({**made, 'spec': {'containers': [{'name': 'app', 'command': ['x']}]}})}\n"


def test_who_is_back_first_after_a_restart_has_no_more_to_say_than_others() -> None:
    world = World(mesh("/first") + ready_pod("liar-0") + ready_pod("web-0"))
    world.connect(Sidecar("liar-0", refuses=("",)))
    world.settle()
    world.pass_time(patience.LOOK * 4)
    world.settle()
    assert rejected(world) == []
    web = Sidecar()
    world.connect(web)
    world.settle()
    assert rejected(world) == []
    assert web.holds("/first")
    assert {"RefusedByProxy"} == {finding.problem.reason for finding in faults(world)}


def test_one_that_does_not_come_back_is_not_waited_for_for_ever() -> None:
    world = World(mesh("/poison") + ready_pod("away-0"))
    world.connect(Sidecar(refuses=("/poison",)))
    world.settle()
    assert rejected(world) == []
    world.pass_time(GATHERING + patience.LOOK)
    world.settle()
    assert rejected(world) != []


def test_what_was_rejected_on_a_liars_word_is_offered_again_once_it_is_known_to_be_one() -> None:
    liar, web = Sidecar("liar-0", refuses=("/poison", "/two")), Sidecar()
    world = World(mesh("/poison"))
    world.connect(liar)
    world.settle()
    assert rejected(world), "it was alone"
    world.connect(web)
    world.settle()
    liar.refuses = ("",)
    world.change(mesh("/poison", "/changed"))
    world.settle()
    assert rejected(world) == []
    assert web.holds("/poison")


def test_an_object_that_most_refuse_is_found_though_one_answers_no_to_everything() -> None:
    liar = Sidecar("liar-0", refuses=("",))
    honest = [Sidecar(f"web-{n}", refuses=("/poison",)) for n in range(2)]
    world = settled_world(honest[0], mesh("/first"))
    for sidecar in (honest[1], liar):
        world.connect(sidecar)
    world.settle()
    world.change(mesh("/poison", "/changed"))
    world.settle()
    assert rejected(world) == ["one"]
    assert all(sidecar.holds("/first") and sidecar.holds("/changed") for sidecar in honest)


def test_who_does_not_answer_is_named_no_longer_waited_for_and_cut_off() -> None:
    web, silent = Sidecar(), Sidecar("silent-0", is_silent=True)
    world = settled_world(web, mesh("/first"))
    world.connect(silent)
    world.settle()
    assert not world.plane.roster.is_told
    world.pass_time(3.0)
    assert world.plane.roster.is_told
    assert not world.plane.is_settled
    assert [finding.problem.reason for finding in faults(world)] == ["ProxySlow"]
    world.change(mesh("/second"))
    world.settle()
    assert world.plane.roster.is_told, "nobody waits for it anew"
    assert world.plane.quarantine.is_idle
    world.pass_time(15.0)
    assert world.is_gone(silent)
    assert world.plane.is_settled
    found = faults(world)
    assert [finding.problem.reason for finding in found] == ["ProxyCutOff"]
    assert "proxy silent-0.vm" in found[0].problem.message
    proxy = Proxy.of_pod("silent-0", "vm", ("10.0.0.1",))
    refusal = world.plane.admit(proxy, Caller("ipv4:10.0.0.1:1"), world.now)
    assert refusal is not None
    assert refusal.reason is Reason.KEPT_OFF
    world.pass_time(60.0)
    assert world.plane.admit(proxy, Caller("ipv4:10.0.0.1:1"), world.now) is None
    assert not faults(world)


def test_who_is_silent_keeps_no_bad_object_in_force() -> None:
    strict, silent = Sidecar("strict-0", refuses=("/poison",)), Sidecar("silent-0")
    world = settled_world(strict, mesh("/first"))
    world.connect(silent)
    world.settle()
    silent.is_silent = True
    world.change(mesh("/poison", "/changed"))
    world.settle()
    world.pass_time(10.0)
    assert rejected(world) == ["one"]
    assert strict.holds("/changed")


def test_what_was_not_asked_for_yet_is_not_known_to_work() -> None:
    """An Envoy that starts asks for clusters, and for listeners and routes only once it has those."""
    world = World(mesh("/poison"))
    web = Sidecar(refuses=("/poison",))
    world.join(web)
    for type_url in (CLUSTER, LISTENER):
        world.ask(web, type_url)
        world.settle()
    assert rejected(world) == ["one"]
    assert web.holds("/two")
    assert not world.plane.quarantine.unexplained


def test_what_all_have_after_a_restart_is_known_to_work_though_nothing_was_sent() -> None:
    web = Sidecar(refuses=("/poison",))
    settled_world(web, mesh("/first"))
    later = settled_world(web, mesh("/first"))
    assert later.sent == 0
    later.change(mesh("/poison"))
    later.settle()
    assert rejected(later) == ["one"]
    assert web.holds("/first")
    later.change(mesh("/poison", "/changed"))
    later.settle()
    assert web.holds("/first")
    assert web.holds("/changed")


def test_what_goes_wrong_with_one_sidecar_stays_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    web, odd = Sidecar(), Sidecar("odd-0")
    world = settled_world(odd, mesh("/first"))
    world.connect(web)
    world.settle()
    compute = world.plane.mesh.resources

    def resources(proxy: Proxy) -> ResourceSet:
        if proxy.name == "odd-0":
            raise ZeroDivisionError
        return compute(proxy)

    monkeypatch.setattr(world.plane.mesh, "resources", resources)
    world.change(mesh("/second"))
    world.settle()
    assert [type(error) for error in world.failed] == [ZeroDivisionError]
    assert web.holds("/second")
    assert odd.holds("/first"), "it keeps what it has"
    assert not world.plane.is_settled
    assert [str(session.proxy) for session in world.plane.roster.unsettled] == ["odd-0.vm"]
    standing = next(each for each in standings(world.plane) if each.proxy == "odd-0.vm")
    assert Sync.SYNCED not in standing.types.values()
    assert "ZeroDivisionError" in standing.error
    assert "InternalError" in [finding.problem.reason for finding in findings(world.plane)]
    monkeypatch.undo()
    world.change(mesh("/third"))
    world.settle()
    assert odd.holds("/third")
    assert world.plane.is_settled
    assert "InternalError" not in [finding.problem.reason for finding in findings(world.plane)]


def faulty(world: World, monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Whatever holds one of these in force can't be computed."""
    mesh, compute = world.plane.mesh, world.plane.mesh.resources

    def resources(proxy: Proxy) -> ResourceSet:
        found = compute(proxy)
        for layer in found.layers(ROUTE):
            for resource in layer.values():
                if any(text.encode() in resource.body for text in texts):
                    raise ZeroDivisionError("\udc80")
        return found

    monkeypatch.setattr(mesh, "resources", resources)


def test_a_fault_is_isolated_to_the_object_that_leads_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    web = Sidecar()
    world = settled_world(web, mesh("/first"))
    faulty(world, monkeypatch, "/bug")
    world.change(mesh("/bug", "/changed"))
    world.settle()
    assert web.holds("/first"), "its last good form"
    assert web.holds("/changed")
    assert not world.plane.is_settled
    found = [finding.problem for finding in findings(world.plane) if finding.problem.reason == "InternalError"]
    assert [str(problem.ref) for problem in found] == ["VirtualService vm/one"]
    assert "its last good form stays in force" in found[0].message
    late = Sidecar("late-0")
    world.connect(late)
    world.settle()
    assert late.holds("/changed")
    world.change(mesh("/mended", "/changed"))
    world.settle()
    assert web.holds("/mended")
    assert not faults(world)
    assert world.plane.is_settled


@pytest.mark.parametrize("bad", [(0,), (6,), (1, 2), (0, 3, 6)])
def test_of_many_that_changed_all_that_are_faulty_are_found(bad: tuple[int, ...]) -> None:
    refs = [VIRTUAL_SERVICE.ref("vm", str(n)) for n in range(7)]
    out: set[ObjectRef] = set()
    objects = SimpleNamespace(exclude=out.add, readmit=out.discard)

    def attempt() -> Exception | None:
        return ValueError() if {refs[n] for n in bad} - out else None

    assert isolate(objects, refs, attempt).keys() == out == {refs[n] for n in bad}


def test_a_fault_that_no_change_explains_leaves_all_as_it_was() -> None:
    out: set[ObjectRef] = set()
    objects = SimpleNamespace(exclude=out.add, readmit=out.discard)
    assert isolate(objects, [VIRTUAL_SERVICE.ref("vm", "a")], ValueError) == {}
    assert not out


def test_an_object_that_cannot_be_taken_in_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    web = Sidecar()
    world = settled_world(web, mesh("/first"))
    apply = inputs.apply

    def fail_on_bug(graph: Graph, changes: Mapping[ObjectRef, Manifest | None]) -> bool:
        if any(manifest and "/bug" in str(manifest.document) for manifest in changes.values()):
            raise ZeroDivisionError
        return apply(graph, changes)

    monkeypatch.setattr(inputs, "apply", fail_on_bug)
    world.change(mesh("/bug", "/changed"))
    world.settle()
    assert web.holds("/first")
    assert web.holds("/changed")
    assert not world.plane.is_settled
    found = [finding.problem for finding in findings(world.plane) if finding.problem.reason == "InternalError"]
    assert [str(problem.ref) for problem in found] == ["VirtualService vm/one"]
    world.change(mesh("/mended", "/changed"))
    world.settle()
    assert web.holds("/mended")
    assert world.plane.is_settled


def test_a_change_that_cannot_be_taken_in_is_never_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    web = Sidecar()
    world = settled_world(web, mesh("/first"))

    def apply(desired: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.plane.mesh, "apply", apply)
    world.change(mesh("/second"))
    world.settle()
    assert web.holds("/first"), "it keeps what it has"
    assert not world.plane.is_settled
    assert "InternalError" in [finding.problem.reason for finding in findings(world.plane)]
    monkeypatch.undo()
    world.change(mesh("/third"))
    world.settle()
    assert web.holds("/third")
    assert world.plane.is_settled


# What outlives a restart


def restarted(world: World, text: str, *sidecars: Sidecar) -> World:
    """Another control plane that knows what the first asked to keep, and to which the sidecars reconnect."""
    later = World(text, world.remembered or ())
    for sidecar in sidecars:
        later.connect(sidecar)
    later.settle()
    return later


def refusing_world(web: Sidecar) -> World:
    world = settled_world(web, mesh("/first"))
    world.change(mesh("/poison"))
    world.settle()
    assert rejected(world) == ["one"]
    return world


def test_a_refused_object_keeps_its_last_good_form_over_a_restart() -> None:
    web = Sidecar(refuses=("/poison",))
    later = restarted(refusing_world(web), mesh("/poison"), web)
    assert later.sent == 0, "it was refused once, which is enough"
    assert web.holds("/first")
    assert rejected(later) == ["one"]
    finding = findings(later.plane)[0]
    assert (finding.problem.reason, {p.split("~")[2] for p in finding.proxies}) == ("RefusedByEnvoy", {"web-0.vm"})
    fresh = Sidecar("fresh-0", refuses=("/poison",))
    later.connect(fresh)
    later.settle()
    assert fresh.holds("/first")
    later.change(mesh("/poison", "/changed"))
    later.settle()
    assert fresh.holds("/first")
    assert fresh.holds("/changed")
    again = restarted(later, mesh("/poison", "/changed"), web, fresh)
    assert rejected(again) == ["one"]
    assert web.holds("/first")


@pytest.mark.parametrize("config", [None, MeshConfig(dns_refresh_rate=Duration(10**9))])
def test_what_went_into_it_was_mended_meanwhile(config: MeshConfig | None) -> None:
    """Another object, or the mesh config."""
    web = Sidecar(refuses=("x-poison",))
    world = settled_world(web, mesh("/first") + rule("x-poison"))
    world.change(to_subset("/second") + rule("x-poison"))
    world.settle()
    web.refuses = ()
    same = restarted(world, to_subset("/second") + rule("x-poison"), web)
    assert rejected(same) == ["one"], "it was refused once, which is enough"
    later = World(remembered=same.remembered or world.remembered or ())
    later.change(to_subset("/second") + rule("x-poison" if config else "x-mended"), config)
    later.connect(web)
    later.settle()
    assert rejected(later) == []
    assert web.holds("/second")
    assert later.remembered == ()


def test_an_object_that_was_mended_meanwhile_is_offered_and_forgotten() -> None:
    web = Sidecar(refuses=("/poison",))
    later = restarted(refusing_world(web), mesh("/mended"), web)
    assert web.holds("/mended")
    assert rejected(later) == []
    assert later.remembered == ()


def test_an_object_that_was_made_worse_meanwhile_falls_back_to_the_form_that_was_good() -> None:
    web = Sidecar(refuses=("/poison", "/worse"))
    later = restarted(refusing_world(web), mesh("/worse"), web)
    assert rejected(later) == ["one"]
    assert web.holds("/first")


def test_a_form_that_was_good_is_not_forgotten_before_the_present_one_is_judged() -> None:
    """Discovery may be killed again at any time."""
    web = Sidecar(refuses=("/poison", "/worse"))
    killed = restarted(refusing_world(web), mesh("/worse"))
    later = restarted(killed, mesh("/worse"), web)
    assert rejected(later) == ["one"]
    assert web.holds("/first")


@pytest.mark.parametrize("is_late", [False, True])
def test_a_replica_that_never_saw_a_form_at_work_is_told_of_it(is_late: bool) -> None:
    other, here = refusing_world(Sidecar(refuses=("/poison",))), World(mesh("/poison"))
    fresh = Sidecar("fresh-0", refuses=("/poison",))
    if not is_late:
        here.learn(other)
    here.connect(fresh)
    here.settle()
    assert rejected(here) == ["one"]
    if is_late:
        assert not fresh.holds("/first")
        here.learn(other)
        here.settle()
    assert fresh.holds("/first")
    assert here.has_all(fresh)


def test_what_works_here_stays_whatever_another_replica_says() -> None:
    """Its proxies may be of another version."""
    web = Sidecar()
    here = settled_world(web, mesh("/poison"))
    sent = here.sent
    here.learn(refusing_world(Sidecar("other-0", refuses=("/poison",))))
    here.settle()
    assert (here.sent, rejected(here)) == (sent, [])
    assert web.holds("/poison")


def test_an_object_that_is_gone_is_forgotten() -> None:
    web = Sidecar(refuses=("/poison",))
    later = restarted(refusing_world(web), SERVICES, web)
    assert later.remembered == ()
    assert rejected(later) == []


def test_what_is_wrong_between_objects_is_on_the_line_of_its_field() -> None:
    text = mesh("/first").replace("destination: {host: two}", "destination:\n        {host: tow}")
    world = World(text)
    (said, *_) = (f.problem for f in findings(world.plane) if f.problem.reason == "UnknownHost")
    assert said.field == "spec.http[0].route[0].destination.host"
    assert said.source is not None
    assert "tow" in text.splitlines()[said.source.line - 1]


def housed(*names: str) -> str:
    """Pods that a machine's one proxy serves."""
    pods = (pod_object(f"{name}.vm", f"10.0.1.{number}", {"app": name}) for number, name in enumerate(names, 1))
    return "---\n".join(("", *pods))


def node_id(pod: str, number: int) -> str:
    return Proxy.of_pod(pod, "vm", (f"10.0.1.{number}",)).id


def test_a_pod_has_all_once_the_proxy_of_its_machine_listens_for_it() -> None:
    world = World(SERVICES + housed("one"))
    assert not world.plane.has_taken_all(node_id("one", 1))
    assert world.plane.is_away(node_id("one", 1))
    machine = Sidecar(machine=NAME)
    world.connect(machine)
    world.settle()
    assert world.plane.has_taken_all(node_id("one", 1))
    assert not world.plane.is_away(node_id("one", 1))
    world.change(SERVICES + housed("one", "two"))
    assert world.plane.has_taken_all(node_id("one", 1)), "another pod that comes does not make it unready"
    assert not world.plane.has_taken_all(node_id("two", 2))
    world.settle()
    assert world.plane.has_taken_all(node_id("two", 2))


def test_a_pod_whose_listener_is_refused_is_not_served() -> None:
    world = World(SERVICES + housed("one", "two"))
    world.connect(Sidecar(machine=NAME, refuses=("virtualInbound~two.vm",)))
    world.settle()
    assert not world.plane.has_taken_all(node_id("two", 2))


def test_a_pod_more_changes_nothing_of_what_a_machine_has_but_its_two_listeners() -> None:
    world, machine = World(SERVICES + housed("one")), Sidecar(machine=NAME)
    world.connect(machine)
    world.settle()
    before = {type_url: dict(has) for type_url, has in machine.has.items()}
    world.change(SERVICES + housed("one", "two"))
    world.settle()
    new = {name for type_url, has in machine.has.items() for name, r in has.items() if before[type_url].get(name) != r}
    assert new == {"virtualOutbound~two.vm", "virtualInbound~two.vm"}


def test_the_word_of_a_machines_proxy_counts_as_its_pods_do() -> None:
    """Discovery that was started again waits for no pod whose machine's proxy is back."""
    world = World(SERVICES + housed("one"))
    world.join(machine := Sidecar(machine=NAME))
    assert world.plane.gathers(world.now)
    for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
        world.ask(machine, type_url)
    world.settle()
    assert not world.plane.gathers(world.now)
    assert world.plane.serving
