"""What serves pages and answers over HTTP: where it listens, to whom it answers, and how it ends."""

import signal
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeAlias

from stablenormal.errors import SettingError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that only programs of the same machine reach."""

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
"""An ASGI application."""


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Raises:
        SettingError: for a port that does not exist.
    """

    host: str = "127.0.0.1"
    """Name or address; `0.0.0.0` is every network that the machine is on."""
    port: int = 0
    """0: one that is free."""

    def __post_init__(self) -> None:
        """Refuse what cannot be bound."""
        if not 0 <= self.port <= 65535:
            raise SettingError(f"--port: {self.port} does not exist; choose one from 1024 to 65535, or 0")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOOPBACK or self.host.startswith("127.")

    def bind(self) -> socket.socket:
        """A socket that listens there.

        Raises:
            SettingError: if the port is taken or not allowed, or there is no such host.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((self.host, self.port))
            bound.listen(128)
        except PermissionError as error:
            bound.close()
            raise SettingError(f"--port: {self.port} is not allowed; choose one from 1024 on") from error
        except socket.gaierror as error:
            bound.close()
            raise SettingError(f"--host: there is no '{self.host}' here; use 127.0.0.1 or 0.0.0.0") from error
        except OSError as error:
            bound.close()
            raise SettingError(
                f"--host {self.host} --port {self.port}: {error.strerror}; choose another, or --port 0"
            ) from error
        return bound

    def url(self, bound: socket.socket) -> str:
        """What a browser on this machine opens."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}/"


class LocalNamesOnly:
    """Answers only requests that call this machine by a name of its own.

    Otherwise a page of somebody else could have its own name lead to this machine, and let a browser here ask
    in its place.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "http" and _host(scope) not in LOOPBACK:
            text = b"this server answers only on this machine; --host listens to others\n"
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            await send({"type": "http.response.body", "body": text})
            return
        await self._app(scope, receive, send)


def _host(scope: Message) -> str:
    """The name in the Host header, without its port."""
    name: str = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


class Server:
    """Serves an application until Ctrl-C or SIGTERM; what is being answered then is finished."""

    def __init__(self, app: App, address: Address, grace_s: int) -> None:
        """Bind the address.

        Args:
            app: what answers.
            address: where.
            grace_s: seconds that what is being answered gets at the end; a second Ctrl-C ends it at once.

        Raises:
            SettingError: as `Address.bind`.
        """
        import uvicorn

        self._socket = address.bind()
        self.url = address.url(self._socket)
        config = uvicorn.Config(
            LocalNamesOnly(app) if address.is_loopback else app,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=grace_s,
            ws="none",
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until a signal comes, or `stop` is called."""
        # uvicorn hands on the signal that ended it when all is done; being asked to stop is no failure here.
        before = {
            number: signal.signal(number, _stop_is_no_error) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """End as after a signal, from any thread."""
        self._server.should_exit = True


def _stop_is_no_error(number: int, frame: FrameType | None) -> None:
    """Leave the signal at that."""
