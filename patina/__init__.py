"""What is imported: `Client` and `AsyncClient`; `Degrader` and `seeded`, which need torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patina.client import AsyncClient as AsyncClient
    from patina.client import Client as Client
    from patina.degrader import Degrader as Degrader
    from patina.degrader import seeded as seeded

_HOMES = {
    "AsyncClient": "patina.client",
    "Client": "patina.client",
    "Degrader": "patina.degrader",
    "seeded": "patina.degrader",
}
__all__ = ["AsyncClient", "Client", "Degrader", "seeded"]


def __getattr__(name: str) -> Any:
    """Imported when it is first asked for, so that nobody waits for torch who does not need it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'patina' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
