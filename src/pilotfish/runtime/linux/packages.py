"""The programs that are run on this machine, and Debian's packages that have them.

Source: https://packages.debian.org/stable/, "search the contents of packages"
"""

from __future__ import annotations

from collections.abc import Mapping

PACKAGES: Mapping[str, str] = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    **{
        f"{family}{variant}-{action}": "iptables"
        for family in ("iptables", "ip6tables")
        for variant in ("", "-nft", "-legacy")
        for action in ("restore", "save")
    },
}


def remedy(*programs: str) -> str:
    """What makes the programs be there."""
    packages = dict.fromkeys(PACKAGES.get(program, program) for program in programs)
    return f"install {'it' if len(programs) == 1 else 'them'}: apt-get install {' '.join(packages)}"
