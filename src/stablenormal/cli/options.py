"""Options that several commands have: one spelling, one help text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stablenormal.cli import choices
from stablenormal.cli.choices import existing, one_of
from stablenormal.errors import SettingError
from stablenormal.io.map_formats import MAP_FORMATS
from stablenormal.models.modes import MODES, QUALITIES

if TYPE_CHECKING:
    from stablenormal.app.model_settings import ModelSettings

MESH_ENDINGS = tuple(f".{name}" for name in choices.MESH_FORMATS)

MODEL_HELP = "'small', a model folder, or a hub id."

Output = Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")]

MeshOutput = Annotated[
    Path,
    typer.Option(
        "-o", "--output", help=f"Folder of the results; or the mesh in it, {choices.listed(MESH_ENDINGS)}."
    ),
]


def mesh_path(output: Path, name: str, format: str | None, default: str) -> Path:
    """The mesh file that a command writes.

    Args:
        output: what `-o` says: a folder, or a file by its ending.
        name: of the mesh in a folder, without ending.
        format: ending without its dot, if one was asked for.
        default: otherwise.

    Raises:
        SettingError: if a file of another ending was named than asked for.
    """
    ending = output.suffix.lower()
    if output.is_dir() or ending not in (*MESH_ENDINGS, *choices.OTHER_MESHES):
        return output / f"{name}.{format or default}"
    if format is not None and ending != f".{format}":
        raise SettingError(f"--format: {format}, but -o names {output}; leave one of them out")
    return output


# How a model is run.
Model = Annotated[str, typer.Option(help=MODEL_HELP)]
Quality = Annotated[
    str | None,
    typer.Option(show_default="normal", help=f"{choices.listed(QUALITIES)}.", callback=one_of(QUALITIES)),
]
Mode = Annotated[
    str | None,
    typer.Option(
        show_default="the quality's",
        help="full: start and refinement; turbo: one step.",
        callback=one_of(MODES),
    ),
]
Ensemble = Annotated[int, typer.Option(help="Predictions to average.")]
if TYPE_CHECKING:
    Steps = int | Literal["auto"] | None  # what a command is called with
else:
    Steps = Annotated[
        str | None,
        typer.Option(
            show_default="the model's",
            help="Refinement steps, or auto: until the normals have settled.",
            callback=choices.number_or("auto"),
        ),
    ]
TPlus = Annotated[
    int | None,
    typer.Option("--t-plus", show_default="the model's", help="Noise level where refinement starts."),
]
Resolution = Annotated[
    int | None,
    typer.Option(show_default="the model's", help="Longer side in pixels for the network; 0: its own."),
]
Device = Annotated[str | None, typer.Option(show_default="the best there is", help="cpu, cuda or mps.")]
Dtype = Annotated[str | None, typer.Option(show_default="by device", help="float32, bfloat16 or float16.")]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]

TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python files that come with the weights.")
]

# What listens.
Host = Annotated[str, typer.Option(help="Where to listen; 0.0.0.0: on every network of this machine.")]
Port = Annotated[int, typer.Option(help="Where to listen; 0: any that is free.")]

LOAD_OPTIONS = ("device", "dtype", "offline", "trust_remote_code")
"""The parameters that say how a model is loaded, beside the model itself."""
MODEL_OPTIONS = (*LOAD_OPTIONS, "quality", "mode", "ensemble", "steps", "t_plus", "resolution")
"""The parameters that say how a model is loaded and predicts."""

# A set with ground truth.
Part = Annotated[
    str | None,
    typer.Option(
        show_default="both",
        help="indoor or outdoor, of diode.",
        callback=one_of(choices.BENCHMARK_PARTS),
    ),
]
TruthFrame = Annotated[
    str | None,
    typer.Option(
        "--truth-frame",
        show_default="opengl",
        help="Frame of the ground truth, of diode and folder.",
        callback=one_of(choices.CAMERA_FRAMES),
    ),
]


# Normal maps that do not say what they are.
SaidFrame = Annotated[
    str | None,
    typer.Option(
        "--frame",
        show_default="as the file says",
        help=f"Frame of maps that do not say: {choices.listed(choices.CAMERA_FRAMES)}.",
        callback=one_of(choices.CAMERA_FRAMES),
    ),
]
MapKind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        show_default="the only",
        help=f"Of several maps of a photograph: {choices.listed(tuple(MAP_FORMATS))}.",
        callback=one_of(tuple(MAP_FORMATS)),
    ),
]

# Files that hold several pictures.
Layer = Annotated[
    str | None,
    typer.Option(show_default="by name", help="Layer of an EXR of several, such as ViewLayer.Normal."),
]
FilePart = Annotated[
    str | None,
    typer.Option("--part", show_default="the only", help="Part of an EXR, page of a TIFF: name or number."),
]


def load_options(context: typer.Context) -> dict[str, Any]:
    """How a command loads a model, from its options."""
    return {name: context.params[name] for name in ("model", *LOAD_OPTIONS)}


def model_options(context: typer.Context) -> dict[str, Any]:
    """How a command loads and runs a model, from its options."""
    return {name: context.params[name] for name in ("model", *MODEL_OPTIONS)}


def model_settings(context: typer.Context, model: str | None = None) -> "ModelSettings":
    """The settings of the model that a command runs.

    Args:
        context: of the command.
        model: in place of its own option.
    """
    from stablenormal.app.model_settings import ModelSettings

    given = model_options(context)
    return ModelSettings(**given if model is None else {**given, "model": model})  # which checks them


def given(context: typer.Context, *names: str) -> list[str]:
    """Which of the parameters stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


# A set of posed photographs.
Scene = Annotated[
    Path,
    typer.Argument(help="COLMAP folder, or transforms.json or its folder.", callback=existing("scene")),
]
Images = Annotated[
    Path | None,
    typer.Option(
        show_default="as the scene says", help="Folder of the photographs.", callback=existing("folder")
    ),
]
