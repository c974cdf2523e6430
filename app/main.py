"""The application: every noun's calls on one store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from app.datasets.endpoints import router as datasets
from app.degrade.endpoints import router as degrade
from app.health.endpoints import router as health
from app.jobs.endpoints import router as jobs
from app.models.endpoints import router as models
from app.openapi import document_problems
from app.problems import install_problem_handlers
from app.sr.endpoints import router as sr
from config.settings import Settings
from store.store import Store

DESCRIPTION = """\
Learns how real photos from one source lost their quality, and wears clean images down in the same way.

Make a dataset, add real low-resolution photos (`role=lr`) and unrelated clean ones (`role=hr`), train, then degrade
clean images into low-resolution / kernel / noise triplets, or super-resolve photos. Work is accepted with 202 and a job
to poll.
"""


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.store = Store.open(settings)
        yield
        app.state.store.close()

    app = FastAPI(title="Patina", version=version("patina"), description=DESCRIPTION, lifespan=lifespan)
    app.state.settings = settings
    for router in (datasets, degrade, sr, jobs, models, health):
        app.include_router(router)
    install_problem_handlers(app)
    document_problems(app)
    return app
