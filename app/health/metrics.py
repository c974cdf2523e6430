"""Metrics for Prometheus, computed from the database and the queue at each scrape.

Nothing needs to be kept in step, and several API processes report the same values. Values fall when datasets are
deleted with their jobs, so all metrics are gauges except the histogram.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from store.errors import DatabaseError, QueueUnavailable
from store.queue import INFERENCE, QUEUE_OF_KIND, QUEUES
from store.repositories.job_stats import DURATIONS, Durations, JobStatsRepository
from store.repositories.jobs import ACTIVE, JobRepository
from store.store import Store
from store.worker_names import get_gpu, get_host

log = structlog.get_logger()


class StoreCollector(Collector):
    def __init__(self, store: Store):
        self.store = store

    def collect(self) -> Iterable[Metric]:
        metrics: list[Metric] = []
        # If one source is unavailable, the metrics of the other are still returned.
        with skip_on(DatabaseError, "database"):
            metrics += self._collect_database()
        with skip_on(QueueUnavailable, "queue"):
            metrics += self._collect_queue()
        return metrics

    def _collect_database(self) -> Iterable[Metric]:
        with self.store.database.read() as session:
            repository = JobStatsRepository(session)
            stats, failures, throughput = repository.by_state(), repository.failures(), repository.throughput()
            longest_waits = repository.longest_waits()
            shards: dict[tuple[str, ...], float] = {(name, state): 0 for name in QUEUES for state in ACTIVE}
            shards |= {labels: float(count) for labels, count in JobRepository(session).count_shards().items()}
        jobs: dict[tuple[str, ...], float] = {labels: state.jobs for labels, state in stats.items()}
        # Not the queue's own length: entries of canceled jobs stay on the queue until a worker meets them.
        depths = Counter[tuple[str, ...]]({(name,): 0 for name in QUEUES})
        for (kind, status), state in stats.items():
            if status == "queued":
                depths[QUEUE_OF_KIND.get(kind, INFERENCE),] += state.jobs
        yield gauge("patina_queue_depth", "Jobs that wait, by queue.", ["queue"], dict(depths))
        yield gauge("patina_shards", "Work that waits, and work that workers have.", ["queue", "status"], shards)
        yield gauge("patina_jobs", "Jobs by kind and status.", ["kind", "status"], jobs)
        yield gauge("patina_job_failures", "Failed jobs by kind and error code.", ["kind", "code"], failures)
        yield gauge(
            "patina_per_second",
            "Throughput of running jobs: samples, images or steps per second.",
            ["kind", "unit"],
            throughput,
        )
        finished = Counter[tuple[str, ...]]()
        for (kind, _), state in stats.items():
            if kind != "train":
                finished.update({(kind, "ok"): state.ok, (kind, "failed"): state.failed})
        yield gauge(
            "patina_finished_samples", "Finished samples and images by outcome.", ["kind", "outcome"], dict(finished)
        )
        yield histogram(
            "patina_job_seconds",
            "Time from a job's first start to its end.",
            ["kind", "status"],
            {labels: state.durations for labels, state in stats.items()},
        )
        waits: dict[tuple[str, ...], Durations] = {}
        for (kind, _), state in stats.items():
            waits[kind,] = waits[kind,] + state.waits if (kind,) in waits else state.waits
        yield histogram("patina_queue_seconds", "Time that a job waited for its first start.", ["kind"], waits)
        oldest: dict[tuple[str, ...], float] = {(name,): 0.0 for name in QUEUES}
        for kind, seconds in longest_waits.items():
            queue = (QUEUE_OF_KIND.get(kind, INFERENCE),)
            oldest[queue] = max(oldest[queue], seconds)
        yield gauge(
            "patina_queue_oldest_seconds", "Time that the oldest job has waited for its first start.", ["queue"], oldest
        )

    def _collect_queue(self) -> Iterable[Metric]:
        queue = self.store.queue
        workers = {name: queue.workers(name) for name in QUEUES}
        counts: dict[tuple[str, ...], float] = {(name,): len(running) for name, running in workers.items()}
        yield gauge("patina_workers", "Running workers.", ["queue"], counts)
        places = Counter[tuple[str, ...]](
            (name, get_host(worker), get_gpu(worker)) for name, running in workers.items() for worker in running
        )
        yield gauge(
            "patina_worker_processes",
            "Running workers by computer, and by GPU if they have one of their own.",
            ["queue", "host", "gpu"],
            dict(places),
        )
        stored = GaugeMetricFamily("patina_stored_bytes", "Size of all blobs and unfinished uploads.")
        if (size := queue.stored_bytes()) is not None:
            stored.add_metric([], size)
        yield stored
        used = GaugeMetricFamily("patina_gpu_memory_used_bytes", "GPU memory in use.", labels=["host", "gpu"])
        total = GaugeMetricFamily("patina_gpu_memory_bytes", "Total GPU memory.", labels=["host", "gpu"])
        utilization = GaugeMetricFamily(
            "patina_gpu_utilization_ratio", "Share of the time that the GPU computes.", labels=["host", "gpu"]
        )
        for host, gpus in queue.gpus().items():
            for number, gpu in gpus.items():
                used.add_metric([host, number], gpu["used"])
                total.add_metric([host, number], gpu["total"])
                if "utilization" in gpu:
                    utilization.add_metric([host, number], gpu["utilization"] / 100)
        yield from (used, total, utilization)


def gauge(name: str, documentation: str, labels: list[str], values: dict[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def histogram(
    name: str, documentation: str, labels: list[str], values: dict[tuple[str, ...], Durations]
) -> HistogramMetricFamily:
    """Label values without any duration are left out."""
    family = HistogramMetricFamily(name, documentation, labels=labels)
    bounds = [*(str(bound) for bound in DURATIONS), "+Inf"]
    for label_values, durations in values.items():
        counts = durations.cumulative_counts
        if counts[-1]:
            buckets = [(bound, float(count)) for bound, count in zip(bounds, counts, strict=True)]
            family.add_metric(label_values, buckets, durations.total_seconds)
    return family


@contextmanager
def skip_on(error_type: type[Exception], source: str) -> Iterator[None]:
    try:
        yield
    except error_type as error:
        log.warning("metrics failed", source=source, error=str(error))
