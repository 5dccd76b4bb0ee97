"""Kinds of normal map files: names, endings, and the files that belong to each."""

from pathlib import Path

MAP_FORMATS = {"png16": ".png", "png8": ".png", "exr": ".exr", "npy": ".npy"}
"""Ending by format; `io.normal_map` says what each holds."""


def normal_map_files(path: Path, format: str) -> list[Path]:
    """Every file that `write_normal_map` writes: the map, and the record beside an NPY."""
    return [path, path.with_suffix(".json")] if format == "npy" else [path]
