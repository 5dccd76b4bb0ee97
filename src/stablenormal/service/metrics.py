"""What Prometheus reads at /metrics."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_NAMESPACE = "stablenormal"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        new = _In(self._registry)
        self.requests = new.counter("requests", "Answers", "path", "status")
        self.seconds = new.histogram("request_seconds", "From the request to its answer", _SECONDS, "path")
        self.places = new.gauge("requests_in_progress", "Requests that are read, wait or run")
        self.waiting = new.gauge("photographs_waiting", "Photographs that wait for the model")
        self.photographs = new.counter("photographs", "Photographs that the model has seen")
        self.batches = new.histogram(
            "batch_photographs", "Photographs that ran together", (1, 2, 4, 8, 16, 32)
        )
        self.model_seconds = new.histogram("batch_seconds", "Seconds of a batch", _SECONDS)
        self.ready = new.gauge("ready", "1 when the model is loaded")

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)


class _In:
    """Makes counters in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, namespace=_NAMESPACE, registry=self._registry)

    def gauge(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, namespace=_NAMESPACE, registry=self._registry)

    def histogram(self, name: str, about: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, about, labels, namespace=_NAMESPACE, registry=self._registry, buckets=buckets)
