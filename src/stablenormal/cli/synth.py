"""`stablenormal synth`: procedural scenes with exact normals, as training shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stablenormal.cli.choices import RENDERERS, one_of

if TYPE_CHECKING:
    from rich.console import Console


def prepare_assets(paths: list[Path], cache: Path | None, console: "Console") -> Path:
    """The file with the prepared models; tells of every model that is skipped or lacks something."""
    from stablenormal.data.synthetic.assets import prepared_bank

    with console.status("preparing models") as status:
        file, report = prepared_bank(
            paths, cache, progress=lambda done: status.update(f"preparing models: {done}")
        )
    for line in [*report.skipped, *report.plain]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(f"{file}: {report.summary()}", soft_wrap=True, markup=False, highlight=False)
    return file


def synth(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the shards.")],
    count: Annotated[int, typer.Option(help="Samples in all.")] = 1024,
    seed: Annotated[int, typer.Option(help="Names the corpus: the same seed gives the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the square images in pixels.")] = 256,
    workers: Annotated[int, typer.Option(help="Processes; the result does not depend on them.")] = 2,
    shard_size: Annotated[int, typer.Option(help="Samples per shard.")] = 256,
    mix: Annotated[
        str | None,
        typer.Option(
            help="Kinds of scenes and their shares of the images, such as room=2,closeup=1. "
            "Kinds: room, tabletop, object, street, closeup, statue, drapery, lattice, foliage, architecture."
        ),
    ] = None,
    renderer: Annotated[
        str,
        typer.Option(
            help="raster: fast, for bulk; path: path traced by Mitsuba, for true light.",
            callback=one_of(RENDERERS),
        ),
    ] = "raster",
    samples_per_pixel: Annotated[int, typer.Option(help="Of the path tracer.", min=1)] = 32,
    mitsuba_variant: Annotated[
        str, typer.Option(help="Of the path tracer; llvm_ad_rgb needs a libLLVM, cuda_ad_rgb a GPU.")
    ] = "scalar_rgb",
    assets: Annotated[
        list[Path] | None,
        typer.Option(
            help="Furnish the scenes with real models: .sh3f catalogues, folders of them, of OBJ or of GLB; "
            "may be repeated."
        ),
    ] = None,
    asset_cache: Annotated[
        Path | None,
        typer.Option(help="Folder for the prepared models; without it a folder of the user's cache."),
    ] = None,
    phones: Annotated[
        bool | None,
        typer.Option(
            help="Half of the pictures developed as telephones do (smoothed, sharpened, hard JPEG); "
            "by default only with --assets."
        ),
    ] = None,
    contact_sheet: Annotated[
        bool,
        typer.Option("--contact-sheet", help="Also write contact-sheet.png: photograph, normals, depth."),
    ] = False,
) -> None:
    """Render procedural scenes with exact normals into WebDataset shards. Run it again to go on."""
    import cv2
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from stablenormal.data.synthetic import contact_sheet as sheets
    from stablenormal.data.synthetic.corpus import parse_mix
    from stablenormal.data.synthetic.renderers import RendererSettings
    from stablenormal.data.synthetic.writing import write_corpus
    from stablenormal.io.atomic import write_bytes
    from stablenormal.io.output_folder import OutputFolder

    if contact_sheet:
        OutputFolder(output).check([output / "contact-sheet.png"])
    settings = RendererSettings(renderer, samples_per_pixel, mitsuba_variant)
    console = Console(stderr=True)
    models = None if not assets else prepare_assets(assets, asset_cache, console)
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("samples", total=count)
        written = write_corpus(
            output,
            seed,
            count,
            size=size,
            mix=None if mix is None else parse_mix(mix),
            shard_size=shard_size,
            workers=workers,
            renderer=settings,
            assets=models,
            phones=phones,
            progress=lambda rendered: bar.advance(task, rendered),
        )
    shards = -(-count // shard_size)
    console.print(
        f"{output}: {count} samples in {shards} shards, {written} of them written now", soft_wrap=True
    )
    if contact_sheet:
        sheet = sheets.contact_sheet(list(sheets.spread_samples(output, 32)))
        with OutputFolder(output).writing([output / "contact-sheet.png"]):
            write_bytes(output / "contact-sheet.png", cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
        console.print(f"{output / 'contact-sheet.png'}", soft_wrap=True)
