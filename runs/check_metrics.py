"""Recompute an evaluation's metrics in plain numpy, from the files themselves, and compare. One command.

python runs/check_metrics.py EVALUATION --root SET --predictions DIR --flip X Y Z

EVALUATION is the output of `stablenormal evaluate --benchmark folder --predictions DIR --format npy` for
photographs NAME_rgb.* with 8- or 16-bit truths NAME_normal.png (OpenGL) and predictions NAME.npy, whose
axes times the flips are OpenGL. The numbers use nothing of the package: other decoding, arc tangent in
place of arc cosine, sorting in place of a histogram, edges by loops over shifts in place of a distance
transform.
"""

import argparse
import json
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from evidence import parse, write_record

LIMITS = (5.0, 7.5, 11.25, 22.5, 30.0)


def main() -> None:
    """Print every metric twice, and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--flip", type=float, nargs=3, default=(1, 1, 1))
    parser.add_argument("-o", "--out", type=Path, help="JSON of both computations")
    options = parse(parser)
    angles: dict[str, list[np.ndarray]] = {"everywhere": [], "on_edges": [], "off_edges": []}
    for path in sorted(options.root.glob("*_normal.png")):
        truth, valid = decode(path)
        name = path.name.removesuffix("_normal.png")
        predicted = np.load(options.predictions / f"{name}.npy").astype(float) * options.flip
        angle = np.degrees(
            np.arctan2(np.linalg.norm(np.cross(predicted, truth), axis=2), (predicted * truth).sum(2))
        )
        near = near_edges(truth, valid)
        for region, mask in (("everywhere", valid), ("on_edges", valid & near), ("off_edges", valid & ~near)):
            angles[region].append(angle[mask])
    summary = json.loads((options.evaluation / "evaluation.json").read_text())["summary"]
    largest, both = 0.0, dict[str, dict[str, list[float]]]()
    for region, parts in angles.items():
        pooled, ours = np.sort(np.concatenate(parts)), summary[region]
        checked = {"mean": pooled.mean(), "median": np.median(pooled), "rmse": np.sqrt((pooled**2).mean())}
        checked |= {f"< {limit:g}": 100 * np.searchsorted(pooled, limit) / len(pooled) for limit in LIMITS}
        reported = {key: ours[key] for key in ("mean", "median", "rmse")}
        reported |= {f"< {float(limit):g}": share for limit, share in ours["below"].items()}
        assert ours["count"] == len(pooled), (region, ours["count"], len(pooled))
        for key, value in checked.items():
            largest = max(largest, abs(value - reported[key]))
            both.setdefault(region, {})[key] = [float(reported[key]), float(value)]
            print(f"{region:12}{key:>8}{reported[key]:14.6f}{value:14.6f}{reported[key] - value:12.1e}")
    print(f"largest difference {largest:.1e}")
    if options.out:
        pixels = {region: int(sum(map(len, parts))) for region, parts in angles.items()}
        digest = sha256()
        for path in sorted(options.predictions.glob("*.npy")):
            digest.update(path.read_bytes())
        write_record(
            options.out,
            {
                "predictions_sha256": digest.hexdigest(),
                "largest_difference": largest,
                "pixels": pixels,
                "reported_and_recomputed": both,
            },
            dirty=options.dirty,
        )


def decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (H, W, 3) of an 8- or 16-bit PNG, black where invalid; Pillow would cut 16 bits to 8."""
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    vectors, valid = codes / float(np.iinfo(codes.dtype).max) * 2 - 1, codes.any(axis=2)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9), valid


def near_edges(truth: np.ndarray, valid: np.ndarray, turn_deg: float = 30, radius: int = 3) -> np.ndarray:
    """Pixels up to `radius` from a pixel whose neighbour differs by more than `turn_deg`."""
    edge = np.zeros(valid.shape, bool)
    for y, x in ((0, 1), (1, 0)):
        height, width = valid.shape
        here, there = (slice(0, height - y), slice(0, width - x)), (slice(y, height), slice(x, width))
        turned = np.degrees(np.arccos(np.clip((truth[here] * truth[there]).sum(2), -1, 1))) > turn_deg
        turned &= valid[here] & valid[there]
        edge[here] |= turned
        edge[there] |= turned
    near, padded = np.zeros_like(edge), np.pad(edge, radius)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dy * dy + dx * dx <= radius * radius:
                near |= padded[radius + dy :, radius + dx :][: edge.shape[0], : edge.shape[1]]
    return near


if __name__ == "__main__":
    main()
