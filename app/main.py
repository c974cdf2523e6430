"""The application: all routers and middleware on one store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from anyio import create_task_group
from fastapi import FastAPI

from app.archives.endpoints import router as archives
from app.auth.middleware import AuthMiddleware
from app.datasets.endpoints import router as datasets
from app.degrade.endpoints import router as degrade
from app.documentation.endpoints import router as documentation
from app.documentation.endpoints import swagger_ui
from app.documentation.openapi import extend_document
from app.health.endpoints import router as health
from app.health.request_metrics import RequestMetrics, create_histogram
from app.http.body_limit import BodyLimit
from app.http.headers import SecurityHeaders, allow_origins
from app.http.problems import install_problem_handlers
from app.http.root_path import RootPath
from app.http.safe_methods import SafeMethods
from app.http.traces import RequestTraces
from app.inputs.endpoints import router as inputs
from app.jobs.batching import JobLoaders
from app.jobs.endpoints import router as jobs
from app.jobs.watcher import JobWatcher
from app.models.endpoints import router as models
from app.page.endpoints import router as page
from app.sr.endpoints import router as sr
from app.uploads.endpoints import router as uploads
from app.webhooks.endpoints import router as webhooks
from config.settings import Settings
from store.errors import DatabaseError
from store.store import Store

DESCRIPTION = """\
Learns a camera's degradation (blur kernels and noise, as distributions) from unpaired photos and applies it to clean
images.

Create a dataset, add real low-resolution photos (`role=lr`) and clean photos (`role=hr`), and train. Clean photos may
show other scenes, best of similar things. Then degrade clean images into low-resolution / kernel / noise triplets, or
super-resolve photos. Work is accepted with 202 and a job to poll.
"""


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.store = Store.open(settings)
        with suppress(DatabaseError):  # then the first readiness check does it
            app.state.store.leases.announce()
        app.state.job_loaders = JobLoaders(app.state.store)
        app.state.store.decoders.prestart()
        app.state.watcher = JobWatcher(app.state.store)
        async with create_task_group() as tasks:
            tasks.start_soon(app.state.watcher.run)
            yield
            app.state.watcher.close()
        app.state.store.close()

    app = FastAPI(
        title="Patina",
        version=version("patina"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # served by app.documentation instead
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.draining = False  # whether the process is about to end
    nouns = (datasets, uploads, inputs, degrade, sr, jobs, archives, models, webhooks)
    for router in (*nouns, health, documentation, page):
        app.include_router(router)
    app.mount("/docs/files", swagger_ui)
    # Each is outside of those before it.
    app.add_middleware(SafeMethods)
    app.add_middleware(AuthMiddleware, settings=settings)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(BodyLimit, settings=settings)
    if settings.allowed_origins:
        allow_origins(app, settings.allowed_origins)
    app.state.request_seconds = create_histogram()
    app.add_middleware(RequestMetrics, histogram=app.state.request_seconds)
    if settings.traces:
        app.add_middleware(RequestTraces)
    if settings.root_path:
        app.add_middleware(RootPath, prefix=settings.root_path)
    install_problem_handlers(app)
    extend_document(app, settings)
    return app
