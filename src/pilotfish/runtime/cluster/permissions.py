"""What one may do in a cluster, asked before anything is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from pilotfish.cluster.paths import Attributes
from pilotfish.install.permissions import as_review
from pilotfish.runtime.cluster.api import Api

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_AT_ONCE: Final = 8


async def find_missing(api: Api, wanted: Iterable[Attributes]) -> tuple[Attributes, ...]:
    """Those that are not allowed, in order."""
    gate = asyncio.Semaphore(_AT_ONCE)
    asked = tuple(wanted)

    async def is_allowed(each: Attributes) -> bool:
        async with gate:
            review = await api.send("POST", _REVIEWS, as_review(each))
        return bool(review["status"].get("allowed"))

    allowed = await asyncio.gather(*map(is_allowed, asked))
    return tuple(each for each, is_one in zip(asked, allowed, strict=True) if not is_one)
