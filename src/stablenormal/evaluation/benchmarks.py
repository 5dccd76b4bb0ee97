"""The sets that normal estimators are scored on, in their layout on disk.

    set                    photograph            ground truth       decoder
    nyuv2, scannet         X_img.png or .jpg     X_normal.png       8 bit
    vkitti                 the same              X_normal.png       16 bit
    ibims, sintel          the same              X_normal.exr       float
    oasis                  the same              X_normal.pkl       box and region
    diode                  X.png                 X_normal.npy       float
    folder                 X_rgb.jpg, any image  X_normal.png, .exr, .npy

The first six are the layout of DSINE's evaluation data. Files are searched in all folders below the root.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from os.path import commonpath
from pathlib import Path

from stablenormal.errors import DataError, SettingError
from stablenormal.evaluation.ground_truth import (
    decode_diode,
    decode_exr,
    decode_oasis,
    decode_png8,
    decode_png16,
)
from stablenormal.evaluation.pairs import Decoder, Entry, list_folder
from stablenormal.geometry.frames import FRAMES, check_frame
from stablenormal.io.search import files_below

DIODE_PARTS = ("indoor", "outdoor")


@dataclass(frozen=True)
class _Layout:
    """Files of one of DSINE's sets."""

    truth_ending: str
    decode: Decoder
    stored_8bit: bool = False


_DSINE_LAYOUTS = {
    "nyuv2": _Layout(".png", decode_png8, stored_8bit=True),
    "scannet": _Layout(".png", decode_png8, stored_8bit=True),
    "ibims": _Layout(".exr", decode_exr),
    "sintel": _Layout(".exr", decode_exr),
    "vkitti": _Layout(".png", decode_png16),
    "oasis": _Layout(".pkl", decode_oasis),
}

BENCHMARKS = (*_DSINE_LAYOUTS, "diode", "folder")


def list_benchmark(
    benchmark: str, root: Path, *, part: str | None = None, truth_frame: str | None = None
) -> list[Entry]:
    """Find every pair of a set, in the order of names.

    Args:
        benchmark: a name in `BENCHMARKS`.
        root: the set's folder, or the one that holds a folder of the set's name.
        part: `indoor` or `outdoor`, of DIODE.
        truth_frame: frame of the ground truth of `diode` and `folder`, `opengl` if not given; the other sets
            have their own.

    Raises:
        SettingError: if the set does not exist, or has no parts or no choice of frame.
        DataError: if the folder is missing or holds no pair, or a partner is missing.
    """
    if benchmark not in BENCHMARKS:
        raise SettingError(f"no benchmark '{benchmark}'; choose one of {', '.join(BENCHMARKS)}")
    if part is not None and (benchmark != "diode" or part not in DIODE_PARTS):
        raise SettingError(f"part '{part}': only diode has parts, {' and '.join(DIODE_PARTS)}; leave it out")
    if truth_frame is not None:
        if benchmark in _DSINE_LAYOUTS:
            raise SettingError(f"truth frame: {benchmark}'s ground truth is in frame dsine; leave it out")
        check_frame(truth_frame)
        if FRAMES[truth_frame] is None:
            raise SettingError(
                f"truth frame '{truth_frame}': needs a rotation; convert the ground truth first"
            )
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the one that holds {benchmark}")
    root = root / benchmark if (root / benchmark).is_dir() else root
    if benchmark == "folder":
        return list_folder(root, truth_frame or "opengl")
    if benchmark == "diode":
        return _list_diode(root, part, truth_frame or "opengl")
    return _list_dsine(root, benchmark, _DSINE_LAYOUTS[benchmark])


def _list_dsine(root: Path, benchmark: str, layout: _Layout) -> list[Entry]:
    photographs = sorted(
        path for path in files_below(root, "*_img.*") if path.suffix.lower() in (".png", ".jpg")
    )
    wanted = f"X_img.png or .jpg beside X_normal{layout.truth_ending}"
    return _pair_up(
        root,
        wanted,
        photographs,
        files_below(root, f"*_normal{layout.truth_ending}"),
        name=lambda photograph: photograph.stem.removesuffix("_img"),
        truth_ending=layout.truth_ending,
        decode=layout.decode,
        source=lambda relative: "/".join(relative.parts[:-1]) or benchmark,
        stored_8bit=layout.stored_8bit,
    )


def _list_diode(root: Path, part: str | None, frame: str) -> list[Entry]:
    def wanted(path: Path) -> bool:
        return part is None or part in path.relative_to(root.parent).as_posix()

    return _pair_up(
        root,
        f"X.png beside X_normal.npy{f' in part {part}' if part else ''}",
        sorted(path for path in files_below(root, "*.png") if wanted(path)),
        (path for path in files_below(root, "*_normal.npy") if wanted(path)),
        name=lambda photograph: photograph.stem,
        truth_ending=".npy",
        decode=partial(decode_diode, frame=frame),
        source=lambda relative: next((name for name in DIODE_PARTS if name in relative.as_posix()), "diode"),
    )


def _pair_up(
    root: Path,
    wanted: str,
    photographs: list[Path],
    truths: Iterable[Path],
    *,
    name: Callable[[Path], str],
    truth_ending: str,
    decode: Decoder,
    source: Callable[[Path], str],
    stored_8bit: bool = False,
) -> list[Entry]:
    """Each photograph with its normals; nothing may be left over."""
    if not photographs:
        raise DataError(f"{root}: found no {wanted}; check the folder and the benchmark's name")
    top = Path(commonpath([path.parent for path in photographs]))
    left_over = set(truths)
    entries: dict[str, Entry] = {}
    for photograph in photographs:
        relative = photograph.relative_to(top).with_name(name(photograph))
        truth = photograph.with_name(f"{name(photograph)}_normal{truth_ending}")
        if truth not in left_over and relative.as_posix() in entries:
            raise DataError(f"{photograph}: a second photograph of {relative}; take one away")
        if truth not in left_over:
            raise DataError(f"{truth}: missing; every photograph needs its normals")
        left_over.remove(truth)
        entries[relative.as_posix()] = Entry(
            name=relative.as_posix(),
            source=source(relative),
            photograph=photograph,
            truth=truth,
            decode=decode,
            stored_8bit=stored_8bit,
            below_root=photograph.parent.relative_to(root),
        )
    if left_over:
        raise DataError(f"{min(left_over)}: its photograph is missing; expected {wanted}")
    return list(entries.values())
