"""The client of the StableNormal service: bytes of a photograph in, bytes of a normal map out.

It needs Python's standard library alone, so Blender runs it, and so does anything else.
"""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SIGNATURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/x-exr": b"\x76\x2f\x31\x01",
    "application/x-npy": b"\x93NUMPY",
}
"""First bytes of each kind of answer."""
LARGEST_ANSWER = 1 << 30
"""Bytes; more is no normal map."""
TRIES = 5
"""Requests made while the service says that it is busy."""
LONGEST_WAIT = 30.0
"""Seconds waited at most between two of them, whatever the service asks for."""


class ServiceError(Exception):
    """The service could not be asked, or did not answer with normals; one line for the user."""


@dataclass(frozen=True)
class Service:
    """Where the service is.

    Raises:
        ServiceError: when made with something that is no address.
    """

    address: str = "http://127.0.0.1:8000"
    """Scheme, host and port."""
    token: str = ""
    """Of the service's users; empty if it asks for none."""
    timeout_s: float = 600.0
    """Longest silence in seconds."""

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.address)
        try:
            bad_port = parts.port is not None and not parts.port
        except ValueError:
            bad_port = True
        if parts.scheme not in ("http", "https") or not parts.hostname or bad_port:
            raise ServiceError(f"{self.address!r} is no address; write it as http://127.0.0.1:8000")
        if any(ord(letter) < 33 or ord(letter) > 126 for letter in self.token):
            raise ServiceError("the token has a space or a letter that no token has; copy it again")

    @property
    def on_this_machine(self) -> bool:
        """Whether asking it needs no network."""
        return urllib.parse.urlsplit(self.address).hostname in LOOPBACK


def request_normals(
    photograph: bytes,
    service: Service,
    *,
    mode: str = "full",
    frame: str = "opengl",
    seed: int = 0,
    kind: str = "image/png",
    wait: Callable[[float], None] = time.sleep,
) -> bytes:
    """Ask the service for the normals of one photograph.

    Args:
        photograph: the bytes of a JPEG, PNG, TIFF, WebP or HEIC file.
        service: where to ask.
        mode: `full` or `turbo`.
        frame: `opengl`, `directx`, `opencv` or `dsine`.
        seed: of all random numbers.
        kind: of the answer: `image/png` (16 bits), `image/x-exr` or `application/x-npy`.
        wait: sleeps for seconds while the service is busy.

    Returns:
        The bytes of the normal map.

    Raises:
        ServiceError: if there is no service, it refuses, or its answer is no file of that kind.
    """
    if kind not in SIGNATURES:
        raise ServiceError(f"there is no kind {kind!r}; choose one of {', '.join(SIGNATURES)}")
    query = urllib.parse.urlencode({"mode": mode, "frame": frame, "seed": seed})
    headers = {"Accept": kind, "Content-Type": "application/octet-stream"}
    if service.token:
        headers["Authorization"] = f"Bearer {service.token}"
    address = f"{service.address.rstrip('/')}/v1/normals?{query}"
    for attempt in range(1, TRIES + 1):
        request = urllib.request.Request(address, data=photograph, headers=headers, method="POST")
        try:
            with _opener(service).open(request, timeout=service.timeout_s) as response:
                answer: bytes = response.read(LARGEST_ANSWER + 1)
        except urllib.error.HTTPError as error:
            if error.code in (429, 503) and attempt < TRIES:
                wait(_seconds(error.headers.get("Retry-After"), attempt))
                continue
            raise ServiceError(_refusal(error)) from error
        except (OSError, HTTPException) as error:
            raise ServiceError(_silence(service, error)) from error
        if len(answer) > LARGEST_ANSWER or not answer.startswith(SIGNATURES[kind]):
            raise ServiceError(f"{service.address} answered, but not with normals; is it another program?")
        return answer
    raise AssertionError("the last try returns or raises")


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Photograph and token go to the address that the user named, and nowhere else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


def _opener(service: Service) -> urllib.request.OpenerDirector:
    if service.on_this_machine:  # a proxy would look for the service on its own machine
        return urllib.request.build_opener(_StayHere, urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(_StayHere)


def _seconds(told: str | None, attempt: int) -> float:
    """How long to wait: as the service says, or longer each time."""
    seconds = float(told) if told is not None and told.isdigit() else float(2**attempt)
    return min(seconds, LONGEST_WAIT)


def _refusal(error: urllib.error.HTTPError) -> str:
    """What the service says is wrong, or what its code means."""
    if 300 <= error.code < 400:
        return f"the service is elsewhere: {error.headers.get('Location')}; set its address to that"
    text = error.read(1 << 16).decode("utf-8", errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    said = next((found[key] for key in ("error", "detail", "message") if key in found), None) \
        if isinstance(found, dict) else None  # fmt: skip
    if isinstance(said, dict):
        said = said.get("message")
    if isinstance(said, list):  # one entry for each parameter
        said = "; ".join(str(one.get("msg", one)) if isinstance(one, dict) else str(one) for one in said)
    if said:
        return " ".join(str(said).split())
    meaning = {
        401: "the service asks for a token; set it in the preferences",
        403: "the service does not take this token; set another one in the preferences",
        413: "the photograph is too large for the service; shrink it",
        429: "the service is busy; try again later",
        503: "the service is not ready; try again later",
    }
    return meaning.get(error.code, f"the service answered {error.code} {error.reason}")


def _silence(service: Service, error: Exception) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return f"{service.address} did not answer within {service.timeout_s:g} s; is it working on others?"
    return f"no answer from {service.address} ({cause}); start it with: stablenormal serve"
