"""What every request passes before it is read: the token, the clock, the count."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from stablenormal.app.serving import App, Message, Receive, Send
from stablenormal.service.metrics import Metrics
from stablenormal.service.problems import ProblemError, problem_response
from stablenormal.service.settings import Tokens

logger = logging.getLogger(__name__)

OPEN_PATHS = ("/healthz", "/readyz")
"""Answered without a token: they say nothing but whether the service works."""

CLIENT_GONE = 499
"""Status in counts and logs of requests whose client went away."""


class TokenNeeded:
    """Refuses requests without one of the tokens, before their body is read."""

    def __init__(self, app: App, tokens: Tokens) -> None:
        self._app, self._tokens = app, tokens

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "http" and self._tokens and scope["path"] not in OPEN_PATHS:
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            scheme, _, token = given.decode("latin-1").partition(" ")
            if scheme.lower() != "bearer" or not self._tokens.opened_by(token.strip()):
                said = (
                    "this token is wrong" if token else "a token is needed; send Authorization: Bearer TOKEN"
                )
                problem = ProblemError(401, said, {"WWW-Authenticate": "Bearer"})
                await problem_response(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Observed:
    """Counts and times answers, ends those that take too long, and writes the log of requests."""

    def __init__(
        self, app: App, paths: tuple[str, ...], timeout_s: float, metrics: Metrics, log: Path | None
    ) -> None:
        self._app, self._paths, self._timeout_s = app, paths, timeout_s
        self._metrics, self._log = metrics, log

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._app(scope, receive, noted)
        except TimeoutError:
            if status:  # the client takes its answer too slowly: the connection is closed
                raise
            problem = ProblemError(504, f"no answer within {self._timeout_s:g} s; send less, or try again")
            await problem_response(problem)(scope, receive, noted)
        except Exception:  # which has its answer, unless the answer had begun before
            logger.exception("a request failed in a way that was not foreseen")
            if status != 500:
                raise
        finally:
            self._note(scope, status or CLIENT_GONE, time.perf_counter() - started)

    def _note(self, scope: Message, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self._paths else "other"
        self._metrics.requests.labels(path, str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        if self._log is not None:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = {"time": now, "method": scope["method"], "path": path, "status": status}
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "seconds": round(seconds, 4)}) + "\n")


def answered_in(app: App, *wrappers: Callable[[App], App]) -> App:
    """An application inside others; the first is asked first."""
    for wrap in reversed(wrappers):
        app = wrap(app)
    return app
