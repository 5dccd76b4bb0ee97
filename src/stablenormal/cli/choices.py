"""What an option may be, checked while the command line is read: a typo is told before anything is loaded.

Names that the rooms keep in light modules come from there; the others are repeated here, as their rooms
import torch, and a test compares them.
"""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from stablenormal.errors import ImageReadError, SettingError
from stablenormal.geometry.frames import FRAMES

CAMERA_FRAMES = tuple(name for name, signs in FRAMES.items() if signs is not None)

BENCHMARKS = ("nyuv2", "scannet", "ibims", "sintel", "vkitti", "oasis", "diode", "folder")
BENCHMARK_PARTS = ("indoor", "outdoor")
PROTOCOLS = ("dsine", "marigold", "stablenormal")
PRIOR_LAYOUTS = ("plain", "2dgs", "gsplat", "dn-splatter", "nerfstudio")
SPACES = ("camera", "world")
WONDER3D_SYSTEMS = ("front", "self")
INTEGRATION_METHODS = ("bilateral", "poisson")
SURFACE_FORMATS = ("exr", "npy", "png", "ply", "obj", "glb")
MESH_FORMATS = ("glb", "obj", "ply")
OTHER_MESHES = (".stl", ".off", ".gltf", ".fbx", ".dae", ".3mf", ".usd", ".usdz")
"""Endings of mesh files that nobody means as the name of a folder; they are refused."""
READERS = (
    "hypersim", "interiorverse", "vkitti", "sintel", "replica", "ken_burns", "objaverse", "folder", "shards",
)  # fmt: skip
RENDERERS = ("raster", "path")
TRAINED_PARTS = ("autoencoder", "semantic", "upsampler", "yoso", "refiner", "angular", "field_of_view")
GENERATIONS = ("before-v1.5", "v1.5")

Check = Callable[[typer.CallbackParam, Any], Any]
"""What typer calls with an option's value; it gives the value back or raises."""


def listed(choices: Sequence[str]) -> str:
    """Choices as a help text names them: `a, b or c`."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]]) if len(choices) > 1 else choices[0]


def one_of(choices: Sequence[str], what: str = "name") -> Check:
    """Refuse a value that is none of these; None passes.

    Args:
        choices: what there is.
        what: one of them is, for an argument, which has no spelling of its own.
    """

    def check(param: typer.CallbackParam, value: str | None) -> str | None:
        if value is not None:
            _require(param, value, choices, what)
        return value

    return check


def some_of(choices: Sequence[str]) -> Check:
    """Refuse a text with commas that names something else, or nothing."""

    def check(param: typer.CallbackParam, value: str) -> str:
        names = split(value)
        if not names:
            raise SettingError(f"{_spelling(param)}: empty; choose from {', '.join(choices)}")
        for name in names:
            _require(param, name, choices)
        return value

    return check


def number_or(word: str) -> Check:
    """Make a whole number of a text, or let a word pass; None passes."""

    def check(param: typer.CallbackParam, value: str | None) -> int | str | None:
        if value is None or value == word:
            return value
        try:
            return int(value)
        except ValueError:
            raise SettingError(f"{_spelling(param)}: '{value}' is no number; give one, or {word}") from None

    return check


def split(text: str) -> tuple[str, ...]:
    """The names of a text with commas, each once, in their order."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def existing(what: str = "file") -> Check:
    """Refuse a path at which there is nothing; None passes.

    Args:
        what: should be there: `file`, `folder`, `file or folder`, `scene`.
    """

    def check(param: typer.CallbackParam, value: Path | None) -> Path | None:
        if value is not None and not value.exists():
            named = f"{_spelling(param)}: " if _is_option(param) else ""
            raise ImageReadError(f"{named}{value}: no such {what}; check the path")
        return value

    return check


def at_least(least: int) -> Check:
    """Refuse a number below this one; None passes."""

    def check(param: typer.CallbackParam, value: int | None) -> int | None:
        if value is not None and value < least:
            raise SettingError(f"{_spelling(param)}: {value} is too small; use {least} or more")
        return value

    return check


def _require(param: typer.CallbackParam, value: str, choices: Sequence[str], what: str = "") -> None:
    if value not in choices:
        near = difflib.get_close_matches(value, choices, n=1)
        hint = f"did you mean '{near[0]}'? Choose from" if near else "choose from"
        wrong = f"{_spelling(param)}: there is no" if _is_option(param) else f"unknown {what}"
        raise SettingError(f"{wrong} '{value}'; {hint} {', '.join(choices)}")


def _is_option(param: typer.CallbackParam) -> bool:
    return param.param_type_name == "option"


def _spelling(param: typer.CallbackParam) -> str:
    return max(param.opts, key=len)
