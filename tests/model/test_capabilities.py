"""Which capabilities a container has."""

import pytest

from pilotfish.model.capabilities import DEFAULT, EVERY, NUMBERS, change, mask, parse


@pytest.mark.parametrize("word", ["NET_ADMIN", "CAP_NET_ADMIN", "net_admin"])
def test_names_are_read_in_every_spelling(word: str) -> None:
    assert parse(word) == "CAP_NET_ADMIN"


@pytest.mark.parametrize("word", ["", "NET_ADMINS", "CAP_", "CAP_ALL"])
def test_what_is_no_name(word: str) -> None:
    assert parse(word) is None


def test_numbers_are_the_kernels() -> None:
    found = {name: NUMBERS[f"CAP_{name}"] for name in ("CHOWN", "NET_ADMIN", "SYS_ADMIN", "CHECKPOINT_RESTORE")}
    assert found == {"CHOWN": 0, "NET_ADMIN": 12, "SYS_ADMIN": 21, "CHECKPOINT_RESTORE": 40}
    assert mask(DEFAULT) == 0xA80425FB, "as `docker run` and containerd have it"


CHANGES = [
    ([], [], DEFAULT),
    (["SYS_TIME"], ["CHOWN"], (DEFAULT | {"CAP_SYS_TIME"}) - {"CAP_CHOWN"}),
    ([], ["ALL"], frozenset()),
    (["CHOWN"], ["ALL"], frozenset({"CAP_CHOWN"})),
    (["all"], [], EVERY),
    (["ALL"], ["SYS_ADMIN"], EVERY - {"CAP_SYS_ADMIN"}),
    (["CHOWN"], ["CHOWN"], DEFAULT - {"CAP_CHOWN"}),
]


@pytest.mark.parametrize(("add", "drop", "held"), CHANGES)
def test_what_is_added_and_dropped(add: list[str], drop: list[str], held: frozenset[str]) -> None:
    assert change(add, drop) == held
