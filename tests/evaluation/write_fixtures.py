"""Write tiny sets in the true format of each benchmark, and predictions with known errors.

    python tests/evaluation/write_fixtures.py tests/evaluation/fixtures

Nothing of the package is used: a mistake in its readers must not be mirrored here. Every set holds two
photographs of 16 x 12 px. The ground truth has two directions that no sign flip or swap of axes maps to
itself, and invalid bottom rows. The predictions are those normals turned by known angles;
`known-answers.json` has the metrics of these angles.
"""

import json
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import OpenEXR

HEIGHT, WIDTH = 12, 16
LEFT, RIGHT = np.array([0.48, 0.36, 0.8]), np.array([-0.6, 0.64, 0.48])  # OpenGL, exactly unit length
DSINE = np.array([-1, 1, 1])
INVALID_ROWS = {"a": 2, "b": 5}
ANGLES_DEG = {"a": [0, 4, 6, 10], "b": [20, 25, 40, 40]}
"""Error of the predictions in each quarter of the columns."""

NAMES = {
    "nyuv2": ["test/000000", "test/000001"],
    "scannet": ["scene0015_00/000063", "scene0025_01/000117"],
    "ibims": ["corridor_01", "kitchen_02"],
    "sintel": ["alley_1/frame_0001", "cave_2/frame_0007"],
    "vkitti": ["Scene01/00000", "Scene20/00012"],
    "oasis": ["val/100_Blue", "val/200_Red"],
    "diode": [
        "indoors/scene_00019/scan_00183/00019_00183_indoors_000_010",
        "outdoor/scene_00022/scan_00193/00022_00193_outdoor_010_020",
    ],
    "folder": ["cup", "pear"],
}


def truth(image: str) -> np.ndarray:
    """OpenGL normals (H, W, 3), zero where invalid."""
    normals = np.empty((HEIGHT, WIDTH, 3))
    normals[:, : WIDTH // 2], normals[:, WIDTH // 2 :] = LEFT, RIGHT
    normals[-INVALID_ROWS[image] :] = 0
    return normals


def angles(image: str) -> np.ndarray:
    """Errors (H, W) in degrees."""
    return np.broadcast_to(np.repeat(ANGLES_DEG[image], WIDTH // 4), (HEIGHT, WIDTH))


def prediction(image: str) -> np.ndarray:
    """The ground truth, turned; what the photograph shows where nothing was measured is predicted too."""
    normals = truth(image)
    normals[-INVALID_ROWS[image] :] = normals[0]
    across = np.cross(normals, [0, 1, 0])
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    turn = np.radians(angles(image))[..., None]
    return np.cos(turn) * normals + np.sin(turn) * across


def metrics(errors: np.ndarray) -> dict:
    """The field's metrics, from their definitions."""
    below = {str(t): float(100 * np.mean(errors < t)) for t in (5.0, 7.5, 11.25, 22.5, 30.0)}
    return {
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "below": below,
        "count": errors.size,
    }


def known_answers() -> dict:
    per_image = {image: angles(image)[: HEIGHT - INVALID_ROWS[image]].ravel() for image in "ab"}
    one_by_one = [metrics(errors) for errors in per_image.values()]
    averaged = {key: float(np.mean([m[key] for m in one_by_one])) for key in ("mean", "median", "rmse")}
    averaged["below"] = {
        t: float(np.mean([m["below"][t] for m in one_by_one])) for t in one_by_one[0]["below"]
    }
    averaged["count"] = sum(m["count"] for m in one_by_one)
    return {"dsine": metrics(np.concatenate(list(per_image.values()))), "marigold": averaged}


def codes(normals: np.ndarray, top: int) -> np.ndarray:
    """(n + 1) / 2 as integers, black where invalid; B, G, R as OpenCV writes it."""
    kind = np.uint8 if top == 255 else np.uint16
    coded = np.round((normals + 1) / 2 * top) * (normals != 0).any(axis=-1, keepdims=True)
    return np.ascontiguousarray(coded.astype(kind)[..., ::-1])


def write_exr(path: Path, normals: np.ndarray) -> None:
    channels = {name: np.ascontiguousarray(normals[..., i], np.float32) for i, name in enumerate("RGB")}
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, channels) as file:
        file.write(str(path))


def write_truth(kind: str, stem: Path, normals: np.ndarray) -> None:
    dsine = normals * DSINE
    if kind in ("nyuv2", "scannet"):
        cv2.imwrite(f"{stem}_normal.png", codes(dsine, 255))
    elif kind == "vkitti":
        cv2.imwrite(f"{stem}_normal.png", codes(dsine, 65535))
    elif kind in ("ibims", "sintel"):
        write_exr(Path(f"{stem}_normal.exr"), dsine * 0.75)  # the length is not part of the direction
    elif kind == "oasis":
        rows, columns = slice(1, HEIGHT - 3), slice(2, WIDTH - 4)
        region = (dsine * [-1, -1, 1])[rows, columns].astype(np.float32)
        box = {"min_y": rows.start, "max_y": rows.stop - 1, "min_x": columns.start, "max_x": columns.stop - 1}
        Path(f"{stem}_normal.pkl").write_bytes(pickle.dumps(box | {"normal": region}, protocol=2))
    elif kind == "diode":
        np.save(f"{stem}_normal.npy", normals.astype(np.float32))
    else:
        cv2.imwrite(f"{stem}_normal.png", codes(normals, 65535))


def write_fixtures(root: Path) -> None:
    for kind, names in NAMES.items():
        for image, name in zip("ab", names, strict=True):
            stem = root / kind / name
            stem.parent.mkdir(parents=True, exist_ok=True)
            photo = np.full((HEIGHT, WIDTH, 3), 200 if image == "a" else 90, np.uint8)
            ending = {"diode": ".png", "folder": "_rgb.jpg"}.get(
                kind, "_img.jpg" if kind == "vkitti" else "_img.png"
            )
            cv2.imwrite(f"{stem}{ending}", photo)
            if kind not in ("diode", "folder"):
                camera = [[20, 0, WIDTH / 2 - 0.5], [0, 20, HEIGHT / 2 - 0.5], [0, 0, 1]]
                np.save(f"{stem}_intrins.npy", np.array(camera))
            write_truth(kind, stem, truth(image))
    for image, name in zip("ab", NAMES["folder"], strict=True):
        turned = prediction(image)
        for kind in ("png8", "png16", "exr", "npy"):
            (root / "predictions" / kind).mkdir(parents=True, exist_ok=True)
        stem = f"{name}_rgb_normal"
        cv2.imwrite(str(root / f"predictions/png8/{stem}.png"), codes(turned, 255))
        cv2.imwrite(str(root / f"predictions/png16/{stem}.png"), codes(turned, 65535))
        write_exr(root / f"predictions/exr/{stem}.exr", turned)
        np.save(root / f"predictions/npy/{stem}.npy", turned.astype(np.float32))
    (root / "known-answers.json").write_text(json.dumps(known_answers(), indent=1) + "\n")


if __name__ == "__main__":
    write_fixtures(Path(sys.argv[1]))
