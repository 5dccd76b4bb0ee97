"""Puts objects and furniture into scenes."""

import numpy as np

from stablenormal.data.synthetic.assets import Asset
from stablenormal.data.synthetic.draws import Array, Rng, chance, direction
from stablenormal.data.synthetic.meshes import rotation, scaling, transformed, translation
from stablenormal.data.synthetic.pieces import Furniture
from stablenormal.data.synthetic.scene import SceneBuilder
from stablenormal.data.synthetic.shapes import Shape


def put_shape(
    build: SceneBuilder, rng: Rng, shape: Shape, foot: Array, size: float, tumble: float = 0.35
) -> None:
    """Stand an object on a point (3,), scaled to this radius, or let it lie anyhow (`tumble`: how likely)."""
    linear = rotation([0, 0, 1], rng.random() * 2 * np.pi)
    if chance(rng, 0.08 if shape.upright else tumble):
        linear = linear @ rotation(direction(rng), rng.random() * 2 * np.pi)
    if chance(rng, 0.5):
        linear = linear @ scaling(np.exp(rng.normal(0, 0.2, 3)))
    linear = linear @ scaling(size)
    lowest = float((shape.mesh.positions @ linear[2, :3]).min())
    pose = translation(foot - [0, 0, lowest]) @ linear
    build.add(shape.mesh, build.slot(shape.role), build.instance(shape.label), pose)


def put_asset(build: SceneBuilder, rng: Rng, asset: Asset, pose: Array) -> None:
    """Place a model that others made under a pose (4, 4)."""
    own = build.instance(asset.label)
    for part in asset.parts:
        emission = rng.uniform(0.5, 4) if part.role == "shade" and chance(rng, 0.25) else 0.0
        slot = build.slot(part.role, emission, part.paint)
        build.add(transformed(part.mesh, pose, own_texture=part.own_texture), slot, own)


def put_furniture(build: SceneBuilder, rng: Rng, piece: Furniture, pose: Array) -> None:
    """Place furniture; its parts share a material more often than not."""
    shared = build.slot(piece.parts[0].role) if chance(rng, 0.6) else None
    own = build.instance(piece.parts[0].label)
    for part in piece.parts:
        plain = part.role in ("furniture", "soft") and not part.separate
        slot = shared if shared is not None and plain else build.slot(part.role)
        if part.role == "shade" and chance(rng, 0.5):
            build.emissions[slot] = rng.uniform(0.5, 4)
        build.add(part.mesh, slot, build.instance(part.label) if part.separate else own, pose)
