"""Figures for Prometheus, read from the records at the moment of the question.

There is nothing to keep in step, and they are right with several API processes. They fall when datasets are deleted
with their jobs, so all are gauges but for the histogram.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from store.errors import DatabaseError, QueueUnavailable
from store.queue import INFERENCE, TRAIN
from store.repositories.job_stats import DURATIONS, JobFigures
from store.store import Store

log = structlog.get_logger()


class StoreCollector(Collector):
    def __init__(self, store: Store):
        self.store = store

    def collect(self) -> Iterable[Metric]:
        found: list[Metric] = []
        # What cannot be asked now is left out; the other figures are no less true.
        with _left_out_if(DatabaseError, "database"):
            found += self._of_records()
        with _left_out_if(QueueUnavailable, "queue"):
            found += self._of_queue()
        return found

    def _of_records(self) -> Iterable[Metric]:
        with self.store.database.read() as session:
            figures = JobFigures(session)
            together, failures, speeds = figures.by_state(), figures.failures(), figures.speeds()
        jobs: dict[tuple[str, ...], float] = {labels: of.jobs for labels, of in together.items()}
        yield _gauge("patina_jobs", "Jobs by kind and status.", ["kind", "status"], jobs)
        yield _gauge("patina_job_failures", "Failed jobs by kind and error code.", ["kind", "code"], failures)
        yield _gauge(
            "patina_per_second",
            "What running jobs finish in a second: samples, images or steps.",
            ["kind", "unit"],
            speeds,
        )
        finished = Counter[tuple[str, ...]]()
        for (kind, _), of in together.items():
            if kind != "train":
                finished.update({(kind, "ok"): of.ok, (kind, "failed"): of.failed})
        yield _gauge(
            "patina_finished_samples", "Samples and images finished, by outcome.", ["kind", "outcome"], dict(finished)
        )
        histogram = HistogramMetricFamily(
            "patina_job_seconds", "Time from a job's first start to its end.", labels=["kind", "status"]
        )
        bounds = [*(str(bound) for bound in DURATIONS), "+Inf"]
        for labels, of in together.items():
            if of.durations.at_most[-1]:
                buckets = [(bound, float(count)) for bound, count in zip(bounds, of.durations.at_most, strict=True)]
                histogram.add_metric(labels, buckets, of.durations.total_seconds)
        yield histogram

    def _of_queue(self) -> Iterable[Metric]:
        queue, names = self.store.queue, (INFERENCE, TRAIN)
        yield _gauge(
            "patina_queue_depth", "Jobs on the queue.", ["queue"], {(name,): queue.depth(name) for name in names}
        )
        yield _gauge(
            "patina_workers", "Workers that are there.", ["queue"], {(name,): queue.count_workers(name) for name in names}
        )
        used = GaugeMetricFamily("patina_gpu_memory_used_bytes", "GPU memory in use.", labels=["host", "gpu"])
        total = GaugeMetricFamily("patina_gpu_memory_bytes", "GPU memory there is.", labels=["host", "gpu"])
        for host, memories in queue.gpu_memory().items():
            for gpu, memory in memories.items():
                used.add_metric([host, gpu], memory["used"])
                total.add_metric([host, gpu], memory["total"])
        yield used
        yield total


def _gauge(name: str, about: str, labels: list[str], values: dict[tuple[str, ...], float]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, about, labels=labels)
    for of, value in values.items():
        gauge.add_metric(of, value)
    return gauge


@contextmanager
def _left_out_if(error: type[Exception], what: str) -> Iterator[None]:
    try:
        yield
    except error as found:
        log.warning("no figures", of=what, error=str(found))
