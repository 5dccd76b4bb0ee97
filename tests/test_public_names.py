import importlib
import subprocess
import sys

import pytest

import stablenormal


def test_the_public_names_are_these() -> None:
    assert stablenormal.__all__ == [
        "Intrinsics",
        "NormalMap",
        "NormalsOutput",
        "Photograph",
        "StableNormal",
        "StableNormalError",
        "__version__",
        "angular_error_deg",
        "convert_frame",
        "enhance",
        "integrate_normals",
        "mesh",
        "normal_prior_loss",
        "predict",
        "read_image",
        "read_normal_map",
        "write_normal_map",
    ]
    assert dir(stablenormal) == sorted(stablenormal.__all__)


@pytest.mark.parametrize("name", stablenormal.__all__)
def test_each_public_name_is_the_one_of_its_room(name: str) -> None:
    value = getattr(stablenormal, name)
    if name != "__version__":
        assert getattr(importlib.import_module(value.__module__), name) is value


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = stablenormal.no_such_name


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, stablenormal; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
