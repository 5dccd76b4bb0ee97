"""The nodes keep to ComfyUI's interface and give what the pipeline gives."""

import importlib.util
import inspect
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from stablenormal import StableNormal, read_normal_map
from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.normals import angular_error_deg

FOLDER = Path(__file__).parents[2] / "integrations/comfyui/stablenormal_nodes"
WIDGETS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The folder, copied to `custom_nodes` and loaded as ComfyUI loads one."""
    place = tmp_path_factory.mktemp("ComfyUI") / "custom_nodes" / FOLDER.name
    shutil.copytree(FOLDER, place)
    name = str(place).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, place / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    for loaded in [one for one in sys.modules if one.startswith(name)]:
        del sys.modules[loaded]


@pytest.fixture(scope="module")
def pipeline(toy_model: Path) -> StableNormal:
    return StableNormal.from_pretrained(toy_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 40, 48, 3, generator=torch.Generator().manual_seed(1))


def run(nodes: ModuleType, name: str, **given: Any) -> Any:
    """A node as ComfyUI's executor runs it: widgets have defaults, and types and ranges count."""
    kind = nodes.NODE_CLASS_MAPPINGS[name]
    declared = kind.INPUT_TYPES()
    arguments = dict(given)
    for group, inputs in declared.items():
        for key, (type_, *rest) in inputs.items():
            options = rest[0] if rest else {}
            if key not in arguments and (isinstance(type_, list) or type_ in WIDGETS):
                arguments[key] = options.get("default", type_[0] if isinstance(type_, list) else None)
            if key in arguments and isinstance(type_, list):
                assert arguments[key] in type_
            elif key in arguments and type_ in WIDGETS:
                assert isinstance(arguments[key], WIDGETS[type_])
                assert options.get("min", arguments[key]) <= arguments[key]
                assert arguments[key] <= options.get("max", arguments[key])
            assert key in arguments or group == "optional", f"{name} lacks {key}"
    result = getattr(kind(), kind.FUNCTION)(**arguments)
    if isinstance(result, dict):
        assert getattr(kind, "OUTPUT_NODE", False)
        return result
    assert isinstance(result, tuple) and len(result) == len(kind.RETURN_TYPES)
    for type_, value in zip(kind.RETURN_TYPES, result, strict=True):
        if type_ in ("IMAGE", "MASK"):
            assert value.dtype == torch.float32 and value.device.type == "cpu"
            assert value.ndim == (4 if type_ == "IMAGE" else 3)
            assert 0 <= float(value.min()) and float(value.max()) <= 1
    return result


def test_every_node_declares_what_comfyui_reads(nodes: ModuleType) -> None:
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    made = {type_ for kind in nodes.NODE_CLASS_MAPPINGS.values() for type_ in kind.RETURN_TYPES}
    for kind in nodes.NODE_CLASS_MAPPINGS.values():
        declared = kind.INPUT_TYPES()
        assert "required" in declared and set(declared) <= {"required", "optional", "hidden"}
        assert isinstance(kind.CATEGORY, str) and isinstance(kind.RETURN_TYPES, tuple)
        assert len(getattr(kind, "RETURN_NAMES", ())) == len(kind.RETURN_TYPES)
        parameters = inspect.signature(getattr(kind, kind.FUNCTION)).parameters
        names = [name for group in declared.values() for name in group]
        assert set(names) == set(parameters) - {"self"}
        for name, entry in ((name, entry) for group in declared.values() for name, entry in group.items()):
            assert isinstance(entry, tuple) and 1 <= len(entry) <= 2, name
            type_, options = entry[0], entry[1] if len(entry) > 1 else {}
            assert isinstance(options, dict)
            if isinstance(type_, list):
                assert type_ and options.get("default", type_[0]) in type_
            else:
                assert type_ in WIDGETS or type_ in made | {"IMAGE", "MASK"}
        for name in declared.get("optional", {}):
            assert parameters[name].default is not inspect.Parameter.empty, name


def test_both_stages_give_what_the_pipeline_gives(
    nodes: ModuleType, pipeline: StableNormal, images: Tensor
) -> None:
    planes = list(images.permute(0, 3, 1, 2))
    for mode in ("full", "turbo"):
        colours, valid = run(
            nodes, "StableNormalEstimate", model=pipeline, image=images, mode=mode, frame="directx", seed=3
        )
        assert colours.shape == images.shape and valid.shape == images.shape[:3] and valid.all()
        expected = pipeline(planes, mode=mode, seed=3)
        for place in range(2):
            vectors = torch.from_numpy(expected.numpy(place, frame="directx"))
            assert torch.allclose(colours[place] * 2 - 1, vectors, atol=1e-6)


def test_the_seed_the_steps_and_the_ensemble_count(
    nodes: ModuleType, pipeline: StableNormal, images: Tensor
) -> None:
    def estimate(**given: Any) -> Tensor:
        return run(nodes, "StableNormalEstimate", model=pipeline, image=images[:1], **given)[0]

    first = estimate()
    assert torch.equal(first, estimate(seed=0))
    others = ({"seed": 1}, {"steps": 2}, {"ensemble": 2}, {"resolution": 0})
    assert not any(torch.equal(first, estimate(**other)) for other in others)
    with pytest.raises(SettingError, match="steps: turbo mode has no refinement"):
        estimate(mode="turbo", steps=3)


def test_masks_of_segmentation_and_of_load_image(
    nodes: ModuleType, pipeline: StableNormal, images: Tensor
) -> None:
    marks = nodes.NODE_CLASS_MAPPINGS["StableNormalEstimate"].INPUT_TYPES()["optional"]["mask_marks"][0]

    def estimate(mask: Tensor, mark: str) -> tuple[Tensor, Tensor]:
        return run(
            nodes, "StableNormalEstimate",
            model=pipeline, image=images, mode="turbo", mask=mask, mask_marks=mark,
        )  # fmt: skip

    half = torch.zeros(1, 40, 48)
    half[:, :, :24] = 1
    colours, valid = estimate(half, marks[0])
    assert torch.equal(valid, half.expand(2, -1, -1))
    assert (colours[:, :, 24:] == 0).all() and (colours[:, :, :24] != 0).any(dim=-1).all()
    assert torch.equal(estimate(half, marks[1])[1], 1 - half.expand(2, -1, -1))
    assert estimate(torch.zeros(64, 64), marks[1])[1].all()  # Load Image, of a picture without alpha
    with pytest.raises(ImageShapeError, match="mask: expected a MASK"):
        estimate(torch.zeros(3, 40, 48), marks[0])


def test_frames_turn_and_turn_back(nodes: ModuleType, pipeline: StableNormal, images: Tensor) -> None:
    (colours, _) = run(nodes, "StableNormalEstimate", model=pipeline, image=images, mode="turbo")
    (turned,) = run(
        nodes, "StableNormalConvertFrame", normals=colours, from_frame="opengl", to_frame="directx"
    )
    assert torch.allclose(turned[..., 1], 1 - colours[..., 1], atol=1e-6)
    assert torch.allclose(turned[..., 0], colours[..., 0], atol=1e-6)
    (back,) = run(nodes, "StableNormalConvertFrame", normals=turned, from_frame="directx", to_frame="opengl")
    assert torch.allclose(back, colours, atol=1e-6)
    empty = torch.stack([torch.zeros(8, 8, 3), torch.full((8, 8, 3), 0.5)])  # black, and middle grey
    (nothing,) = run(nodes, "StableNormalConvertFrame", normals=empty, from_frame="opengl")
    assert (nothing == 0).all()


def test_refining_keeps_to_the_coarse_normals(
    nodes: ModuleType, pipeline: StableNormal, images: Tensor
) -> None:
    facing = torch.tensor([0.5, 0.5, 1.0]).expand(1, 40, 48, 3)
    refined = {
        strength: run(
            nodes, "StableNormalRefine",
            model=pipeline, image=images, coarse_normals=facing, frame="opengl", strength=strength,
        )[0]
        for strength in (0.05, 0.9)
    }  # fmt: skip
    assert refined[0.05].shape == images.shape
    assert not torch.equal(refined[0.05], refined[0.9])
    with pytest.raises(ImageShapeError, match="coarse_normals: 3 maps for 2 images"):
        run(
            nodes, "StableNormalRefine",
            model=pipeline, image=images, coarse_normals=facing.expand(3, -1, -1, -1),
        )  # fmt: skip


@pytest.mark.parametrize("format", ["png16", "exr", "npy", "png8"])
def test_files_have_all_bits_and_their_frame(
    nodes: ModuleType, pipeline: StableNormal, images: Tensor, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, format: str,
) -> None:  # fmt: skip
    def get_save_image_path(
        prefix: str, output: str, width: int, height: int
    ) -> tuple[str, str, int, str, str]:
        assert (width, height) == (48, 40)
        (Path(output) / "sub").mkdir()
        return str(Path(output) / "sub"), prefix, 7, "sub", prefix

    comfy = SimpleNamespace(
        get_output_directory=lambda: str(tmp_path), get_save_image_path=get_save_image_path
    )
    monkeypatch.setitem(sys.modules, "folder_paths", comfy)
    colours, _ = run(
        nodes, "StableNormalEstimate", model=pipeline, image=images, mode="turbo", frame="opencv"
    )
    told = run(nodes, "StableNormalSave", normals=colours, frame="opencv", format=format, filename_prefix="n")
    ending = {"exr": ".exr", "npy": ".npy"}.get(format, ".png")
    files = [f"n_{number:05}_{ending}" for number in (7, 8)]
    shown = files if ending == ".png" else []
    assert told == {
        "ui": {"images": [{"filename": file, "subfolder": "sub", "type": "output"} for file in shown]}
    }
    stored = read_normal_map(tmp_path / "sub" / files[1])
    assert stored.stored_frame == "opencv"
    expected = pipeline(images[1].permute(2, 0, 1), mode="turbo").numpy()
    assert angular_error_deg(stored.normals, expected).max() < (0.5 if format == "png8" else 0.01)


def test_the_loader_takes_a_folder(nodes: ModuleType, toy_model: Path) -> None:
    (model,) = run(nodes, "StableNormalLoadModel", weights=f" {toy_model} ", device="cpu", dtype="float32")
    assert model.spec == StableNormal.from_pretrained(toy_model).spec


def test_progress_is_told_and_an_interruption_ends_the_batch(
    nodes: ModuleType, pipeline: StableNormal, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    stop = False

    class Stopped(Exception):  # noqa: N818
        pass

    def check() -> None:
        if stop and steps:
            raise Stopped

    bar: Callable[[int], Any] = lambda total: SimpleNamespace(update=steps.append, total=total)  # noqa: E731
    monkeypatch.setitem(sys.modules, "comfy", ModuleType("comfy"))
    monkeypatch.setitem(sys.modules, "comfy.utils", SimpleNamespace(ProgressBar=bar))
    management = SimpleNamespace(throw_exception_if_processing_interrupted=check)
    monkeypatch.setitem(sys.modules, "comfy.model_management", management)
    run(nodes, "StableNormalEstimate", model=pipeline, image=images, mode="turbo")
    assert steps == [1, 1]
    steps.clear()
    stop = True
    with pytest.raises(Stopped):
        run(nodes, "StableNormalEstimate", model=pipeline, image=images, mode="turbo")
    assert steps == [1]


def test_without_the_package_one_line_says_what_to_install() -> None:
    code = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'stablenormal' else find(name)\n"
        f"spec = importlib.util.spec_from_file_location('nodes', {str(FOLDER / '__init__.py')!r})\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: the nodes of StableNormal need the package stablenormal" in done.stderr
