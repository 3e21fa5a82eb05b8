"""What of Envoy's statistics says how much came by mutual TLS."""

from __future__ import annotations

import re

from pilotfish.agent.taken import TAKEN_FILTER, Taken, count_taken

STATS = {
    "listener.0.0.0.0_15006.downstream_cx_total": 10,
    "listener.0.0.0.0_15006.ssl.handshake": 6,
    "listener.0.0.0.0_15006.ssl.no_certificate": 1,
    "listener.0.0.0.0_15006.ssl.connection_error": 1,
    "listener.0.0.0.0_15006.ssl.fail_verify_no_cert": 1,
    "listener.0.0.0.0_15006.ssl.fail_verify_error": 0,
}


def test_failed_handshakes_count_for_nothing_and_tls_without_a_certificate_is_not_mutual() -> None:
    assert count_taken(STATS) == Taken(connections=8, mutual=5)
    assert count_taken({}) == Taken()


def test_the_filter_asks_for_these_alone() -> None:
    others = ("listener.0.0.0.0_15001.downstream_cx_total", "listener.0.0.0.0_15006.worker_0.downstream_cx_total")
    assert [name for name in (*STATS, *others) if re.search(TAKEN_FILTER, name)] == list(STATS)
