"""Calls on the service itself."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.health import service
from app.health.metrics import StoreCollector
from app.health.schemas import HealthRead, ReadinessRead
from app.http.dependencies import SettingsDep, StoreDep
from app.http.problems import problem_responses

router = APIRouter(tags=["service"])


@router.get("/health", summary="Alive?")
async def health() -> HealthRead:
    return HealthRead()


@router.get("/ready", summary="Able to work?", responses=problem_responses(HTTPStatus.SERVICE_UNAVAILABLE))
def ready(store: StoreDep, settings: SettingsDep) -> ReadinessRead:
    """200 when the database, the queue, the storage and a worker of each kind are there; else 503 says what is not."""
    return service.ready(store, in_detail=not settings.tokens_needed)


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics(store: StoreDep) -> Response:
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
