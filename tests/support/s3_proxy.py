"""A door to an S3 server that can be shut, answers that it is too busy, or is slow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CHUNK = 2**16


class S3Proxy:
    """Forwards connections while it is `open`. `refused` counts the others; `busy` answers them with 503.

    `replace` are bytes that change on the way, and what they become. `delay` are seconds before each chunk goes on.
    """

    def __init__(self, target: tuple[str, int], address: str = "127.0.0.1"):
        self.open, self.busy, self.refused = True, False, 0
        self.replace = b"", b""
        self.delay = 0.0
        self._target = target
        self._sockets: set[socket.socket] = set()
        self._listening = socket.create_server((address, 0), backlog=128)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        address, port = self._listening.getsockname()
        return f"http://{address}:{port}"

    def shut(self, *, busy: bool = False) -> None:
        """Breaks all connections off and forwards no new one."""
        self.open, self.busy = False, busy
        for opened in list(self._sockets):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.shut()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.open:
                self._forward(client)
                continue
            self.refused += 1
            with client, suppress(OSError):
                if self.busy:
                    client.recv(CHUNK)
                    client.sendall(BUSY)

    def _forward(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:  # the server is down
            client.close()
            return
        for source, target in ((client, server), (server, client)):
            self._sockets.add(source)
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                time.sleep(self.delay)
                target.sendall(data.replace(*self.replace) if self.replace[0] else data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        self._sockets.discard(source)
        source.close()


@contextmanager
def s3_proxy(url: str, address: str = "127.0.0.1") -> Iterator[S3Proxy]:
    """Yields a proxy for the server at `url`, on a port of this address."""
    parts = urlsplit(url)
    proxy = S3Proxy((str(parts.hostname), int(parts.port or 80)), address)
    try:
        yield proxy
    finally:
        proxy.close()
