"""The plugin's place in what others write."""

from __future__ import annotations

import json

import pytest

from pilotfish.cni.conflist import Change, build_plugin, chain, choose, is_chained, unchain

ENTRY = build_plugin("/var/run/pilotfish-cni/cni.sock", ("kube-system",))
BRIDGE = {"type": "bridge", "ipam": {"type": "host-local"}}
LIST = json.dumps({"cniVersion": "1.0.0", "name": "net", "disableCheck": True, "plugins": [BRIDGE]})
SINGLE = json.dumps({"cniVersion": "0.3.1", "name": "net", **BRIDGE})


def plugins(change: Change | None) -> list[dict[str, object]]:
    assert change is not None
    found: list[dict[str, object]] = json.loads(change.text)["plugins"]
    return found


def test_it_comes_last_and_all_else_stays() -> None:
    change = chain("10-net.conflist", LIST, ENTRY)
    assert change is not None
    assert json.loads(change.text) == {**json.loads(LIST), "plugins": [BRIDGE, ENTRY]}
    assert (change.name, change.replaces) == ("10-net.conflist", "")
    assert is_chained("10-net.conflist", change.text)


def test_chained_again_nothing_changes() -> None:
    change = chain("10-net.conflist", LIST, ENTRY)
    assert change is not None
    assert chain("10-net.conflist", change.text, ENTRY) is None


def test_of_an_older_entry_nothing_is_left_and_of_another_plugin_all() -> None:
    portmap = {"type": "portmap"}
    old = {**ENTRY, "socket": "/elsewhere"}
    text = json.dumps({**json.loads(LIST), "plugins": [BRIDGE, old, portmap]})
    assert plugins(chain("a.conflist", text, ENTRY)) == [BRIDGE, portmap, ENTRY]


def test_a_single_plugin_becomes_a_list_in_its_place() -> None:
    change = chain("10-net.conf", SINGLE, ENTRY)
    assert change is not None
    assert (change.name, change.replaces) == ("10-net.conflist", "10-net.conf")
    assert json.loads(change.text) == {"cniVersion": "0.3.1", "name": "net", "plugins": [BRIDGE, ENTRY]}


def test_taken_out_the_list_is_as_it_was() -> None:
    change = chain("10-net.conflist", LIST, ENTRY)
    assert change is not None
    back = unchain("10-net.conflist", change.text)
    assert back is not None
    assert json.loads(back.text) == json.loads(LIST)
    assert unchain("10-net.conflist", back.text) is None


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ({}, None),
        ({"20-b.conflist": LIST, "10-a.conflist": LIST}, "10-a.conflist"),
        ({"20-b.conf": SINGLE, "30-c.conflist": LIST}, "20-b.conf"),
        ({"10-a.conflist": '{"plugins": [', "20-b.conflist": LIST}, "20-b.conflist"),
        ({"10-a.conflist": '{"plugins": []}', "11.conflist": "[]", "12.conf": '{"name": "x"}'}, None),
        # A list under a single plugin's ending is none: the runtime reads no `type` in it.
        ({"10-a.conf": LIST}, None),
    ],
)
def test_which_one_the_runtime_uses(files: dict[str, str], chosen: str | None) -> None:
    assert choose(files) == chosen
