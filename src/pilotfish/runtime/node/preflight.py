"""What must hold before anything is built; each refusal names its remedy."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess

from pilotfish.runtime.agent import AgentError, AgentHost
from pilotfish.runtime.linux import pidns
from pilotfish.runtime.linux.packages import remedy
from pilotfish.runtime.node.options import CannotStart

_PROGRAMS = (
    *("ip", "iptables-restore", "iptables-save", "ip6tables-restore", "ip6tables-save", "nft"),
    *("nsenter", "unshare"),
)


def check_machine() -> None:
    """Raises CannotStart without root, a program of the machine's, or Envoy."""
    if os.geteuid() != 0:
        raise CannotStart("a mesh is made of network namespaces, which needs root: run it with sudo")
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise CannotStart(f"{', '.join(missing)} can't be found in PATH; {remedy(*missing)}")
    if subprocess.run((*pidns.REAPER, "true"), capture_output=True, check=False).returncode:
        what = "`env` does not know --ignore-signal, by which a pod's first process reaps what others leave"
        raise CannotStart(f"{what}; install GNU coreutils 8.31 or later")
    try:
        AgentHost().find_envoy()
    except AgentError as error:
        raise CannotStart(str(error)) from error


def raise_file_limit() -> None:
    """As many open files as this process may have: it takes a dozen for each pod, and Envoys inherit the limit.

    The soft limit is kept low for programs that use select(2) (getrlimit(2)); containers have a high one in
    Kubernetes, too.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
