"""Connections to addresses chosen by users: to public addresses only, and within a deadline.

An address is checked when it is connected to, not when the webhook is created: by then the name may resolve to another
address (DNS rebinding). The name is resolved once, and the checked address is the one that is connected to. The name
itself stays in the Host header and in TLS.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore

# IPv6 addresses that embed an IPv4 address: a gateway may route them anywhere.
IPV4_EMBEDDING_NETS = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


class AddressRefusedError(httpcore.ConnectError):
    """The name resolves to no address that may be called."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Returns whether the address is public: not private, loopback, link-local, multicast or reserved."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if address.is_site_local or any(address in network for network in IPV4_EMBEDDING_NETS):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


class PublicOnlyBackend(httpcore.NetworkBackend):
    """`allow_private` permits all addresses. `timeout` limits the whole exchange, in seconds."""

    def __init__(self, *, allow_private: bool, timeout: float):
        self._allow_private = allow_private
        self._deadline = time.monotonic() + timeout
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first address that answers. Raises `AddressRefusedError` or httpcore's error if none does."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name cannot be resolved") from error
        addresses = [str(where[0]) for *_, where in found]
        allowed = [address for address in addresses if self._allow_private or is_public(ip_address(address))]
        if not allowed:
            raise AddressRefusedError("the name resolves to an address that may not be called")
        for number, address in enumerate(allowed, start=1):
            try:
                stream = self._backend.connect_tcp(
                    address, port, self._remaining(), local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(allowed):
                    raise
            else:
                return _DeadlineStream(stream, self)
        raise AssertionError("the last address returns or raises")

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise AddressRefusedError("local sockets may not be called")

    def _remaining(self) -> float:
        """Returns the seconds until the deadline. Raises httpcore.ReadTimeout after it."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return remaining


class _DeadlineStream(httpcore.NetworkStream):
    """Each read and write ends at the backend's deadline, so a response byte by byte cannot last forever."""

    def __init__(self, stream: httpcore.NetworkStream, backend: PublicOnlyBackend):
        self._stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._backend._remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._backend._remaining())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._backend._remaining())
        return _DeadlineStream(stream, self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
