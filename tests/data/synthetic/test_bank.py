"""Everything a bank is made of: textures, environments, shapes, furniture, materials."""

import numpy as np
import pytest

from stablenormal.data.sample import CLASSES
from stablenormal.data.synthetic import furniture, materials, shapes, textures
from stablenormal.data.synthetic.bank import Bank, build_bank
from stablenormal.data.synthetic.draws import generator


@pytest.mark.parametrize("kind", textures.PAINTERS)
def test_texture_has_colour_and_repeats_from_its_seed(kind: str) -> None:
    first, again = (textures.paint(generator(4, 1), kind) for _ in range(2))
    assert first.shape == (textures.SIZE, textures.SIZE, 4) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, textures.paint(generator(5, 1), kind))
    assert first[..., :3].std() > 0.5


@pytest.mark.parametrize("kind", ["clouds", "marble", "brick", "fabric", "leather"])
def test_texture_tiles_without_a_seam(kind: str) -> None:
    colour = textures.PAINTERS[kind][1](generator(8))[0].mean(-1)
    inside = np.abs(np.diff(colour, axis=1)).mean(0)
    assert np.abs(colour[:, 0] - colour[:, -1]).mean() <= inside.max() * 1.5 + 1e-6


def test_environments_are_light() -> None:
    for painter in (textures.environment, textures.sky):
        light = painter(generator(1))
        assert light.shape == (64, 128, 3) and light.min() >= 0 and light.max() > 0.1


def test_sky_is_brighter_than_its_ground() -> None:
    light = np.mean([textures.sky(generator(1, k)) for k in range(8)], 0)
    assert light[:30].mean() > light[34:].mean()


@pytest.mark.parametrize("kind", shapes.MAKERS)
def test_shape_fits_the_unit_ball(kind: str) -> None:
    for seed in range(3):
        shape = shapes.make_shape(generator(seed), kind)
        vertices = shape.mesh.vertices
        assert np.isfinite(vertices).all()
        assert np.linalg.norm(vertices[:, :3], axis=1).max() == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(np.linalg.norm(vertices[:, 3:6], axis=1), 1, atol=1e-4)
        assert 4 <= len(shape.mesh.faces) < 9000
        assert shape.label in CLASSES and shape.role in materials.ROLES


def test_figurine_normals_follow_its_surface() -> None:
    mesh = shapes.figurine(generator(2))
    corners = mesh.positions[mesh.faces].astype(float)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(flat, axis=1)
    smooth = mesh.vertices[mesh.faces, 3:6].mean(1)
    cosine = np.abs((flat / size[:, None] * smooth).sum(1))
    assert np.average(cosine, weights=size) > 0.96


def test_crumpled_sheet_has_creases() -> None:
    mesh = shapes.crumpled_sheet(generator(1))
    corners = mesh.positions[mesh.faces].astype(float)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    flat *= np.sign(flat[:, 2:])
    assert flat.std(0)[:2].min() > 0.1


@pytest.mark.parametrize("kind", furniture.MAKERS)
def test_furniture_stands_on_the_floor(kind: str) -> None:
    for seed in range(4):
        piece = furniture.MAKERS[kind][1](generator(seed))
        low, high = piece.bounds()
        assert -0.03 < low[2] < 0.06
        assert 0.2 < high[2] < 2.6 and (high - low)[:2].max() < 5
        assert sum(len(part.mesh.faces) for part in piece.parts) < 40_000
        for part in piece.parts:
            assert part.label in CLASSES and part.role in materials.ROLES
            assert np.isfinite(part.mesh.vertices).all()
        if piece.top:
            assert piece.top[2] == pytest.approx(high[2], abs=1.6)


def test_chairs_have_thin_parts() -> None:
    areas = []
    for seed in range(6):
        piece = furniture.chair(generator(seed))
        _, high = piece.bounds()
        frame = piece.parts[1].mesh.positions
        areas.append(len(frame))
        assert high[2] > 0.7
    assert len(set(areas)) > 2


def test_bank_holds_every_kind(bank: Bank) -> None:
    assert set(bank.layers) == set(textures.PAINTERS)
    assert {shape.kind for shape in bank.shapes} == set(shapes.MAKERS)
    assert {piece.kind for piece in bank.furniture} == set(furniture.MAKERS)
    assert len(bank.textures) == sum(len(rows) for rows in bank.layers.values())
    assert [shape.kind for shape in bank.shapes_of_kind("cup")] == ["cup"] * len(bank.shapes_of_kind("cup"))
    assert {piece.kind for piece in bank.of_kind("sofa", "bed")} == {"sofa", "bed"}


def test_bank_depends_on_its_seed_alone() -> None:
    first, again, other = (build_bank(generator(seed), fraction=0.01) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.textures, again.textures)
    np.testing.assert_array_equal(first.environments, again.environments)
    for one, two in zip(first.shapes, again.shapes, strict=True):
        np.testing.assert_array_equal(one.mesh.vertices, two.mesh.vertices)
    assert not np.array_equal(first.textures, other.textures)
    assert not np.array_equal(first.shapes[0].mesh.vertices[:9], other.shapes[0].mesh.vertices[:9])


@pytest.mark.parametrize("role", materials.ROLES)
def test_material_numbers_are_in_range(bank: Bank, role: str) -> None:
    rows = materials.draw_materials(generator(6), [role] * 60, bank.layers, {3: 2.5})
    assert rows.shape == (60, materials.FIELDS)
    assert rows[:, 0].min() >= 0 and rows[:, 0].max() < len(bank.textures)
    assert rows[:, 3].min() >= 0.05 and rows[:, 3].max() <= 1
    assert rows[:, 4:7].min() >= 0 and rows[:, 4:7].max() <= 1
    assert rows[3, 12] == 2.5 and np.count_nonzero(rows[:, 12]) == 1
    assert len(np.unique(rows[:, 0])) > 3
