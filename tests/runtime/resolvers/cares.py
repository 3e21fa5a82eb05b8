"""Asks c-ares: `cares.py KIND:NAME...`, one line for each question (see test_agent_resolvers.py)."""

import socket
import sys
import threading
import time
from typing import Any

import pycares

FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6, "any": socket.AF_UNSPEC}
ERRORS = {pycares.errno.ARES_ENOTFOUND: "NXDOMAIN", pycares.errno.ARES_ENODATA: "NODATA"}


def ask(channel: pycares.Channel, kind: str, name: str) -> list[str]:
    done = threading.Event()
    found: list[Any] = []

    def callback(result: Any, error: int | None) -> None:
        found.extend((result, error))
        done.set()

    if kind == "PTR":
        channel.gethostbyaddr(name, callback=callback)
    elif kind == "SRV":
        channel.query(name, pycares.QUERY_TYPE_SRV, callback=callback)
    else:
        channel.getaddrinfo(name, 80, family=FAMILIES[kind], type=socket.SOCK_STREAM, callback=callback)
    done.wait(30)
    result, error = found
    if error is not None:
        return [f"!{ERRORS.get(error, error)}"]
    if kind == "PTR":
        return [result.name]
    if kind == "SRV":
        return [f"{r.data.target.rstrip('.')}:{r.data.port}" for r in result.answer]
    return [node.addr[0].decode() for node in result.nodes]


channel = pycares.Channel()
for question in sys.argv[1:]:
    kind, _, name = question.partition(":")
    began = time.monotonic()
    answer = ask(channel, kind, name)
    print(question, ",".join(answer), round((time.monotonic() - began) * 1000), sep="\t")
channel.close()
