"""Predicted normals as the condition of a ControlNet of diffusers: a new picture of the same shapes.

    python examples/controlnet.py photo.jpg "a chair of blue glass" glass.png --device cuda \
        --base stable-diffusion-v1-5/stable-diffusion-v1-5 --controlnet lllyasviel/control_v11p_sd15_normalbae

ControlNet 1.1's normals follow ScanNet: red points to the left, green up, blue toward the viewer. Here that
frame is called `dsine`. With `opengl` left and right would be exchanged.
"""

import argparse
from pathlib import Path

import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image

from stablenormal import StableNormal


def main() -> None:
    """Photograph to normals, normals and words to a picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("prompt")
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", required=True, help="Stable Diffusion 1.5: folder or hub id")
    parser.add_argument("--controlnet", required=True, help="a ControlNet of normals: folder or hub id")
    parser.add_argument("--model", default="small", help="small, a model folder, or a hub id")
    parser.add_argument("--size", type=int, default=512, help="longer side of the picture")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    photograph = Image.open(options.photograph).convert("RGB")
    photograph.thumbnail((options.size, options.size))
    width, height = (side // 8 * 8 for side in photograph.size)  # the latents' eighth must be whole
    photograph = photograph.resize((width, height))

    normals = StableNormal.from_pretrained(options.model, device=options.device)(photograph)
    condition = normals.to_pil(frame="dsine")
    condition.save(options.output.with_name(f"{options.output.stem}_condition.png"))

    dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
    pipe = StableDiffusionControlNetPipeline.from_pretrained(
        options.base,
        controlnet=ControlNetModel.from_pretrained(options.controlnet, torch_dtype=dtype),
        torch_dtype=dtype,
    ).to(options.device)
    picture = pipe(
        options.prompt,
        image=condition,
        num_inference_steps=options.steps,
        generator=torch.Generator().manual_seed(options.seed),
    ).images[0]
    picture.save(options.output)


if __name__ == "__main__":
    main()
