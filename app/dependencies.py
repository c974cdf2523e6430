"""What endpoints are given: the settings and the store of the running application."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from config.settings import Settings
from store.store import Store


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


SettingsOfApp = Annotated[Settings, Depends(_settings)]
StoreOfApp = Annotated[Store, Depends(_store)]
