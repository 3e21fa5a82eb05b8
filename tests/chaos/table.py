"""What is dealt, by who serves the pods."""

from tests.chaos.actions import ACTIONS, Action
from tests.chaos.machines import MACHINES
from tests.e2e.harness import PROXY

TABLE: tuple[type[Action], ...] = (*ACTIONS, *MACHINES) if PROXY == "node" else ACTIONS
