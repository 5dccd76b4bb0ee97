"""Normal integration of many overlapping thin pieces: error, solves and processor time on analytic stand-ins.

python benchmarks/thin_pieces.py [--side 200] [--seeds 0 1 2] [-o results.json]

A smooth body carries dozens of tilted discs and bent leaves, seen in perspective. Each piece touches what it
grows from at its root and lifts toward the viewer, so that depth steps by 0.2 to 30 % along its edge; that
one touch is all that tells how far it is, as on a plant or a garland. The truth is exact. The error is the
mean absolute one in depth after the best scale, in thousandths of the median depth, beside that of one smooth
solve. `smooth` is the body alone.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from recording import parse, write_result

from stablenormal.applications.normal_integration import IntegrationSettings, integrate_normals
from stablenormal.geometry.camera import Intrinsics, pixel_rays

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FOV_DEG = 45.0
GRAZING = 0.08
"""Smallest cosine between a surface and the way to the camera; a camera sees next to nothing of the rest."""


@dataclass(frozen=True)
class Kind:
    """What grows on the body."""

    pieces: int
    bent: float
    """Share of pieces that are leaves, bent; the rest are flat discs."""
    size: tuple[float, float]
    """Smallest and largest half length, in units of the body's depth."""
    lift_deg: tuple[float, float]
    """How steeply a piece leaves the surface that it grows from."""


KINDS = {
    "smooth": Kind(0, 0.0, (0.1, 0.1), (0.0, 0.0)),
    "few": Kind(8, 0.3, (0.08, 0.2), (10, 45)),
    "discs": Kind(40, 0.0, (0.05, 0.14), (10, 50)),
    "leaves": Kind(40, 1.0, (0.05, 0.14), (10, 50)),
    "dense": Kind(120, 0.5, (0.03, 0.09), (10, 60)),
}


@dataclass(frozen=True, eq=False)
class StandIn:
    """A scene as an exact camera sees it."""

    normals: Floats
    """(H, W, 3), OpenGL camera; zero outside."""
    depth: Floats
    """(H, W), zero outside."""
    piece: npt.NDArray[np.int32]
    """(H, W): 0 the body, then the pieces; -1 outside."""
    intrinsics: Intrinsics


class _Canvas:
    """What is nearest so far."""

    def __init__(self, intrinsics: Intrinsics) -> None:
        self.rays = pixel_rays(intrinsics)
        shape = self.rays.shape[:2]
        self.depth = np.full(shape, np.inf)
        self.normals = np.zeros((*shape, 3))
        self.piece = np.full(shape, -1, np.int32)

    def draw(self, t: Floats, normals: Floats, seen: Flags, number: int) -> None:
        """Put a surface at depth t (H, W) where it is seen, nearer than all else and not edge-on."""
        facing = -(normals * self.rays).sum(axis=-1) / np.linalg.norm(self.rays, axis=-1)
        front = seen & (t > 0) & (t < self.depth) & (np.abs(facing) > GRAZING)
        self.depth[front] = t[front]
        self.normals[front] = (normals * np.sign(facing)[..., None])[front]
        self.piece[front] = number

    def draw_ball(self, centre: Floats, radius: float, number: int, middle: Floats, reach: Floats) -> None:
        """The part of a sphere within the ellipse with half axes `reach` (2, 3) around `middle`."""
        a = (self.rays**2).sum(axis=-1)
        b, c = self.rays @ centre, centre @ centre - radius**2
        root = b * b - a * c
        for sign in (-1, 1):
            t = (b + sign * np.sqrt(np.maximum(root, 0))) / a
            points = self.rays * t[..., None]
            self.draw(t, (points - centre) / radius, (root > 0) & _within(points - middle, reach), number)

    def draw_disc(self, middle: Floats, normal: Floats, reach: Floats, number: int) -> None:
        """A flat ellipse."""
        slant = self.rays @ normal
        t = (middle @ normal) / np.where(np.abs(slant) < 1e-9, 1e-9, slant)
        points = self.rays * t[..., None]
        self.draw(t, np.broadcast_to(normal, points.shape), _within(points - middle, reach), number)


def _within(offsets: Floats, reach: Floats) -> Flags:
    lengths = np.linalg.norm(reach, axis=1)
    along = offsets @ (reach / lengths[:, None] ** 2).T  # (H, W, 2)
    off_plane = offsets @ np.cross(reach[0], reach[1]) / (lengths[0] * lengths[1])
    inside: Flags = ((along**2).sum(axis=-1) < 1) & (np.abs(off_plane) < lengths.max())
    return inside


def stand_in(kind: Kind, seed: int, side: int) -> StandIn:
    """A scene of side x side pixels; the same seed gives the same one."""
    rng = np.random.default_rng(seed)
    intrinsics = Intrinsics.from_fov(FOV_DEG, side, side)
    canvas = _Canvas(intrinsics)
    radius = 0.45
    canvas.draw_ball(np.array([0, 0, -1 - radius]), radius, 0, np.array([0, 0, -1.0]), 0.6 * np.eye(3)[:2])
    for number in range(1, kind.pieces + 1):
        rows, columns = np.nonzero(canvas.piece >= 0)
        chosen = rng.integers(len(rows))
        row, column = rows[chosen], columns[chosen]
        root = canvas.rays[row, column] * canvas.depth[row, column]
        below = canvas.normals[row, column]
        away = rng.normal(size=3)
        away -= below * (away @ below)
        away /= np.linalg.norm(away)
        lift = np.radians(rng.uniform(*kind.lift_deg))
        along = np.cos(lift) * away + np.sin(lift) * below
        across = np.cross(along, below)
        across /= np.linalg.norm(across)
        length = rng.uniform(*kind.size)
        reach = np.stack([along * length, across * length * rng.uniform(0.4, 0.9)])
        normal = np.cross(along, across)
        normal *= np.sign(normal @ below)
        middle = root + 0.93 * reach[0]
        if rng.random() < kind.bent:
            bend = length * rng.uniform(1.2, 4.0)
            side_of_centre = rng.choice([-1, 1])
            canvas.draw_ball(middle - side_of_centre * bend * normal, bend, number, middle, reach)
        else:
            canvas.draw_disc(middle, normal, reach, number)
    seen = np.isfinite(canvas.depth)
    return StandIn(
        np.where(seen[..., None], canvas.normals, 0),
        np.where(seen, canvas.depth, 0),
        canvas.piece,
        intrinsics,
    )


def depth_error(found: npt.NDArray[np.floating], truth: Floats) -> float:
    """Mean absolute error after the median scale, in thousandths of the median depth."""
    inside = (found > 0) & (truth > 0)
    scale = np.median(truth[inside] / found[inside])
    return float(1e3 * np.abs(found[inside] * scale - truth[inside]).mean() / np.median(truth[inside]))


def measure(scene: StandIn, settings: IntegrationSettings) -> dict[str, float]:
    """Integrate one scene."""
    start = time.process_time()
    result = integrate_normals(scene.normals, scene.intrinsics, settings=settings)
    return {
        "seconds": time.process_time() - start,
        "error": depth_error(result.depth, scene.depth),
        "solves": len(result.energies),
        "solver_steps": result.solver_steps,
    }


def main() -> None:
    """Run every kind and seed, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=200)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    rows = []
    for name, kind in KINDS.items():
        for seed in options.seeds:
            scene = stand_in(kind, seed, options.side)
            row: dict[str, object] = {"kind": name, "seed": seed, "pixels": int((scene.depth > 0).sum())}
            row["poisson"] = measure(scene, IntegrationSettings(method="poisson"))
            row["bilateral"] = measure(scene, IntegrationSettings())
            rows.append(row)
            print(json.dumps(row), flush=True)
    write_result(options.out, {"side": options.side, "rows": rows}, options.dirty)


if __name__ == "__main__":
    main()
