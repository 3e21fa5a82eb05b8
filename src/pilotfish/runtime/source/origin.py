"""One file, as it was found and as it was told: whether what is found now is to be told, and when to look again."""

from __future__ import annotations

from pilotfish.runtime.source.reading import DANGLING, Content, Text, Unreadable

GONE = 1.0
"""Seconds after which a missing or empty file is meant so: vim moves the old one away before it writes the new one,
others empty it, and that is to end nobody's pods."""
RETRY = 2.0
"""Seconds between looks at a file that can't be read: nothing tells that its permissions were mended."""


class Origin:
    def __init__(self) -> None:
        self.look_at: float | None = None
        """When to look again, though nobody says that it changed."""
        self._told: bytes | str | None = None
        """The text's digest, or why it can't be read; None for nothing."""
        self._holds = False
        """What was told is a text, and not an empty one."""
        self._lacking_since: float | None = None

    @property
    def is_gone(self) -> bool:
        """There is nothing, that was told, and nothing more is waited for."""
        return self._told is None and self._lacking_since is None

    def see(self, content: Content, now: float) -> bool:
        """True if this is to be told now: it is another than was told last, and is meant so."""
        self.look_at = None
        if self._holds and _is_lacking(content):
            since = self._lacking_since = now if self._lacking_since is None else self._lacking_since
            if now < since + GONE:
                self.look_at = since + GONE
                return False
        self._lacking_since = None
        if isinstance(content, Unreadable):
            self.look_at = now + RETRY
        before, self._told = self._told, _mark(content)
        self._holds = isinstance(content, Text) and content.data != b""
        return before != self._told


def _is_lacking(content: Content) -> bool:
    if isinstance(content, Unreadable):
        return content.reason == DANGLING
    return content is None or content.data == b""


def _mark(content: Content) -> bytes | str | None:
    if isinstance(content, Unreadable):
        return content.message
    return None if content is None else content.digest
