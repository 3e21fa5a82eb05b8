"""Captures that several tests put into namespaces, or judge."""

from pilotfish.capture import ALL, CaptureSpec

POD = CaptureSpec(
    inbound_ports_include=ALL,
    inbound_ports_exclude=(15020,),
    outbound_ip_ranges_include=ALL,
    outbound_ports_exclude=(15020,),
    redirect_dns=True,
    capture_all_dns=True,
    enable_ipv6=True,
)
"""All there is: in, out, names, both families."""
