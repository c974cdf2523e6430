"""The common shape of all maintenance duties."""

from __future__ import annotations

from abc import ABC, abstractmethod

from config.settings import Settings
from store.store import Store


class Duty(ABC):
    """Something that is done every few seconds or minutes. `reaper.py` lists all duties with their intervals."""

    def __init__(self, store: Store, settings: Settings):
        self.store = store
        self.settings = settings

    @abstractmethod
    def run(self) -> None:
        """Does it once. An error is logged by the caller, and the next cycle tries again."""
