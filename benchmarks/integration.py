"""Time and memory of the integration from 0.1 to 4 megapixels, each size in a process of its own.

python benchmarks/integration.py [--method poisson bilateral] [--megapixels 0.1 1 4] [-o results.json]

The surface is a bumpy ball in front of a wall, perspective, with an occlusion all around it. What to look
at is the time per megapixel, which should stay about level.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from recording import parse, write_result

from stablenormal.applications.normal_integration import IntegrationSettings, integrate_normals
from stablenormal.geometry.camera import Intrinsics


def main() -> None:
    """Run every size and method, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", nargs="*", default=["poisson", "bilateral"])
    parser.add_argument("--megapixels", nargs="*", type=float, default=[0.1, 0.25, 1.0, 4.0])
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "SIDE"), help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    rows = []
    for method in options.method:
        for megapixels in options.megapixels:
            side = str(round((megapixels * 1e6) ** 0.5))
            run = subprocess.run(
                [sys.executable, __file__, "--one", method, side], capture_output=True, text=True, check=True
            )
            row = json.loads(run.stdout)
            rows.append(row)
            print(
                f"{method:10}{row['megapixels']:6.2f} MP {row['seconds']:8.1f} s wall "
                f"{row['processor_seconds']:8.1f} s processor "
                f"{row['processor_seconds'] / row['megapixels']:8.1f} s/MP "
                f"{row['solver_steps']:5d} steps {row['peak_gib']:5.2f} GiB",
                flush=True,
            )
    write_result(options.out, {"rows": rows}, options.dirty)


def measure(method: str, side: int) -> dict[str, float]:
    """Integrate one picture of side x side pixels."""
    normals, camera = bumpy_ball(side)
    start, start_processor = time.perf_counter(), time.process_time()
    result = integrate_normals(normals, camera, settings=IntegrationSettings(method=method))
    return {
        "method": method,
        "megapixels": side * side / 1e6,
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - start_processor,
        "solver_steps": result.solver_steps,
        "solves": len(result.energies),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def bumpy_ball(side: int) -> tuple[npt.NDArray[np.float32], Intrinsics]:
    """Normals (side, side, 3) of a ball with waves on it, before a wall, and their camera."""
    v, u = np.mgrid[:side, :side].astype(np.float32) / side * 2 - 1
    inside = np.maximum(0.7**2 - u * u - v * v, 0)
    waves = 0.15 * np.cos(40 * u) * (inside > 0)
    z = np.sqrt(inside) + 1e-3
    normals = np.stack([u / z + waves, -v / z, np.ones_like(u)], axis=-1)
    normals[inside == 0] = (0, 0, 1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals, Intrinsics.from_fov(30, side, side)


if __name__ == "__main__":
    main()
