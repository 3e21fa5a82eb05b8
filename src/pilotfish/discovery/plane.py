"""The control plane as a state machine: what happens goes in, what is to be done comes out.

    change ──────────▶ Mesh ─push─▶ each session's resource set ─▶ Stream ─▶ Send
                        ▲                                            │
                    Quarantine ◀──────── Refused, Accepted ◀─────────┘ ◀── receive, tick

Every method that stands for something that happens returns effects, to be performed in order. While the roster
`is_behind`, `push` is to be called: one session at a time, so that the driver may read requests in between. `look` is
to be called at `look_at`: time itself tells who is slow, and whom nobody waits for any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Final

from pilotfish import ads
from pilotfish.ads import Accepted, Kept, Node, Refused, Request, Stream, StreamCache, check_kept
from pilotfish.config.desired import DesiredState
from pilotfish.config.manifest import Manifest
from pilotfish.discovery import patience
from pilotfish.discovery.admission import Caller, Door, Reason, Refusal, addresses_of, plain_address
from pilotfish.discovery.effects import Disconnect, Effect, Failed, Settled
from pilotfish.discovery.isolation import isolate
from pilotfish.discovery.members import Members
from pilotfish.discovery.memory import Remembered
from pilotfish.discovery.mesh import Mesh
from pilotfish.discovery.quarantine import Quarantine
from pilotfish.discovery.recollection import Recollection
from pilotfish.discovery.registration import register
from pilotfish.discovery.rejection import Nack, Rejection
from pilotfish.discovery.roster import Roster
from pilotfish.discovery.session import ProxySession
from pilotfish.discovery.voting import Votes
from pilotfish.discovery.workload_entries import entries_at
from pilotfish.identity.tokens import Claims
from pilotfish.model import ObjectRef, Proxy
from pilotfish.model.authentication import Keys, KeySource
from pilotfish.model.kinds import POD
from pilotfish.model.proxy import NodeId, ProxyType
from pilotfish.model.wellknown import DISCOVERY_ACCOUNT

GATHERING: Final = 5.0
"""Seconds from the first proxy on for which the word of some convicts no object while others, whose pods are ready,
have not come: Envoys are back within 2 s of a discovery that was restarted."""
_TAKES_NOTHING: Final = "did not acknowledge what it was sent"


class ControlPlane:
    """Implements `quarantine.World`. Not for several threads."""

    def __init__(self, remembered: Iterable[Remembered] = (), door: Door | None = None) -> None:
        """`remembered`: what an earlier discovery asked to keep."""
        self.mesh = Mesh()
        self.members = Members()
        self.told: dict[ObjectRef, bool] = {}
        """In a cluster: how the workloads of these entries are, as their agents said and nobody has written yet."""
        self._given = DesiredState()
        """What the user wants, without what registers itself."""
        self.door = door or Door()
        self.door.is_of_a_pod = self.mesh.is_of_a_pod
        self.quarantine = Quarantine(self)
        self.roster = Roster()
        self._recollection = Recollection(self.mesh, self.quarantine, remembered)
        self._cache = StreamCache()
        self._first_at: float | None = None
        """When the first proxy came."""
        self.look_at: float | None = None
        """When `look` is to be called."""
        self.broken: Exception | None = None
        """Why the last change could not be taken in, which is a bug: nothing is settled then."""
        self.faulty: dict[ObjectRef, Exception] = {}
        """The objects with which resources can't be computed, which is a bug: their last good forms are used."""
        self._is_hopeless = False
        """Since the last change it was tried in vain to find such objects."""
        self._to_review = False
        """Something happened that the quarantine may wait for."""
        self._moving = False
        """Something happened since the mesh was last settled."""
        self._changed_at: float | None = None
        """When the change came that the proxies have not all acknowledged yet."""

    # What happens

    def change(self, desired: DesiredState, since: float) -> tuple[Effect, ...]:
        """The user's objects are these now. `since`: when the change came."""
        is_reconfigured, self._given = desired.mesh_config != self._given.mesh_config, desired
        self.door.trust_domains = desired.mesh_config.trust_domains
        try:
            found = register(desired.manifests, () if self.door.in_cluster else self.members.values())
            changed, moved = self.mesh.apply(replace(desired, manifests={**found, **desired.manifests}))
            self._is_hopeless = False
            if changed:
                self._retry(changed)
            if changed or is_reconfigured:
                self.quarantine.changed(self.quarantine.rejected if is_reconfigured else changed)
                self._recollection.compare()
        except Exception as error:
            self.broken = error
            return (Failed(error),)
        if self.broken is not None:
            self.broken, moved = None, True
        if moved or changed:
            self._changed_at = since if self._changed_at is None else self._changed_at
            self._push_all()
        return self._strangers() + self._outcome(since)

    def recall(self, remembered: Iterable[Remembered]) -> None:
        """What an earlier discovery, or another replica, asked to keep. To be called before the first change."""
        self._recollection.recall(remembered)

    def learn(self, remembered: Iterable[Remembered], now: float) -> tuple[Effect, ...]:
        """Other replicas know this: their last good forms are used where there is none here."""
        for ref in self._recollection.learn(remembered):
            if ref in self.quarantine.rejected or ref in self.faulty:
                self.mesh.exclude(ref)
                self._push_all()
        return self._outcome(now)

    def supply(self, fetched: Mapping[KeySource, Keys | None], since: float) -> tuple[Effect, ...]:
        """Keys of issuers were fetched, or can't be; None: they are wanted no longer."""
        if self.mesh.supply(fetched):
            self._changed_at = since if self._changed_at is None else self._changed_at
            self._push_all()
        return self._outcome(since)

    def admit(self, proxy: Proxy, caller: Caller, now: float) -> Refusal | None:
        """Whether a proxy is served as who it says it is."""
        return self.door.admit(proxy, caller, self._pod(proxy), now)

    def entitle(self, claims: Claims, host: str) -> Refusal | None:
        """Why who shows this token, from there, is not taken for whose it is."""
        pod = self.mesh.desired.manifests.get(POD.ref(claims.namespace, claims.pod)) if claims.pod else None
        return self.door.entitle(claims, host, pod)

    def is_at(self, proxy_id: str, host: str) -> bool:
        """Whether the pod of a node id, or of `name.namespace`, or the workload that registered itself so, has this
        address."""
        node_id = NodeId.parse(proxy_id)
        name, _, namespace = (node_id.pod if node_id is not None else proxy_id).rpartition(".")
        pod = self.mesh.desired.manifests.get(POD.ref(namespace, name))
        return host in addresses_of(pod) or self._registered(proxy_id, host) is not None

    def is_discovery(self, host: str) -> bool:
        """Whether this address is that of a pod which runs as discovery does, of whatever revision."""
        return any(
            pod.metadata.namespace == self.mesh.desired.mesh_config.root_namespace
            and pod.spec.service_account_name.partition("-")[0] == DISCOVERY_ACCOUNT
            for pod in self.mesh.pods_at(host)
        )

    @property
    def trust_domain(self) -> str:
        return self.mesh.desired.mesh_config.trust_domain

    def join(self, node: Node, proxy: Proxy, *, delta: bool, caller: Caller, at: float, now: float) -> ProxySession:
        """A proxy has come. `at`: the time of day. What its first request leads to, `receive` tells."""
        proxy = self._vouch(proxy, caller)
        self._first_at = now if self._first_at is None else self._first_at
        session = ProxySession(
            self.roster.new_id(proxy),
            proxy,
            Stream(self._cache, delta=delta),
            caller,
            envoy=node.version,
            delta=delta,
            connected_at=at,
        )
        is_faulty = self.mesh.fault(proxy) is not None
        if not is_faulty:
            session.stream.update(self.mesh.resources(proxy), now)
        self.roster.add(session, behind=is_faulty)  # `push` sees to it
        return session

    def enrol(self, session: ProxySession, now: float) -> tuple[Effect, ...]:
        """A proxy that has joined is registered as a workload, if it asks for that."""
        return self._reregister(now) if self.members.enrol(session) else ()

    def report_health(self, proxy_id: str, host: str, healthy: bool, now: float) -> tuple[Effect, ...] | None:
        """A workload's agent says how it is. None if nobody registered so is connected from there."""
        entry = self._registered(proxy_id, host)
        if entry is None:
            return None
        if self.door.in_cluster:
            self.told[entry] = healthy
            return ()
        member = self.members.get(proxy_id)
        if member is None or member.healthy is healthy:
            return ()
        member.healthy = healthy
        return self._reregister(now)

    def _registered(self, proxy_id: str, host: str) -> ObjectRef | None:
        """The entry of a proxy that comes from there. In a cluster its agent may ask another replica than its proxy is
        connected to."""
        member, plain = self.members.get(proxy_id), plain_address(host)
        if member is not None and plain in {session.caller.host for session in self.roster.of(proxy_id)}:
            return member.entry
        node_id = NodeId.parse(proxy_id)
        if not self.door.in_cluster or node_id is None or plain_address(node_id.address) != plain:
            return None
        manifests = self.mesh.desired.manifests.values()
        return next(entries_at(manifests, node_id.namespace, node_id.address), None)

    def _reregister(self, now: float) -> tuple[Effect, ...]:
        """Who is registered may be another. In a cluster the API server will tell it."""
        return self._outcome(now) if self.door.in_cluster else self.change(self._given, now)

    def receive(self, session: ProxySession, request: Request, now: float) -> tuple[Effect, ...]:
        """A proxy said something. Raises ExcessiveRequestError, after which its stream is to end."""
        effects = session.stream.receive(request, now)
        if request.asks and self.door.is_one(session.caller.host):
            kept = Kept.sum(each.stream.kept for each in self.roster.at(session.caller.host))
            check_kept(kept, f"all streams from {session.caller.host}")
        return self._follow(session, effects) + self._outcome(now)

    def tick(self, session: ProxySession, now: float) -> tuple[Effect, ...]:
        """It is `session.stream.wake_at`."""
        return self._follow(session, session.stream.tick(now)) + self._outcome(now)

    def leave(self, session: ProxySession, now: float) -> tuple[Effect, ...]:
        """A proxy is gone."""
        if not self.roster.remove(session):
            return ()
        self._to_review = True
        if not self.roster.of(session.proxy.id):
            self.quarantine.left(session.proxy.id)
            self.members.left(session.proxy.id, now)
        return self._outcome(now)

    def lose(self, session: ProxySession, why: str, now: float) -> Refusal:
        """It is to be ended, and kept off for a while. What it is told."""
        self.door.cut_off(session.proxy, session.caller.host, why, now)
        return Refusal(Reason.KEPT_OFF, f"{session.proxy} {why}, and is cut off")

    def push(self, now: float) -> tuple[ProxySession, tuple[Effect, ...]]:
        """Give the next session that is behind what it should have. Only while `roster.is_behind`."""
        session = self.roster.take_behind()
        session.proxy = self._vouch(session.proxy, session.caller)
        error = self.mesh.fault(session.proxy)
        if error is None:
            if self.roster.failed.pop(session.id, None) is not None:
                self._moving = True
            return session, self._follow(session, self._update(session, now)) + self._outcome(now)
        if not self._isolate(session.proxy):
            self.roster.failed[session.id] = error
        return session, (Failed(error), *self._outcome(now))

    def look(self, now: float) -> tuple[Effect, ...]:
        """Time has passed: who is slow, who has to go, whose silence is waited for no longer?"""
        self.look_at = None
        self._to_review = True
        self.door.let_back(now)
        self._moving |= self.roster.find_slow(now)
        lost = [Disconnect(each, self.lose(each, _TAKES_NOTHING, now)) for each in self.roster.lost(now)]
        return (*lost, *(self._reregister(now) if self.members.forget(now) else self._outcome(now)))

    def collect(self) -> None:
        """Forget what only proxies that left needed."""
        self.mesh.collect(session.proxy for session in self.roster.sessions.values())

    # What is known

    @property
    def is_settled(self) -> bool:
        """Every proxy has acknowledged all that follows from the last change, and refuses nothing of it."""
        return self._is_calm and not self.roster.unsettled

    @property
    def serving(self) -> frozenset[str]:
        """The node ids of those here whose pods take traffic: one that starts or leaves makes up for nobody who is
        away. Nor does one that came back and has not asked for everything yet: it has what it had, whatever changed
        meanwhile."""
        return frozenset(each.proxy.id for each in self.roster.heard if self.mesh.takes_traffic(each.proxy))

    def has_taken_all(self, proxy_id: str) -> bool:
        """The proxy of a node id, or the machine's that stands for it, has what this pod needs."""
        pod, machine = self._machine_of(proxy_id)
        if not machine or self.roster.find(proxy_id) is not None:
            return self.roster.has_taken_all(proxy_id)
        return any(session.listens_for(pod) for session in self.roster.of_machine(machine))

    def is_away(self, proxy_id: str) -> bool:
        """Neither the proxy nor that of its machine is here."""
        machine = self._machine_of(proxy_id)[1]
        return self.roster.find(proxy_id) is None and not (machine and self.roster.of_machine(machine))

    @property
    def is_failing(self) -> bool:
        """What some proxies should have is not known."""
        return bool(self.roster.failed or self.faulty or self.mesh.untaken) or self.broken is not None

    # What follows

    def _pod(self, proxy: Proxy) -> Manifest | None:
        return self.mesh.desired.manifests.get(POD.ref(proxy.namespace, proxy.name))

    def _machine_of(self, proxy_id: str) -> tuple[str, str]:
        """The pod of a node id, `webapp-0.vm`, and the machine whose one proxy stands for it; "" for none."""
        node_id = NodeId.parse(proxy_id)
        if node_id is None:
            return "", ""
        return node_id.pod, self.mesh.machine_of(POD.ref(node_id.namespace, node_id.name))

    def _vouch(self, proxy: Proxy, caller: Caller) -> Proxy:
        """The proxy, and whether it is who it says it is."""
        vouched = self.door.is_known(proxy, caller, self._pod(proxy))
        return proxy if proxy.vouched is vouched else replace(proxy, vouched=vouched)

    def _strangers(self) -> tuple[Effect, ...]:
        """Those whose pods are no more, or have become others."""
        sessions = self.roster.sessions.values()
        found = ((s, self.door.refuse(s.proxy, s.caller, self._pod(s.proxy))) for s in sessions)
        return tuple(Disconnect(session, refusal) for session, refusal in found if refusal is not None)

    def _isolate(self, proxy: Proxy) -> bool:
        """Leave out the objects with which the proxy's resources can't be computed. False if it is not for them."""
        if self._is_hopeless:
            return False
        known = {*self.faulty, *self.quarantine.rejected}
        candidates = [ref for ref in sorted(self.mesh.unproven()) if ref not in known]
        found = isolate(self.mesh, candidates, lambda: self.mesh.fault(proxy))
        self._is_hopeless = not found
        self.faulty |= found
        if found:
            self._push_all()
        return bool(found)

    def _retry(self, changed: Iterable[ObjectRef]) -> None:
        """What was changed is used again."""
        for ref in self.faulty.keys() & set(changed):
            del self.faulty[ref]
            self.mesh.readmit(ref)

    def _push_all(self) -> None:
        self._moving = True
        self.roster.put_behind()

    def _update(self, session: ProxySession, now: float) -> tuple[ads.Effect, ...]:
        resources = self.mesh.resources(session.proxy)
        return session.stream.update(resources, now) if resources != session.stream.resources else ()

    def _follow(self, session: ProxySession, effects: tuple[ads.Effect, ...]) -> tuple[ads.Effect, ...]:
        """Take note of what a stream tells."""
        for effect in effects:
            if isinstance(effect, Refused):
                self._note_refused(session, effect)
            elif isinstance(effect, Accepted) and self.quarantine.concerns(effect.type_url):
                self._to_review = True
        self._moving |= self.roster.note(session)
        return effects

    def _note_refused(self, session: ProxySession, refused: Refused) -> None:
        self._to_review = True
        for r in refused.resources:
            self.quarantine.refused(
                Nack(session.proxy.id, r.type_url, r.name, r.version, self.mesh.owners(r), refused.message)
            )

    def _outcome(self, now: float) -> tuple[Effect, ...]:
        """What the event as a whole has led to: last, so that what the quarantine decides comes first."""
        if self._to_review and not self.roster.is_behind:
            self._to_review = False
            self.quarantine.review(now)
        leaving = self.door.cut or self.members.are_leaving
        is_over = self.roster.is_settled and self.quarantine.is_idle and not leaving
        if self.look_at is None and not is_over:
            self.look_at = now + patience.LOOK
        settled, kept = self._settle(now), self._recollection.due()
        return (*settled, *((kept,) if kept is not None else ()))

    @property
    def _is_calm(self) -> bool:
        """Nothing goes on any more, but for proxies that nobody waits for."""
        return self.roster.is_told and self.quarantine.is_idle and not self.is_failing

    def _settle(self, now: float) -> tuple[Effect, ...]:
        if not self._moving or not self.roster.sessions or not self._is_calm:
            return ()
        self._moving = False
        # Who stands alone with what it refuses is not asked.
        if not self.mesh.is_proven and self.roster.have_accepted_all(but=self.quarantine.convicted):
            self.mesh.prove(but={*self.quarantine.rejected, *self.faulty, *self.mesh.untaken})
            self._recollection.prove()
        since, self._changed_at = self._changed_at, None
        return (Settled(None if since is None else now - since),)

    # quarantine.World

    def exclude(self, ref: ObjectRef) -> None:
        if ref not in self.faulty:
            self.mesh.exclude(ref)
            self._push_all()

    def readmit(self, ref: ObjectRef) -> None:
        if ref not in self.faulty:
            self.mesh.readmit(ref)
            self._push_all()

    def version(self, proxy: str, type_url: str, name: str) -> str | None:
        session = self.roster.find(proxy)
        resource = session and self.mesh.resources(session.proxy).get(type_url, name)
        return resource.version if resource else None

    def votes(self, type_url: str, name: str, version: str, but: Set[str]) -> Votes:
        return self.roster.votes(type_url, name, version, but)

    def gathers(self, now: float) -> bool:
        if self._first_at is None or now - self._first_at >= GATHERING:
            return False
        complete = [each.proxy for each in self.roster.sessions.values() if each.is_complete]
        here = {POD.ref(each.namespace, each.name) for each in complete}
        here.update(*(self.mesh.served_by(each) for each in complete if each.type is ProxyType.NODE))
        pods = (ref for ref in self.mesh.desired.manifests if ref.kind is POD)
        return any(self.mesh.is_ready(ref) for ref in pods if ref not in here)

    def owners(self, ref: ObjectRef, rejection: Rejection) -> Set[ObjectRef]:
        session = next(filter(None, map(self.roster.find, sorted(rejection.proxies))), None)
        if session is None or ref in self.faulty:
            return frozenset()
        return self.mesh.owners_with(ref, session.proxy, rejection.type_url, rejection.name)

    def unproven(self) -> dict[ObjectRef, int]:
        return self.mesh.unproven()
