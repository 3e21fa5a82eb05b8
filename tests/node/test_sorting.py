"""What a machine's Envoy says, sorted by pod."""

from __future__ import annotations

import pytest

from pilotfish.node.sorting import OutputSorter

PREFIX = "/run/netns/pf-m."
WEB, API = f"{PREFIX}vm.web-0", f"{PREFIX}vm.web-01"


def sorter() -> tuple[OutputSorter, dict[str, bytes]]:
    made, found = OutputSorter(PREFIX), {WEB: b"", API: b""}

    def writer(netns: str) -> None:
        def write(chunk: bytes) -> None:
            found[netns] += chunk

        made.add(netns, write)

    for netns in found:
        writer(netns)
    return made, found


def test_each_pod_has_its_lines_and_envoy_its_own() -> None:
    made, found = sorter()
    text = f'{WEB} [2026] "GET /"\n2026 warning envoy\n{API} [2026] "GET /x"\n{WEB} [2026] \rsecond\n'.encode()
    assert made.take(text) == b"2026 warning envoy\n"
    assert found == {WEB: b'[2026] "GET /"\n[2026] \rsecond\n', API: b'[2026] "GET /x"\n'}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{{"a":1,"network_namespace":"{netns}","z":2}}', '{"a":1,"z":2}'),
        ('{{"network_namespace":"{netns}","z":2}}', '{"z":2}'),
        ('{{"a":1,"network_namespace":"{netns}"}}', '{"a":1}'),
        ('{{"network_namespace":"{netns}"}}', "{}"),
        (r'{{"a":"\",\"network_namespace\":\"x\",\"","network_namespace":"{netns}"}}', None),
    ],
)
def test_lines_in_json(written: str, expected: str | None) -> None:
    made, found = sorter()
    assert made.take(f"{written.format(netns=WEB)}\n".encode()) == b""
    wanted = expected or r'{"a":"\",\"network_namespace\":\"x\",\""}'
    assert found == {WEB: f"{wanted}\n".encode(), API: b""}


def test_a_line_may_come_in_pieces() -> None:
    made, found = sorter()
    for piece in (f"{WEB} [20".encode(), b"26]", b" x\nown", b" line\npart"):
        made.take(piece)
    assert found[WEB] == b"[2026] x\n"
    assert made.end() == b"part"


def test_lines_of_a_pod_that_is_gone_stay_with_envoy() -> None:
    made, found = sorter()
    made.remove(WEB)
    assert made.take(f"{WEB} late\n".encode()) == f"{WEB} late\n".encode()
    assert found[WEB] == b""


def test_what_has_no_end_is_not_kept_for_ever() -> None:
    made, _ = sorter()
    written = sum(len(made.take(b"x" * 65536)) for _ in range(64))
    assert written >= 63 * 65536 - (1 << 20)
