"""What endpoints are given: the settings, the store as far as the caller may see it, and who watches jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.jobs.batching import JobLoader, JobLoaders
from app.jobs.watcher import JobWatcher
from config.settings import Settings
from store.db.access import Caller
from store.store import Store

# Each is a coroutine, for an ordinary function would be called in a thread, which takes longer than what they do.


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    caller: Caller = request.state.caller
    return store.seen_by(caller)


async def _jobs(request: Request) -> JobLoader:
    readers: JobLoaders = request.app.state.job_readers
    return readers.of(request.state.caller)


async def _watcher(request: Request) -> JobWatcher:
    watcher: JobWatcher = request.app.state.watcher
    return watcher


SettingsDep = Annotated[Settings, Depends(_settings)]
StoreDep = Annotated[Store, Depends(_store)]
JobsDep = Annotated[JobLoader, Depends(_jobs)]
WatcherDep = Annotated[JobWatcher, Depends(_watcher)]
