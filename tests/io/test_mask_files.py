from pathlib import Path

import numpy as np
import pytest

from stablenormal.errors import ImageReadError
from stablenormal.io.image import write_image
from stablenormal.io.mask_files import find_mask


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path.with_suffix(".png"), np.ones((8, 8), np.float32))
    return path.with_suffix(".png").rename(path)


@pytest.mark.parametrize("name", ["a.jpg.png", "a_mask.png", "a.jpg_mask.png", "a.png", "a.tif"])
def test_every_spelling_at_the_same_relative_path(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "masks/trip" / name)
    picture(tmp_path / "masks" / name)
    found = find_mask(tmp_path / "masks", Path("trip/a.jpg"), tmp_path / "photos/trip/a.jpg")
    assert found == tmp_path / "masks/trip" / name


def test_the_most_telling_name_wins(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg.png"):
        picture(tmp_path / name)
    assert find_mask(tmp_path, Path("a.jpg"), Path("a.jpg")).name == "a.jpg.png"


def test_a_photograph_is_not_its_own_mask(tmp_path: Path) -> None:
    photograph, mask = picture(tmp_path / "a.png"), picture(tmp_path / "a_mask.png")
    assert find_mask(tmp_path, Path("a.png"), photograph) == mask
    mask.unlink()
    with pytest.raises(ImageReadError, match="no mask named a in"):
        find_mask(tmp_path, Path("a.png"), photograph)


def test_a_mask_of_another_folder_is_none(tmp_path: Path) -> None:
    picture(tmp_path / "masks/a.png")
    with pytest.raises(ImageReadError, match="no mask named trip/a"):
        find_mask(tmp_path / "masks", Path("trip/a.jpg"), tmp_path / "a.jpg")


def test_two_masks_of_one_name_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.tif")
    picture(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="two masks"):
        find_mask(tmp_path, Path("a.jpg"), tmp_path / "b/a.jpg")
