"""Waiting until something may have changed."""

from __future__ import annotations

import pytest

from pilotfish.runtime.discovery.notice import Notice


async def test_what_is_told_between_looking_and_waiting_is_not_missed() -> None:
    notice = Notice()
    seen = notice.count
    notice.notify()
    assert await notice.wait_for(lambda: notice.count != seen, 5)


@pytest.mark.parametrize("seconds", [0.01, 0.0])
async def test_nobody_tells(seconds: float) -> None:
    notice = Notice()
    seen = notice.count
    assert not await notice.wait_for(lambda: notice.count != seen, seconds)
