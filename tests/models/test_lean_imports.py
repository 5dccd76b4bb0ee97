"""What `import stablenormal.pipelines` leaves out, and that nobody misses it."""

import subprocess
import sys

import pytest

NEVER_RUN = (
    "diffusers.models.transformers.transformer_flux",
    "diffusers.models.transformers.transformer_sd3",
    "diffusers.models.autoencoders.autoencoder_dc",
    "diffusers.models.unets.unet_3d_condition",
    "diffusers.models.controlnets.controlnet_flux",
    "diffusers.hooks.faster_cache",
    "diffusers.pipelines.pipeline_utils",
    "scipy.stats._stats_py",
    "peft",
    "pyamg",
    "trimesh",
)
"""Modules that no prediction needs; those of diffusers and SciPy are real ones, as the second test shows."""

USE_THEM_ALL = """
from diffusers import AutoencoderDC, FluxTransformer2DModel, StableDiffusionPipeline, UNet3DConditionModel
from diffusers.hooks import FasterCacheConfig
from diffusers.models.controlnets import FluxControlNetModel
from diffusers.models.transformers import SD3Transformer2DModel
import diffusers.models.unets, diffusers.models.autoencoders, scipy.stats
assert diffusers.models.unets.UNet2DConditionModel is diffusers.UNet2DConditionModel
assert diffusers.models.autoencoders.AutoencoderKL is diffusers.AutoencoderKL
assert "SD3Transformer2DModel" in dir(diffusers.models.transformers)
assert scipy.stats.norm.cdf(0.0) == 0.5
from stablenormal.models.library import AutoencoderKL, ControlNetModel, UNet2DConditionModel
assert AutoencoderKL is diffusers.AutoencoderKL and ControlNetModel is diffusers.ControlNetModel
assert UNet2DConditionModel is diffusers.UNet2DConditionModel
try:
    diffusers.models.transformers.no_such_thing
except AttributeError:
    pass
else:
    raise SystemExit("a name that does not exist is an AttributeError")
"""


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_pipeline_imports_only_the_blocks_that_it_is_built_of() -> None:
    found = _run(
        "import gc, sys, stablenormal.pipelines\n"
        "assert gc.isenabled()\n"
        f"print(*[name for name in {NEVER_RUN!r} if name in sys.modules])\n"
        "print(sum(name.startswith('diffusers.models.') for name in sys.modules))"
    ).split("\n")
    assert found[0] == ""
    assert int(found[1]) < 40  # of 162 with everything


@pytest.mark.parametrize("first", ["import stablenormal.pipelines", "import diffusers.models.transformers"])
def test_what_was_put_off_is_there_when_asked_for(first: str) -> None:
    there = [name for name in NEVER_RUN if name.startswith(("diffusers", "scipy"))]
    _run(
        f"{first}\nimport stablenormal.pipelines{USE_THEM_ALL}\nimport sys\n"
        f"missing = set({there!r}) - set(sys.modules)\nassert not missing, missing"
    )


def test_a_warm_process_keeps_what_it_imported() -> None:
    _run(
        "import diffusers.models.transformers as before\nimport stablenormal.pipelines, sys\n"
        "assert type(before) is type(sys) and 'FluxTransformer2DModel' in vars(before)\n"
        "assert not [f for f in sys.meta_path if type(f).__module__.startswith('stablenormal')]"
    )
