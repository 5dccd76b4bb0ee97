"""Requests as files: a photograph, a form of several, or an archive, each within its limits.

What a client calls a file is used for messages and for the names of results, never for a path on this
machine: files are kept by number.
"""

import asyncio
import shutil
import zipfile
import zlib
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import IO

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from stablenormal.service.problems import ProblemError
from stablenormal.service.settings import Limits

ARCHIVES = ("application/zip", "application/x-zip-compressed")
_CHUNK = 1 << 20
_LONGEST_NAME = 200
_LINGER_S, _LINGER_BYTES = 1.0, 16 * 2**20


@dataclass(frozen=True)
class Upload:
    """A file as it arrived."""

    name: str
    """What the client calls it: a path with forward slashes, perhaps with folders."""
    path: Path
    """Where it is; there is none if there is a problem."""
    problem: str | None = None
    """Why it cannot be used, in one line."""


async def receive(request: Request, folder: Path, limits: Limits, several: bool) -> list[Upload]:
    """Read the body of a request into files.

    Args:
        request: its body is a photograph, a form with photographs, or an archive.
        folder: empty, for the files.
        limits: of the request.
        several: whether an archive, or more than one photograph, may come.

    Raises:
        ProblemError: if it is too large, too slow, or of another kind.
        ClientDisconnect: if the client went away.
    """
    try:
        async with asyncio.timeout(limits.upload_timeout_s):
            return await _received(request, folder, limits, several)
    except TimeoutError as error:
        raise ProblemError(
            408, f"the request did not arrive in {limits.upload_timeout_s:g} s; send it faster, or less"
        ) from error


async def _received(request: Request, folder: Path, limits: Limits, several: bool) -> list[Upload]:
    kind = _media_type(request)
    if kind == "multipart/form-data":
        return await _form(request, folder, limits, several)
    takes = (*ARCHIVES, "multipart/form-data") if several else ("image/*", "multipart/form-data")
    is_photograph = kind.startswith("image/") or kind == "application/octet-stream"
    if (several and kind not in ARCHIVES) or (not several and not is_photograph):
        raise ProblemError(415, f"Content-Type: {kind or 'missing'}; send {' or '.join(takes)}")
    path = folder / "body"
    with path.open("wb") as file:
        async for chunk in _counted(request, limits):
            file.write(chunk)
    if not path.stat().st_size:
        raise ProblemError(400, "the body is empty; send the photograph in it")
    if several:
        return await asyncio.to_thread(_unpacked, path, folder, limits)
    return [Upload("photograph", path)]


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _counted(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The body as it comes, as long as it is within its limit."""
    too_large = ProblemError(
        413, f"the request has more than {limits.max_mb} MB; send less at once", {"Connection": "close"}
    )
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limits.max_bytes:
        if "expect" not in request.headers:
            await _linger(request.stream())
        raise too_large
    count, stream = 0, request.stream()
    async for chunk in stream:
        count += len(chunk)
        if count > limits.max_bytes:
            await _linger(stream)
            raise too_large
        yield chunk


async def _linger(stream: AsyncGenerator[bytes, None]) -> None:
    """Take a little more of a body and drop it; a client that is cut off at once never reads why."""
    dropped = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            async for chunk in stream:
                dropped += len(chunk)
                if dropped > _LINGER_BYTES:
                    return


async def _form(request: Request, folder: Path, limits: Limits, several: bool) -> list[Upload]:
    field = "images" if several else "image"
    most = limits.max_photographs if several else 1
    parser = MultiPartParser(request.headers, _counted(request, limits), max_files=most, max_fields=0)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        said = str(getattr(error, "message", "")) or "no boundary, or damaged"
        if "fields" in said:
            raise ProblemError(
                400, "the form holds more than photographs; parameters stand in the address, as ?mode=turbo"
            ) from error
        raise ProblemError(400, f"the form cannot be read ({said}); send photographs as {field}") from error
    try:
        sent = [
            value for name, value in form.multi_items() if name == field and isinstance(value, UploadFile)
        ]
        if not sent:
            raise ProblemError(400, f"the form holds no file named {field}; send photographs so")
        uploads = []
        for number, one in enumerate(sent):
            name = one.filename or f"photograph{number + 1}"
            problem = problem_of_name(name)
            path = folder / str(number)
            if problem is None:
                await asyncio.to_thread(_copy, one.file, path)
            uploads.append(Upload(clean_name(name), path, problem))
        return _without_doubles(uploads)
    finally:
        await form.close()


def _copy(source: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _unpacked(path: Path, folder: Path, limits: Limits) -> list[Upload]:
    """The files of an archive; folders, and what operating systems add, are left out."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise ProblemError(400, "the body is not a ZIP archive, or damaged; pack it again") from error
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_litter(entry)]
        if not entries:
            raise ProblemError(400, "the archive is empty; put photographs into it")
        if len(entries) > limits.max_photographs:
            raise ProblemError(
                413,
                f"the archive holds {len(entries)} files, more than {limits.max_photographs}; send several",
            )
        budget = limits.max_bytes
        uploads = []
        for number, entry in enumerate(entries):
            target = folder / str(number)
            problem = problem_of_name(entry.filename)
            if problem is None:
                taken, problem = _unpack(archive, entry, target, budget)
                budget -= taken
            if budget < 0:
                raise ProblemError(413, f"the archive unpacks to more than {limits.max_mb} MB; send several")
            uploads.append(Upload(clean_name(entry.filename), target, problem))
    return _without_doubles(uploads)


def _unpack(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, budget: int
) -> tuple[int, str | None]:
    """Bytes written, at most one chunk above the budget whatever the archive declares, and a problem."""
    name = clean_name(entry.filename)
    if entry.flag_bits & 1:
        return 0, f"{name}: is encrypted in the archive; pack it without a password"
    taken = 0
    try:
        with archive.open(entry) as packed, target.open("wb") as file:
            while taken <= budget and (chunk := packed.read(_CHUNK)):
                file.write(chunk)
                taken += len(chunk)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError):
        return taken, f"{name}: is damaged in the archive, or packed in an unusual way; pack it again"
    return taken, None


def _is_litter(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename).parts
    return "__MACOSX" in parts or (bool(parts) and parts[-1] in (".DS_Store", "Thumbs.db", "desktop.ini"))


def problem_of_name(name: str) -> str | None:
    """Why a name that a client gave cannot be the name of a result, in one line."""
    parts = name.replace("\\", "/").split("/")
    leads_out = name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]
    if leads_out:
        return f"{clean_name(name)}: such a name leads out of its folder; use a relative path without .."
    if len(name) > _LONGEST_NAME or not name.strip("/. "):
        return f"{clean_name(name)}: a name has 1 to {_LONGEST_NAME} characters; rename it"
    return None


def clean_name(name: str) -> str:
    """A name as messages and results show it: on one line, not too long."""
    shown = "".join(letter if letter.isprintable() else "_" for letter in name.replace("\\", "/"))
    return shown[:_LONGEST_NAME] or "_"


def _without_doubles(uploads: list[Upload]) -> list[Upload]:
    seen: set[str] = set()
    result = []
    for one in uploads:
        if one.problem is None and one.name.lower() in seen:
            one = Upload(one.name, one.path, f"{one.name}: is there twice; rename one of them")
        seen.add(one.name.lower())
        result.append(one)
    return result


def attachment(name: str) -> str:
    """The Content-Disposition of a result."""
    header = Message()
    header.add_header("Content-Disposition", "attachment", filename=("utf-8", "", name))
    return str(header["Content-Disposition"])
