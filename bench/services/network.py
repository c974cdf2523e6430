"""Networks of single processes on this computer, which can be cut. They are Linux's network namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

NOBODY = "02:00:00:00:00:01"  # a hardware address that no interface has


class Network:
    """`address` is one of this computer, which processes in the namespaces reach. They reach nothing else."""

    def __init__(self, names: list[str]):
        subnet = f"10.231.{20 + os.getpid() % 200}"
        self.address = f"{subnet}.1"
        self._namespaces = {name: f"patina-{os.getpid()}-{name}" for name in names}
        self._subnet = f"{subnet}.0/24"
        self._hosts = {name: f"{subnet}.{number}" for number, name in enumerate(names, 10)}

    def command(self, name: str) -> list[str]:
        """Returns what to put before a command, so that it runs in this namespace."""
        return ["ip", "netns", "exec", self._namespaces[name]]

    def cut(self, name: str) -> None:
        """Loses all packets that a namespace sends, as a cable does that was pulled out. What was open stays open."""
        _ip("-n", self._namespaces[name], "neigh", "replace", self.address, "lladdr", NOBODY, "dev", "eth0")

    def restore(self, name: str) -> None:
        _ip("-n", self._namespaces[name], "neigh", "del", self.address, "dev", "eth0")

    def create(self) -> None:
        """Raises `CalledProcessError` or `OSError` where this is not allowed."""
        _ip("addr", "add", f"{self.address}/32", "dev", "lo")
        _ip("route", "add", "blackhole", self._subnet)  # nothing leaves this computer
        for number, (name, namespace) in enumerate(self._namespaces.items()):
            outer, host = f"pa{os.getpid() % 10**8}n{number}", self._hosts[name]
            _ip("netns", "add", namespace)
            _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("link", "set", outer, "up")
            _ip("route", "add", f"{host}/32", "dev", outer, "src", self.address)
            for interface in ("lo", "eth0"):
                _ip("-n", namespace, "link", "set", interface, "up")
            _ip("-n", namespace, "addr", "add", f"{host}/32", "dev", "eth0")
            _ip("-n", namespace, "route", "add", f"{self.address}/32", "dev", "eth0")

    def delete(self) -> None:
        """Deletes what `create` made, as far as it came."""
        for command in (
            *(("netns", "del", namespace) for namespace in self._namespaces.values()),
            ("route", "del", "blackhole", self._subnet),
            ("addr", "del", f"{self.address}/32", "dev", "lo"),
        ):
            with suppress(subprocess.CalledProcessError, OSError):
                _ip(*command)


@contextmanager
def create_network(names: list[str]) -> Iterator[Network | None]:
    """Yields a network with these namespaces. Yields None, and says why, if this user may not create one."""
    network = Network(names)
    try:
        try:
            network.create()
        except (subprocess.CalledProcessError, OSError):
            print("Cannot create networks (this needs root on Linux, and `ip`), so no fault cuts one.", file=sys.stderr)
            yield None
        else:
            yield network
    finally:
        network.delete()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
