"""What aiohttp's servers say in the log: faults of ours, not what strangers send."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError

LOG: Final = logging.getLogger("pilotfish.runtime.http.served")
"""For `web.AppRunner`. Who sends what is no request is answered 400, and leaves no traceback for each."""


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


LOG.addFilter(_is_ours)
