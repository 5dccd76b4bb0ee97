import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stablenormal.app import predict as job
from stablenormal.app.predict import PredictReport, predict
from stablenormal.app.predict_settings import PredictSettings
from stablenormal.app.run_record import FileResult
from stablenormal.errors import ImageReadError, ModelError, OutputError, SettingError
from stablenormal.geometry.normals import convert_frame
from stablenormal.io.image import read_image, write_image
from stablenormal.io.normal_map import read_normal_map
from stablenormal.pipelines import StableNormal

TURBO = PredictSettings(mode="turbo", formats=("npy",), device="cpu", dtype="float32")


@pytest.fixture
def settings(toy_model: Path) -> PredictSettings:
    return replace(TURBO, model=str(toy_model))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs of two sizes, one in a sub-folder."""
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (40, 48)), ("b.png", (40, 48)), ("trip/c.jpg", (56, 32))):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    return tmp_path / "photos"


def run(photos: Path, output: Path, settings: PredictSettings, **options: Path) -> PredictReport:
    return predict([str(photos)], output, settings, **options)


def maps(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*_normal.npy")}


def test_each_photograph_gets_its_files_page_and_record(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    settings = replace(settings, formats=("png16", "png8", "exr", "npy"))
    report = run(photos, tmp_path / "out", settings)
    assert (report.count("done"), report.count("failed"), report.interrupted) == (3, 0, False)
    for name in ("a", "b", "trip/c"):
        for ending in ("_normal.png", "_normal_8bit.png", "_normal.exr", "_normal.npy"):
            assert (tmp_path / "out" / f"{name}{ending}").is_file()
        assert f"preview/{name}_photo.jpg" in report.page.read_text(encoding="utf-8")
        assert (tmp_path / "out" / f"preview/{name}_photo.jpg").is_file()
    record = json.loads(report.record.read_text())
    assert record["status"] == "complete"
    assert record["settings"]["seed"] == 0
    assert record["computed_with"]["frame"] == "opengl"
    assert len(record["computed_with"]["weight_hash"]) == 64
    assert record["spec"]["name"] == "toy"
    assert record["versions"]["torch"] == torch.__version__
    assert [entry["status"] for entry in record["files"]] == ["done"] * 3
    assert not list((tmp_path / "out").rglob("*.part*"))


def test_the_files_hold_what_the_pipeline_computes(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    run(photos, tmp_path / "out", replace(settings, mode="full", seed=3))
    pipeline = StableNormal.from_pretrained(settings.model, device="cpu", dtype="float32")
    rgb = torch.from_numpy(read_image(photos / "trip/c.jpg").rgb).permute(2, 0, 1)
    expected = pipeline(rgb, mode="full", seed=3).normals[0].permute(1, 2, 0).numpy()
    written = read_normal_map(tmp_path / "out/trip/c_normal.npy").normals
    assert written.shape == (56, 32, 3)
    assert np.abs(written - expected).max() < 1e-6


@pytest.mark.parametrize("frame", ["opencv", "directx", "dsine"])
def test_files_are_in_the_frame_that_was_asked_for(
    photos: Path, tmp_path: Path, settings: PredictSettings, frame: str
) -> None:
    run(photos / "a.png", tmp_path / "gl", settings)
    run(photos / "a.png", tmp_path / frame, replace(settings, frame=frame))
    opengl = np.load(tmp_path / "gl/a_normal.npy")
    other = np.load(tmp_path / frame / "a_normal.npy")
    expected = convert_frame(torch.from_numpy(opengl).permute(2, 0, 1)[None], "opengl", frame)
    assert np.abs(other - expected[0].permute(1, 2, 0).numpy()).max() < 1e-6
    assert read_normal_map(tmp_path / frame / "a_normal.npy").stored_frame == frame


def test_every_network_option_changes_the_result(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    full = replace(settings, mode="full")
    variants = {
        "plain": full,
        "mode": settings,
        "seed": replace(full, seed=1),
        "resolution": replace(full, resolution=64),
        "ensemble": replace(full, ensemble=2),
        "steps": replace(full, steps=3),
        "t_plus": replace(full, t_plus=201),
        "dtype": replace(full, dtype="bfloat16"),
    }
    results = {}
    for name, variant in variants.items():
        run(photos / "a.png", tmp_path / name, variant)
        results[name] = (tmp_path / name / "a_normal.npy").read_bytes()
    assert len(set(results.values())) == len(variants)


def test_batches_change_no_more_than_rounding(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    """With a batch of one, the bits do not depend on the other photographs; larger ones round differently."""
    run(photos, tmp_path / "one", settings)
    run(photos, tmp_path / "three", replace(settings, batch_size=3))
    for name in ("a", "b", "trip/c"):
        one = np.load(tmp_path / "one" / f"{name}_normal.npy")
        assert np.abs(one - np.load(tmp_path / "three" / f"{name}_normal.npy")).max() < 1e-4
    run(photos / "b.png", tmp_path / "alone", settings)
    alone, among = (tmp_path / folder / "b_normal.npy" for folder in ("alone", "one"))
    assert alone.read_bytes() == among.read_bytes()


def test_masked_pixels_are_exactly_zero(photos: Path, tmp_path: Path, settings: PredictSettings) -> None:
    mask = np.full((40, 48, 3), 255, dtype=np.uint8)
    mask[:, :20] = 0
    write_image(tmp_path / "mask.png", mask)
    run(photos / "a.png", tmp_path / "out", settings, masks=tmp_path / "mask.png")
    normals = np.load(tmp_path / "out/a_normal.npy")
    assert (normals[:, :20] == 0).all()
    assert np.abs(np.linalg.norm(normals[:, 20:], axis=-1) - 1).max() < 1e-5


def test_a_folder_of_masks_is_matched_by_name(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    for name, shape in (("a", (40, 48)), ("trip/c", (56, 32))):
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        mask = np.full((*shape, 3), 255, dtype=np.uint8)
        mask[0] = 0
        write_image(tmp_path / "masks" / f"{name}.png", mask)
    report = run(photos, tmp_path / "out", settings, masks=tmp_path / "masks")
    assert {r.name: r.status for r in report.results} == {"a": "done", "b": "failed", "trip/c": "done"}
    for name in ("a", "trip/c"):
        normals = np.load(tmp_path / "out" / f"{name}_normal.npy")
        assert (normals[0] == 0).all()
        assert (normals[1] != 0).any()
    error = next(r.error for r in report.results if r.name == "b")
    assert error is not None
    assert "b.png" in error
    assert "masks" in error


def test_a_mask_that_does_not_exist_stops_the_run(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    with pytest.raises(ImageReadError, match="--mask"):
        run(photos, tmp_path / "out", settings, masks=tmp_path / "nothing.png")


def test_uncertainty_is_written_shown_and_recorded(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    settings = replace(settings, ensemble=3, uncertainty=True, formats=("png16", "npy"))
    report = run(photos / "a.png", tmp_path / "out", settings)
    degrees = np.load(tmp_path / "out/a_uncertainty.npy")
    assert degrees.shape == (40, 48)
    assert degrees.max() > 0
    assert report.results[0].uncertainty_deg == pytest.approx(float(degrees.mean()), rel=1e-5)
    assert (tmp_path / "out/a_uncertainty.png").is_file()
    page = report.page.read_text(encoding="utf-8")
    assert "preview/a_uncertainty.jpg" in page
    assert "mean uncertainty" in page


def test_a_stopped_run_leaves_complete_files_and_resumes_to_the_same_bits(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    def stop(result: FileResult) -> None:
        raise KeyboardInterrupt

    run(photos, tmp_path / "whole", settings)
    report = predict([str(photos)], tmp_path / "out", settings, on_result=stop)
    assert report.interrupted
    assert len(maps(tmp_path / "out")) == 1
    assert json.loads(report.record.read_text())["status"] == "interrupted"
    report = run(photos, tmp_path / "out", replace(settings, skip_existing=True))
    assert (report.count("skipped"), report.count("done")) == (1, 2)
    assert maps(tmp_path / "out") == maps(tmp_path / "whole")
    page = report.page.read_text(encoding="utf-8")
    for name in ("a", "b", "trip/c"):
        assert f"preview/{name}_normal.jpg" in page
    assert "40" in page and all(result.width for result in report.results)


def test_a_resumed_run_that_is_stopped_again_still_knows_what_is_there(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    def stop_at_work(result: FileResult) -> None:
        if result.status == "done":
            raise KeyboardInterrupt

    run(photos, tmp_path / "out", settings)
    (tmp_path / "out/a_normal.npy").unlink()
    (tmp_path / "out/b_normal.npy").unlink()
    again = replace(settings, skip_existing=True)
    report = predict([str(photos)], tmp_path / "out", again, on_result=stop_at_work)
    assert [(r.name, r.status) for r in report.results] == [("a", "done"), ("trip/c", "skipped")]
    assert "trip/c_normal.jpg" in report.page.read_text(encoding="utf-8")


def test_skip_existing_does_again_what_is_incomplete(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    run(photos, tmp_path / "out", settings)
    (tmp_path / "out/b_normal.npy").unlink()
    report = run(photos, tmp_path / "out", replace(settings, skip_existing=True))
    assert {r.name: r.status for r in report.results} == {"a": "skipped", "b": "done", "trip/c": "skipped"}


def test_without_skip_existing_everything_is_done_again(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    run(photos, tmp_path / "out", settings)
    assert run(photos, tmp_path / "out", settings).count("done") == 3


@pytest.mark.parametrize("change", [{"seed": 1}, {"frame": "opencv"}, {"mode": "full"}, {"ensemble": 2}])
def test_one_folder_does_not_mix_settings(
    photos: Path, tmp_path: Path, settings: PredictSettings, change: dict[str, object]
) -> None:
    """Results of other settings are computed again, and said so; then they are kept."""
    run(photos, tmp_path / "out", settings)
    changed = replace(settings, skip_existing=True, **change)
    report = run(photos, tmp_path / "out", changed)
    assert report.count("done") == 3
    for result in report.results:
        assert result.note is not None
        assert result.note.endswith(
            f"computed again, as its earlier result is of another {next(iter(change))}"
        )
    assert run(photos, tmp_path / "out", changed).count("skipped") == 3


def test_a_damaged_record_is_said(photos: Path, tmp_path: Path, settings: PredictSettings) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/run.json").write_text("{}")
    with pytest.raises(SettingError, match="run.json"):
        run(photos, tmp_path / "out", replace(settings, skip_existing=True))


def test_an_output_that_cannot_be_written_stops_before_the_model_is_loaded(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        run(photos, tmp_path / "file" / "out", replace(settings, model="missing"))


def test_a_result_that_cannot_be_written_is_that_photographs_failure(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    (tmp_path / "out/b_normal.npy").mkdir(parents=True)
    report = run(photos, tmp_path / "out", settings)
    assert {r.name: r.status for r in report.results} == {"a": "done", "b": "failed", "trip/c": "done"}


def test_a_missing_model_stops_the_run(photos: Path, tmp_path: Path, settings: PredictSettings) -> None:
    with pytest.raises(ModelError):
        run(photos, tmp_path / "out", replace(settings, model=str(tmp_path / "nothing"), offline=True))


def test_a_failed_batch_is_done_one_by_one(
    photos: Path, tmp_path: Path, settings: PredictSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real pipeline, with memory for one photograph."""
    whole = StableNormal.__call__
    sizes = []

    def short_of_memory(self: StableNormal, images: list[torch.Tensor], **options: object) -> object:
        sizes.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return whole(self, images, **options)

    monkeypatch.setattr(StableNormal, "__call__", short_of_memory)
    report = run(photos, tmp_path / "out", replace(settings, batch_size=3))
    assert report.count("done") == 3
    assert sizes == [3, 1, 1, 1]


def test_too_little_memory_for_one_photograph_is_its_failure(
    photos: Path, tmp_path: Path, settings: PredictSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(self: StableNormal, images: list[torch.Tensor], **options: object) -> object:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(StableNormal, "__call__", no_memory)
    report = run(photos / "a.png", tmp_path / "out", settings)
    assert report.count("failed") == 1
    assert report.results[0].error == (
        f"{photos / 'a.png'}: not enough memory; use a smaller --resolution or --batch-size"
    )


def test_progress_is_told(photos: Path, tmp_path: Path, settings: PredictSettings) -> None:
    told: list[object] = []
    predict(
        [str(photos), str(tmp_path / "missing.jpg")],
        tmp_path / "out",
        settings,
        on_start=told.append,
        on_result=lambda result: told.append(result.status),
    )
    assert told == [4, "failed", "done", "done", "done"]


def test_a_large_photograph_is_seen_in_tiles_and_a_small_one_whole(
    photos: Path, tmp_path: Path, settings: PredictSettings
) -> None:
    large = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    write_image(photos / "large.png", large)
    tiled = replace(settings, tile=True, tile_size=64, tile_overlap=0.25)
    report = run(photos, tmp_path / "tiled", tiled)
    notes = {result.name: result.note for result in report.results}
    assert notes["large"] is None
    assert "a.png: fits into one tile, so it was seen whole" in (notes["a"] or "")
    run(photos, tmp_path / "whole", settings)
    tiled_maps, whole_maps = (maps(tmp_path / folder) for folder in ("tiled", "whole"))
    assert tiled_maps["large_normal.npy"] != whole_maps["large_normal.npy"]
    assert tiled_maps["a_normal.npy"] == whole_maps["a_normal.npy"]


def test_a_result_of_other_tiles_is_not_kept(photos: Path, tmp_path: Path, settings: PredictSettings) -> None:
    first = replace(settings, skip_existing=True, tile=True, tile_size=64)
    run(photos, tmp_path / "out", first)
    assert run(photos, tmp_path / "out", first).count("skipped") == 3
    again = run(photos, tmp_path / "out", replace(first, tile_overlap=0.5))
    assert again.count("skipped") == 0
    assert "is of another tiles" in str(again.results[0].note)


def test_the_next_photograph_is_computed_while_one_is_written(
    photos: Path, tmp_path: Path, settings: PredictSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing, computed = threading.Event(), []
    compute, write = job._compute, job._write

    def told(run: object, photographs: list[object]) -> object:
        computed.append(None)
        if len(computed) == 2:
            computing.set()
        return compute(run, photographs)

    def waits_for_the_next(run: object, task: job._Task, *rest: object) -> FileResult:
        if task.name == "a":
            assert computing.wait(60), "the second photograph was not begun before the first was written"
        return write(run, task, *rest)

    monkeypatch.setattr(job, "_compute", told)
    monkeypatch.setattr(job, "_write", waits_for_the_next)
    report = run(photos, tmp_path / "out", settings)
    assert [(result.name, result.status) for result in report.results] == [
        ("a", "done"), ("b", "done"), ("trip/c", "done"),
    ]  # fmt: skip


def test_photographs_are_read_ahead(
    photos: Path, tmp_path: Path, settings: PredictSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, compute, second = job.read_image, job._compute, threading.Event()

    def told(path: Path, *rest: object) -> object:
        photograph = read(path, *rest)
        if path.name == "b.png":
            second.set()
        return photograph

    def waits_for_the_second(run: object, photographs: list[object]) -> object:
        assert second.wait(60), "the second photograph was not read while the first was computed"
        return compute(run, photographs)

    monkeypatch.setattr(job, "read_image", told)
    monkeypatch.setattr(job, "_compute", waits_for_the_second)
    assert run(photos, tmp_path / "out", settings).count("done") == 3


def test_what_is_being_written_when_a_run_is_interrupted_becomes_complete_and_is_recorded(
    photos: Path, tmp_path: Path, settings: PredictSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, write, interrupted, calls = job._compute, job._write, threading.Event(), []

    def stopped_at_the_second(run: object, photographs: list[object]) -> object:
        calls.append(None)
        if len(calls) == 2:
            interrupted.set()
            raise KeyboardInterrupt
        return compute(run, photographs)

    def slow(run: object, task: job._Task, *rest: object) -> FileResult:
        assert interrupted.wait(60)
        return write(run, task, *rest)

    monkeypatch.setattr(job, "_compute", stopped_at_the_second)
    monkeypatch.setattr(job, "_write", slow)
    report = run(photos, tmp_path / "out", settings)
    assert report.interrupted
    assert [(result.name, result.status) for result in report.results] == [("a", "done")]
    assert list(maps(tmp_path / "out")) == ["a_normal.npy"]
    recorded = json.loads(report.record.read_text())
    assert (recorded["status"], [file["name"] for file in recorded["files"]]) == ("interrupted", ["a"])
