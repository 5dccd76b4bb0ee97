import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stablenormal.geometry.frames import FRAMES
from stablenormal.io.normal_map import read_normal_map
from stablenormal.pipelines import StableNormal
from stablenormal.service.answers import negotiated
from stablenormal.service.problems import ProblemError

from .conftest import Service, picture, wait_until


def form(field: str, files: list[tuple[str, bytes]]) -> tuple[bytes, str]:
    """A form with files, and its Content-Type."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode() + data
        for name, data in files
    ]
    return b"\r\n".join([*parts, b"--edge--\r\n"]), "multipart/form-data; boundary=edge"


def packed(files: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


def record(answer_body: bytes) -> tuple[zipfile.ZipFile, dict[str, dict[str, str]]]:
    """The archive of a batch, and what became of each photograph."""
    archive = zipfile.ZipFile(io.BytesIO(answer_body))
    results = json.loads(archive.read("results.json"))["results"]
    return archive, {result["source"]: result for result in results}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/x-exr", "image/x-exr"),
        ("application/*", "application/x-npy"),
        ("image/png;q=0.2, application/x-npy; q=0.9", "application/x-npy"),
        ("text/html, image/png;q=0, */*;q=0.1", "image/x-exr"),
        ("image/x-exr;q=much, image/png", "image/png"),
    ],
)
def test_the_kind_of_answer_is_the_best_that_the_client_takes(accept: str, kind: str) -> None:
    assert negotiated(accept) == kind


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "video/*"])
def test_a_client_that_takes_none_of_them_is_told_what_there_is(accept: str) -> None:
    with pytest.raises(ProblemError, match="image/x-exr") as told:
        negotiated(accept)
    assert told.value.status == 406


@pytest.mark.parametrize("frame", ["opengl", "directx"])
@pytest.mark.parametrize("accept", ["image/png", "image/x-exr", "application/x-npy"])
def test_the_answer_is_what_the_pipeline_gives(
    service: Service, pipeline: StableNormal, tmp_path: Path, accept: str, frame: str
) -> None:
    (tmp_path / "photo.png").write_bytes(picture())
    expected = pipeline(tmp_path / "photo.png", mode="turbo", seed=5).numpy(frame="opengl")
    answer = service.post(f"/v1/normals?mode=turbo&seed=5&frame={frame}", picture(), Accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, accept)
    assert answer.headers["stablenormal-frame"] == frame
    assert answer.headers["stablenormal-weights"] == pipeline.weight_hash
    ending = {"image/png": "png", "image/x-exr": "exr", "application/x-npy": "npy"}[accept]
    assert f"photograph_normal.{ending}" in answer.headers["content-disposition"]
    file = tmp_path / f"answer.{ending}"
    file.write_bytes(answer.body)
    if ending == "npy":
        signs = np.float32(FRAMES[frame])
        assert np.abs(np.load(file) * signs - expected).max() < 1e-6
    else:
        got = read_normal_map(file)
        assert got.stored_frame == frame
        assert np.abs(got.normals - expected).max() < 1e-4


def test_a_form_and_a_bare_body_are_the_same(service: Service) -> None:
    body, kind = form("image", [("ä photo.jpg", picture())])
    by_form = service.post("/v1/normals?mode=turbo", body, kind)
    assert by_form.body == service.post("/v1/normals?mode=turbo", picture()).body
    assert "photo_normal.png" in by_form.headers["content-disposition"]


def test_seed_mode_and_resolution_count(service: Service) -> None:
    """Which each change the answer, but for the seed in turbo mode, where this model has nothing random."""
    asked = ["", "?seed=1", "?mode=turbo", "?resolution=64", "?resolution=96"]
    answers = [service.post(f"/v1/normals{query}", picture()).body for query in asked]
    assert len(set(answers)) >= 4
    assert answers[0] == service.post("/v1/normals?seed=0&mode=full", picture()).body


@pytest.mark.parametrize("as_archive", [True, False])
def test_a_batch_gives_an_archive_and_a_broken_photograph_does_not_stop_it(
    service: Service, as_archive: bool
) -> None:
    files = [("trip/a.png", picture(1)), ("b.jpg", b"no picture"), ("c.jpg", picture(3, format="JPEG"))]
    body, kind = (packed(files), "application/zip") if as_archive else form("images", files)
    answer = service.post("/v1/batch?mode=turbo&format=npy", body, kind)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    archive, results = record(answer.body)
    assert set(archive.namelist()) == {"trip/a_normal.npy", "c_normal.npy", "results.json"}
    assert results["b.jpg"]["error"].startswith("b.jpg: not an image")
    alone = service.post("/v1/normals?mode=turbo", picture(1), Accept="application/x-npy").body
    one, other = (np.load(io.BytesIO(data)) for data in (alone, archive.read("trip/a_normal.npy")))
    assert np.abs(one - other).max() < 1e-4


def test_photographs_that_differ_in_their_ending_have_results_of_their_own(service: Service) -> None:
    files = [("a.png", picture(1)), ("a.jpg", picture(2, format="JPEG"))]
    archive, _ = record(service.post("/v1/batch?mode=turbo", packed(files), "application/zip").body)
    assert {"a_png_normal.png", "a_jpg_normal.png"} <= set(archive.namelist())


def test_requests_that_wait_go_through_the_model_together(service: Service) -> None:
    service.gate.asked.clear()
    service.gate.open.clear()
    service.post_later("/v1/normals?mode=turbo", picture(0))
    wait_until(lambda: service.gate.asked == [1])  # runs alone, and the others wait for it
    for seed in range(1, 4):
        service.post_later("/v1/normals?mode=turbo", picture(seed))
    service.post_later("/v1/normals?mode=turbo&seed=9", picture(4))  # wanted in another way
    wait_until(lambda: service.metric("photographs_waiting") == 4)
    service.gate.open.set()
    service.joined()
    assert sorted(service.gate.asked) == [1, 1, 3]
    assert service.metric("photographs_waiting") == 0


def test_counters_for_prometheus(service: Service) -> None:
    before = service.metric("requests_total")
    service.post("/v1/normals?mode=turbo", picture())
    service.ask("GET", "/nothing/here")
    text = service.ask("GET", "/metrics").body.decode()
    assert 'stablenormal_requests_total{path="/v1/normals",status="200"}' in text
    assert 'path="other",status="404"' in text
    assert "/nothing" not in text  # or anybody could make counters without end
    wait_until(lambda: service.metric("requests_total") >= before + 3)  # counted after the answer
    assert service.metric("requests_in_progress") == 0


def test_the_description_has_examples_and_every_answer_of_the_paths(service: Service) -> None:
    described = json.loads(service.ask("GET", "/openapi.json").body)
    assert set(described["paths"]) == {"/v1/normals", "/v1/batch", "/healthz", "/readyz", "/metrics"}
    post = described["paths"]["/v1/normals"]["post"]
    assert set(post["responses"]["200"]["content"]) == {"image/png", "image/x-exr", "application/x-npy"}
    assert {"406", "413", "422", "429", "504"} <= set(post["responses"])
    assert "example" in post["responses"]["429"]["content"]["application/problem+json"]
    assert set(post["requestBody"]["content"]) == {
        "image/*", "application/octet-stream", "multipart/form-data",
    }  # fmt: skip
