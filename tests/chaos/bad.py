"""Files that no mesh should be given, by what is wrong with them. Pure.

Each is saved beside the good ones, must be named in `status`, and must change nothing else.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from tests.chaos.world import deployment, destination_rule, service, text, virtual_service


def _deep(name: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: " + "[" * 3000 + "]" * 3000 + "\n"


def _half_a_character(name: str) -> str:
    broken = virtual_service(name, "nobody.example.com", name="\ud800")
    return json.dumps(broken) + "\n"


def _port(name: str) -> str:
    made = service(name, "nobody")
    made["spec"]["ports"][0]["port"] = 99999
    return text(made)


def _no_command(name: str) -> str:
    made = deployment(name)
    del made["spec"]["template"]["spec"]["containers"][0]["command"]
    return text(made)


def _regex(name: str) -> str:
    return text(virtual_service(name, "steady.example.com", match=[{"uri": {"regex": "/\\p{Nonsense}("}}]))


def _two_in_one_place(name: str) -> str:
    """A volume with `a` beside `a/b`."""
    made = deployment(name, replicas=1)
    spec = made["spec"]["template"]["spec"]
    items = [{"key": "one", "path": "a"}, {"key": "two", "path": "a/b"}]
    spec["volumes"] = [{"name": "v", "configMap": {"name": name, "items": items}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/mnt"}]
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"one": "1", "two": "2"}}
    return text(config, made)


BAD: dict[str, Callable[[str], str]] = {
    "a regular expression that is none": _regex,
    "a port of 99999": _port,
    "a container without a command": _no_command,
    "a key with a tab before it": lambda name: f"kind: Service\n\tmetadata: {{name: {name}}}\n",
    "half a document": lambda name: f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}\n",
    "a kind that nobody knows": lambda name: f"apiVersion: v1\nkind: Servce\nmetadata: {{name: {name}}}\n",
    "a field of another type": lambda name: text(service(name, "nobody")).replace('"port": 80,', '"port": "many",'),
    "a timeout that is no duration": lambda name: text(virtual_service(name, "x.example.com", timeout="soon")),
    "a negative time": lambda name: text(
        destination_rule(name, "x.example.com", {"connectionPool": {"tcp": {"connectTimeout": "-1s"}}})
    ),
    "half a character": _half_a_character,
    "3,000 lists in one another": _deep,
    "a volume that can't be written": _two_in_one_place,
}


def mutate(good: str, draw: random.Random) -> str:
    """A text with some characters changed, doubled or left out: perhaps still good."""
    characters = list(good)
    for _ in range(draw.randrange(1, 12)):
        at = draw.randrange(len(characters))
        characters[at] = draw.choice(["", characters[at] * 2, *"{}[]:,\"'\\\t\n0-&*!|>%@`\x00\x7féΩ"])
    return "".join(characters)
