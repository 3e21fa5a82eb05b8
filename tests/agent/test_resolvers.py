"""Whom to ask, and for how long."""

from pilotfish.agent.resolvers import Resolvers, parse_resolv_conf


def test_in_the_machine_s_order() -> None:
    assert Resolvers(["a", "b", "a"]).plan(0) == (("a", 2.0), ("b", 2.0))
    assert Resolvers([]).plan(0) == ()


def test_one_that_failed_is_asked_last_and_briefly_until_it_answers_or_time_went_by() -> None:
    resolvers = Resolvers(["a", "b"])
    resolvers.failed("a", 10)
    assert resolvers.plan(11) == (("b", 2.0), ("a", 0.2))
    assert resolvers.plan(40) == (("a", 2.0), ("b", 2.0))
    resolvers.failed("a", 50)
    resolvers.answered("a")
    assert resolvers.plan(51) == (("a", 2.0), ("b", 2.0))


def test_a_machine_without_a_network_costs_little_after_the_first_query() -> None:
    resolvers = Resolvers(["a"])
    resolvers.failed("a", 0)
    assert resolvers.plan(1) == (("a", 0.2),)


def test_parse_resolv_conf() -> None:
    text = "# nameserver 9.9.9.9\nsearch vm.svc.cluster.local\nnameserver 10.0.0.1 \nnameserver\tfd00::1\nnameserver\n"
    assert parse_resolv_conf(text) == ("10.0.0.1", "fd00::1")
