"""Calls on the service itself."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from app.dependencies import StoreOfApp
from app.health import service
from app.health.schemas import HealthOut, ReadyOut
from app.problems import problem_responses
from store.queue import TRAIN, WARM
from store.store import Store

router = APIRouter(tags=["service"])


@router.get("/health", summary="Alive?")
def health() -> HealthOut:
    return HealthOut()


@router.get("/ready", summary="Able to work?", responses=problem_responses(HTTPStatus.SERVICE_UNAVAILABLE))
def ready(store: StoreOfApp) -> ReadyOut:
    """200 when the database, the queue, the storage and a worker of each kind are there; else 503 says what is not."""
    return service.ready(store)


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics(store: StoreOfApp) -> Response:
    registry = CollectorRegistry()
    registry.register(_StoreCollector(store))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _StoreCollector(Collector):
    """Reads the records at the moment of the question: nothing to keep in step, right with several API processes."""

    def __init__(self, store: Store):
        self.store = store

    def collect(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily("patina_jobs", "Jobs by kind and status.", labels=["kind", "status"])
        for labels, count in service.jobs_by_state(self.store).items():
            jobs.add_metric(labels, count)
        yield jobs
        workers = GaugeMetricFamily("patina_workers", "Workers that are there, by queue.", labels=["queue"])
        for queue in (WARM, TRAIN):
            workers.add_metric([queue], self.store.queue.workers(queue))
        yield workers
