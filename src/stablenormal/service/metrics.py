"""What Prometheus reads at /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        new = {"registry": self._registry, "namespace": "stablenormal"}
        self.requests = Counter("requests", "Answers", ["path", "status"], **new)
        self.seconds = Histogram(
            "request_seconds", "From the request to its answer", ["path"], buckets=_SECONDS, **new
        )
        self.places = Gauge("requests_in_progress", "Requests that are read, wait or run", **new)
        self.waiting = Gauge("photographs_waiting", "Photographs that wait for the model", **new)
        self.photographs = Counter("photographs", "Photographs that the model has seen", **new)
        self.batches = Histogram(
            "batch_photographs", "Photographs that ran together", buckets=(1, 2, 4, 8, 16, 32), **new
        )
        self.model_seconds = Histogram("batch_seconds", "Seconds of a batch", buckets=_SECONDS, **new)
        self.ready = Gauge("ready", "1 when the model is loaded", **new)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)
