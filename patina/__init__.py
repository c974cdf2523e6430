"""The package's public names: `Client` and `AsyncClient`; `Degrader` and `seeded_generator`, which need torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patina.client import AsyncClient as AsyncClient
    from patina.client import Client as Client
    from patina.degrader import Degrader as Degrader
    from patina.degrader import seeded_generator as seeded_generator

_MODULES = {
    "AsyncClient": "patina.client",
    "Client": "patina.client",
    "Degrader": "patina.degrader",
    "seeded_generator": "patina.degrader",
}
__all__ = ["AsyncClient", "Client", "Degrader", "seeded_generator"]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that only users of `Degrader` wait for torch."""
    if name not in _MODULES:
        raise AttributeError(f"module 'patina' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
