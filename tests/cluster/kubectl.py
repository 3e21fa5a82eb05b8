"""kubectl, as a user has it, and what tests say by it again and again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.waiting import wait_until

Object = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """Commands about one cluster, as the user of a kubeconfig, in one namespace unless they name another."""

    program: Path
    kubeconfig: Path
    namespace: str = "default"
    inside: tuple[str, ...] = ()
    """The command by which others run where the cluster's addresses are reached."""

    def within(self, namespace: str) -> Kubectl:
        """The same in another namespace: by a kubeconfig, so that objects that name theirs may be applied."""
        document = json.loads(self.kubeconfig.read_text())
        document["contexts"][0]["context"]["namespace"] = namespace
        path = self.kubeconfig.with_name(f"{self.kubeconfig.name.partition('.')[0]}.{namespace}.kubeconfig")
        path.write_text(json.dumps(document))
        return replace(self, kubeconfig=path, namespace=namespace)

    def as_user(self, kubeconfig: Path) -> Kubectl:
        return replace(self, kubeconfig=kubeconfig).within(self.namespace)

    def command(self, *arguments: str | Path) -> tuple[str, ...]:
        return (*self.inside, *map(str, (self.program, "kubectl", "--kubeconfig", self.kubeconfig, *arguments)))

    def run(
        self, *arguments: str | Path, stdin: str = "", check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), input=stdin, text=True, capture_output=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: exit {done.returncode}\n{said}")
        return done

    def __call__(self, *arguments: str | Path, stdin: str = "", timeout: float = 60) -> str:
        """What it prints."""
        return self.run(*arguments, stdin=stdin, timeout=timeout).stdout

    def refused(self, *arguments: str | Path, stdin: str = "") -> str:
        """What it says of something that must not succeed."""
        done = self.run(*arguments, stdin=stdin, check=False)
        assert done.returncode, f"kubectl {' '.join(map(str, arguments))} succeeded: {done.stdout}"
        return done.stderr

    def apply(self, *manifests: str | Path | Object) -> str:
        """Texts, files and folders, or objects."""
        said = ""
        for each in manifests:
            if isinstance(each, Path):
                said += self("apply", "--filename", each)
            else:
                said += self("apply", "--filename", "-", stdin=each if isinstance(each, str) else yaml.safe_dump(each))
        return said

    def get(self, *what: str) -> Object:
        """One object, or the list of several."""
        found: Object = json.loads(self("get", *what, "--output", "json"))
        return found

    def items(self, *what: str) -> list[Object]:
        found: list[Object] = self.get(*what)["items"]
        return found

    def wait(self, condition: str, *what: str, within: float = 60) -> None:
        """For a condition as `kubectl wait --for` has it; a failure tells of what the objects are and of events."""
        done = self.run(
            "wait", "--for", condition, *what, "--timeout", f"{within:g}s", check=False, timeout=within + 10
        )
        if done.returncode:
            seen = self.run("describe", *what, check=False).stdout[-6000:]
            raise AssertionError(f"{' '.join(what)}: not {condition} within {within:g} s: {done.stderr}\n{seen}")

    def wait_until(self, what: str, *named: str, holds: Callable[[Object], Any], within: float = 30) -> Any:
        """Until an object, or a list of them, is so: what `holds` says of it."""
        return wait_until(what, lambda: holds(self.get(*named)), within)

    def rolled_out(self, workload: str, within: float = 60) -> None:
        """`deployment/NAME` and the like: all its pods are the new ones, and ready."""
        done = self.run("rollout", "status", workload, "--timeout", f"{within:g}s", check=False, timeout=within + 10)
        if done.returncode:
            raise AssertionError(f"{workload}: {done.stderr}\n{self.describe_pods()}")

    def describe_pods(self) -> str:
        """All that is to be known of why pods are not ready."""
        events = self.run("get", "events", "--sort-by", ".lastTimestamp", check=False).stdout
        return self.run("get", "pods", "--output", "wide", check=False).stdout + events[-6000:]

    def events(self, *, of: str = "") -> list[Object]:
        """Of all objects, or of the one with this name."""
        selector = ("--field-selector", f"involvedObject.name={of}") if of else ()
        return self.items("events", *selector)

    def logs(self, pod: str, container: str = "", *options: str) -> str:
        return self("logs", pod, *(("--container", container) if container else ()), *options)

    def exec(self, pod: str, *command: str, container: str = "", timeout: float = 60) -> str:
        return self.run_in(pod, *command, container=container, timeout=timeout).stdout

    def run_in(
        self, pod: str, *command: str, container: str = "", check: bool = True, timeout: float = 60, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command in a pod, such as a client; its own exit code."""
        options = (*(("--container", container) if container else ()), *(("--stdin",) if stdin else ()))
        return self.run("exec", *options, pod, "--", *command, check=check, timeout=timeout, stdin=stdin)
