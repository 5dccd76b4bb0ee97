"""A service in this process, on a real socket, with a model whose start can be held back."""

import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")

from stablenormal.app.serving import Address, LocalNamesOnly  # noqa: E402
from stablenormal.pipelines import StableNormal  # noqa: E402
from stablenormal.service.application import State, build_service  # noqa: E402
from stablenormal.service.settings import Limits, Tokens  # noqa: E402


class Gate:
    """A model that runs only while the gate is open, and notes what it was asked for."""

    def __init__(self, pipeline: StableNormal) -> None:
        self._pipeline, self.open, self.asked = pipeline, threading.Event(), []
        self.open.set()
        self.weight_hash = pipeline.weight_hash

    def __call__(self, images: list[Any], **options: Any) -> Any:
        self.asked.append(len(images))
        assert self.open.wait(60)
        return self._pipeline(images, **options)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        """What a problem says."""
        assert self.headers["content-type"] == "application/problem+json", self
        said = json.loads(self.body)
        assert said["status"] == self.status
        assert "\n" not in said["detail"] and "/tmp" not in said["detail"], said
        return str(said["detail"])


@dataclass
class Service:
    port: int
    state: State
    gate: Gate
    threads: list[threading.Thread] = field(default_factory=list)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = self.connect()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            return read(connection)
        finally:
            connection.close()

    def post(self, path: str, body: bytes, kind: str = "image/png", **headers: str) -> Answer:
        return self.ask("POST", path, body, Content_Type=kind, **headers)

    def post_later(self, path: str, body: bytes, kind: str = "image/png") -> list[Answer]:
        """Ask in a thread; the list gets the answer."""
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(self.post(path, body, kind)))
        self.threads.append(thread)
        thread.start()
        return answers

    def joined(self) -> None:
        for thread in self.threads:
            thread.join(120)

    def metric(self, name: str) -> float:
        """The sum of a counter over its labels."""
        lines = self.state.metrics.text().decode().splitlines()
        found = [line for line in lines if line.partition("{")[0].partition(" ")[0] == f"stablenormal_{name}"]
        return sum(float(line.rpartition(" ")[2]) for line in found)


def read(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="session")
def pipeline(toy_model: Path) -> StableNormal:
    return StableNormal.from_pretrained(toy_model)


@contextmanager
def running(
    pipeline: StableNormal, limits: Limits, tokens: Tokens, log: Path | None = None, load: Any = None
) -> Iterator[Service]:
    gate = Gate(pipeline)
    app, state = build_service(load or (lambda: gate), limits, tokens, log)
    address = Address()
    socket = address.bind()
    config = uvicorn.Config(LocalNamesOnly(app), log_level="critical", access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        service = Service(socket.getsockname()[1], state, gate)
        if load is None:
            wait_until(lambda: state.batcher is not None)
        yield service
    finally:
        gate.open.set()
        server.should_exit = True
        thread.join(30)
        socket.close()


@pytest.fixture(scope="module")
def service(pipeline: StableNormal) -> Iterator[Service]:
    """With small limits, open to all."""
    limits = Limits(max_mb=1, max_megapixels=1, max_photographs=8, batch_size=3, upload_timeout_s=2)
    with running(pipeline, limits, Tokens([])) as service:
        yield service


@pytest.fixture
def run_service(pipeline: StableNormal) -> Any:
    """Starts a service with given limits."""

    def start(limits: Limits, tokens: Tokens = Tokens([]), **options: Any) -> Any:  # noqa: B008
        return running(pipeline, limits, tokens, **options)

    return start


def picture(seed: int = 0, width: int = 40, height: int = 32, format: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()
