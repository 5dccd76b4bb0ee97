"""Measure depth from ground-truth normals on DiLiGenT objects; write one JSON.

python runs/diligent.py --root DIR -o results/diligent.json [--method bilateral] [--repeats 3]

DIR holds one folder per object with normal_map.png (16-bit, OpenGL), mask.png, K.txt and depth_gt.npz (mm).
The error is the mean absolute difference in mm after one scale, the median ratio. The time is that of
`integrate_normals`, the fastest of the repeats, on the wall clock and on the processor.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from evidence import parse, write_record

from stablenormal.applications.normal_integration import IntegrationSettings, integrate_normals
from stablenormal.io.camera_file import read_camera_matrix
from stablenormal.io.image import read_mask
from stablenormal.io.normal_map import read_normal_map


def main() -> None:
    """Print a line per object, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of the objects")
    parser.add_argument("--method", default="bilateral")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--objects", nargs="*", help="names of folders; all by default")
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    settings = IntegrationSettings(method=options.method)
    names = options.objects or sorted(path.name for path in options.root.iterdir() if path.is_dir())
    rows = {}
    for name in names:
        rows[name] = measure(options.root / name, settings, options.repeats)
        shown = {key: round(value, 4) for key, value in rows[name].items()}
        print(name, " ".join(f"{key} {value}" for key, value in shown.items()), flush=True)
    if options.out:
        record = {"settings": asdict(settings), "objects": rows}
        write_record(options.out, record, dirty=options.dirty)


def measure(folder: Path, settings: IntegrationSettings, repeats: int) -> dict[str, float]:
    """Error and time of one object."""
    path = folder / "normal_map.png"
    mask = read_mask(folder / "mask.png")
    normals = read_normal_map(path, frame="opengl", mask=mask).normals
    height, width = normals.shape[:2]
    camera = read_camera_matrix(folder / "K.txt", width, height)
    with np.load(folder / "depth_gt.npz") as file:
        truth = file["depth_gt"]
    seconds, processor = [], []
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        result = integrate_normals(normals, camera, mask, settings)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    inside = (result.depth > 0) & (truth > 0)
    scale = np.median(truth[inside] / result.depth[inside])
    return {
        "error_mm": float(np.abs(result.depth[inside] * scale - truth[inside]).mean()),
        "seconds": min(seconds),
        "processor_seconds": min(processor),
        "pixels": float(inside.sum()),
        "solves": float(len(result.energies)),
        "solver_steps": float(result.solver_steps),
        "components": float(result.components),
    }


if __name__ == "__main__":
    main()
