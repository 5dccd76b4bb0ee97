"""Everything that a client can do wrong gets a clear answer, and the service goes on."""

import io
import socket
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from stablenormal.errors import ModelError, SettingError
from stablenormal.io.png import SIGNATURE
from stablenormal.service.settings import TOKENS_VARIABLE, Limits, Tokens, read_tokens

from .conftest import Service, picture, read, wait_until
from .test_answers import form, packed, record

TOKEN, OTHER = "a-long-secret-token-1", "a-long-secret-token-2"


def still_works(service: Service) -> bool:
    return service.post("/v1/normals?mode=turbo", picture()).status == 200


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG of any size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in (header, pixels)
    ]
    return SIGNATURE + b"".join(chunks)


def _with_field(name: str, data: bytes) -> tuple[bytes, str]:
    """A form with a photograph and a parameter."""
    body, kind = form(name, [("a.png", data)])
    return b'--edge\r\nContent-Disposition: form-data; name="mode"\r\n\r\nturbo\r\n' + body, kind


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "says"),
    [
        ("/v1/normals", b"no picture at all", "image/png", 422, "photograph: not an image"),
        ("/v1/normals", picture()[:200], "image/png", 422, "photograph: the file is damaged or cut off"),
        ("/v1/normals", picture(width=4), "image/png", 422, "4 x 32 px is too small"),
        ("/v1/normals", png_header(60_000, 60_000), "image/png", 413, "megapixels"),
        ("/v1/normals", png_header(2000, 1000), "image/png", 413, "more than 1 megapixels"),
        ("/v1/normals", b"", "image/png", 400, "the body is empty"),
        ("/v1/normals", picture(), "text/html", 415, "Content-Type: text/html; send image/"),
        ("/v1/normals", picture(), "multipart/form-data", 400, "the form cannot be read"),
        ("/v1/normals", *form("photo", [("a.png", picture())]), 400, "holds no file named image"),
        ("/v1/normals", *form("image", [("a.png", picture())] * 2), 400, "Too many files"),
        ("/v1/normals", *_with_field("image", picture()), 400, "parameters stand in the address"),
        ("/v1/normals?mode=slow", picture(), "image/png", 422, "mode: input should be 'full' or 'turbo'"),
        ("/v1/normals?frame=world", picture(), "image/png", 422, "frame: input should be 'opengl'"),
        ("/v1/normals?seed=-1", picture(), "image/png", 422, "seed: "),
        ("/v1/normals?resolution=30000", picture(), "image/png", 422, "resolution: "),
        ("/v1/batch", b"no archive", "application/zip", 400, "not a ZIP archive, or damaged"),
        ("/v1/batch", packed([]), "application/zip", 400, "the archive is empty"),
        (
            "/v1/batch",
            packed([(f"{i}.png", b"") for i in range(9)]),
            "application/zip",
            413,
            "9 files, more than 8",
        ),
        ("/v1/batch", packed([("a.png", b"x")]), "application/zip", 422, "a.png: not an image"),
        ("/v1/batch", picture(), "image/png", 415, "send application/zip"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_what_cannot_be_used_is_told_in_one_line(
    service: Service, path: str, body: bytes, kind: str, status: int, says: str
) -> None:
    answer = service.post(path, body, kind)
    assert answer.status == status
    assert says in answer.detail


def test_other_paths_and_methods(service: Service) -> None:
    assert "there is no /v2" in service.ask("GET", "/v2").detail
    assert service.ask("GET", "/v1/normals").status == 405
    assert "choose from image/png" in service.post("/v1/normals", picture(), Accept="text/html").detail


def test_an_upload_of_200_mb_is_refused_before_it_is_sent(service: Service) -> None:
    connection = service.connect()
    connection.putrequest("POST", "/v1/normals")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", str(200 * 2**20))
    connection.endheaders()  # and not a byte of the photograph
    answer = read(connection)
    connection.close()
    assert answer.status == 413 and "more than 1 MB" in answer.detail
    assert still_works(service)


def test_an_upload_that_does_not_say_its_size_is_stopped_at_the_limit(service: Service) -> None:
    sent = 0

    def endless() -> Any:
        nonlocal sent
        while sent < 200 * 2**20:
            sent += 2**16
            yield b"\0" * 2**16

    connection = service.connect()
    try:
        connection.request(
            "POST", "/v1/normals", endless(), {"Content-Type": "image/png"}, encode_chunked=True
        )
        assert read(connection).status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the service hung up while we were sending
    connection.close()
    assert sent < 100 * 2**20
    assert still_works(service)


def test_a_slow_client_is_told_so_and_gives_up_its_place(service: Service) -> None:
    connection = service.connect()
    connection.putrequest("POST", "/v1/normals")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", "1000")
    connection.endheaders()
    connection.send(b"\x89PNG")
    answer = read(connection)
    connection.close()
    assert answer.status == 408 and "did not arrive in 2 s" in answer.detail
    assert service.metric("requests_in_progress") == 0
    assert still_works(service)


def test_a_photograph_whose_client_is_gone_is_not_computed(service: Service) -> None:
    service.gate.asked.clear()
    service.gate.open.clear()
    first = service.post_later("/v1/normals?mode=turbo", picture(0))
    wait_until(lambda: service.gate.asked == [1])
    connection = service.connect()
    connection.request("POST", "/v1/normals?mode=turbo", picture(1), {"Content-Type": "image/png"})
    wait_until(lambda: service.metric("photographs_waiting") == 1)
    connection.close()
    wait_until(lambda: service.metric("requests_in_progress") == 1)
    service.gate.open.set()
    service.joined()
    assert first[0].status == 200
    assert still_works(service)
    assert service.gate.asked == [1, 1]  # the first, and the one just now


def test_a_client_that_goes_while_it_sends(service: Service) -> None:
    gone = socket.create_connection(("127.0.0.1", service.port))
    gone.sendall(
        b"POST /v1/normals HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Content-Length: 99\r\n\r\nab"
    )
    wait_until(lambda: service.metric("requests_in_progress") == 1)
    gone.close()
    wait_until(lambda: service.metric("requests_in_progress") == 0)
    assert still_works(service)


def test_more_requests_than_places_are_told_when_to_come_again(run_service: Any) -> None:
    with run_service(Limits(queue=2)) as service:
        service.gate.open.clear()
        waiting = [service.post_later("/v1/normals?mode=turbo", picture(seed)) for seed in range(2)]
        wait_until(lambda: service.metric("requests_in_progress") == 2)
        answer = service.post("/v1/normals?mode=turbo", picture())
        assert answer.status == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert "come again" in answer.detail
        assert service.ask("GET", "/healthz").status == 200
        service.gate.open.set()
        service.joined()
        assert [answers[0].status for answers in waiting] == [200, 200]  # none lost
        assert still_works(service)


def test_an_answer_that_takes_too_long_is_given_up(run_service: Any) -> None:
    with run_service(Limits(timeout_s=1)) as service:
        service.gate.open.clear()
        started = time.monotonic()
        answer = service.post("/v1/normals?mode=turbo", picture())
        assert answer.status == 504 and "no answer within 1 s" in answer.detail
        assert time.monotonic() - started < 10
        service.gate.open.set()
        wait_until(lambda: service.metric("requests_in_progress") == 0)
        assert still_works(service)


@pytest.mark.parametrize(
    "name", ["../../escape.png", "/etc/cron.d/job.png", "a\\..\\..\\b.png", "C:\\x.png", "..", "a/../b.png"]
)
def test_names_that_lead_elsewhere_are_refused_and_the_rest_goes_on(service: Service, name: str) -> None:
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, picture(1))
        archive.writestr("good.png", picture(2))
    answer = service.post("/v1/batch?mode=turbo", buffer.getvalue(), "application/zip")
    archive, results = record(answer.body)
    assert set(archive.namelist()) == {"good_normal.png", "results.json"}
    (refused,) = (result["error"] for source, result in results.items() if source != "good.png")
    assert "leads out of its folder" in refused


def test_the_name_in_a_form_never_becomes_a_path(service: Service) -> None:
    answer = service.post("/v1/normals?mode=turbo", *form("image", [("../../../etc/passwd.png", picture())]))
    assert answer.status == 422 and "leads out" in answer.detail


def test_an_archive_that_unpacks_to_more_than_it_says_is_stopped(service: Service) -> None:
    bomb = packed([("a.png", b"\0" * 5 * 2**20)], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    lying = bomb.replace(struct.pack("<I", 5 * 2**20), struct.pack("<I", 100))
    assert service.post("/v1/batch", bomb, "application/zip").status == 413
    assert service.post("/v1/batch", lying, "application/zip").status in (413, 422)
    assert still_works(service)


def test_encrypted_damaged_and_doubled_entries_get_a_line_each(service: Service) -> None:
    body = bytearray(packed([("locked.png", picture(1)), ("bent.png", picture(2)), ("good.png", picture(3))]))
    directory = body.index(b"PK\x01\x02")
    body[directory + 8] |= 1  # of the first entry: encrypted
    data = body.index(picture(2)[60:100])
    body[data + 300] ^= 0xFF  # a byte of the second
    _, results = record(service.post("/v1/batch?mode=turbo", bytes(body), "application/zip").body)
    assert "is encrypted" in results["locked.png"]["error"]
    assert "is damaged in the archive" in results["bent.png"]["error"]
    assert results["good.png"]["file"] == "good_normal.png"
    twice = form("images", [("a.png", picture(1)), ("A.png", picture(2))])
    _, results = record(service.post("/v1/batch?mode=turbo", *twice).body)
    assert "is there twice" in results["A.png"]["error"]


def test_a_token_opens_the_service_and_is_written_nowhere(
    run_service: Any, tmp_path: Path, capfd: Any
) -> None:
    log = tmp_path / "requests.jsonl"
    tokens = Tokens([TOKEN, OTHER])
    with run_service(Limits(), tokens, log=log) as service:
        for given in (
            "",
            "Bearer",
            "Bearer wrong",
            f"Basic {TOKEN}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
        ):
            answer = service.post("/v1/normals", b"\0" * 100, Authorization=given)
            assert answer.status == 401, given
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.detail
        assert service.ask("GET", "/metrics").status == 401
        assert service.ask("GET", "/healthz").status == service.ask("GET", "/readyz").status == 200
        for token in (TOKEN, OTHER):
            answer = service.post("/v1/normals?mode=turbo", picture(), Authorization=f"Bearer {token}")
            assert answer.status == 200
    said = capfd.readouterr()
    for text in (log.read_text(), said.out, said.err, repr(tokens), str(vars(tokens))):
        assert TOKEN not in text
    assert '"path": "/v1/normals", "status": 401' in log.read_text()


def test_tokens_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the renderer\n{TOKEN}\n\n")
    monkeypatch.setenv(TOKENS_VARIABLE, f" {OTHER} ")
    tokens = read_tokens(file)
    assert tokens.opened_by(TOKEN) and tokens.opened_by(OTHER)
    assert not tokens.opened_by("") and not tokens.opened_by("# of the renderer")
    monkeypatch.delenv(TOKENS_VARIABLE)
    assert not read_tokens(None)
    for content, told in (
        ("# nothing\n", "holds no token"),
        ("short\n", "5 characters"),
        ("ä" * 20, "special"),
    ):
        file.write_text(content)
        with pytest.raises(SettingError, match=told) as error:
            read_tokens(file)
        assert "short\n" not in str(error.value)


def test_a_name_of_somebody_else_does_not_lead_here(service: Service) -> None:
    connection = service.connect()
    connection.putrequest("GET", "/healthz", skip_host=True)
    connection.putheader("Host", "evil.example.org:8000")
    connection.endheaders()
    answer = read(connection)
    connection.close()
    assert answer.status == 421


def test_before_the_model_is_there_photographs_are_put_off(run_service: Any, pipeline: Any) -> None:
    import threading

    loaded = threading.Event()

    def load() -> Any:
        assert loaded.wait(30)
        return pipeline

    with run_service(Limits(), load=load) as service:
        assert service.ask("GET", "/healthz").status == 200
        for answer in (service.ask("GET", "/readyz"), service.post("/v1/normals", picture())):
            assert answer.status == 503 and answer.headers["retry-after"] == "5"
        loaded.set()
        wait_until(lambda: service.ask("GET", "/readyz").status == 200)
        assert still_works(service)


def test_a_model_that_is_not_there_ends_the_service(run_service: Any) -> None:
    def load() -> Any:
        raise ModelError("weights: missing; download them again")

    with run_service(Limits(), load=load) as service:
        wait_until(lambda: service.state.problem is not None)
        assert service.ask("GET", "/readyz").status == 503


def test_what_nobody_foresaw_is_an_answer_too_and_is_logged(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service.gate, "_pipeline", lambda images, **options: 1 / 0)
    answer = service.post("/v1/normals?mode=turbo", picture())
    assert answer.status == 500 and "not foreseen" in answer.detail
    wait_until(lambda: "ZeroDivisionError" in caplog.text)  # written after the answer
    monkeypatch.undo()
    assert still_works(service)


def test_nothing_is_left_on_the_disk(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    batch = packed([("a.png", picture(1)), ("b.png", b"none")])
    assert service.post("/v1/batch?mode=turbo", batch, "application/zip").status == 200
    assert service.post("/v1/batch", packed([("b.png", b"none")]), "application/zip").status == 422
    assert service.post("/v1/normals?mode=turbo", picture()).status == 200
    assert service.post("/v1/normals", b"none").status == 422
    wait_until(lambda: not list(tmp_path.iterdir()))


@pytest.mark.parametrize("field", ["queue", "batch_size", "max_mb", "max_megapixels", "timeout_s"])
def test_limits_that_refuse_everybody_are_refused(field: str) -> None:
    with pytest.raises(SettingError, match="0 is too small; use 1 or more"):
        Limits(**{field: 0})
