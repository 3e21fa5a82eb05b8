"""What the machine, not the user's configuration, refuses."""

from __future__ import annotations


class MachineError(Exception):
    """Something that the kernel or a program of the machine did not do. `str` names the thing and the remedy."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy
