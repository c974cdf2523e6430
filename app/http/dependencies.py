"""Dependencies of endpoints: the settings, and the store with the caller's access."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from config.settings import Settings
from store.db.access import Caller
from store.store import Store

# Dependencies are coroutines: FastAPI would call an ordinary function in a thread, which costs more than its work.


async def _get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _get_store(request: Request) -> Store:
    store: Store = request.app.state.store
    caller: Caller = request.state.caller
    return store.as_caller(caller)


SettingsDep = Annotated[Settings, Depends(_get_settings)]
StoreDep = Annotated[Store, Depends(_get_store)]
