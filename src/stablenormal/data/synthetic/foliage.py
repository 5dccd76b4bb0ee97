"""Gardens: ground that rises and falls, grass, bushes, trees, stones, hedges, a wall or a fence."""

import numpy as np

from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.draws import Array, Rng, chance, direction, log_uniform, pick
from stablenormal.data.synthetic.meshes import box, grid, rod, rotation, scaling, translation
from stablenormal.data.synthetic.placing import put_furniture, put_shape
from stablenormal.data.synthetic.scene import Scene, SceneBuilder
from stablenormal.data.synthetic.thin import creeper
from stablenormal.data.synthetic.waves import wave_field


def foliage(rng: Rng, bank: Bank) -> Scene:
    """A garden, a wood's edge or a bed of plants under the sky."""
    build = SceneBuilder("foliage")
    swell = wave_field(rng, 3, rng.uniform(0.15, 0.5))
    steep = rng.uniform(0, 0.7)

    def ground_at(x: Array, y: Array) -> Array:
        return np.asarray(steep * swell(np.stack([x, y, 0 * x], -1)))

    axis = np.sinh(np.linspace(-3.2, 3.2, 44)) / np.sinh(3.2) * 40
    x, y = np.meshgrid(axis, axis, indexing="ij")
    ground = grid(np.stack([x, y, ground_at(x, y)], -1), crease_deg=75.0)
    build.add(ground, build.slot("grass" if chance(rng, 0.6) else "ground"), build.instance("ground"))
    focuses: list[Array] = []

    def foot(spread: float) -> Array:
        at = rng.normal(0, spread, 2)
        return np.array([*at, float(ground_at(at[0], at[1]))])

    greens = [build.slot("leaf") for _ in range(3)]
    bushes, tufts = bank.shapes_of_kind("bush"), bank.shapes_of_kind("tuft", "palm", "plant")
    for _ in range(rng.integers(2, 9)):
        size, at = log_uniform(rng, 0.3, 1.4), foot(2.0)
        pose = translation(at + [0, 0, size * 0.6]) @ rotation([0, 0, 1], rng.random() * 6)
        build.add(pick(rng, bushes).mesh, pick(rng, greens), build.instance("plant"), pose @ scaling(size))
        focuses.append(at + [0, 0, size * 0.6])
    for _ in range(rng.integers(4, 16)):
        size, at, shape = log_uniform(rng, 0.15, 0.6), foot(1.6), pick(rng, tufts)
        low, _ = shape.mesh.bounds()
        pose = translation(at - [0, 0, low[2] * size]) @ rotation([0, 0, 1], rng.random() * 6)
        build.add(shape.mesh, pick(rng, greens), build.instance("plant"), pose @ scaling(size))
        focuses.append(at + [0, 0, size * 0.5])
    for _ in range(rng.integers(0, 5)):
        at = foot(5.0)
        plant_tree(build, rng, bank, at)
        focuses.append(at + [0, 0, 1.5])
    stones = bank.shapes_of_kind("blob", "figurine", "superquadric")
    stone = build.slot("ground")
    for _ in range(rng.integers(0, 8)):
        size, at = log_uniform(rng, 0.08, 0.7), foot(2.0)
        pose = translation(at + [0, 0, 0.25 * size]) @ rotation(direction(rng), rng.random() * 6)
        build.add(pick(rng, stones).mesh, stone, build.instance("object"), pose @ scaling(size))
        focuses.append(at)
    if chance(rng, 0.5):
        piece = pick(rng, bank.of_kind("bench", "railing", "chair", "table", "stairs"))
        at = foot(1.5)
        put_furniture(build, rng, piece, translation(at) @ rotation([0, 0, 1], rng.random() * 6))
        focuses.append(at + [0, 0, 0.5])
    if chance(rng, 0.35):
        statues = bank.shapes_of_kind("head", "animal", "vase", "cup")
        put_shape(build, rng, pick(rng, statues), foot(1.0), rng.uniform(0.2, 0.6), tumble=0.1)
    if chance(rng, 0.45):  # a garden wall, often overgrown
        turn, away, tall = rng.random() * 2 * np.pi, rng.uniform(2, 5), rng.uniform(0.8, 4)
        pose = rotation([0, 0, 1], turn) @ translation([0, away, 0])
        build.add(
            box((14, 0.3, tall + 1)),
            build.slot("facade"),
            build.instance("wall"),
            pose @ translation([0, 0.15, tall / 2 - 0.5]),
        )
        if chance(rng, 0.6):
            build.add(
                creeper(rng, rng.uniform(2, 8), tall),
                pick(rng, greens),
                build.instance("plant"),
                pose @ translation([rng.normal(0, 1), -0.02, 0]),
            )
    low, high = np.array([-3.0, -3, -0.3]), np.array([3.0, 3, 2.2])
    return build.bake(low, high, focuses=focuses, outdoors=True)


def plant_tree(build: SceneBuilder, rng: Rng, bank: Bank, foot: Array) -> None:
    """A trunk with boughs and a crown of leaves, or of solid lumps."""
    tall, this, leaf, bark = (
        rng.uniform(1.5, 3.5),
        build.instance("plant"),
        build.slot("leaf"),
        build.slot("bark"),
    )
    lean = np.array([*rng.normal(0, 0.12, 2), 1.0]) * tall
    build.add(rod(foot - [0, 0, 0.2], foot + lean, rng.uniform(0.08, 0.2), 0.06), bark, this)
    leafy = chance(rng, 0.75)
    crowns = bank.shapes_of_kind("bush") if leafy else bank.shapes_of_kind("blob", "figurine")
    for _ in range(rng.integers(2, 5)):
        at = foot + lean + rng.normal(0, 0.5, 3) * [1, 1, 0.7] + [0, 0, 0.3]
        build.add(rod(foot + 0.8 * lean, at, 0.05, 0.02, 6), bark, this)
        pose = translation(at) @ rotation(direction(rng), rng.random() * 6) @ scaling(rng.uniform(0.6, 1.4))
        build.add(pick(rng, crowns).mesh, leaf, this, pose)
