"""The pictures of the README and the gallery are made of the bundled photographs alone."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from runs.pictures import GAP_PX, HEIGHT_PX, SHOWN, main

ROOT = Path(__file__).parents[2]


def test_every_bundled_photograph_is_shown_beside_its_normals(toy_model: Path, tmp_path: Path) -> None:
    main(["--model", str(toy_model), "-o", str(tmp_path)])
    samples = sorted((ROOT / "src/stablenormal/samples").glob("*.jpg"))
    names = {f"gallery-{path.stem}.jpg" for path in samples} | {"normals.jpg"}
    assert {path.name for path in tmp_path.iterdir()} == names
    side = HEIGHT_PX  # the samples are square
    gallery = np.asarray(Image.open(tmp_path / f"gallery-{SHOWN[0]}.jpg"), np.float32)
    assert gallery.shape == (side, 3 * side + 2 * GAP_PX, 3)
    shown = np.asarray(Image.open(tmp_path / "normals.jpg"), np.float32)
    assert shown.shape == (2 * side + GAP_PX, 3 * side + 2 * GAP_PX, 3)
    assert abs(gallery[:, :side] - gallery[:, -side:]).mean() > 30  # which are not alike
    assert abs(shown[:side, :side] - gallery[:, :side]).mean() < 8  # the photograph above
    assert abs(shown[-side:, :side] - gallery[:, -side:]).mean() < 8  # what full mode made of it below


def test_the_gallery_shows_every_bundled_photograph() -> None:
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"images/gallery-([\w-]+)\.jpg", page))
    assert shown == {path.stem for path in (ROOT / "src/stablenormal/samples").glob("*.jpg")}
