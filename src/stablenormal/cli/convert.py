"""`stablenormal convert`: released weights to one model folder."""

from pathlib import Path
from typing import Annotated

import typer

from stablenormal.cli.choices import GENERATIONS, one_of
from stablenormal.cli.options import Offline
from stablenormal.models.devices import DTYPES


def convert(
    yoso: Annotated[str, typer.Option(help="Released YOSO: a hub id or a folder.")],
    refiner: Annotated[str, typer.Option(help="Released refiner: a hub id or a folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the model.")],
    base: Annotated[
        str | None, typer.Option(help="Where the autoencoder and text encoder are, if not in the other two.")
    ] = None,
    semantic: Annotated[
        str, typer.Option(help="The DINOv2 encoder, used if the refiner brings none.")
    ] = "facebook/dinov2-large",
    generation: Annotated[
        str | None,
        typer.Option(
            show_default="by name",
            help="YOSO's generation: before-v1.5 or v1.5.",
            callback=one_of(GENERATIONS),
        ),
    ] = None,
    resolution: Annotated[int, typer.Option(help="Longer side in pixels for the network.")] = 768,
    variant: Annotated[str, typer.Option(help="Prefer weight files of this variant; '' for none.")] = "fp16",
    dtype: Annotated[
        str,
        typer.Option(help="Stored weights: float16, bfloat16 or float32.", callback=one_of(DTYPES)),
    ] = "float16",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python files that come with the weights.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Join the released YOSO and refiner weights into one model folder."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("Converting"):
        from stablenormal.pipelines.conversion import convert_released

        spec = convert_released(
            yoso=yoso,
            refiner=refiner,
            output=output,
            base=base,
            semantic=semantic,
            generation=generation,
            processing_resolution=resolution,
            variant=variant or None,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            offline=offline,
        )
    console.print(f"{output}: start {spec.start}, refinement {spec.refinement} in {spec.steps} steps")
