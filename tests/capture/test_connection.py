"""The line of text that says which connection is meant."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.capture import Connection, Direction, State
from pilotfish.capture.connection import __doc__ as grammar


def indented(heading: str) -> list[str]:
    """The examples of the module's own documentation below `heading`."""
    assert grammar
    _, _, below = grammar.partition(f"\n{heading}")
    block = below.split("\n\n")[1]
    return [line.strip() for line in block.splitlines()]


@pytest.mark.parametrize("line", indented("Valid:"))
def test_what_is_documented_as_valid_is_read(line: str) -> None:
    assert Connection.parse(str(Connection.parse(line))).destination == Connection.parse(line).destination


@pytest.mark.parametrize("line", indented("Invalid,"))
def test_what_is_documented_as_invalid_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        Connection.parse(line.split("  ")[0])


def test_everything_can_be_said() -> None:
    endpoints = "out udp [2001:db8::7]:53 from [2001:db8::2]:4000"
    keys = "interface=eth1 uid=1 gid=2 mark=0x539 connmark=8 state=related local=no"
    assert Connection.parse(f"{endpoints} {keys}") == Connection(
        Direction.OUT,
        "udp",
        ip_address("2001:db8::7"),
        53,
        ip_address("2001:db8::2"),
        4000,
        "eth1",
        1,
        2,
        0x539,
        8,
        State.RELATED,
        False,
    )


@pytest.mark.parametrize(
    ("line", "via", "origin", "local"),
    [
        ("10.0.0.1:80", "eth0", None, False),
        ("10.0.0.1:80 local=yes", "lo", "10.0.0.1", True),
        ("10.0.0.1:80 interface=lo", "lo", "10.0.0.1", True),
        ("127.0.0.53:53", "lo", "127.0.0.1", True),
        ("[::1]:80", "lo", "::1", True),
        ("in 10.0.0.1:80", "eth0", None, True),
        ("in 10.0.0.1:80 from 10.0.0.2 local=no", "eth0", "10.0.0.2", False),
    ],
)
def test_what_is_left_open_is_what_is_usual(line: str, via: str, origin: str | None, local: bool) -> None:
    connection = Connection.parse(line)
    found = None if connection.origin is None else str(connection.origin)
    assert (connection.via, found, connection.is_local) == (via, origin, local)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "no destination is given"),
        ("in tcp", "no destination is given"),
        ("10.0.0.1", "write 10.0.0.1:80 for port 80"),
        ("2001:db8::1", r"write \[2001:db8::1\]:80 for port 80"),
        ("10.0.0.1:99999", "a port is a number from 1 to 65535"),
        ("10.0.0.1:http", "a port is a number from 1 to 65535"),
        ("example.org:80", "no IP address, and rules know no names"),
        ("10.0.0.1:80 from", "an address is missing behind `from`"),
        ("10.0.0.1:80 user=7", "'user=7' is not understood: it is none of interface=, uid="),
        ("10.0.0.1:80 nonsense", "'nonsense' is not understood"),
        ("10.0.0.1:80 uid=root", "a user or group id is a number"),
        ("10.0.0.1:80 mark=0x100000000", "it is a number from 0 to 4294967295"),
        ("10.0.0.1:80 state=OPEN", "it is one of NEW, ESTABLISHED"),
        ("10.0.0.1:80 local=perhaps", "local=yes or local=no"),
        ("10.0.0.1:80 interface=a/b", "no interface's name"),
        ("10.0.0.1:80 interface=lo local=no", "lo leads to this namespace alone"),
    ],
)
def test_a_mistake_is_said_with_its_remedy(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Connection.parse(line)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        connection = Connection.parse(text)
    except ValueError:
        return
    assert Connection.parse(str(connection))


connections = st.builds(
    Connection,
    direction=st.just(Direction.OUT),
    protocol=st.sampled_from(("tcp", "udp")),
    destination=st.ip_addresses(v=4).filter(lambda address: not address.is_loopback),
    destination_port=st.integers(1, 65535),
    source=st.none() | st.ip_addresses(v=4),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    interface=st.sampled_from(("eth0", "lo", "tun+7")),
    mark=st.integers(0, 2**32 - 1),
    connection_mark=st.integers(0, 2**32 - 1),
    state=st.sampled_from(State),
)


@given(connections)
def test_text_and_value_say_the_same(connection: Connection) -> None:
    assert Connection.parse(str(connection)) == connection
