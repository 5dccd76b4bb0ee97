"""Entry points of `torch.hub`, called as those of the released StableNormal are.

    predictor = torch.hub.load("path/to/this/checkout", "StableNormal", source="local")
    normal_image = predictor(Image.open("photo.jpg"))

Without `local_cache_dir` the bundled small model predicts, and nothing is downloaded.
"""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if importlib.util.find_spec("stablenormal") is None:  # a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).parent / "src"))

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from stablenormal.models.modes import Mode
    from stablenormal.pipelines.stable_normal import StableNormal as Pipeline

dependencies = ["torch", "numpy", "PIL", "diffusers", "transformers", "safetensors", "scipy", "cv2"]

DATA_TYPES = ("indoor", "object", "outdoor")


def StableNormal(  # noqa: N802 (the name that the released call has)
    local_cache_dir: str | None = None,
    device: str | None = None,
    yoso_version: str = "yoso-normal-v0-3",
    diffusion_version: str = "stable-normal-v0-1",
    *,
    weights: str = "small",
    trust_remote_code: bool = False,
) -> "Predictor":
    """The whole method: one-step start and refinement.

    Args:
        local_cache_dir: folder with the released repositories, as folders of their names; they are joined
            into one model there the first time. None takes `weights`.
        device: such as "cuda:0"; None is the best there is.
        yoso_version: the released YOSO in `local_cache_dir`.
        diffusion_version: the released refiner in `local_cache_dir`.
        weights: where no `local_cache_dir` is given: "small", a model folder or a hub id.
        trust_remote_code: run the Python files that the released refiner brings.

    Raises:
        StableNormalError: if a folder is missing or damaged, or remote code is needed and not allowed.
    """
    if local_cache_dir is not None:
        weights = _joined(Path(local_cache_dir), yoso_version, diffusion_version, trust_remote_code)
    return Predictor(_pipeline(weights, device, trust_remote_code), "full")


def StableNormal_turbo(  # noqa: N802
    local_cache_dir: str | None = None,
    device: str | None = None,
    yoso_version: str = "yoso-normal-v0-3",
    diffusion_version: str = "stable-normal-v0-1",
    *,
    weights: str = "small",
    trust_remote_code: bool = False,
) -> "Predictor":
    """The one-step start alone; arguments as `StableNormal`."""
    predictor = StableNormal(
        local_cache_dir,
        device,
        yoso_version,
        diffusion_version,
        weights=weights,
        trust_remote_code=trust_remote_code,
    )
    predictor.mode = "turbo"
    return predictor


class Predictor:
    """A PIL image in, a PIL image of its normals out.

    Args:
        model: the pipeline that predicts.
        mode: `full` or `turbo`.
    """

    def __init__(self, model: "Pipeline", mode: "Mode") -> None:
        self.model = model
        self.mode: Mode = mode

    def to(self, device: str = "cuda", dtype: "torch.dtype | str | None" = None) -> "Predictor":
        """Move the model."""
        self.model.to(device, dtype)
        return self

    def __call__(
        self,
        img: "Image.Image",
        resolution: int | None = None,
        match_input_resolution: bool = True,
        data_type: str = "indoor",
        num_inference_steps: int | None = None,
        *,
        frame: str = "dsine",
        seed: int = 0,
    ) -> "Image.Image":
        """Estimate the normals of one image.

        Args:
            img: the photograph; where it is transparent, or outside of the object, the result is white.
            resolution: pixels of the longer side for the network; None is the model's.
            match_input_resolution: give the result the photograph's size; else that of the network's image.
            data_type: "indoor" masks nothing, "object" what is not the object in the middle; "outdoor"
                (sky and plants) needs a mask of your own: give it as transparency.
            num_inference_steps: of the refinement; None is the model's. The one-step predictor has none, so
                a number is refused there.
            frame: of the colours; the released predictor's is `dsine`, x to the left.
            seed: of the noise.

        Returns:
            8-bit RGB, (n + 1) / 2.

        Raises:
            StableNormalError: if an argument is out of range.
        """
        import numpy as np
        import torch
        from PIL import Image

        from stablenormal.applications.foreground import foreground
        from stablenormal.errors import SettingError
        from stablenormal.pipelines.inputs import as_inputs

        kind = str(getattr(data_type, "value", data_type)).lower()
        if kind not in DATA_TYPES[:2]:
            raise SettingError(
                f"data_type: cannot mask '{kind}'; choose indoor or object, or give a transparent image"
            )
        side = self.model.spec.processing_resolution if resolution is None else resolution
        shown = img
        if not match_input_resolution and side:
            scale = side / max(img.size)
            shown = img.resize((max(1, round(img.width * scale)), max(1, round(img.height * scale))))
        image, valid = as_inputs(shown)[0]
        if valid is None and kind == "object":
            valid = torch.from_numpy(foreground(image.permute(1, 2, 0).numpy()))
        output = self.model(
            image,
            mode=self.mode,
            seed=seed,
            steps=num_inference_steps,
            processing_resolution=resolution,
            valid=[valid],
        )
        colours = np.array(output.to_pil(frame=frame))
        colours[~output.numpy().any(axis=-1)] = 255
        return Image.fromarray(colours)


def _pipeline(weights: str, device: str | None, trust_remote_code: bool) -> "Pipeline":
    from stablenormal import StableNormal as Pipeline

    return Pipeline.from_pretrained(weights, device=device, trust_remote_code=trust_remote_code)


def _joined(folder: Path, yoso: str, refiner: str, trust_remote_code: bool) -> str:
    """The model folder of two released repositories, made the first time."""
    from stablenormal.pipelines.conversion import convert_released

    joined = folder / f"joined-{yoso}-{refiner}"
    if not (joined / "model_index.json").is_file():
        convert_released(
            str(folder / yoso), str(folder / refiner), joined, trust_remote_code=trust_remote_code
        )
    return str(joined)
