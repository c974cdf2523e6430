"""Metrics of this API process, and of what workers report beside their heartbeat."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.health.metrics import gauge, skip_on
from store.errors import QueueUnavailable
from store.store import Store

API = "api"  # the label `process` of this process; workers have their names


class ProcessCollector(Collector):
    def __init__(self, store: Store):
        self.store = store

    def collect(self) -> Iterable[Metric]:
        connections = self.store.database.count_connections()
        yield gauge(
            "patina_database_connections",
            "Connections of this API process to the database.",
            ["state"],
            {("in_use",): connections.in_use, ("idle",): connections.idle},
        )
        yield GaugeMetricFamily(
            "patina_database_connections_limit", "PATINA_DATABASE_CONNECTIONS.", value=connections.limit
        )
        free = GaugeMetricFamily(
            "patina_free_bytes", "Bytes that fit on the disk of the data folder before PATINA_MIN_FREE_BYTES are left."
        )
        with skip_on(OSError, "disk"):
            free.add_metric([], self.store.quota.available_on_disk())
        yield free
        crashes = CounterMetricFamily(
            "patina_decoder_crashes", "Processes for decoding images that died or were killed.", labels=["process"]
        )
        crashes.add_metric([API], self.store.decoders.crashes)
        with skip_on(QueueUnavailable, "queue"):
            for worker, count in self.store.queue.decoder_crashes().items():
                crashes.add_metric([worker], count)
        yield crashes
