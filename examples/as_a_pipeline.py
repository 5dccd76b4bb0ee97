"""StableNormal called as a pipeline of diffusers is: load, move, call, keep.

python examples/as_a_pipeline.py photo.jpg normals/
python examples/as_a_pipeline.py photo.jpg normals/ --model path/to/model --device cuda --dtype float16
"""

import argparse
from pathlib import Path

from PIL import Image

from stablenormal import StableNormal


def main() -> None:
    """Estimate the normals of one photograph in three ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="small", help="small, a model folder, or a hub id")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()

    pipe = StableNormal.from_pretrained(options.model, dtype=options.dtype, device=options.device)
    image = Image.open(options.photograph).convert("RGB")
    options.output.mkdir(parents=True, exist_ok=True)

    # Both stages. `seed` takes the place of a generator: every image of a batch starts from it anew.
    full = pipe(image, seed=0)
    full.to_pil().save(options.output / "full.png")

    # The one-step start alone, for a batch of images of any sizes.
    turbo = pipe([image, image.resize((image.width // 2, image.height // 2))], mode="turbo")
    turbo.save(options.output / "turbo.exr", index=0)  # floats
    turbo.save(options.output / "turbo_half.png", index=1, frame="directx")  # 16 bits, green flipped

    # An ensemble, and how far its members are from each other.
    several = pipe(image, seed=0, ensemble=3, uncertainty=True)
    assert several.uncertainty_deg is not None
    several.save(options.output / "ensemble.npy")
    print(f"members are {float(several.uncertainty_deg[0].mean()):.1f} degrees from their mean")


if __name__ == "__main__":
    main()
