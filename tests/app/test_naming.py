from pathlib import Path

import numpy as np
import pytest

from stablenormal.app.naming import find_jobs
from stablenormal.io.image import write_image

GREY = np.full((8, 8, 3), 128, dtype=np.uint8)


def photograph(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, GREY)
    return path


def names(inputs: list[Path | str], output: Path) -> list[str]:
    jobs, problems = find_jobs([str(entry) for entry in inputs], output)
    assert problems == []
    return sorted(job.name for job in jobs)


def test_sub_folders_are_kept(tmp_path: Path) -> None:
    photograph(tmp_path / "in" / "a.png")
    photograph(tmp_path / "in" / "day one" / "b.png")
    assert names([tmp_path / "in"], tmp_path / "out") == ["a", "day one/b"]


def test_a_glob_keeps_what_lies_below_its_fixed_part(tmp_path: Path) -> None:
    photograph(tmp_path / "in" / "x" / "a.png")
    photograph(tmp_path / "in" / "y" / "a.png")
    photograph(tmp_path / "in" / "y" / "b.jpg")
    assert names([f"{tmp_path}/in/*/*.png"], tmp_path / "out") == ["x/a", "y/a"]


def test_equal_stems_in_one_folder_take_their_endings(tmp_path: Path) -> None:
    for ending in ("jpg", "png"):
        photograph(tmp_path / "in" / f"photo.{ending}")
    photograph(tmp_path / "in" / "other.png")
    assert names([tmp_path / "in"], tmp_path / "out") == ["other", "photo_jpg", "photo_png"]


def test_equal_names_in_two_folders_keep_the_folders(tmp_path: Path) -> None:
    files = [photograph(tmp_path / side / "0001.png") for side in ("left", "right")]
    assert names([*files], tmp_path / "out") == ["left/0001", "right/0001"]


def test_no_two_results_ever_share_a_name(tmp_path: Path) -> None:
    for name in ("photo.jpg", "photo.png", "photo_jpg.webp"):
        photograph(tmp_path / name)
    jobs, problems = find_jobs([str(tmp_path)], tmp_path / "out")
    assert len({job.name for job in jobs}) == len(jobs)
    assert len(jobs) + len(problems) == 3
    assert "would overwrite" in problems[0].message


def test_a_photograph_named_twice_is_done_once(tmp_path: Path) -> None:
    file = photograph(tmp_path / "in" / "a.png")
    assert names([file, tmp_path / "in", file], tmp_path / "out") == ["a"]


def test_dots_in_names_stay(tmp_path: Path) -> None:
    assert names([photograph(tmp_path / "scan.v2.png")], tmp_path / "out") == ["scan.v2"]


@pytest.mark.parametrize("output", ["in", "in/out"])
def test_results_of_an_earlier_run_are_not_photographs(tmp_path: Path, output: str) -> None:
    photograph(tmp_path / "in" / "a.png")
    for result in ("a_normal.png", "a_normal_8bit.png", "a_uncertainty.png", "preview/a_photo.jpg"):
        photograph(tmp_path / output / result)
    assert names([tmp_path / "in"], tmp_path / output) == ["a"]


def test_a_photograph_below_an_output_folder_above_it_is_found(tmp_path: Path) -> None:
    photograph(tmp_path / "in" / "a.png")
    assert names([tmp_path / "in"], tmp_path) == ["a"]


def test_an_input_without_photographs_is_a_problem_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    file = photograph(tmp_path / "a.png")
    inputs = [str(tmp_path / "empty"), str(tmp_path / "missing"), str(file)]
    jobs, problems = find_jobs(inputs, tmp_path / "out")
    assert [job.source for job in jobs] == [file]
    assert [problem.source for problem in problems] == inputs[:2]
    for problem in problems:
        assert problem.source in problem.message
        assert "\n" not in problem.message


@pytest.mark.parametrize("masks", ["in/masks", "in"])
def test_masks_beside_photographs_are_not_photographs(tmp_path: Path, masks: str) -> None:
    photograph(tmp_path / "in/a.png")
    photograph(tmp_path / masks / "a_mask.png")
    photograph(tmp_path / masks / "a.png.png")
    jobs, problems = find_jobs([str(tmp_path / "in")], tmp_path / "out", tmp_path / masks)
    assert [job.name for job in jobs] == ["a"] and not problems


def test_results_are_named_after_what_the_user_gave(tmp_path: Path) -> None:
    photograph(tmp_path / "real/deep/a.png")
    (tmp_path / "one").symlink_to(tmp_path / "real/deep")
    (tmp_path / "two").mkdir()
    (tmp_path / "two/a.png").symlink_to(tmp_path / "real/deep/a.png")
    assert names([tmp_path / "one", tmp_path / "two"], tmp_path / "out") == ["one/a", "two/a"]
