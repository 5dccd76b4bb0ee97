"""Measure `enhance` on degraded truth of unseen renders and on six-view sets; write JSON and a plot.

python runs/enhancement.py --heldout SHARDS -o results/enhancement.json [--count 60] [--sets 4]

Ground truth is blurred (sigma 2 and 4 px) or reduced (to 1/4 and 1/8, bilinear) and enlarged again, then
enhanced with its image at several strengths. Reported: mean angular error, that near edges, and the sharpness
(`evaluation.edges.sharpness`: squared turns near true edges over the truth's).
The six views are rendered orthographically at 256 px, laid out as Wonder3D writes them, blurred, and go
through `enhance_wonder3d`. About 5 s of one core per map and strength on a CPU.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
from evidence import parse, write_record
from torch import Tensor

from stablenormal.app.enhance import EnhanceSettings, enhance_wonder3d
from stablenormal.app.previews import normals_preview
from stablenormal.applications.enhancement import (
    AZIMUTHS_DEG,
    enhance,
    front_to_view,
    t_plus_of_strength,
    turn,
)
from stablenormal.data.shards import iterate_samples
from stablenormal.data.synthetic.bank import build_bank
from stablenormal.data.synthetic.cameras import Camera
from stablenormal.data.synthetic.corpus import dress
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.rasteriser import Rasteriser
from stablenormal.data.synthetic.scenes import BUILDERS
from stablenormal.evaluation.edges import near_edges, sharpness
from stablenormal.geometry.coarse_normals import blur_normals, reduce_normals
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normals import angular_error_deg, valid_mask, valid_pixels
from stablenormal.io.atomic import write_bytes
from stablenormal.io.image import write_image
from stablenormal.io.wonder3d import View, read_views, write_view
from stablenormal.pipelines import StableNormal

DEGRADATIONS = {
    "blur 2 px": ("blur", 2.0),
    "blur 4 px": ("blur", 4.0),
    "1/4": ("less", 4),
    "1/8": ("less", 8),
}


def main() -> None:
    """Print a line per degradation and strength, write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heldout", type=Path, required=True, help="folder of shards of unseen scenes")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--sets", type=int, default=4, help="objects seen from six sides")
    parser.add_argument("--strengths", type=float, nargs="*", default=[0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
    parser.add_argument("--model", default="small")
    parser.add_argument("--seed", type=int, default=900_000, help="of the rendered objects")
    parser.add_argument("--bank", type=float, default=0.2, help="size of the bank of shapes")
    parser.add_argument("--picture", type=Path, help="folder of pictures before, after and true")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parse(parser)
    pipeline = StableNormal.from_pretrained(options.model)
    samples = list(itertools.islice(iterate_samples(options.heldout), options.count))
    images = [channels_first(sample.image.astype(np.float32) / 255) for sample in samples]
    truths = [channels_first(sample.normals) for sample in samples]
    # Rows of a run that was stopped, of the same weights and images.
    kept_path = options.out.with_suffix(".partial.json")
    same = {"weight_hash": pipeline.weight_hash, "count": len(samples), "heldout": str(options.heldout)}
    kept = json.loads(kept_path.read_text()) if kept_path.is_file() else {}
    rows = kept["rows"] if kept.get("same") == same else []
    done = {(row["degradation"], row["strength"]) for row in rows}
    for name, strength in itertools.product(DEGRADATIONS, [None, *options.strengths]):
        if (name, strength) in done:
            continue
        maps = [degraded(truth, name) for truth in truths]
        if strength is not None:
            maps = enhance(pipeline, images, maps, t_plus=t_plus_of_strength(strength)).normals
        rows.append({"degradation": name, "strength": strength, **scores(maps, truths)})
        print(rows[-1], flush=True)
        write_bytes(kept_path, json.dumps({"same": same, "rows": rows}).encode())
    views = six_views(options, pipeline)
    record = {
        "weight_hash": pipeline.weight_hash,
        "count": len(samples),
        "sets": options.sets,
        "heldout": rows,
        "six_views": views,
    }
    write_record(options.out, record, pipeline=pipeline, dirty=options.dirty)
    kept_path.unlink(missing_ok=True)
    if options.picture:
        some = slice(0, None, max(1, len(images) // 5))
        heldout_sheet(options.picture / "heldout.jpg", pipeline, images[some][:5], truths[some][:5])
    plot(record, options.out.with_suffix(".png"))


def degraded(truth: Tensor, name: str) -> Tensor:
    """A coarse map (3, H, W) of a true one, with the same valid pixels."""
    kind, amount = DEGRADATIONS[name]
    return reduce_normals(truth, amount) if kind == "less" else blur_normals(truth, amount)


def scores(found: list[Tensor], truths: list[Tensor]) -> dict[str, float | None]:
    """Means over the maps."""
    overall, near, sharp = [], [], []
    for one, truth in zip(found, truths, strict=True):
        valid = valid_mask(truth)
        angles = angular_error_deg(one[None], truth[None])[0]
        overall.append(float(angles[valid].mean()))
        edges = near_edges(truth) & valid
        if edges.any():
            near.append(float(angles[edges].mean()))
            sharp.append(sharpness(one, truth))
    return {
        "error_deg": float(np.mean(overall)),
        "edge_error_deg": float(np.mean(near)) if near else None,
        "sharpness": float(np.mean(sharp)) if sharp else None,
    }


def six_views(options: argparse.Namespace, pipeline: StableNormal) -> list[dict[str, float | None]]:
    """Scores of objects rendered from six sides, before and after, in each view's own frame."""
    rasteriser = Rasteriser(256)
    bank = build_bank(generator(options.seed), fraction=options.bank)
    rasteriser.load_bank(bank)
    found: dict[float | None, list[Tensor]] = {}
    truths: list[Tensor] = []
    for number in range(options.sets):
        views = rendered_set(rasteriser, bank, options.seed + number)
        truths += [channels_first(view.normals) for view in views.values()]
        with tempfile.TemporaryDirectory() as folder:
            coarse = {}
            for name, view in views.items():
                own = degraded(channels_first(view.normals), "blur 4 px")
                coarse[name] = own
                front = channels_last(turn(own, front_to_view(name).T))
                write_view(Path(folder) / "coarse", name, View(view.rgb, front))
            found.setdefault(None, []).extend(coarse.values())
            for strength in options.strengths:
                settings = EnhanceSettings(strength=strength, model=options.model)
                enhance_wonder3d(Path(folder) / "coarse", Path(folder) / str(strength), settings)
                result = read_views(Path(folder) / str(strength))
                turned = {
                    name: turn(channels_first(v.normals), front_to_view(name)) for name, v in result.items()
                }
                found.setdefault(strength, []).extend(turned.values())
                if options.picture and strength == 0.4:
                    sheet(options.picture / f"six_{number}.jpg", views, coarse, turned)
    rasteriser.close()
    rows: list[dict[str, float | None]] = []
    for strength, maps in found.items():
        rows.append({"strength": strength, **scores(maps, truths)})
        print("six views", rows[-1], flush=True)
    return rows


def rendered_set(rasteriser: Rasteriser, bank: object, seed: int) -> dict[str, View]:
    """One object from Wonder3D's six sides, orthographic, z up; before a white ground."""
    number = itertools.count(seed * 1000)
    made = (BUILDERS["object"](generator(n), bank) for n in number)
    scene = next(one for one in made if not one.has_ground and np.ptp(one.high - one.low) < one.radius)
    rasteriser.load_scene(scene)
    dress(rasteriser, generator(seed, 1), scene, bank)
    views = {}
    for name in AZIMUTHS_DEG:
        # World z is up; the front camera looks along y, so its x is the world's.
        front = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
        to_camera = front_to_view(name).numpy() @ front
        eye = scene.centre + to_camera[2] * 4 * scene.radius
        camera = Camera(eye, to_camera, 1.0, 0.1, 10 * scene.radius, "object", half_width=1.05 * scene.radius)
        geometry = rasteriser.gbuffer(camera)
        colour, coverage = rasteriser.colour(camera, 0.3 * scene.radius)
        light = colour / np.maximum(coverage[..., None], 1e-6)
        rgb = np.clip(light / max(float(np.percentile(light[coverage > 0], 95)), 1e-6), 0, 1) ** (1 / 2.2)
        inside = valid_pixels(geometry.normals)
        views[name] = View(np.where(inside[..., None], rgb, 1).astype(np.float32), geometry.normals)
    return views


def sheet(path: Path, views: dict[str, View], coarse: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Image, coarse, enhanced and true rows of a set."""
    rows = [
        [np.rint(view.rgb * 255).astype(np.uint8) for view in views.values()],
        [normals_preview(channels_last(one), "opengl") for one in coarse.values()],
        [normals_preview(channels_last(one), "opengl") for one in found.values()],
        [normals_preview(view.normals, "opengl") for view in views.values()],
    ]
    write_image(path, np.concatenate([np.concatenate(row, axis=1) for row in rows])[::2, ::2], quality=88)


def heldout_sheet(path: Path, pipeline: StableNormal, images: list[Tensor], truths: list[Tensor]) -> None:
    """Image, blurred, enhanced and true rows of some renders, at the model's own t+."""
    coarse = [degraded(truth, "blur 4 px") for truth in truths]
    found = enhance(pipeline, images, coarse).normals
    rows = [[np.rint(channels_last(one) * 255).astype(np.uint8) for one in images]]
    for maps in (coarse, found, truths):
        rows.append([normals_preview(channels_last(one.float()), "opengl") for one in maps])
    write_image(path, np.concatenate([np.concatenate(row, axis=1) for row in rows]), quality=88)


def plot(record: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Error, error near edges and sharpness over strength, one curve a degradation."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    shown = {"error_deg": "error, degrees", "edge_error_deg": "near edges, degrees", "sharpness": "sharpness"}
    figure, axes = pyplot.subplots(1, len(shown), figsize=(13, 4))
    for axis, (key, label) in zip(axes, shown.items(), strict=True):
        for name in DEGRADATIONS:
            before, *after = (row for row in record["heldout"] if row["degradation"] == name)
            [line] = axis.plot(
                [row["strength"] for row in after], [row[key] for row in after], "o-", label=name
            )
            axis.axhline(before[key], color=line.get_color(), linestyle=":")
        axis.set(xlabel="strength", ylabel=f"{label} (dotted: before)")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
