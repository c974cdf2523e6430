"""OpenTelemetry traces, off by default. One trace follows a job from its request through the queue to its workers.

Everything here does nothing until `configure_tracing` has turned traces on.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

TRACEPARENT_CHARS = 55  # of a W3C trace context, version 00
_tracer: Tracer | None = None  # None while traces are off


class MissingTracesError(Exception):
    """PATINA_TRACES is on, but the packages are not installed. The message says what to do."""


def configure_tracing(settings: Settings, process: str) -> Callable[[], object]:
    """Sends this process's spans by OTLP over HTTP, if PATINA_TRACES is on. Raises `MissingTracesError`.

    The OTEL_ variables of the OpenTelemetry specification apply, such as OTEL_EXPORTER_OTLP_ENDPOINT. `process` is in
    the service's name, such as `patina-api`, unless OTEL_SERVICE_NAME is set. Returns a function that sends now what
    else would be sent within seconds, and at the end of the process.
    """
    global _tracer  # noqa: PLW0603 - one per process, as the logging configuration
    if not settings.traces:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise MissingTracesError(
            "PATINA_TRACES needs OpenTelemetry: pip install 'patina[otel]'. Or unset PATINA_TRACES."
        ) from error
    service = Resource({SERVICE_NAME: f"patina-{process.replace(' ', '-')}"})
    provider = TracerProvider(resource=Resource.create().merge(service).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    atexit.register(provider.shutdown)  # sends what is left
    _tracer = provider.get_tracer("patina")
    return provider.force_flush


@contextmanager
def span(
    name: str,
    *,
    kind: Literal["internal", "server", "producer", "consumer"] = "internal",
    traceparent: str | None = None,
    attributes: Mapping[str, str | int | float] | None = None,
) -> Iterator[Span | None]:
    """Measures the block as a span, whose parent is `traceparent` or the current span. Yields None if traces are off.

    An exception that leaves the block is recorded in the span.
    """
    if _tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra

    with _tracer.start_as_current_span(
        name, context=_parse(traceparent), kind=SpanKind[kind.upper()], attributes=dict(attributes or {})
    ) as current:
        yield current


def annotate_span(attributes: Mapping[str, str | int | float]) -> None:
    """Adds attributes to the current span."""
    if _tracer is not None:
        from opentelemetry.trace import get_current_span  # noqa: PLC0415

        get_current_span().set_attributes(dict(attributes))


def record_span(name: str, *, traceparent: str, started: float, ended: float) -> None:
    """Records a span of the past. Times are seconds since 1970."""
    if _tracer is not None:
        begun = _tracer.start_span(name, context=_parse(traceparent), start_time=round(started * 1e9))
        begun.end(round(ended * 1e9))


def current_traceparent() -> str | None:
    """Returns the W3C trace context of the current span, to continue the trace elsewhere; None if traces are off."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def _parse(traceparent: str | None) -> Context | None:
    """Returns the context of a parent, None for the current one. A value that is no trace context has no effect."""
    if traceparent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})
