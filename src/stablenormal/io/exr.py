"""OpenEXR files as channels by name, and which of their layers and parts is the picture that is meant.

Pixels lie where the display window has them: what the data window leaves out is zero, what it has beyond is
cut off. Files that this cannot do justice to (deep data, subsampled channels, pixels that are not square) are
refused.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import OpenEXR

from stablenormal.errors import argument
from stablenormal.io.choice import UNSAID, Choice

SIGNATURE = b"\x76\x2f\x31\x01"

Likely: TypeAlias = Sequence[Callable[[str], bool]]
"""Questions to a layer's or part's name in lower case; the first that any can affirm decides."""

PHOTOGRAPH: Likely = (
    lambda name: name == "",
    lambda name: name.startswith("composite."),
    lambda name: _last(name) in "combined beauty rgba rgb c color colour composite image".split(),
)
"""How programs name the finished picture: not at all, or so."""

NORMALS: Likely = (
    lambda name: _last(name) in "normal normals n nrm cameranormal cameranormals".split(),
    lambda name: "normal" in name,
    lambda name: name == "",
)
"""How programs name normals."""

DEPTH: Likely = (
    lambda name: name == "",
    lambda name: _last(name) in "depth z".split(),
    lambda name: "depth" in name,
)
"""How programs name depth."""

_ASPECT_TOLERANCE = 0.01

Channels: TypeAlias = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Found:
    """The picture of a file that was chosen."""

    pixels: npt.NDArray[Any]
    """(H, W, C), in the file's own number type."""
    letters: str
    """What its channels are called: `RGB`, `XYZ`, `Y`."""
    alpha: npt.NDArray[Any] | None
    """(H, W) of the same layer."""
    inside: npt.NDArray[np.bool_]
    """(H, W): inside the data window."""
    header: dict[str, Any]
    """Of its part."""
    label: str
    """Part and layer in words, to say which was read; empty where nothing else was there."""


@dataclass(frozen=True)
class _Candidate:
    part: int
    part_name: str
    layer: str
    letters: str

    def names(self) -> list[str]:
        before = f"{self.layer}." if self.layer else ""
        return [before + letter for letter in self.letters]

    def words(self, several_parts: bool) -> str:
        part = f"part {self.part_name or self.part + 1}" if several_parts else ""
        layer = f"layer {self.layer}" if self.layer else ""
        return ", ".join(word for word in (part, layer) if word) or "no layer"

    def known_as(self, several_parts: bool) -> str:
        """The name that says what it is: of the layer, or of the part where there is no layer."""
        return (self.layer or (self.part_name if several_parts else "")).lower()


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of the first part's display window, without reading pixels.

    Raises:
        ValueError: if the header is damaged.
    """
    return _size(_headers(path)[0])


def read(path: Path, part: int = 0) -> tuple[Channels, dict[str, Any]]:
    """Channels (H, W) by name, in the file's own number type, and the header, of one part.

    Raises:
        ValueError: if the file is truncated or damaged, or holds what is not supported.
    """
    headers = _headers(path)
    _check(headers[part])
    # The library prints a warning and goes on with no pixels where a file is cut off.
    with redirect_stdout(io.StringIO()):
        try:
            with _openable(path) as name, OpenEXR.File(name, separate_channels=True) as file:
                channels = {name: np.array(channel.pixels) for name, channel in file.channels(part).items()}
        except (RuntimeError, ValueError) as error:
            raise ValueError("the pixels are damaged or cut off") from error
    return {name: _displayed(pixels, headers[part]) for name, pixels in channels.items()}, headers[part]


def find_picture(
    path: Path, spellings: Sequence[str], likely: Likely, choice: Choice = UNSAID
) -> Found | None:
    """The picture that is meant, of all layers and parts, or None if no layer has such channels.

    Of several the likely one is taken; if that leaves more than one, somebody has to choose.

    Args:
        path: the file.
        spellings: what its channels may be called, such as "RGB" or "XYZ".
        likely: `PHOTOGRAPH` or `NORMALS`.
        choice: what the user says.

    Raises:
        ValueError: if the file is damaged or not supported, the choice does not exist, or one is needed.
    """
    headers = _headers(path)
    everything = list(_candidates(headers, spellings))
    if not everything:
        return None
    several = len(headers) > 1
    listed = "; ".join(dict.fromkeys(one.words(several) for one in everything))
    wanted = [one for one in everything if _is_chosen(one, choice)]
    if not wanted:
        raise ValueError(
            f"has no such layer or part, but {listed}; change {argument('layer')} or {argument('part')}"
        )
    chosen = _most_likely(wanted, [one.known_as(several) for one in wanted], likely)
    if len(chosen) > 1:
        raise ValueError(
            f"holds {len(chosen)} pictures that may be meant: {listed}; choose one with {argument('layer')}"
            f"{' or ' + argument('part') if several else ''}"
        )
    one = chosen[0]
    channels, header = read(path, one.part)
    names = one.names()
    if len({channels[name].shape for name in names}) > 1:
        raise ValueError("its channels differ in size; export it without chroma subsampling")
    pixels = np.stack([channels[name] for name in names], axis=-1)
    if pixels.dtype.kind != "f":
        raise ValueError(f"its {one.words(several)} holds whole numbers, as object ids are; choose another")
    return Found(
        pixels=pixels,
        letters=one.letters,
        alpha=channels.get((f"{one.layer}." if one.layer else "") + "A"),
        inside=_displayed(np.ones(_window_shape(header), np.bool_), header),
        header=header,
        label=one.words(several) if len(everything) > 1 else "",
    )


def part_names(path: Path) -> list[str]:
    """Names of the parts, in order; empty where a part has none.

    Raises:
        ValueError: if the header is damaged.
    """
    return [str(header.get("name", "")) for header in _headers(path)]


def write(path: Path, channels: Mapping[str, npt.NDArray[np.float32]], attributes: Mapping[str, str]) -> None:
    """Write float32 channels (H, W) by name, losslessly compressed (ZIP), with text attributes.

    Raises:
        OSError: if the file cannot be written.
    """
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **attributes}
    pixels = {name: np.ascontiguousarray(values, np.float32) for name, values in channels.items()}
    try:
        with OpenEXR.File(header, pixels) as file:
            if _is_utf8(path):
                file.write(str(path))
                return
            with tempfile.TemporaryDirectory() as folder:
                file.write(f"{folder}/a.exr")
                path.write_bytes(Path(folder, "a.exr").read_bytes())
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _headers(path: Path) -> list[dict[str, Any]]:
    try:
        with _openable(path) as name, OpenEXR.File(name, header_only=True) as file:
            return [dict(part.header) for part in file.parts]
    except (RuntimeError, ValueError) as error:
        raise ValueError("the header is damaged or cut off") from error


@contextmanager
def _openable(path: Path) -> Iterator[str]:
    """A name that the library can open: it takes UTF-8 only."""
    if _is_utf8(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "a.exr")
        link.symlink_to(os.path.abspath(path))
        yield str(link)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _size(header: Mapping[str, Any]) -> tuple[int, int]:
    low, high = header["displayWindow"]
    return int(high[0]) - int(low[0]) + 1, int(high[1]) - int(low[1]) + 1


def _window_shape(header: Mapping[str, Any]) -> tuple[int, int]:
    low, high = header["dataWindow"]
    return int(high[1]) - int(low[1]) + 1, int(high[0]) - int(low[0]) + 1


def _check(header: Mapping[str, Any]) -> None:
    """Refuse what would be read wrong."""
    if header["type"] in (OpenEXR.deepscanline, OpenEXR.deeptile):
        raise ValueError("holds deep data, many values a pixel; flatten it first")
    ratio = float(header.get("pixelAspectRatio", 1.0))
    if abs(ratio - 1) > _ASPECT_TOLERANCE:
        raise ValueError(f"its pixels are {ratio:g} times as wide as high; resample it to square pixels")
    sampled = [one.name for one in header["channels"] if (one.xSampling, one.ySampling) != (1, 1)]
    if sampled:
        raise ValueError(
            f"its channels differ in size ({', '.join(sampled)}); export it without chroma subsampling"
        )


def _displayed(pixels: npt.NDArray[Any], header: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Pixels of the data window (h, w) in the display window (H, W), zero where there are none."""
    width, height = _size(header)
    corners = zip(header["dataWindow"][0], header["displayWindow"][0], strict=True)
    left, top = (int(data) - int(shown) for data, shown in corners)
    if (left, top) == (0, 0) and pixels.shape == (height, width):
        return pixels
    rows, columns = pixels.shape
    shown = pixels[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    if not shown.size:
        raise ValueError("its data window lies outside its display window; export it again")
    canvas = np.zeros((height, width), pixels.dtype)
    canvas[max(0, top) : min(height, top + rows), max(0, left) : min(width, left + columns)] = shown
    return canvas


def _candidates(headers: Sequence[Mapping[str, Any]], spellings: Sequence[str]) -> Iterator[_Candidate]:
    """Every layer of every part that has the channels of a spelling, each once."""
    for number, header in enumerate(headers):
        names = {channel.name for channel in header["channels"]}
        for layer in ["", *sorted({name.rpartition(".")[0] for name in names if "." in name})]:
            for letters in spellings:
                one = _Candidate(number, str(header.get("name", "")), layer, letters)
                if names.issuperset(one.names()):
                    yield one
                    break


def _is_chosen(one: _Candidate, choice: Choice) -> bool:
    layer_fits = choice.layer is None or choice.layer in (one.layer, one.layer.rpartition(".")[2])
    return layer_fits and choice.part in (None, one.part_name, str(one.part + 1))


def _most_likely(
    candidates: Sequence[_Candidate], names: Sequence[str], likely: Likely
) -> Sequence[_Candidate]:
    for fits in likely:
        best = [one for one, name in zip(candidates, names, strict=True) if fits(name)]
        if best:
            return best
    return candidates


def _last(name: str) -> str:
    return name.rpartition(".")[2]
