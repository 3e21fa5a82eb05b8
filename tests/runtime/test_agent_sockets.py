"""Sockets where, and as whom, an agent needs them."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from pilotfish.runtime.agent.sockets import check_free, listen, open_socket, owned_by
from pilotfish.runtime.agent.spec import AgentError


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to somebody else")
def test_a_socket_may_belong_to_the_sidecar_s_user() -> None:
    """As netfilter's owner match sees it: who made it, by file system uid."""
    with ThreadPoolExecutor(1) as other_thread:
        assert other_thread.submit(_owner).result() == 0
        with owned_by(1337):
            assert _owner() == 1337
            assert other_thread.submit(_owner).result() == 0
    assert _owner() == 0
    with owned_by(None):
        assert _owner() == 0


def _owner() -> int:
    with open_socket(None, socket.AF_INET) as made:
        return os.fstat(made.fileno()).st_uid


def test_both_families_by_one_listener() -> None:
    with listen(None, "::", 0) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=5).close()


def test_a_taken_port_is_named_and_a_free_one_stays_free() -> None:
    with listen(None, "127.0.0.1", 0) as server:
        port = server.getsockname()[1]
        with pytest.raises(AgentError, match=f"port {port} is taken"):
            check_free(None, "127.0.0.1", port)
    check_free(None, "127.0.0.1", port)
    check_free(None, "127.0.0.1", port)
