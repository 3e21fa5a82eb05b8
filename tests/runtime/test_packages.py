from __future__ import annotations

import pytest

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.packages import remedy


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        (("nft",), "install it: apt-get install nftables"),
        (("ip",), "install it: apt-get install iproute2"),
        (("ip6tables-save", "iptables-nft-restore"), "install them: apt-get install iptables"),
        (("ip", "nft"), "install them: apt-get install iproute2 nftables"),
    ],
)
def test_the_package_that_has_a_program_is_named(programs: tuple[str, ...], said: str) -> None:
    assert remedy(*programs) == said


async def test_a_program_that_is_missing_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError, match="apt-get install nftables"):
        await run(("nft", "list", "ruleset"))
