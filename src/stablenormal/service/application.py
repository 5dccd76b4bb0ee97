"""The service: what can be asked, and how an answer is made."""

import asyncio
import json
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from stablenormal import __version__
from stablenormal.app.naming import MAP_ENDINGS, name_results
from stablenormal.app.serving import App
from stablenormal.errors import StableNormalError
from stablenormal.io.image_files import ImageEntry
from stablenormal.io.normal_map import FRAME_KEY
from stablenormal.pipelines import StableNormal
from stablenormal.service.answers import KINDS, encoded, in_its_words, negotiated, read_photograph
from stablenormal.service.batching import Batcher, Wanted
from stablenormal.service.metrics import Metrics
from stablenormal.service.middleware import CLIENT_GONE, Observed, TokenNeeded, answered_in
from stablenormal.service.problems import ProblemError, busy, described, problem_response
from stablenormal.service.settings import Limits, Tokens
from stablenormal.service.uploads import Upload, attachment, receive

T = TypeVar("T")

SMALLEST_RESOLUTION, LARGEST_RESOLUTION = 64, 1536
"""Longer side that a client may ask the network to see; the memory of a view grows with its square."""

DECODERS = 2
"""Photographs that are decoded, or maps that are coded, at a time."""

PATHS = ("/v1/normals", "/v1/batch", "/healthz", "/readyz", "/metrics", "/openapi.json")

Mode = Annotated[Literal["full", "turbo"], Query(description="full refines; turbo is one step, faster")]
Frame = Annotated[
    Literal["opengl", "opencv", "directx", "dsine"], Query(description="axes of the normals in the answer")
]
Seed = Annotated[int, Query(ge=0, lt=2**32, description="of all random numbers", examples=[0])]
Resolution = Annotated[
    int | None,
    Query(
        ge=SMALLEST_RESOLUTION,
        le=LARGEST_RESOLUTION,
        description="longer side in pixels for the network; by default the model's",
    ),
]
Format = Annotated[
    Literal["png16", "exr", "npy", "png8"], Query(description="kind of the maps in the archive")
]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PROBLEMS = (400, 401, 408, 413, 415, 422, 429, 503, 504)


@dataclass
class State:
    """The service while it runs."""

    limits: Limits
    metrics: Metrics = field(default_factory=Metrics)
    pipeline: StableNormal | None = None
    batcher: Batcher | None = None
    problem: Exception | None = None
    """Why there is no model."""
    places: int = 0
    """Requests that are read, wait or run."""
    decoders: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(DECODERS, "decoder"))

    @contextmanager
    def place(self) -> Iterator[Batcher]:
        """A place among those who are served.

        Raises:
            ProblemError: if the model is not there, or all places are taken.
        """
        if self.batcher is None:
            raise ProblemError(503, "the model is being loaded; come again in 5 s", {"Retry-After": "5"})
        if self.places >= self.limits.queue:
            raise busy(min(60, max(1, ceil(self.batcher.wait_s))))
        self.places += 1
        self.metrics.places.set(self.places)
        try:
            yield self.batcher
        finally:
            self.places -= 1
            self.metrics.places.set(self.places)

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what takes long, while others are served."""
        return await asyncio.get_running_loop().run_in_executor(self.decoders, work, *arguments)


def build_service(
    load: Callable[[], StableNormal],
    limits: Limits,
    tokens: Tokens,
    log: Path | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> tuple[App, State]:
    """The service as an application that a server runs, and what it keeps.

    Args:
        load: makes the model; it is called when the server starts, which answers meanwhile.
        limits: of requests.
        tokens: that open it; none leaves it open.
        log: file to which a line is added for each request.
        on_failure: called if the model cannot be loaded; `State.problem` says why.
    """
    state = State(limits)
    api = FastAPI(
        title="stablenormal",
        version=__version__,
        summary="Surface normals of photographs.",
        description=(
            "A photograph in, its surface normals out. Every problem is `application/problem+json` "
            "with one line in `detail`."
        ),
        docs_url=None,  # their pages would come from another server
        redoc_url=None,
        lifespan=lambda _: _lifespan(state, load, on_failure),
        dependencies=[],
    )
    _add_answers(api, state, tokens)
    _add_problems(api)
    app = answered_in(
        api,
        lambda app: Observed(app, PATHS, limits.timeout_s, state.metrics, log),
        lambda app: TokenNeeded(app, tokens),
    )
    return app, state


@asynccontextmanager
async def _lifespan(
    state: State, load: Callable[[], StableNormal], on_failure: Callable[[], None]
) -> AsyncIterator[None]:
    async def begin() -> None:
        try:
            state.pipeline = await state.in_thread(load)
        except Exception as error:  # whatever it is, a service without a model is none
            state.problem = error
            on_failure()
            return
        limits = state.limits
        state.batcher = Batcher(state.pipeline, limits.batch_size, limits.batch_wait_ms, state.metrics)
        state.metrics.ready.set(1)

    beginning = asyncio.create_task(begin())
    yield
    await beginning
    if state.batcher is not None:  # every request has its answer by now
        await state.batcher.close()
    state.decoders.shutdown()


def _add_problems(api: FastAPI) -> None:
    @api.exception_handler(ProblemError)
    async def told(request: Request, problem: ProblemError) -> Response:
        return problem_response(problem)

    @api.exception_handler(RequestValidationError)
    async def parameter(request: Request, error: RequestValidationError) -> Response:
        wrong = [f"{one['loc'][-1]}: {one['msg'][0].lower()}{one['msg'][1:]}" for one in error.errors()]
        return problem_response(ProblemError(422, "; ".join(wrong)))

    @api.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        says = {404: f"there is no {request.url.path}; /openapi.json says what there is"}
        said = says.get(error.status_code, str(error.detail))
        return problem_response(ProblemError(error.status_code, said, dict(error.headers or {})))

    @api.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return problem_response(ProblemError(500, "not foreseen; the log of the service says more"))

    @api.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)


def _add_answers(api: FastAPI, state: State, tokens: Tokens) -> None:
    from fastapi import Depends

    # Checked before, by `TokenNeeded`; here it is described.
    guarded = [Depends(HTTPBearer(auto_error=False))] if tokens else []

    @api.post(
        "/v1/normals",
        summary="Normals of one photograph",
        description=(
            "The kind of file is chosen by `Accept`. The frame, mode and seed stand in the headers of the "
            "answer too, and in PNG and EXR files the frame."
        ),
        response_class=Response,
        responses={
            200: {
                "description": "The normal map, of the photograph's size.",
                "content": {kind: _BINARY for kind in KINDS},
                "headers": {name: {"schema": {"type": "string"}} for name in _facts("", Wanted(), "")},
            },
            **described(406, *_PROBLEMS),
        },
        openapi_extra=_body(
            {"image/*": _BINARY, "application/octet-stream": _BINARY, "multipart/form-data": _form("image")}
        ),
        dependencies=guarded,
    )
    async def normals(
        request: Request,
        mode: Mode = "full",
        frame: Frame = "opengl",
        seed: Seed = 0,
        resolution: Resolution = None,
    ) -> Response:
        kind = negotiated(request.headers.get("accept", ""))
        wanted = Wanted(mode, seed, resolution)
        with state.place() as batcher, tempfile.TemporaryDirectory(prefix="stablenormal-request-") as folder:
            (upload,) = await receive(request, Path(folder), state.limits, several=False)
            made = await unless_gone(request, _map(state, batcher, upload, wanted, frame, KINDS[kind]))
        name = Path(upload.name).stem + MAP_ENDINGS[KINDS[kind]]
        weights = "" if state.pipeline is None else state.pipeline.weight_hash
        facts = _facts(frame, wanted, weights)
        return Response(made, media_type=kind, headers={**facts, "Content-Disposition": attachment(name)})

    @api.post(
        "/v1/batch",
        summary="Normals of several photographs",
        description=(
            "An archive with a map for each photograph, and `results.json`, which says what became of each; "
            "a photograph that cannot be used does not stop the others. Only if none can, the answer is 422."
        ),
        response_class=Response,
        responses={
            200: {"description": "The archive.", "content": {"application/zip": _BINARY}},
            **described(*_PROBLEMS),
        },
        openapi_extra=_body(
            {"application/zip": _BINARY, "multipart/form-data": _form("images", several=True)}
        ),
        dependencies=guarded,
    )
    async def batch(
        request: Request,
        mode: Mode = "full",
        frame: Frame = "opengl",
        seed: Seed = 0,
        resolution: Resolution = None,
        format: Format = "png16",
    ) -> Response:
        wanted = Wanted(mode, seed, resolution)
        folder = Path(tempfile.mkdtemp(prefix="stablenormal-request-"))
        try:
            with state.place() as batcher:
                uploads = await receive(request, folder, state.limits, several=True)
                work = _archive(state, batcher, uploads, wanted, frame, format, folder / "answer.zip")
                await unless_gone(request, work)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return _ArchiveResponse(folder / "answer.zip", media_type="application/zip", filename="normals.zip")

    @api.get("/healthz", summary="Whether the service is alive", responses={200: _said({"status": "alive"})})
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @api.get(
        "/readyz",
        summary="Whether photographs are taken",
        responses={200: _said({"status": "ready"}), **described(503)},
    )
    async def readyz() -> dict[str, str]:
        if state.batcher is None:
            raise ProblemError(503, "the model is being loaded; come again in 5 s", {"Retry-After": "5"})
        return {"status": "ready"}

    @api.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={200: {"description": "Text.", "content": {"text/plain": {}}}, **described(401)},
        dependencies=guarded,
    )
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _map(
    state: State, batcher: Batcher, upload: Upload, wanted: Wanted, frame: str, format: str
) -> bytes:
    """The normal map of one upload as the bytes of a file.

    Raises:
        ProblemError: if it cannot be used.
    """
    if upload.problem is not None:
        raise ProblemError(422, upload.problem)
    try:
        photograph = await state.in_thread(read_photograph, upload, state.limits.max_pixels)
        normals = await batcher.normals(photograph, wanted)
        del photograph
        return await state.in_thread(encoded, normals, frame, format)
    except StableNormalError as error:
        line = in_its_words(str(error), upload)
        raise ProblemError(413 if "megapixels" in line or "too large" in line else 422, line) from error


async def _archive(
    state: State,
    batcher: Batcher,
    uploads: Sequence[Upload],
    wanted: Wanted,
    frame: str,
    format: str,
    path: Path,
) -> None:
    """Write the answer to a batch, a few photographs at a time, so that few are in memory.

    Raises:
        ProblemError: if none of them can be used.
    """
    usable = [upload for upload in uploads if upload.problem is None]
    jobs, clashes = name_results([ImageEntry(Path(one.name), Path(one.name)) for one in usable])
    names = {job.source: job.name for job in jobs}
    problems = {one.name: one.problem for one in uploads if one.problem is not None}
    problems |= {clash.source: clash.message for clash in clashes}
    todo = [upload for upload in usable if Path(upload.name) in names]
    results: list[dict[str, str]] = [{"source": name, "error": line} for name, line in problems.items()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for first in range(0, len(todo), state.limits.batch_size):
            some = todo[first : first + state.limits.batch_size]
            made = await asyncio.gather(
                *(_map(state, batcher, one, wanted, frame, format) for one in some), return_exceptions=True
            )
            for upload, result in zip(some, made, strict=True):
                upload.path.unlink(missing_ok=True)
                if isinstance(result, ProblemError):
                    results.append({"source": upload.name, "error": result.detail})
                elif isinstance(result, BaseException):
                    raise result
                else:
                    file = names[Path(upload.name)] + MAP_ENDINGS[format]
                    await state.in_thread(archive.writestr, file, result)
                    results.append({"source": upload.name, "file": file})
        if all("error" in result for result in results):
            raise ProblemError(422, "; ".join(result["error"] for result in results[:10]))
        record = {
            FRAME_KEY: frame,
            "mode": wanted.mode,
            "seed": wanted.seed,
            "resolution": wanted.resolution,
            "weights": "" if state.pipeline is None else state.pipeline.weight_hash,
            "results": results,
        }
        archive.writestr("results.json", json.dumps(record, indent=2) + "\n")


class _ArchiveResponse(FileResponse):
    """An archive that is removed with its folder when it was sent, or could not be."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(Path(self.path).parent, ignore_errors=True)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives, which is given up when nobody waits for it any more.

    Raises:
        ClientDisconnect: if the client went away.
    """
    making = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not making.done():
            raise ClientDisconnect
        return await making
    finally:
        making.cancel()
        leaving.cancel()
        await asyncio.gather(making, leaving, return_exceptions=True)


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _facts(frame: str, wanted: Wanted, weights: str) -> dict[str, str]:
    """Headers that say what an answer is, for files that cannot."""
    return {
        "Stablenormal-Frame": frame,
        "Stablenormal-Mode": wanted.mode,
        "Stablenormal-Seed": str(wanted.seed),
        "Stablenormal-Weights": weights,
    }


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


def _form(field: str, several: bool = False) -> dict[str, Any]:
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    if several:
        file = {"type": "array", "items": file, "minItems": 1}
    return {
        "schema": {
            "type": "object",
            "required": [field],
            "properties": {field: file},
            "additionalProperties": False,
        }
    }


def _said(example: dict[str, str]) -> dict[str, Any]:
    return {"content": {"application/json": {"example": example}}}
