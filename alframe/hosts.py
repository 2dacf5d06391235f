"""Hosts that no address in a configuration may name: link-local ones and the metadata services of clouds."""

from __future__ import annotations

import ipaddress
import socket

__all__ = ["address", "is_internal"]

_METADATA_NAMES = frozenset(["metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"])


def is_internal(host: str) -> bool:
    """Whether a host is link-local or a cloud's metadata service, also when its IPv4 address is spelled in another way."""
    name = host.strip("[]").rstrip(".").lower()
    found = address(name)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return name in _METADATA_NAMES or (found is not None and (found.is_link_local or found.is_unspecified))


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that resolvers would read in `host`: ``0xA9FEA9FE`` and ``2852039166`` are 169.254.169.254."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
