"""Reconstruct rendered statues without prior, with true normals and with predicted ones; write one JSON.

python runs/reconstruction_study.py --work DIR -o results/reconstruction.json [--model small] [--config FILE]
python runs/reconstruction_study.py --work DIR -o results/reconstruction-trials.json \
    --config configs/reconstruction-trials.json

The second, on a scene that no other number rests on, is what the defaults of the prior were chosen by. Each
scene is rendered into DIR (`stablenormal.data.synthetic.posed_views`), its normals are predicted by
`stablenormal priors`, and every run leaves its mesh and its numbers there, so that the same command goes on
where it was stopped. Lengths: the objects have radius 1. Also writes OUT.png: the meshes of the first seed.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from evidence import parse, write_record

from stablenormal.app.previews import normals_preview
from stablenormal.app.priors import PriorSettings, make_priors
from stablenormal.app.reconstruct import reconstruct
from stablenormal.applications.mesh_preview import render_turn
from stablenormal.applications.mesh_reconstruction.settings import ReconstructionSettings
from stablenormal.data.synthetic.posed_views import MESH_NAME, NORMALS_FOLDER, write_posed_scene
from stablenormal.evaluation.surface_metrics import surface_metrics
from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.mesh import TriangleMesh
from stablenormal.geometry.normals import angular_error_deg
from stablenormal.io.atomic import write_bytes
from stablenormal.io.image import read_image, write_image
from stablenormal.io.normal_map import read_normal_map
from stablenormal.io.prior_layout import read_confidence
from stablenormal.pipelines.stable_normal import StableNormal

SHOWN = ("chamfer", "f_score", "normal_consistency")


def main() -> None:
    """Do what is missing, then print a table and write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of scenes, meshes and partial results"
    )
    parser.add_argument("--config", type=Path, default=Path("configs/reconstruction.json"))
    parser.add_argument(
        "--scenes", type=int, nargs="*", help="these alone, so that processes can share DIR; writes no result"
    )
    parser.add_argument("--model", default="small")
    parser.add_argument("--mode", default="full")
    parser.add_argument("-o", "--out", type=Path, default=Path("results/reconstruction.json"))
    options = parse(parser)
    config = json.loads(options.config.read_text())
    chosen = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config["reconstruction"].items()
    }
    of_weights = StableNormal.from_pretrained(options.model).weight_hash[:12]
    rows: list[dict[str, Any]] = []
    priors: dict[str, dict[str, Any]] = {}
    for scene in options.scenes or config["scenes"]:
        folder = scene_folder(options.work, config, scene)
        if not (folder / MESH_NAME).is_file():  # the last file of a scene
            write_posed_scene(folder, scene, config["views"], config["size"])
        priors[str(scene)] = predict(
            folder, folder / f"priors-{of_weights}", options.model, options.mode, config["ensemble"]
        )
        for seed in config["seeds"]:
            settings = ReconstructionSettings(**chosen, seed=seed)
            for name, prior in config["priors"].items():
                weighted = replace(settings, **prior["settings"])
                mesh = mesh_path(folder, name, seed, prior["source"], of_weights)
                given = source_folder(folder, prior["source"], of_weights)
                row = run(folder, mesh, given, weighted, config["f_score_threshold"])
                rows.append({"scene": scene, "seed": seed, "prior": name, **row})
                print(scene, seed, name, " ".join(f"{key} {row[key]:.5f}" for key in SHOWN), flush=True)
    if options.scenes:
        return
    summary = {name: summarise([row for row in rows if row["prior"] == name]) for name in config["priors"]}
    for name, numbers in summary.items():
        print(name, " ".join(f"{key} {numbers[key]:.5f}" for key in SHOWN))
    settings_used = asdict(ReconstructionSettings(**chosen))
    record = {"config": config, "settings": settings_used, "priors": priors,
              "summary": summary, "runs": rows}  # fmt: skip
    write_record(options.out, record, dirty=options.dirty)
    write_image(options.out.with_suffix(".png"), picture(options.work, config, of_weights))
    first = scene_folder(options.work, config, config["scenes"][0])
    write_image(
        options.out.with_name(f"{options.out.stem}-priors.png"), prior_picture(first, f"priors-{of_weights}")
    )


def predict(folder: Path, priors: Path, model: str, mode: str, ensemble: int) -> dict[str, Any]:
    """Priors of a scene, kept if they are there, and how far they are off."""
    settings = PriorSettings(model=model, mode=mode, ensemble=ensemble, skip_existing=True)
    report = make_priors(folder, priors, settings)
    angles = []
    for result in report.results:
        found = read_normal_map(priors / "normals" / f"{result.name}_normal.png")
        truth = read_normal_map(folder / NORMALS_FOLDER / f"{result.name}_normal.png")
        both = found.valid & truth.valid
        pair = [torch_map(values.normals) for values in (found, truth)]
        angles.append(angular_error_deg(*pair)[0].numpy()[both])
    overall = report.score.overall
    record = json.loads(report.record.read_text())
    return {
        "weight_hash": record["computed_with"]["weight_hash"],
        "mean_error_deg": float(np.concatenate(angles).mean()),
        "consistency": None if overall is None else asdict(overall),
    }


def torch_map(normals: np.ndarray) -> torch.Tensor:
    """(H, W, 3) as (1, 3, H, W)."""
    return channels_first(normals)[None]


def scene_folder(work: Path, config: dict[str, Any], scene: int) -> Path:
    """Of a scene's pictures, truth, priors and meshes."""
    return work / f"scene-{scene}-{config['views']}x{config['size']}"


def source_folder(folder: Path, source: str, of_weights: str) -> Path | None:
    """Of the normals: of a scene's truth, of predictions with these weights, or none."""
    found = {"none": None, "truth": folder / NORMALS_FOLDER, "predicted": folder / f"priors-{of_weights}"}
    return found[source]


def mesh_path(folder: Path, name: str, seed: int, source: str, of_weights: str) -> Path:
    """Of a run; predictions of other weights make other meshes."""
    return folder / (f"{name}-{of_weights}-{seed}.ply" if source == "predicted" else f"{name}-{seed}.ply")


def run(
    folder: Path, mesh: Path, priors: Path | None, settings: ReconstructionSettings, threshold: float
) -> dict[str, Any]:
    """One reconstruction and its numbers, kept if they are there with the same settings."""
    kept = mesh.with_suffix(".metrics.json")
    wanted = json.loads(json.dumps(asdict(settings)))
    if kept.is_file():
        found = json.loads(kept.read_text())
        if found["settings"] == wanted:
            return dict(found["metrics"])
    start, processor = time.perf_counter(), time.process_time()
    reconstruct(folder, mesh, settings, priors=priors, device="cpu", resume=True)
    times = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
    solids = [trimesh.load_mesh(path, process=False) for path in (mesh, folder / MESH_NAME)]
    metrics = {**asdict(surface_metrics(*solids, threshold)), **times}
    write_bytes(kept, (json.dumps({"settings": wanted, "metrics": metrics}) + "\n").encode())
    return metrics


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means over scenes and seeds, and the spread of the Chamfer distance over seeds."""
    names = [name for name, value in rows[0].items() if isinstance(value, float)]
    means = {name: float(np.mean([row[name] for row in rows])) for name in names}
    by_scene = [
        [row["chamfer"] for row in rows if row["scene"] == scene] for scene in {row["scene"] for row in rows}
    ]
    return {**means, "chamfer_seed_spread": float(np.mean([np.std(values) for values in by_scene]))}


def picture(work: Path, config: dict[str, Any], of_weights: str) -> np.ndarray:
    """A row per scene: photograph, true mesh, and that of the first seed with each prior."""
    rows = []
    for scene in config["scenes"]:
        folder = scene_folder(work, config, scene)
        photo = np.rint(read_image(folder / "images/004.png").rgb * 255).astype(np.uint8)
        rim = (256 - len(photo)) // 2
        tiles = [np.pad(photo, [(rim, rim), (rim, rim), (0, 0)], constant_values=255)]
        made = [
            mesh_path(folder, name, config["seeds"][0], prior["source"], of_weights)
            for name, prior in config["priors"].items()
        ]
        for path in (folder / MESH_NAME, *made):
            solid = trimesh.load_mesh(path, process=False)
            turn = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
            mesh = TriangleMesh(
                (solid.vertices @ turn.T).astype(np.float32),
                (solid.vertex_normals @ turn.T).astype(np.float32),
                np.zeros((len(solid.vertices), 2), np.float32),
                solid.faces.astype(np.int32),
            )
            tiles.append(render_turn(mesh, 30.0, side=256))
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)


def prior_picture(folder: Path, priors: str) -> np.ndarray:
    """A row for each of three views: photograph, predicted normals, their confidence, true normals."""
    rows = []
    for name in ("000", "008", "016"):
        photo = np.rint(read_image(folder / f"images/{name}.png").rgb * 255).astype(np.uint8)
        maps = [
            normals_preview(read_normal_map(path / f"{name}_normal.png").normals, "opengl")
            for path in (folder / priors / "normals", folder / NORMALS_FOLDER)
        ]
        sure_path = folder / priors / "confidence" / f"{name}_confidence.png"
        sure = [np.rint(read_confidence(sure_path) * 255)] if sure_path.is_file() else []
        grey = [one.astype(np.uint8)[..., None].repeat(3, axis=-1) for one in sure]
        rows.append(np.concatenate([photo, maps[0], *grey, maps[1]], axis=1))
    return np.concatenate(rows).repeat(2, axis=0).repeat(2, axis=1)


if __name__ == "__main__":
    main()
