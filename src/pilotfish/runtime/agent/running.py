"""The processes of one agent's Envoys: as a rule one, and two while one takes over from another."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pilotfish.agent.events import Event, Exited, Spawn, Spawned
from pilotfish.runtime.agent.envoy import envoy_process, envoy_user, write_bootstrap
from pilotfish.runtime.agent.host import AgentHost
from pilotfish.runtime.agent.meeting import Meeting
from pilotfish.runtime.agent.spec import AgentSpec, SecretSources
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import process
from pilotfish.runtime.linux.logs import ContainerLog, Sorter
from pilotfish.runtime.linux.process import PIPE

_FAILED_TO_START = 126


@dataclass(slots=True)
class _Line:
    """Envoys that took over from one another."""

    log: ContainerLog | None
    """They write one: what is still said by the one that leaves belongs to it, too."""
    meeting: Meeting | None
    """None: they take over from nobody (`AgentSpec.takes_over`)."""
    running: int = 0


class Envoys:
    def __init__(
        self,
        spec: AgentSpec,
        host: AgentHost,
        secrets: SecretSources,
        sorter: Sorter | None,
        receive: Callable[[Event], None],
    ) -> None:
        """`sorter`: of their log. `receive` is told what becomes of each."""
        self.revision = -1
        """Of the bootstrap that the last one started from."""
        self._spec = spec
        self._host = host
        self._secrets = secrets
        self._sorter = sorter
        self._receive = receive
        self._processes: dict[int, process.Process] = {}
        self._started_at: dict[int, float] = {}
        self._lines: dict[int, _Line] = {}

    def started_at(self, pid: int | None) -> float | None:
        """Seconds since the epoch."""
        return next((self._started_at[epoch] for epoch, each in self._processes.items() if each.pid == pid), None)

    def signal(self, epoch: int, number: int) -> None:
        """Nothing happens if it has ended."""
        if found := self._processes.get(epoch):
            found.signal(number)

    async def run(self, spawn: Spawn, bootstrap: bytes) -> None:
        """One of them: from the bootstrap to the exit code."""
        line: _Line | None = None
        try:
            self.revision = write_bootstrap(self._spec.directory, bootstrap, *envoy_user(self._spec))
            line = self._join(spawn.line)
            running = await self._start(spawn, line)
        except (MachineError, OSError) as error:
            if line:
                if line.log:
                    line.log.note(str(error))
                self._leave(spawn, line)
            self._receive(Exited(spawn.epoch, _FAILED_TO_START, str(error)))
            return
        self._processes[spawn.epoch], self._started_at[spawn.epoch] = running, time.time()
        self._receive(Spawned(spawn.epoch, running.pid))
        if running.stdout:
            await _copy_to_stdout(running.stdout)
        code = await running.wait()
        del self._processes[spawn.epoch], self._started_at[spawn.epoch]
        self._leave(spawn, line)
        self._receive(Exited(spawn.epoch, code))

    async def _start(self, spawn: Spawn, line: _Line) -> process.Process:
        output = line.log.writer if line.log else _own_output(self._spec)
        envoy = self._host.find_envoy()
        if line.meeting:
            line.meeting.begins(spawn.number)
        meeting = line.meeting.path if line.meeting else None
        launch = envoy_process(self._spec, envoy, self.revision, output, self._secrets, spawn.number, meeting)
        running = await process.start(launch, self._host.spare)
        if line.log and not line.meeting:
            line.log.started()  # nobody else will write it
        return running

    def _join(self, number: int) -> _Line:
        line = self._lines.get(number)
        if line is None:
            log = ContainerLog(self._spec.log, sorter=self._sorter) if self._spec.log else None
            line = self._lines[number] = _Line(log, self._meet(number) if self._spec.takes_over else None)
        line.running += 1
        return line

    def _meet(self, number: int) -> Meeting:
        return Meeting(self._spec.directory / "lines" / str(number), envoy_user(self._spec))

    def _leave(self, spawn: Spawn, line: _Line) -> None:
        line.running -= 1
        if line.running:
            if line.meeting:
                line.meeting.left(spawn.number)
            return
        del self._lines[spawn.line]
        if line.log:
            line.log.close()
        if line.meeting:
            line.meeting.close()


def _own_output(spec: AgentSpec) -> int:
    """Our standard output, where an Envoy that is the same user may open it as /dev/stdout; else a pipe, to be copied
    there."""
    if spec.user is None:
        with suppress(OSError):
            os.close(os.open("/dev/stdout", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
            return sys.stdout.fileno()
    return PIPE


async def _copy_to_stdout(reader: asyncio.StreamReader) -> None:
    """A pipe of its own, not our standard output: Envoy's user may not open that as /dev/stdout."""
    while chunk := await reader.read(65536):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
