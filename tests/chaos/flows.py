"""The load of one pod, as the runner sees it: `load.py` in the pod, and what it says."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

from tests.chaos.ledger import Failure
from tests.chaos.world import HERE, LOAD, PYTHON
from tests.e2e.harness import PILOTFISH, Mesh


class PodLoad:
    """Goes on until it is stopped. Usable from several threads."""

    def __init__(self, mesh: Mesh, pod: str) -> None:
        flows = [f"{name}={what}" for name, what in LOAD[pod].items()]
        command = [str(PILOTFISH), "exec", "--name", mesh.name, pod, "--", *PYTHON, str(HERE / "load.py"), *flows]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=mesh.environment
        )
        self._said = threading.Condition()
        self._failures: list[Failure] = []
        self._answers: dict[tuple[str, int], dict[str, Any]] = {}
        self._number = 0
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def failures(self) -> tuple[Failure, ...]:
        """Since the last time that they were asked for, without any that is still on its way."""
        self.counts()
        with self._said:
            found, self._failures = tuple(self._failures), []
        return found

    def counts(self) -> dict[str, int]:
        """What was done so far, by flow: requests, or words over a connection that is held."""
        answer = self._answer("sync", within=20)
        if answer is None:
            raise AssertionError("the load does not answer")
        counts: dict[str, int] = answer["counts"]
        return counts

    def seen(self, url: str, word: str, within: float) -> float | None:
        """When HOST/PATH first answered with `x-word: WORD`. None: not within these seconds."""
        host, _, path = url.partition("/")
        answer = self._answer("ask", within, host=host, path=f"/{path}", word=word)
        return answer["at"] if answer else None

    def stop(self) -> None:
        self._over = True
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _answer(self, what: str, within: float, **more: Any) -> dict[str, Any] | None:
        assert self._process.stdin is not None
        with self._said:
            self._number += 1
            key = what, self._number
            self._process.stdin.write(json.dumps({what: self._number, **more}) + "\n")
            self._process.stdin.flush()
            self._said.wait_for(lambda: key in self._answers, within)
            return self._answers.pop(key, None)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._said:
                if "flow" in said:
                    self._failures.append(Failure(**said))
                for what in ("sync", "ask"):
                    if what in said:
                        self._answers[what, said[what]] = said
                self._said.notify_all()
