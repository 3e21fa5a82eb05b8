"""What proves who is who changes under load. The whole of it takes two minutes: `make rotations`."""

from __future__ import annotations

from bench.rotations import ROOT_SIGNS_WITHIN, Story, measure
from tests.certificates import issue


def _story(story: Story) -> None:
    root = issue("root", is_ca=True)
    story.plug("a user's authority is plugged in", "first", root, ROOT_SIGNS_WITHIN, killing=True)
    story.plug("its intermediate is another", "second", root, 20)
    story.strict()


def test_an_authority_that_is_plugged_in_a_killed_discovery_and_strict_fail_no_request() -> None:
    story, found = measure(_story, rate=100, ttl=10)
    assert story.serials["server"] >= 3
    for load in found.values():
        assert load["requests"] > 100
        assert load["lost"] == {}, load["first"]
