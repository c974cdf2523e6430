"""Connections to addresses that strangers name: to public ones alone, and for no longer than they are given.

An address is looked at when it is connected to, and not when its name was registered: a name may lead elsewhere by then
(DNS rebinding). The name is resolved once, and what was looked at is what is connected to; the name itself stays in the
request's Host and in TLS.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore

# Ways for an IPv6 address to be an IPv4 one: who routes them may route them anywhere.
TRANSLATED = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


class AddressRefusedError(httpcore.ConnectError):
    """The name leads to no address that may be called."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is one of the internet's: not private, of this computer, of this link, of many, or reserved."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if address.is_site_local or any(address in network for network in TRANSLATED):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


class CarefulConnections(httpcore.NetworkBackend):
    """`private` lets all addresses be called; `seconds` is how long all of a connection may take."""

    def __init__(self, *, private: bool, seconds: float):
        self._private = private
        self._deadline = time.monotonic() + seconds
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises `AddressRefusedError`, or httpcore's own where none of the addresses answers."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is not known") from error
        addresses = [str(where[0]) for *_, where in found]
        allowed = [address for address in addresses if self._private or is_public(ip_address(address))]
        if not allowed:
            raise AddressRefusedError("the name leads to an address that may not be called")
        for number, address in enumerate(allowed, start=1):
            try:
                stream = self._network.connect_tcp(
                    address, port, self._left(), local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(allowed):
                    raise
            else:
                return _Stream(stream, self)
        raise AssertionError("the last address returns or raises")

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise AddressRefusedError("sockets of this computer may not be called")

    def _left(self) -> float:
        """Seconds that are left. Raises httpcore.ReadTimeout where there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("it takes too long")
        return left


class _Stream(httpcore.NetworkStream):
    """Each wait ends when the connection's time does, so that an answer byte by byte cannot last for ever."""

    def __init__(self, stream: httpcore.NetworkStream, of: CarefulConnections):
        self._stream = stream
        self._of = of

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._of._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._of._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._of._left()), self._of)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
