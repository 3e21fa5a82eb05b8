"""What a pod's state machine is told, its events, and what it asks for, its effects. A container's `run` counts its
starts from 0, so that an event of an earlier run is known as such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pilotfish.config.kubernetes import ProbeKind

HookKind = Literal["postStart", "preStop"]


@dataclass(frozen=True, slots=True)
class SandboxReady:
    """The namespace stands, the rules are in, and Envoy (if there is one) has acknowledged its first configuration."""


@dataclass(frozen=True, slots=True)
class SandboxFailed:
    message: str


@dataclass(frozen=True, slots=True)
class ProxyReady:
    ready: bool


@dataclass(frozen=True, slots=True)
class Started:
    container: str
    run: int
    pid: int


@dataclass(frozen=True, slots=True)
class NotStarted:
    """`blocked`: it lacks configuration, and is tried again when that changes; otherwise it counts as a crash."""

    container: str
    run: int
    reason: str
    message: str
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class NoImage:
    """Its image is not there. It is looked for again in a while, which is no restart."""

    container: str
    run: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Exited:
    """`code` is 128 + N for a process that signal N ended, as in a shell."""

    container: str
    run: int
    code: int
    out_of_memory: bool = False
    """The kernel killed in it, as it took more than its limit."""


@dataclass(frozen=True, slots=True)
class Probed:
    container: str
    run: int
    kind: ProbeKind
    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Hooked:
    container: str
    run: int
    hook: HookKind
    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """ConfigMaps or Secrets are other than they were."""


@dataclass(frozen=True, slots=True)
class Deleted:
    grace: float
    """Seconds for everything: drain, hooks, SIGTERM."""
    drain: bool = True
    """False where all of the mesh ends, so that nobody is left to send requests."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Every proxy knows that the pod is no endpoint any more, or took too long to say so."""


@dataclass(frozen=True, slots=True)
class Drained:
    pass


@dataclass(frozen=True, slots=True)
class ProxyStopped:
    pass


@dataclass(frozen=True, slots=True)
class Removed:
    pass


Event = (
    SandboxReady
    | SandboxFailed
    | ProxyReady
    | Started
    | NotStarted
    | NoImage
    | Exited
    | Probed
    | Hooked
    | ConfigChanged
    | Deleted
    | Withdrawn
    | Drained
    | ProxyStopped
    | Removed
)


@dataclass(frozen=True, slots=True)
class Do:
    """One thing for the whole pod; answered by the event that says it is done."""

    what: Literal["build sandbox", "withdraw", "drain", "stop proxy", "remove sandbox"]
    deadline: float | None = None
    """When it must be over."""


@dataclass(frozen=True, slots=True)
class Start:
    container: str
    run: int


@dataclass(frozen=True, slots=True)
class RunProbe:
    container: str
    run: int
    kind: ProbeKind


@dataclass(frozen=True, slots=True)
class RunHook:
    container: str
    run: int
    hook: HookKind
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    container: str
    run: int
    signal: Literal["TERM", "KILL"]


Effect = Do | Start | RunProbe | RunHook | Signal
