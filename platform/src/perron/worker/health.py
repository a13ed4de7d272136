"""Health of a worker process over HTTP: `/live`, `/ready` and `/metrics`, for probes and Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    make_wsgi_app,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from perron.errors import ConfigurationError
from perron.runtime.worker import Worker

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@contextmanager
def serve_health(worker: Worker, *, host: str, port: int) -> Iterator[int]:
    """Serve in a thread of its own, so that a node that blocks the loop does not look like a dead process.

    Yields the port, which is a free one for 0.

    Raises:
        ConfigurationError: The address is taken, or none of this machine's.
    """
    try:
        server = make_server(host, port, _application(worker), _Server, _QuietHandler)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise ConfigurationError(
            f"Health cannot be served at {host}:{port}: {reason}. Name another address with --health."
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="perron-health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Log nothing: probes come every few seconds."""


def _application(worker: Worker) -> Application:
    registry = CollectorRegistry()
    for collector in (PlatformCollector, ProcessCollector, GCCollector):
        collector(registry=registry)
    registry.register(WorkerCollector(worker))
    metrics: Application = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)
            case "/live":
                return _answer(start_response, None if worker.is_beating else "no beats")
            case "/ready":
                return _answer(start_response, worker.obstacle)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"There are /live, /ready and /metrics.\n"]

    return application


def _answer(start_response: StartResponse, obstacle: str | None) -> list[bytes]:
    status = "200 OK" if obstacle is None else "503 Service Unavailable"
    start_response(status, [("Content-Type", "text/plain")])
    return [f"{obstacle or 'ok'}\n".encode()]


class WorkerCollector(Collector):
    """What a worker does, read when Prometheus asks."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        worker = self._worker
        yield GaugeMetricFamily("perron_worker_executing", "Runs that execute now.", worker.executing)
        yield GaugeMetricFamily("perron_worker_concurrency", "Runs that may execute at once.", worker.concurrency)
        yield GaugeMetricFamily("perron_worker_ready", "1 when it may claim runs.", worker.obstacle is None)
        ended = CounterMetricFamily("perron_runs_ended", "Runs that ended here, by status.", labels=["status"])
        for status, count in worker.ended.items():
            ended.add_metric([status], count)
        yield ended
        yield CounterMetricFamily(
            "perron_runs_given_back", "Runs that went back in line here, or were lost.", worker.given_back
        )
