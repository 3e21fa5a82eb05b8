"""A manifest at a URL, as `kubectl apply -f https://...` takes it: asked for once, and not followed."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Final

from pilotfish.cli.failure import Failure
from pilotfish.runtime.source.reading import LARGEST

_TIMEOUT: Final = 30.0


def download(url: str) -> str:
    """The text at an HTTP or HTTPS URL; redirects are followed, and the environment's proxies used. Raises Failure."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            data: bytes = answer.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise Failure(f"{url} is answered {error.code} {error.reason}, so nothing of it can be used") from error
    except (OSError, ValueError) as error:
        raise Failure(f"{url} can't be read: {getattr(error, 'reason', error)}; nothing of it is used") from error
    if len(data) > LARGEST:
        raise Failure(f"{url} holds more than {LARGEST >> 20} MiB, so nothing of it is used")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Failure(f"{url} is not UTF-8 text, so nothing of it can be used") from error
