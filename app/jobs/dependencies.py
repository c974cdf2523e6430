"""Dependencies of endpoints that read or watch jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.jobs.batching import JobLoader, JobLoaders
from app.jobs.watcher import JobWatcher


async def _get_loader(request: Request) -> JobLoader:
    loaders: JobLoaders = request.app.state.job_loaders
    return loaders.get(request.state.caller)


async def _get_watcher(request: Request) -> JobWatcher:
    watcher: JobWatcher = request.app.state.watcher
    return watcher


JobsDep = Annotated[JobLoader, Depends(_get_loader)]
WatcherDep = Annotated[JobWatcher, Depends(_get_watcher)]
