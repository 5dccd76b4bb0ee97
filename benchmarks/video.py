"""How much normals of videos flicker: frames alone against frames carried on, on rendered clips.

python benchmarks/video.py [--clips 2] [--frames 12] [--model small] [-o results/video.json]

The camera moves through scenes that stand still, so the true normals, and which pixels show the same point,
are known. Flicker is the mean change of a point's normal from frame to frame beyond its true change, the
camera's turning undone; the error is the mean angle to the true normals; both are means over clips. Hidden
error is that of pixels that the frame before did not show: carrying must not drag surfaces over them.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from recording import parse, write_result
from torch import Tensor

from stablenormal import StableNormal
from stablenormal.app.previews import angle_preview, normals_preview
from stablenormal.data.synthetic.clips import ClipFrame, render_clip
from stablenormal.data.synthetic.clips import Path as CameraPath
from stablenormal.evaluation.flicker import Correspondence, change_deg, correspondence, flicker_deg
from stablenormal.geometry.layout import channels_first, channels_last
from stablenormal.geometry.normals import angular_error_deg, valid_mask
from stablenormal.io.image import write_image
from stablenormal.pipelines.video import VideoNormals

KINDS = ("room", "tabletop", "closeup", "statue")
PICTURE_TOP_DEG = 20.0
"""Change that gets the brightest colour."""


def main() -> None:
    """Predict every clip in every way, print a table of means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2, help="of each kind of scene")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--pace", type=float, default=0.4, help="share of the camera's usual path")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--model", default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--modes", default="turbo,full")
    parser.add_argument("--carry", type=float, nargs="+", default=[0.7, 0.85])
    parser.add_argument("--kinds", nargs="+", default=KINDS, help="of scenes")
    parser.add_argument("--picture", type=Path, help="four frames of the first clip, alone and carried on")
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    pipeline = StableNormal.from_pretrained(options.model, device=options.device)
    rows: list[dict[str, Any]] = []
    measured: dict[str, list[dict[str, float]]] = {}
    for kind in options.kinds:
        for number in range(options.clips):
            seed = options.seed + number
            clip = list(render_clip(seed, kind, options.frames, options.size, _path(options.pace)))
            results = dict(_ways(pipeline, clip, options.modes.split(","), options.carry))
            if options.picture is not None:
                _draw(options.picture, clip, list(results.values()))
                options.picture = None
            for name, predicted in results.items():
                found = {"kind": kind, **_measured(clip, predicted)}
                measured.setdefault(name, []).append(found)
                print(f"{kind:10}{number:3}  {name:28}" + _row(found), flush=True)
    print()
    for name, found in measured.items():
        mean = {key: float(np.mean([one[key] for one in found])) for key in ("flicker", "error", "hidden")}
        rows.append({"way": name, **{f"{key}_deg": value for key, value in mean.items()}, "clips": found})
        print(f"{name:42}" + _row(mean))
    settings = {name: getattr(options, name) for name in ("clips", "frames", "pace", "size", "seed", "model")}
    write_result(options.out, {**settings, "weight_hash": pipeline.weight_hash, "rows": rows}, options.dirty)


def _path(pace: float) -> CameraPath:
    usual = CameraPath()
    return CameraPath(usual.sideways * pace, usual.turn_deg * pace, usual.roll_deg * pace, usual.shake_deg)


def _draw(path: Path, clip: Sequence[ClipFrame], ways: Sequence[Sequence[Tensor]]) -> None:
    """Frames, and below them normals and their change beyond the true one, of the first way and the last."""
    shown = range(len(clip) - 4, len(clip))
    rows = [np.hstack([clip[place].image for place in shown])]
    for predicted in (ways[0], ways[-1]):
        maps = [normals_preview(channels_last(predicted[place]), "opengl") for place in shown]
        rows += [np.hstack(maps), np.hstack([_excess(clip, predicted, place) for place in shown])]
    write_image(path, np.vstack(rows))


def _excess(clip: Sequence[ClipFrame], predicted: Sequence[Tensor], place: int) -> npt.NDArray[np.uint8]:
    same = _same(clip[place - 1], clip[place])
    pairs = (predicted, [channels_first(frame.normals) for frame in clip])
    change, true = (change_deg(maps[place - 1], maps[place], same) for maps in pairs)
    excess = (change - true).clamp(min=0).numpy()
    return angle_preview(excess, same.valid.numpy(), PICTURE_TOP_DEG)


def _row(found: dict[str, Any]) -> str:
    return "".join(f"  {key} {found[key]:6.2f}" for key in ("flicker", "error", "hidden"))


def _ways(
    pipeline: StableNormal, clip: Sequence[ClipFrame], modes: Sequence[str], carries: Sequence[float]
) -> Iterator[tuple[str, list[Tensor]]]:
    images = [channels_first(frame.image).float() / 255 for frame in clip]
    for mode in modes:
        alone = [pipeline([image], mode=mode, seed=seed).normals[0] for seed, image in enumerate(images)]
        yield f"{mode}, alone, own seeds", alone
        yield f"{mode}, alone, one seed", [pipeline([image], mode=mode).normals[0] for image in images]
        for carry in carries:
            video = VideoNormals(pipeline, carry=carry, mode=mode)
            yield f"{mode}, carried {carry:g}", [video(image) for image in images]


def _measured(clip: Sequence[ClipFrame], predicted: Sequence[Tensor]) -> dict[str, float]:
    true = [channels_first(frame.normals) for frame in clip]
    flicker, error, hidden = [], [], []
    for place, (one, other) in enumerate(zip(predicted, true, strict=True)):
        angles, valid = angular_error_deg(one[None], other[None])[0], valid_mask(other)
        error.append(float(angles[valid].mean()))
        if place == 0:
            continue
        same = _same(clip[place - 1], clip[place])
        flicker.append(flicker_deg((predicted[place - 1], one), (true[place - 1], other), same))
        new = valid & ~same.valid
        hidden.append(float(angles[new].mean()) if bool(new.any()) else float("nan"))
    return {
        "flicker": float(np.nanmean(flicker)),
        "error": float(np.mean(error)),
        "hidden": float(np.nanmean(hidden)),
    }


def _same(before: ClipFrame, after: ClipFrame) -> Correspondence:
    return correspondence(before.camera, before.depth, after.camera, after.depth)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
