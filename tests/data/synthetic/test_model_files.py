"""Models of others: OBJ with its MTL and picture, GLB, and broken ones."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from stablenormal.data.synthetic import model_files
from stablenormal.data.synthetic.model_files import Beside, ModelPart, read_model
from stablenormal.errors import DataError

Read = Callable[..., tuple[list[ModelPart], list[str]]]


@pytest.fixture
def read() -> Read:
    def parts_of(name: str, data: bytes, **files: bytes) -> tuple[list[ModelPart], list[str]]:
        there = {key.replace("__", "."): value for key, value in files.items()}
        beside = Beside("", there.__getitem__)
        return read_model(name, data, beside), beside.missing

    return parts_of


def test_an_obj_has_the_colour_opacity_and_picture_of_its_mtl(handmade: ModuleType, read: Read) -> None:
    library = handmade.mtl(lines="Kd 0.8 0.4 0.2\nd 0.25\nmap_Kd wood.png").encode()
    (part,), missing = read(
        "cube.obj", handmade.cube_obj().encode(), model__mtl=library, wood__png=handmade.picture_png()
    )
    assert not missing and part.material == "paint"
    assert part.points.shape == (8, 3) and part.faces.shape == (12, 3)  # corners shared again
    np.testing.assert_allclose(part.colour, (0.8, 0.4, 0.2), atol=0.01)
    assert part.opacity == 0.25
    assert part.picture is not None and part.picture.shape == (8, 8, 4)
    assert part.uv is not None and part.uv.shape == (12, 3, 2)
    assert set(np.unique(part.uv)) == {0, 1}


def test_tr_is_the_opposite_of_d(handmade: ModuleType, read: Read) -> None:
    library = handmade.mtl(lines="Kd 1 1 1\nTr 0.7").encode()
    (part,), _ = read("cube.obj", handmade.cube_obj().encode(), model__mtl=library)
    assert part.opacity == pytest.approx(0.3)


def test_a_part_that_nobody_sees_is_left_out(handmade: ModuleType, read: Read) -> None:
    library = handmade.mtl(lines="Kd 1 1 1\nd 0").encode()
    with pytest.raises(DataError, match=r"cube.obj: holds no triangles"):
        read("cube.obj", handmade.cube_obj().encode(), model__mtl=library)


def test_a_glb_is_read(handmade: ModuleType, read: Read) -> None:
    (part,), missing = read("cube.glb", handmade.cube_glb(0.2))
    assert not missing and part.picture is None and part.opacity == 1
    assert len(part.faces) == 12
    np.testing.assert_allclose(np.ptp(part.points, 0), 0.2)


def test_missing_library_and_picture_are_told(handmade: ModuleType, read: Read) -> None:
    (part,), missing = read("cube.obj", handmade.cube_obj().encode())
    assert missing == ["model.mtl"] and part.picture is None and part.uv is None
    library = handmade.mtl(lines="Kd 0 1 0\nmap_Kd C:\\textures\\gone.png").encode()
    (part,), missing = read("cube.obj", handmade.cube_obj().encode(), model__mtl=library)
    assert missing == ["C:\\textures\\gone.png"] and part.picture is None
    np.testing.assert_allclose(part.colour, (0, 1, 0))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.obj", b"", "empty.obj: "),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "points.obj: holds no triangles"),
        ("broken.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "broken.obj: cannot be read as a model"),
        ("noise.glb", b"glTF" + bytes(40), "noise.glb: cannot be read as a model"),
    ],
)
def test_broken_models_get_one_line(read: Read, name: str, data: bytes, message: str) -> None:
    with pytest.raises(DataError) as told:
        read(name, data)
    assert str(told.value).startswith(message) and "\n" not in str(told.value)


def test_a_model_with_too_many_faces_is_refused_before_it_is_parsed(
    handmade: ModuleType, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "MOST_FACES", 5)
    monkeypatch.setattr(model_files.trimesh, "load_scene", lambda *_, **__: pytest.fail("was parsed"))
    with pytest.raises(DataError, match="cube.obj: has 6 faces, more than 5; simplify it first"):
        read("cube.obj", handmade.cube_obj().encode())


def test_a_glb_with_too_many_faces_is_refused(
    handmade: ModuleType, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "MOST_FACES", 5)
    with pytest.raises(DataError, match="has 12 faces, more than 5"):
        read("cube.glb", handmade.cube_glb())
