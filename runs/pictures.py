"""The pictures of the README and of the gallery: the bundled photographs and their predicted normals.

python -m runs.pictures [--model small] [-o docs/images]

Writes normals.jpg (three photographs above their normals) and gallery-NAME.jpg (a photograph, its normals in
turbo and in full mode) of each bundled photograph. Run it again after the bundled weights change.
"""

import argparse
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from PIL import Image

from stablenormal.pipelines.stable_normal import MODES, StableNormal

SHOWN = ("room", "figurine", "street")
"""The photographs of the README."""
HEIGHT_PX = 260
"""Of each picture."""
GAP_PX = 6
"""White between pictures."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict every bundled photograph and write the pictures."""
    options = _options(arguments)
    pipeline = StableNormal.from_pretrained(options.model, offline=True)
    samples = Path(str(resources.files("stablenormal"))) / "samples"
    strips = {}
    for path in sorted(samples.glob("*.jpg")):
        maps = [pipeline(path, mode=mode).to_pil() for mode in reversed(MODES)]  # turbo, full
        strips[path.stem] = [_scaled(picture) for picture in (Image.open(path), *maps)]
        _save(_row(strips[path.stem]), options.out / f"gallery-{path.stem}.jpg")
    shown = [strips[name] for name in SHOWN]
    rows = [_row([strip[place] for strip in shown]) for place in (0, -1)]
    _save(_column(rows), options.out / "normals.jpg")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small", help="whose normals are shown")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    return parser.parse_args(arguments)


def _scaled(picture: Image.Image) -> Image.Image:
    width = round(picture.width * HEIGHT_PX / picture.height)
    return picture.convert("RGB").resize((width, HEIGHT_PX), Image.Resampling.LANCZOS)


def _row(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one height beside each other."""
    width = sum(picture.width for picture in pictures) + GAP_PX * (len(pictures) - 1)
    row, left = Image.new("RGB", (width, HEIGHT_PX), "white"), 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + GAP_PX
    return row


def _column(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows of one width below each other."""
    height = sum(row.height for row in rows) + GAP_PX * (len(rows) - 1)
    column, top = Image.new("RGB", (rows[0].width, height), "white"), 0
    for row in rows:
        column.paste(row, (0, top))
        top += row.height + GAP_PX
    return column


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=88, optimize=True)
    print(f"{path}: {picture.width} x {picture.height} px")


if __name__ == "__main__":
    main()
