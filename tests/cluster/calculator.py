"""examples/calculator, as its folder `cluster` makes it for a cluster, with an image of the tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.images import TOOLS
from tests.cluster.kubectl import Kubectl, Object

_FOLDER = Path(__file__).parents[2] / "examples/calculator/cluster"
_IMAGE = "python:3-slim"
_ASK = 'for i in $(seq "$0"); do curl -sS -m 10 -w "\\n@%{http_code}\\n" "$@"; done; true'
_ANSWER = re.compile(r"(.*?)\n@(\d{3})\n", re.DOTALL)
NAMESPACE = "vm"
WEBAPP = "webapp-0"
ADD = "http://calculator:8888/add?a=1&b=2"


@dataclass(frozen=True)
class Answer:
    status: int
    """0: there was none."""
    body: str

    @property
    def version(self) -> str:
        """Of the calculator that answered; what was said where none did."""
        found: str = json.loads(self.body)["version"] if self.status == 200 else f"{self.status} {self.body}"
        return found


@contextmanager
def running(kubectl: Kubectl) -> Iterator[Kubectl]:
    """kubectl in its namespace, once its pods are ready."""
    own = kubectl.within(NAMESPACE)
    made = kubectl("kustomize", "--load-restrictor", "LoadRestrictionsNone", _FOLDER)
    assert _IMAGE in made
    try:
        own.apply(made.replace(_IMAGE, TOOLS))
        own.wait("condition=Ready", f"pod/{WEBAPP}", within=90)
        for version in ("v1", "v2"):
            own.rolled_out(f"deployment/calculator-{version}", within=90)
        yield own
    finally:
        own.run("delete", "pods", "--all", "--grace-period", "1", "--wait=false", check=False)
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=120)


def ask(kubectl: Kubectl, *options: str, url: str = ADD, count: int = 1) -> list[Answer]:
    """What webapp's container is answered, by curl with these options."""
    said = kubectl.exec(WEBAPP, "sh", "-c", _ASK, str(count), *options, url, container="webapp")
    return [Answer(int(status), body.strip()) for body, status in _ANSWER.findall(said)]


def virtual_service(*routes: Object, **rule: object) -> Object:
    """The example's, with these routes of its only rule, and what else the rule says."""
    http = [{"route": [{"destination": {"host": "calculator"}, **route} for route in routes], **rule}]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "calculator", "namespace": NAMESPACE},
        "spec": {"hosts": ["calculator"], "http": http},
    }


def weighted(v1: int, v2: int) -> Object:
    """So many per cent to each version."""
    weights = {"v1": v1, "v2": v2}
    return virtual_service(
        *({"destination": {"host": "calculator", "subset": name}, "weight": weight} for name, weight in weights.items())
    )
