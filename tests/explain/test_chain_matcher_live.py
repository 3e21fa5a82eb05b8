"""Which chain a listener's matcher takes: what explain says, a real Envoy does."""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import Iterator, Sequence

import pytest

from pilotfish.envoy.filter_state import NETNS
from pilotfish.explain.call import Application, Call, Direction, Tls
from pilotfish.explain.filter_state import StateValue
from pilotfish.explain.held import Held
from pilotfish.explain.listeners import choose_chain
from tests.explain.machine import HTTP_INSPECTOR, TLS_INSPECTOR, Json, Machine, Pod, answer, place, running
from tests.explain.matchers import (
    at,
    both,
    domains,
    either,
    exact,
    first,
    in_blocks,
    into,
    prefix,
    ranges,
    single,
    to,
    unless,
)

COUNT = 120
FIRST_PORT = 9000
CHAINS = ("a", "b", "c", "d", "e")
DESTINATIONS = ("127.0.0.1", "127.0.1.1", "127.2.0.1")
SOURCE_PORT = 40123
SEED = int(os.environ.get("MATCHERS_SEED", "7"))


class Matchers:
    """Random ones, whose parts are such that the calls below differ by them."""

    def __init__(self, seed: int, pod: Pod) -> None:
        self._random = random.Random(seed)
        self._netns = str(pod.netns.path)

    def matcher(self, depth: int = 3) -> Json:
        kinds = (self._exact, self._prefix, self._ranges, self._domains, self._list, self._list)
        made = self._random.choice(kinds)(depth)
        if self._random.random() < 0.6:
            made["on_no_match"] = self._leads(depth)
        return made

    def _leads(self, depth: int) -> Json:
        if depth > 1 and self._random.random() < 0.5:
            return into(self.matcher(depth - 1))
        return to(self._random.choice((*CHAINS, "none of them")))

    def _some(self, values: Sequence[str], most: int = 3) -> list[str]:
        return self._random.sample(values, self._random.randint(1, min(most, len(values))))

    def _exact(self, depth: int) -> Json:
        input, values = self._random.choice(self._inputs())
        return exact(input, {each: self._leads(depth) for each in self._some(values)})

    def _prefix(self, depth: int) -> Json:
        input, values = self._random.choice(self._inputs())
        heads = sorted({each[: self._random.randint(1, len(each))] for each in values for _ in range(2)})
        return prefix(input, {each: self._leads(depth) for each in self._some(heads, 4)})

    def _ranges(self, depth: int) -> Json:
        blocks = ("127.0.0.0/8", "127.0.0.0/16", "127.0.0.0/24", "127.0.0.1/32", "127.2.0.0/16", "10.0.0.0/8")
        count = self._random.randint(1, 4)
        listed = ((self._some(blocks, 2), self._leads(depth), self._random.random() < 0.3) for _ in range(count))
        return ranges(at(self._random.choice(("DestinationIP", "SourceIP", "ServerName"))), *listed)

    def _domains(self, depth: int) -> Json:
        names = ("a.example.com", "b.example.com", "*.example.com", "*.com", "*", "web", "*.other")
        listed = self._some(names, 4)
        return domains(at("ServerName"), *(([each], self._leads(depth)) for each in listed))

    def _list(self, depth: int) -> Json:
        return first(*((self._predicate(2), self._leads(depth)) for _ in range(self._random.randint(1, 3))))

    def _predicate(self, depth: int) -> Json:
        kind = self._random.choice(("single", "single", "ip", "and", "or", "not")) if depth else "single"
        match kind:
            case "single":
                input, values = self._random.choice(self._inputs())
                return single(input, **self._wanted(self._random.choice(values)))
            case "ip":
                return in_blocks(at("DestinationIP"), *self._some(("127.0.0.0/16", "127.2.0.0/16", "127.0.1.1/32")))
            case "not":
                return unless(self._predicate(depth - 1))
            case _:
                join = both if kind == "and" else either
                return join(*(self._predicate(depth - 1) for _ in range(2)))

    def _wanted(self, value: str) -> Json:
        half = max(1, len(value) // 2)
        how: Json = self._random.choice(
            (
                {"exact": value},
                {"prefix": value[:half]},
                {"suffix": value[-half:]},
                {"contains": value[1:3] or value},
                {"exact": value.upper(), "ignore_case": True},
                {"safe_regex": {"google_re2": {}, "regex": f"{value[:2]}.*".replace("/", "\\/")}},
            )
        )
        return how

    def _inputs(self) -> list[tuple[Json, Sequence[str]]]:
        return [
            (at("DestinationIP"), DESTINATIONS),
            (at("DestinationPort"), (str(FIRST_PORT), str(FIRST_PORT + 1))),
            (at("SourceIP"), DESTINATIONS),
            (at("DirectSourceIP"), DESTINATIONS),
            (at("SourcePort"), (str(SOURCE_PORT), "1")),
            (at("SourceType"), ("local", "other")),
            (at("ServerName"), ("a.example.com", "b.example.com", "web", "other")),
            (at("TransportProtocol"), ("tls", "raw_buffer")),
            (at("ApplicationProtocol"), ("'http/1.1'", "'h2','http/1.1'", "'h2'", "'pilotfish-grpc'")),
            (at("FilterState", key=NETNS), (self._netns, f"{self._netns}-other", "/run/netns/x")),
            (at("FilterState", key="nobody.writes.it"), ("x", "y")),
            (at("NetworkNamespace"), (self._netns, "x")),
        ]


def hello(name: str, alpn: tuple[str, ...]) -> bytes:
    """A ClientHello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name or None).do_handshake()
    return out.read()


SENT: dict[str, tuple[bytes, Application, Tls | None]] = {
    "HTTP": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Application.HTTP, None),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", Application.HTTP2, None),
    "bytes": (b"\x01\x02 nothing of that kind \r\n" * 3, Application.TCP, None),
    **{
        f"TLS {name} {alpn}": (hello(name, alpn), Application.TCP, Tls(name, alpn))
        for name in ("", "a.example.com", "B.example.com", "web", "deep.a.example.com")
        for alpn in ((), ("h2", "http/1.1"), ("pilotfish-grpc",))
    },
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces")
    with running(tmp_path_factory.mktemp("envoy"), _resources, 1) as started:
        yield started


def _resources(pods: tuple[Pod, ...]) -> Json:
    """Matchers by the ports FIRST_PORT …, each in a listener of the pod's."""
    made = Matchers(SEED, pods[0])
    return {
        "listeners": [
            {
                "name": str(port),
                "address": place("0.0.0.0", port, pods[0]),
                "listener_filters": [HTTP_INSPECTOR, TLS_INSPECTOR],
                "filter_chain_matcher": made.matcher(),
                "filter_chains": [answer(each) for each in CHAINS],
                **({"default_filter_chain": answer("default")} if port % 2 else {}),
            }
            for port in range(FIRST_PORT, FIRST_PORT + COUNT)
        ]
    }


def test_each_call_comes_to_the_chain_that_is_foretold(machine: Machine) -> None:
    (pod,) = machine.pods
    held, netns = Held.of_dump(machine.ask("/config_dump")), str(pod.netns.path)
    taken: set[str] = set()
    for port in range(FIRST_PORT, FIRST_PORT + COUNT):
        listener = held.listener("0.0.0.0", port, netns)
        assert listener is not None
        for number, (what, (sent, application, tls)) in enumerate(SENT.items()):
            address = DESTINATIONS[(port + number) % len(DESTINATIONS)]
            call = Call(
                Direction.OUTBOUND,
                address,
                port,
                application,
                tls,
                source="127.0.0.1",
                source_port=SOURCE_PORT,
                state={NETNS: StateValue(netns)},
            )
            chosen = choose_chain(listener, call)
            foretold = chosen.taken.name if chosen.taken is not None else ""
            assert chosen.failure is None, (port, what, chosen.why)
            came = pod.call(address, port, sent, SOURCE_PORT).decode()
            assert came == foretold, (port, what, address, chosen, str(listener.filter_chain_matcher))
            taken.add(foretold)
    assert taken == {*CHAINS, "default", ""}
