"""The nodes: load a model, estimate normals with one stage or both, refine coarse ones, turn frames, save."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.frames import FRAMES
from stablenormal.io.map_formats import MAP_FORMATS
from stablenormal.models.devices import DEVICES, DTYPES
from stablenormal.models.modes import MODES

from .colours import from_colours, to_colours

CATEGORY = "StableNormal"
MODEL = "STABLENORMAL_MODEL"
CAMERA_FRAMES = [name for name, signs in FRAMES.items() if signs is not None]
BY_ITSELF = "auto"
KEPT, LEFT_OUT = "where normals are wanted", "what is left out (Load Image)"
"""What a mask's ones are: segmentation nodes mark the object, Load Image the transparent pixels."""

Inputs = dict[str, dict[str, tuple[Any, ...]]]
"""What ComfyUI reads: group -> name -> (type, options)."""

_FRAME = (CAMERA_FRAMES, {"default": "opengl", "tooltip": "opengl: y up; directx: green flipped (Unreal)."})
_SEED = ("INT", {"default": 0, "min": 0, "max": 2**53 - 1, "control_after_generate": True})
_RESOLUTION = (
    "INT",
    {"default": -1, "min": -1, "max": 8192, "tooltip": "Longer side for the network; -1: the model's own; "
     "0: the image's own."},
)  # fmt: skip
_STEPS = ("INT", {"default": 0, "min": 0, "max": 999, "tooltip": "Of the refinement; 0: the model's own."})


class LoadModel:
    """Weights, once, for all the other nodes."""

    CATEGORY: ClassVar = CATEGORY
    RETURN_TYPES: ClassVar = (MODEL,)
    RETURN_NAMES: ClassVar = ("model",)
    FUNCTION: ClassVar = "load"
    DESCRIPTION: ClassVar = "Loads StableNormal: the bundled small model, a model folder, or a hub id."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 (ComfyUI's name)
        """What the node takes."""
        return {
            "required": {
                "weights": ("STRING", {"default": "small", "tooltip": "small, a model folder, or a hub id."}),
                "device": ([BY_ITSELF, *DEVICES], {"default": BY_ITSELF}),
                "dtype": ([BY_ITSELF, *DTYPES], {"default": BY_ITSELF}),
                "offline": ("BOOLEAN", {"default": False, "tooltip": "Never use the network."}),
            }
        }

    def load(self, weights: str, device: str, dtype: str, offline: bool) -> tuple[Any]:
        """The pipeline.

        Raises:
            StableNormalError: as `StableNormal.from_pretrained`.
        """
        from stablenormal import StableNormal

        return (
            StableNormal.from_pretrained(
                weights.strip(),
                device=None if device == BY_ITSELF else device,
                dtype=None if dtype == BY_ITSELF else dtype,
                offline=offline,
            ),
        )


class EstimateNormals:
    """Photographs to normals."""

    CATEGORY: ClassVar = CATEGORY
    RETURN_TYPES: ClassVar = ("IMAGE", "MASK")
    RETURN_NAMES: ClassVar = ("normals", "valid")
    FUNCTION: ClassVar = "estimate"
    DESCRIPTION: ClassVar = "Normals of photographs: full runs both stages, turbo the one-step start alone."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes."""
        return {
            "required": {
                "model": (MODEL,),
                "image": ("IMAGE",),
                "mode": (list(MODES), {"default": "full"}),
                "frame": _FRAME,
                "seed": _SEED,
            },
            "optional": {
                "mask": ("MASK",),
                "mask_marks": ([KEPT, LEFT_OUT], {"default": KEPT}),
                "resolution": _RESOLUTION,
                "steps": _STEPS,
                "ensemble": ("INT", {"default": 1, "min": 1, "max": 32, "tooltip": "Members averaged."}),
            },
        }

    def estimate(
        self,
        model: Any,
        image: Tensor,
        mode: str,
        frame: str,
        seed: int,
        mask: Tensor | None = None,
        mask_marks: str = KEPT,
        resolution: int = -1,
        steps: int = 0,
        ensemble: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """Normals (B, H, W, 3) as colours, and where there are some, (B, H, W).

        Raises:
            StableNormalError: if the image, the mask or an option does not fit.
        """
        pictures, wanted = _pictures(image), _wanted(mask, mask_marks, image)
        found = [
            model(
                picture,
                mode=mode,
                seed=seed,
                valid=[valid],
                processing_resolution=None if resolution < 0 else resolution,
                steps=steps or None,
                ensemble=ensemble,
            ).normals[0]
            for picture, valid in _with_progress(list(zip(pictures, wanted, strict=True)))
        ]
        return to_colours(found, frame), _valid(found)


class RefineNormals:
    """The second stage alone, from coarse normals."""

    CATEGORY: ClassVar = CATEGORY
    RETURN_TYPES: ClassVar = ("IMAGE", "MASK")
    RETURN_NAMES: ClassVar = ("normals", "valid")
    FUNCTION: ClassVar = "refine"
    DESCRIPTION: ClassVar = (
        "The refinement alone: coarse or generated normals gain their photograph's detail."
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes."""
        return {
            "required": {
                "model": (MODEL,),
                "image": ("IMAGE",),
                "coarse_normals": ("IMAGE",),
                "frame": _FRAME,
                "seed": _SEED,
                "strength": (
                    "FLOAT",
                    {"default": 0.4, "min": 0.0, "max": 1.0, "step": 0.01,
                     "tooltip": "0 stays near the coarse normals, 1 forgets them."},
                ),
            },
            "optional": {"resolution": _RESOLUTION, "steps": _STEPS},
        }  # fmt: skip

    def refine(
        self,
        model: Any,
        image: Tensor,
        coarse_normals: Tensor,
        frame: str,
        seed: int,
        strength: float,
        resolution: int = -1,
        steps: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Normals (B, H, W, 3) as colours of the coarse ones' frame, and where there are some, (B, H, W).

        Raises:
            StableNormalError: if the pictures or an option do not fit.
        """
        from stablenormal.applications.enhancement import enhance, t_plus_of_strength

        pictures, coarse = _pictures(image), from_colours(coarse_normals, frame)
        if len(coarse) not in (1, len(pictures)):
            raise ImageShapeError(
                f"coarse_normals: {len(coarse)} maps for {len(pictures)} images; give one each"
            )
        maps = coarse.expand(len(pictures), -1, -1, -1)
        found = [
            enhance(
                model,
                [picture],
                [normals.contiguous()],
                t_plus=t_plus_of_strength(strength),
                steps=steps or None,
                seed=seed,
                processing_resolution=None if resolution < 0 else resolution,
            ).normals[0]
            for picture, normals in _with_progress(list(zip(pictures, maps, strict=True)))
        ]
        return to_colours(found, frame), _valid(found)


class ConvertFrame:
    """The same normals in the colours of another frame."""

    CATEGORY: ClassVar = CATEGORY
    RETURN_TYPES: ClassVar = ("IMAGE",)
    RETURN_NAMES: ClassVar = ("normals",)
    FUNCTION: ClassVar = "convert"
    DESCRIPTION: ClassVar = "Turns a normal map between frames, such as OpenGL to DirectX."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes."""
        return {
            "required": {
                "normals": ("IMAGE",),
                "from_frame": _FRAME,
                "to_frame": (CAMERA_FRAMES, {"default": "directx"}),
            }
        }

    def convert(self, normals: Tensor, from_frame: str, to_frame: str) -> tuple[Tensor]:
        """Normals (B, H, W, 3) as colours of the other frame.

        Raises:
            ImageShapeError: if it is no IMAGE.
        """
        return (to_colours(list(from_colours(normals, from_frame)), to_frame),)


class SaveNormals:
    """Files of all the precision that normals need; ComfyUI's own Save Image keeps eight bits."""

    CATEGORY: ClassVar = CATEGORY
    RETURN_TYPES: ClassVar = ()
    OUTPUT_NODE: ClassVar = True
    FUNCTION: ClassVar = "save"
    DESCRIPTION: ClassVar = "Saves normals as 16-bit PNG, EXR or NPY that say their frame."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        """What the node takes."""
        return {
            "required": {
                "normals": ("IMAGE",),
                "frame": _FRAME,
                "format": (list(MAP_FORMATS), {"default": "png16"}),
                "filename_prefix": ("STRING", {"default": "normals"}),
            }
        }

    def save(self, normals: Tensor, frame: str, format: str, filename_prefix: str) -> dict[str, Any]:
        """Write every map of the batch to ComfyUI's output folder.

        Raises:
            StableNormalError: if it is no IMAGE, or a file cannot be written.
        """
        import folder_paths  # ComfyUI's own

        from stablenormal.geometry.layout import channels_last
        from stablenormal.io.normal_map import write_normal_map

        maps, ending = from_colours(normals, frame), MAP_FORMATS[format]
        height, width = maps.shape[2:]
        folder, name, number, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), width, height
        )
        written = []
        for place, vectors in enumerate(maps):
            file = f"{name}_{number + place:05}_{ending}"  # the pattern by which ComfyUI counts on
            write_normal_map(Path(folder) / file, channels_last(vectors), frame=frame, format=format)
            written.append({"filename": file, "subfolder": subfolder, "type": "output"})
        shown = written if ending == ".png" else []  # what a browser can draw
        return {"ui": {"images": shown}}


NODE_CLASS_MAPPINGS = {
    "StableNormalLoadModel": LoadModel,
    "StableNormalEstimate": EstimateNormals,
    "StableNormalRefine": RefineNormals,
    "StableNormalConvertFrame": ConvertFrame,
    "StableNormalSave": SaveNormals,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "StableNormalLoadModel": "StableNormal: load model",
    "StableNormalEstimate": "StableNormal: normals of an image",
    "StableNormalRefine": "StableNormal: refine coarse normals",
    "StableNormalConvertFrame": "StableNormal: convert frame",
    "StableNormalSave": "StableNormal: save normals (16 bit, EXR)",
}


def _pictures(image: Tensor) -> list[Tensor]:
    """The images (3, H, W) of an IMAGE (B, H, W, 3), or of four channels, whose last is left out."""
    if image.ndim != 4 or image.shape[-1] not in (3, 4):
        raise ImageShapeError(f"image: expected an IMAGE (B, H, W, 3), got {tuple(image.shape)}")
    return list(image[..., :3].float().clamp(0, 1).permute(0, 3, 1, 2))  # upscalers overshoot a little


def _wanted(mask: Tensor | None, marks: str, image: Tensor) -> list[Tensor | None]:
    """For each image where normals are wanted, (H, W) bool.

    Load Image gives a mask of 64 x 64 zeros with pictures that have no transparency, so a mask of another
    size is stretched.
    """
    count, height, width = image.shape[:3]
    if mask is None:
        return [None] * count
    masks = mask[None] if mask.ndim == 2 else mask  # (B, H, W)
    if masks.ndim != 3 or len(masks) not in (1, count):
        raise ImageShapeError(f"mask: expected a MASK (B, H, W) for {count} images, got {tuple(mask.shape)}")
    if marks not in (KEPT, LEFT_OUT):
        raise SettingError(f"mask_marks: there is no '{marks}'; choose '{KEPT}' or '{LEFT_OUT}'")
    sized = functional.interpolate(masks[:, None].float(), size=(height, width), mode="bilinear")[:, 0]
    kept = sized >= 0.5 if marks == KEPT else sized < 0.5
    return list(kept.expand(count, -1, -1).cpu())


def _valid(normals: list[Tensor]) -> Tensor:
    return torch.stack([(one != 0).any(dim=0) for one in normals]).float()


def _with_progress(items: list[Any]) -> Iterator[Any]:
    """The items; ComfyUI draws how many are done, and stops between two when its user asks."""
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted
        from comfy.utils import ProgressBar
    except ImportError:  # outside of ComfyUI
        yield from items
        return
    bar = ProgressBar(len(items))
    for item in items:
        throw_exception_if_processing_interrupted()
        yield item
        bar.update(1)
