"""Linux capabilities: their numbers, and which ones a container has.

Source: linux/capability.h, capabilities(7).
"""

from __future__ import annotations

from collections.abc import Iterable

_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(_NAMES.split())}
"""Name → bit."""
EVERY = frozenset(NUMBERS)
_DEFAULT = """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
    AUDIT_WRITE
"""
DEFAULT = frozenset(f"CAP_{name}" for name in _DEFAULT.split())
"""What container runtimes, containerd and Docker alike, give where nothing is said."""
_ALL = "ALL"


def parse(word: str) -> str | None:
    """`NET_ADMIN`, `CAP_NET_ADMIN` and either in lower case are `CAP_NET_ADMIN`; `ALL` is `ALL`; None is no name."""
    upper = word.upper()
    if upper == _ALL:
        return _ALL
    name = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    return name if name in NUMBERS else None


def change(add: Iterable[str], drop: Iterable[str]) -> frozenset[str]:
    """The default set, changed as a container's `securityContext.capabilities` says.

    As containerd does it: ALL counts before single names, so that `drop: [ALL], add: [CHOWN]` leaves CHOWN.
    """
    added, dropped = ({name for word in words if (name := parse(word))} for words in (add, drop))
    held = EVERY if _ALL in added else DEFAULT
    if _ALL in dropped:
        held = frozenset()
    return (held | added) - dropped - {_ALL}


def mask(names: Iterable[str]) -> int:
    """Bit n: capability n."""
    return sum(1 << NUMBERS[name] for name in names)
