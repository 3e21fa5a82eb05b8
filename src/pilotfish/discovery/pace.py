"""How much of discovery's time the requests of one stream, or of one pod, may take.

Who asks more is read more slowly, and its own flow control holds it up: nothing is refused, and nobody else waits. A
proxy takes some milliseconds when it comes, and one for each change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHARE: Final = 0.02
"""Of one core, in the long run."""
SAVED: Final = 0.5
"""Seconds of computing that a stream may have put by, and begins with: an Envoy that reconnects and says what it holds
costs a tenth of that."""
LONGEST: Final = 3.0
"""Seconds of rest at a time: who needs much for once, as the first to ask in a large mesh may, gets on all the same."""
_EACH: Final = 0.0002
"""Seconds that a request costs beside what is computed for it."""


@dataclass(slots=True)
class Pace:
    _put_by: float = SAVED
    _at: float = 0.0

    def rest(self, took: float, now: float) -> float:
        """Seconds to wait before the next request is read, after one that took so many to answer."""
        saved = min(SAVED, self._put_by + max(0.0, now - self._at) * SHARE) if self._at else self._put_by
        self._put_by, self._at = max(saved - took - _EACH, -LONGEST * SHARE), now
        return max(0.0, -self._put_by / SHARE)
