import csv
import json
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from stablenormal.app import check_data as job
from stablenormal.cli.main import app, main
from stablenormal.data.packed import open_corpus
from stablenormal.data.readers.catalogue import open_source


@pytest.fixture
def replica(sets: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sets / "replica", tmp_path / "replica"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def flip_y(root: Path) -> Path:
    """Turn the green channel of one normal map over."""
    path = root / "normal/replica/room_1/point_3_view_2_domain_normal.png"
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    codes[..., 1] = 255 - codes[..., 1]
    cv2.imwrite(str(path), codes)
    return path


@pytest.mark.parametrize(
    "name", ["interiorverse", "vkitti", "sintel", "replica", "ken_burns", "objaverse", "folder", "shards"]
)
def test_sets_without_a_problem_end_with_0(name: str, sets: Path, tmp_path: Path) -> None:
    frame = {"folder": ["--frame", "dsine"], "shards": ["--frame", "opencv"]}.get(name, [])
    result = run("data", "check", name, sets / name, "-o", tmp_path / "out", *frame)
    assert result.exit_code == 0, result.output
    kept = [line for line in (tmp_path / "out/keep.txt").read_text().splitlines() if not line.startswith("#")]
    assert kept == list(open_source(name, sets / name).keys)


def test_flipped_normals_are_named_and_left_out_of_the_keep_list(replica: Path, tmp_path: Path) -> None:
    flip_y(replica)
    out = tmp_path / "out"
    result = run("data", "check", "replica", replica, "-o", out)
    assert result.exit_code == 1
    assert "replica/room_1/point_3_view_2: frame: x right, y up, z away fits the depth" in result.output
    assert "2 views checked in" in result.output and "1 without a problem" in result.output
    assert f"keep-list: {out / 'keep.txt'}" in result.output.replace("\n", "")
    record = json.loads((out / "check.json").read_text())
    assert record["views"] == 2 and record["bad"] == 1 and record["problems"] == {"frame": 1}
    rows = list(csv.DictReader((out / "views.csv").read_text().splitlines()))
    assert [row["problems"] for row in rows] == ["", "frame"]
    source = open_source("replica", replica, out / "keep.txt")
    assert source.keys == ("replica/apartment_0/point_0_view_0",)
    again = run("data", "check", "replica", replica, "--keep", out / "keep.txt")
    assert again.exit_code == 0, again.output


def test_a_whole_set_in_another_frame_is_told_what_to_do(replica: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("data", "check", "replica", replica, "--frame", "opengl", "-o", out)
    assert result.exit_code == 1
    assert "2 of 2 views fit opencv better than the declared opengl; read them with --frame opencv" in (
        result.output
    )
    assert "nothing is left to keep" in result.output and not (out / "keep.txt").exists()


def test_tilted_cameras_can_be_ignored(sets: Path, tmp_path: Path) -> None:
    result = run("data", "check", "hypersim", sets / "hypersim")
    assert result.exit_code == 1 and "tilt-shift" in result.output
    result = run("data", "check", "hypersim", sets / "hypersim", "--ignore", "tilt-shift", "-o", tmp_path)
    assert result.exit_code == 0
    assert "ai_003_010/cam_01/frame.0007" in (tmp_path / "keep.txt").read_text()


def test_damaged_files_are_named_and_the_rest_goes_on(sets: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sets / "hypersim", tmp_path / "set"))
    images = root / "ai_001_001/images"
    path = images / "scene_cam_00_geometry_hdf5/frame.0001.normal_cam.hdf5"
    path.write_bytes(path.read_bytes()[:500])
    with h5py.File(images / "scene_cam_00_geometry_hdf5/frame.0000.normal_cam.hdf5", "a") as file:
        file["dataset"][20, 20] = np.nan
    result = run("data", "check", "hypersim", root)
    assert result.exit_code == 1
    assert f"frame.0001: unreadable: {path}: damaged" in result.output
    assert "frame.0000: nan:" in result.output and "frame.0007: tilt-shift" in result.output


def test_an_interrupted_check_goes_on(replica: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip_y(replica)
    out, whole, seen = tmp_path / "out", tmp_path / "whole", []
    run("data", "check", "replica", replica, "-o", whole)
    check = job._check

    def interrupted(settings, source, index):
        if index == 1 and "stopped" not in seen:
            seen.append("stopped")
            raise KeyboardInterrupt
        seen.append(index)
        return check(settings, source, index)

    monkeypatch.setattr(job, "_check", interrupted)
    assert run("data", "check", "replica", replica, "-o", out).exit_code != 0
    assert not (out / "check.json").exists()
    with (out / "views.jsonl").open("a") as file:
        file.write('{"key": "cut sh')
    run("data", "check", "replica", replica, "-o", out)
    assert seen == [0, "stopped", 1]
    for name in ("views.csv", "keep.txt"):
        assert (out / name).read_text() == (whole / name).read_text()
    other = run("data", "check", "replica", replica, "-o", out, "--smallest-side", "70")
    assert other.exit_code == 1 and "holds the check of another set" in str(other.exception)


def test_processes_find_the_same(replica: Path, tmp_path: Path) -> None:
    flip_y(replica)
    run("data", "check", "replica", replica, "-o", tmp_path / "one")
    run("data", "check", "replica", replica, "-o", tmp_path / "two", "--workers", "2")
    assert (tmp_path / "one/views.csv").read_text() == (tmp_path / "two/views.csv").read_text()


def test_a_part_of_a_set_gives_no_keep_list(sets: Path, tmp_path: Path) -> None:
    result = run("data", "check", "ken_burns", sets / "ken_burns", "--limit", "1", "-o", tmp_path)
    assert result.exit_code == 0 and "1 views checked" in result.output
    assert not (tmp_path / "keep.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kenburns", "."], "unknown reader 'kenburns'; did you mean 'ken_burns'"),
        (["folder", "nowhere"], "nowhere: no such folder"),
        (["folder", ".", "--ignore", "tilt"], "there is no problem 'tilt' to ignore"),
        (["folder", ".", "--option", "frame"], "expected NAME=VALUE"),
        (["folder", ".", "--frame", "maya"], "--frame: there is no 'maya'"),
    ],
)
def test_wrong_arguments_get_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", *arguments])
    assert ended.value.code == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and message in lines[0]


def test_any_set_can_be_packed(sets: Path, tmp_path: Path) -> None:
    keep = tmp_path / "keep.txt"
    keep.write_text("ai_001_001/cam_00/frame.0001\nai_003_010/cam_01/frame.0007\n")
    options = ["--source", "hypersim", "-o", tmp_path / "out", "--count", 2, "--size", 32, "--keep", keep]
    result = run("pack", sets / "hypersim", *options)
    assert result.exit_code == 0, result.output
    assert "2 samples of 32 px" in result.output
    corpus, source = open_corpus(tmp_path / "out"), open_source("hypersim", sets / "hypersim", keep)
    assert corpus.kinds == ("hypersim", "hypersim")
    for place in range(2):
        whole = source[place].normals[:, 12:84]  # the middle square of 96 x 72
        middle = whole[16 * 72 // 32 + 1, 16 * 72 // 32 + 1]
        np.testing.assert_allclose(corpus.normals(place)[16, 16], middle, atol=1e-4)


def test_a_mixture_can_be_packed(sets: Path, tmp_path: Path) -> None:
    config = tmp_path / "sources.yaml"
    config.write_text(
        f"sources:\n  - {{reader: replica, root: {sets / 'replica'}, weight: 1}}\n"
        f"  - {{reader: folder, root: {sets / 'folder'}, weight: 3, options: {{frame: dsine}}}}\n"
    )
    result = run("pack", "--mixture", config, "-o", tmp_path / "out", "--count", 12, "--size", 16)
    assert result.exit_code == 0, result.output
    kinds = open_corpus(tmp_path / "out").kinds
    assert sorted(set(kinds)) == ["folder", "replica"] and 2 <= kinds.count("replica") <= 4


def test_packing_skips_what_is_damaged(sets: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sets / "interiorverse", tmp_path / "set"))
    path = root / "L3D124S8/000_normal.exr"
    path.write_bytes(path.read_bytes()[:900])
    options = ["--source", "interiorverse", "-o", tmp_path / "out", "--size", 16]
    result = run("pack", root, *options, "--count", 1)
    assert result.exit_code == 0 and "1 damaged ones skipped" in result.output
    result = run("pack", root, *options, "--count", 2)
    assert "wanted 2 samples, the source gave 1" in str(result.exception)


@pytest.mark.parametrize("arguments", [[], ["--mixture", "a.yaml", "shards"]])
def test_packing_needs_folders_or_a_mixture(arguments: list[str], tmp_path: Path) -> None:
    result = run("pack", "-o", tmp_path / "out", "--count", 1, *arguments)
    assert "either folders or --mixture" in str(result.exception)


def test_a_view_whose_files_changed_is_checked_again(tmp_path: Path) -> None:
    import os

    from stablenormal.app.check_data import CheckSettings, check_data
    from stablenormal.io.image import write_image
    from stablenormal.io.normal_map import write_normal_map

    normals = np.zeros((64, 64, 3), np.float32)
    normals[..., 2] = 1
    for name in "ab":
        write_image(tmp_path / f"set/{name}_rgb.png", np.full((64, 64, 3), 0.5, np.float32))
        write_normal_map(tmp_path / f"set/{name}_normal.png", normals)
    settings = CheckSettings("folder", str(tmp_path / "set"))
    check_data(settings, tmp_path / "out")
    before = (tmp_path / "out/views.jsonl").read_text().splitlines()
    check_data(settings, tmp_path / "out")
    assert (tmp_path / "out/views.jsonl").read_text().splitlines() == before
    os.utime(tmp_path / "set/a_normal.png", ns=(1, 1))
    check_data(settings, tmp_path / "out")
    after = (tmp_path / "out/views.jsonl").read_text().splitlines()
    assert len(after) == len(before) + 1 and json.loads(after[-1])["key"] == json.loads(before[1])["key"]
