"""Asks glibc's resolver: `glibc.py KIND:NAME...`, one line for each question (see test_agent_resolvers.py)."""

import socket
import sys
import time

FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6, "any": socket.AF_UNSPEC}
ERRORS = {socket.EAI_NONAME: "NXDOMAIN", socket.EAI_NODATA: "NODATA", socket.EAI_AGAIN: "SERVFAIL"}


def ask(kind: str, name: str) -> list[str]:
    if kind == "PTR":
        return [socket.gethostbyaddr(name)[0]]
    found = socket.getaddrinfo(name, 80, FAMILIES[kind], socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


for question in sys.argv[1:]:
    kind, _, name = question.partition(":")
    began = time.monotonic()
    try:
        answer = ask(kind, name)
    except socket.gaierror as error:
        answer = ["!" + ERRORS.get(error.errno or 0, str(error))]
    except socket.herror as error:
        answer = [f"!{error}"]
    print(question, ",".join(answer), round((time.monotonic() - began) * 1000), sep="\t")
