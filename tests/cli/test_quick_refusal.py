"""A typo is refused before anything heavy is imported: every command, in a process of its own."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from stablenormal.app.integrate import FORMATS
from stablenormal.applications.normal_integration import Method
from stablenormal.cli import choices
from stablenormal.data.readers.catalogue import READERS
from stablenormal.data.synthetic.renderers import RENDERERS
from stablenormal.evaluation.benchmarks import BENCHMARKS, DIODE_PARTS
from stablenormal.evaluation.protocols import PROTOCOLS
from stablenormal.io.mesh import MESH_SUFFIXES
from stablenormal.io.prior_layout import LAYOUTS
from stablenormal.models.released import GENERATIONS
from stablenormal.training.parts.catalogue import PARTS

HEAVY = ("torch", "numpy", "diffusers", "transformers", "cv2", "PIL", "scipy", "yaml", "trimesh", "tifffile")

REFUSED = (
    (["predict", "{photo}", "-o", "{out}", "--frame", "unity"], "--frame: there is no 'unity'"),
    (["predict", "{photo}", "-o", "{out}", "--frame", "world"], "--frame: world needs the rotation"),
    (
        ["predict", "{photo}", "-o", "{out}", "--mode", "ful"],
        "--mode: there is no 'ful'; did you mean 'full'",
    ),
    (["predict", "{photo}", "-o", "{out}", "--format", "jpg"], "--format: there is no 'jpg'"),
    (["predict", "{photo}", "-o", "{out}", "--device", "gpu"], "--device: there is no 'gpu'"),
    (["predict", "{photo}", "-o", "{out}", "--dtype", "float64"], "--dtype: there is no 'float64'"),
    (["predict", "{photo}", "-o", "{out}", "--ensemble", "0"], "--ensemble: 0 is too small"),
    (["predict", "{photo}", "-o", "{out}", "--t-plus", "1000"], "--t-plus: 1000 is too large"),
    (["predict", "{photo}", "-o", "{out}", "--mask", "{tmp}/none.png"], "none.png does not exist"),
    (["predict", "{tmp}/*.jpeg", "-o", "{out}"], "*.jpeg: no image in it"),
    (["predict", "{tmp}/none.jpg", "-o", "{out}"], "none.jpg: no such file or folder"),
    (["video", "{tmp}/none.mp4", "-o", "{out}"], "none.mp4: no such video"),
    (["video", "{photo}", "-o", "{out}", "--carry", "1"], "--carry: 1.0 is out of range"),
    (["video", "{photo}", "-o", "{out}", "--preview", "both"], "--preview: there is no 'both'"),
    (["video", "{photo}", "-o", "{out}", "--format", "jpg"], "--format: there is no 'jpg'"),
    (["video", "{photo}", "-o", "{out}", "--frame", "world"], "--frame: there is no 'world'"),
    (["video", "{photo}", "-o", "{out}", "--seed", "-1"], "--seed: -1 is too small"),
    (["integrate", "{tmp}/none.png", "-o", "{out}"], "none.png: no such file"),
    (["integrate", "{photo}", "-o", "{out}", "--method", "fast"], "--method: there is no 'fast'"),
    (["integrate", "{photo}", "-o", "{out}", "--format", "exr,stl"], "--format: there is no 'stl'"),
    (["integrate", "{photo}", "-o", "{out}", "--frame", "world"], "--frame: there is no 'world'"),
    (["mesh", "{tmp}/none.jpg", "-o", "{out}"], "none.jpg: no such file"),
    (["mesh", "{photo}", "-o", "{out}", "--mode", "slow"], "--mode: there is no 'slow'"),
    (["enhance", "{tmp}/none.png", "-o", "{out}", "--image", "{photo}"], "none.png: no such file or folder"),
    (["enhance", "{photo}", "-o", "{out}", "--image", "{photo}", "--format", "bmp"], "there is no 'bmp'"),
    (["enhance", "{photo}", "-o", "{out}"], "--image: give the photograph"),
    (["priors", "{tmp}/none", "-o", "{out}"], "none: no such scene"),
    (["priors", "{tmp}", "-o", "{out}", "--layout", "3dgs"], "--layout: there is no '3dgs'; did you mean"),
    (["reconstruct", "{tmp}/none", "-o", "{out}/a.ply"], "none: no such scene"),
    (["evaluate", "--benchmark", "nyu", "--root", "{tmp}", "-o", "{out}"], "--benchmark: there is no 'nyu'"),
    (
        ["evaluate", "--benchmark", "nyuv2", "--root", "{tmp}/none", "-o", "{out}"],
        "--root: {tmp}/none: no such folder",
    ),
    (["app", "--port", "70000"], "--port: 70000 does not exist"),
    (["serve", "--port", "-1"], "--port: -1 does not exist"),
    (["serve", "--queue", "0"], "--queue: 0 is too small"),
    (["serve", "--tokens", "{tmp}/none.txt"], "--tokens: {tmp}/none.txt: no such file"),
    (["app", "--device", "gpu"], "--device: there is no 'gpu'"),
    (["variance", "{tmp}/none.jpg", "-o", "{out}"], "none.jpg: no such file or folder"),
    (["variance", "{photo}", "-o", "{out}", "--mode", "turb"], "--mode: there is no 'turb'"),
    (
        ["convert", "--yoso", "a", "--refiner", "b", "-o", "{out}", "--generation", "v1"],
        "--generation: there is no 'v1'; did you mean 'v1.5'",
    ),
    (["synth", "-o", "{out}", "--renderer", "blender"], "--renderer: there is no 'blender'"),
    (["train", "denoiser", "{photo}", "-o", "{out}"], "unknown part 'denoiser'"),
    (["train", "yoso", "{tmp}/none.yaml", "-o", "{out}"], "none.yaml: no such file"),
    (["data", "check", "hypersin", "{tmp}"], "unknown reader 'hypersin'; did you mean 'hypersim'"),
    (["data", "check", "folder", "{tmp}/none"], "none: no such folder"),
)


def test_typos_are_refused_in_one_line_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"never read")
    names = {"photo": str(photo), "out": str(tmp_path / "out"), "tmp": str(tmp_path)}
    calls = [([word.format(**names) for word in words], told.format(**names)) for words, told in REFUSED]
    code = f"""
import contextlib, io, sys
from stablenormal.cli.main import main
for words, told in {calls!r}:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            main(words)
    except SystemExit as ended:
        line = said.getvalue()
        assert ended.code == 1, (words, ended.code, line)
        assert line.startswith("error: ") and told in line and line.count("\\n") == 1, (words, line)
    else:
        raise AssertionError(words)
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, (words, loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "repeated, kept",
    [
        (choices.BENCHMARKS, BENCHMARKS),
        (choices.BENCHMARK_PARTS, DIODE_PARTS),
        (choices.PROTOCOLS, PROTOCOLS),
        (choices.PRIOR_LAYOUTS, LAYOUTS),
        (choices.INTEGRATION_METHODS, get_args(Method)),
        (choices.SURFACE_FORMATS, FORMATS),
        (choices.READERS, READERS),
        (choices.RENDERERS, RENDERERS),
        ([f".{name}" for name in choices.MESH_FORMATS], MESH_SUFFIXES),
        (choices.TRAINED_PARTS, PARTS),
        (choices.GENERATIONS, GENERATIONS),
        (choices.SPACES, {space for layout in LAYOUTS.values() for space in layout.spaces}),
    ],
)
def test_the_command_line_knows_every_name_of_the_rooms(repeated: tuple[str, ...], kept: object) -> None:
    assert sorted(repeated) == sorted(kept)  # type: ignore[call-overload]
