"""Health endpoints."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.health import service
from app.health.metrics import StoreCollector
from app.health.process_metrics import ProcessCollector
from app.health.schemas import HealthRead, ReadinessRead, WorkersRead
from app.http.dependencies import SettingsDep, StoreDep
from app.http.problems import ProblemError, problem_responses

router = APIRouter(tags=["service"])


@router.get("/health", summary="Check that the service is alive")
async def get_health() -> HealthRead:
    return HealthRead()


@router.get(
    "/ready",
    summary="Check that the API can accept jobs",
    responses=problem_responses(HTTPStatus.SERVICE_UNAVAILABLE),
)
def get_readiness(request: Request, store: StoreDep, settings: SettingsDep) -> ReadinessRead:
    """200 if the database, the queue and the storage work; else 503 with what fails. Also 503 before the API ends.

    `workers` counts running workers. Without any, the API accepts jobs, which wait.
    """
    if request.app.state.draining:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "draining", "This API shuts down. Use another one.")
    return service.check_readiness(store, verbose=not settings.tokens_needed)


@router.get(
    "/health/workers",
    summary="Count running workers",
    responses=problem_responses(HTTPStatus.SERVICE_UNAVAILABLE),
)
def get_workers(store: StoreDep) -> WorkersRead:
    return service.count_workers(store)


@router.get("/metrics", summary="Get metrics for Prometheus", response_class=Response)
def get_metrics(request: Request, store: StoreDep) -> Response:
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    registry.register(ProcessCollector(store))
    registry.register(request.app.state.request_seconds)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
