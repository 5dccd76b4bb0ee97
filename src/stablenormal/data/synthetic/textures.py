"""Procedural textures: tileable colour (display-coded) and height, and lighting environments.

Every painter takes a generator and returns colour (N, N, 3) in [0, 1] and height (N, N), about unit range.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from stablenormal.data.synthetic.draws import (
    Array,
    Rng,
    chance,
    hsv_to_rgb,
    log_uniform,
    pick,
    surface_colour,
)

SIZE = 256
"""Side of a texture in pixels."""
GRID_Y, GRID_X = np.meshgrid(np.arange(SIZE) / SIZE, np.arange(SIZE) / SIZE, indexing="ij")
Painted = tuple[Array, Array]


def noise(rng: Rng, beta: float, stretch: tuple[float, float] = (1, 1), size: int = SIZE) -> Array:
    """Tileable noise (size, size) with power spectrum 1 / f^(beta + 1), zero mean, unit variance."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    rows = np.fft.fftfreq(size)[:, None] * size * stretch[0]
    columns = np.fft.rfftfreq(size)[None] * size * stretch[1]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1e9
    field = np.fft.irfft2(spectrum / frequency ** (beta / 2 + 0.5), s=(size, size))
    scaled: Array = (field - field.mean()) / (field.std() + 1e-9)
    return scaled


def to_unit_range(field: Array) -> Array:
    """The field scaled so that its 1st and 99th percentile become 0 and 1, and clipped."""
    low, high = np.percentile(field, [1, 99])
    scaled: Array = np.clip((field - low) / (high - low + 1e-9), 0, 1)
    return scaled


def blend(first: Array, second: Array, weight: Array) -> Array:
    """Colours mixed by a weight map (N, N): 0 gives the first, 1 the second."""
    return first * (1 - weight[..., None]) + second * weight[..., None]


def cells(rng: Rng, count: int) -> tuple[npt.NDArray[np.int64], Array]:
    """Tileable Voronoi cells: the cell of each pixel (N, N), and its distance to the cell border."""
    points = rng.random((count, 2))
    pixels = np.stack([GRID_Y, GRID_X], -1).reshape(-1, 2)
    distance, index = cKDTree(points, boxsize=1).query(pixels, k=2)
    border = (distance[:, 1] - distance[:, 0]).reshape(SIZE, SIZE) * np.sqrt(count)
    return index[:, 0].reshape(SIZE, SIZE), border


def courses(columns: int, rows: int, gap: float, shift: float) -> tuple[npt.NDArray[np.int64], Array]:
    """Rows of blocks: the block of each pixel (N, N), and 0 in the joint to 1 on the block."""
    row = np.floor(GRID_Y * rows)
    u, v = GRID_X * columns + row * shift, GRID_Y * rows
    block = (np.floor(u) % columns + row * columns).astype(np.int64)
    to_side, to_top = np.minimum(u % 1, 1 - u % 1) / columns, np.minimum(v % 1, 1 - v % 1) / rows
    return block, np.clip(np.minimum(to_side, to_top) / gap, 0, 1)


def _plain(rng: Rng) -> Painted:
    colour = surface_colour(rng)
    return blend(colour, colour * 0.92, to_unit_range(noise(rng, 2))), 0.1 * noise(rng, 2)


def _clouds(rng: Rng) -> Painted:
    field = to_unit_range(noise(rng, rng.uniform(1.2, 3)))
    return blend(surface_colour(rng), surface_colour(rng), field), field


def _marble(rng: Rng) -> Painted:
    phase = 2 * np.pi * (rng.integers(1, 4) * GRID_X + rng.integers(1, 4) * GRID_Y) + 2.5 * noise(rng, 2.6)
    veins = np.abs(np.sin(phase)) ** rng.uniform(0.2, 0.6)
    return blend(surface_colour(rng), surface_colour(rng), veins), np.zeros((SIZE, SIZE))


def _grain(rng: Rng) -> Painted:
    if chance(rng, 0.5):
        grain = noise(rng, 1.8, (12, 1))
    else:
        grain = np.sin(18 * noise(rng, 2.8, (4, 1)))
    base = hsv_to_rgb(
        float(rng.normal(0.075, 0.015)) % 1, float(rng.uniform(0.2, 0.7)), float(rng.uniform(0.25, 0.9))
    )
    return blend(base, base * rng.uniform(0.5, 0.85), to_unit_range(grain)), 0.15 * grain


def _planks(rng: Rng) -> Painted:
    colour, height = _grain(rng)
    block, face = courses(int(rng.integers(1, 3)), int(rng.integers(3, 9)), 0.004, rng.random())
    tone, slide = rng.uniform(0.72, 1.12, block.max() + 1), rng.integers(0, SIZE, block.max() + 1)
    rows = np.arange(SIZE)[:, None]
    shifted = colour[rows, (np.arange(SIZE)[None] + slide[block]) % SIZE]
    return shifted * tone[block][..., None] * (0.3 + 0.7 * face[..., None]), height + 1.2 * face


def _blocks(rng: Rng, *, bricks: bool) -> Painted:
    if bricks:
        block, face = courses(int(rng.integers(2, 6)), 2 * int(rng.integers(2, 6)), 0.012, 0.5)
    else:
        count = int(rng.integers(2, 7))
        block, face = courses(count, count, rng.uniform(0.003, 0.01), 0.0)
    spread = 0.25 if bricks or chance(rng, 0.4) else 0.02
    tone = rng.uniform(1 - spread, 1 + spread * 0.8, block.max() + 1)[block]
    stained = surface_colour(rng) * (tone * (1 - 0.3 * to_unit_range(noise(rng, 1.5))))[..., None]
    height = 2.5 * np.sqrt(face) + (0.4 * noise(rng, 1.5) if bricks else 0.0)
    return blend(surface_colour(rng), stained, face), height


def _terrazzo(rng: Rng) -> Painted:
    index, border = cells(rng, int(rng.integers(30, 400)))
    palette = np.stack([surface_colour(rng) for _ in range(6)])
    chips = palette[rng.integers(0, 6, index.max() + 1)[index]]
    return blend(surface_colour(rng), chips, np.clip(border * 6 - 0.8, 0, 1)), np.zeros((SIZE, SIZE))


def _fabric(rng: Rng) -> Painted:
    threads = rng.integers(16, 48)
    weave = np.sin(2 * np.pi * threads * GRID_X) * np.sin(2 * np.pi * threads * GRID_Y)
    colour = surface_colour(rng)
    return blend(colour, colour * 0.62, to_unit_range(weave + 0.4 * noise(rng, 1))), 0.8 * weave


def _carpet(rng: Rng) -> Painted:
    pile = noise(rng, rng.uniform(-0.5, 0.6))
    colour = surface_colour(rng)
    return blend(colour, colour * 0.55, to_unit_range(pile + 0.5 * noise(rng, 2))), 0.5 * pile


def _checker(rng: Rng) -> Painted:
    count = 2 * rng.integers(1, 6)
    squares = (np.floor(GRID_X * count) + np.floor(GRID_Y * count)) % 2
    colour = blend(surface_colour(rng), surface_colour(rng), squares)
    return colour * (1 - 0.15 * to_unit_range(noise(rng, 1.5))[..., None]), np.zeros((SIZE, SIZE))


def _stripes(rng: Rng) -> Painted:
    bars = ((GRID_X * rng.integers(2, 14)) % 1 > rng.uniform(0.2, 0.8)).astype(float)
    return blend(surface_colour(rng), surface_colour(rng), bars), np.zeros((SIZE, SIZE))


def _dots(rng: Rng) -> Painted:
    count = rng.integers(3, 12)
    distance = np.hypot((GRID_X * count) % 1 - 0.5, (GRID_Y * count) % 1 - 0.5)
    spots = np.clip((rng.uniform(0.15, 0.4) - distance) * 20, 0, 1)
    return blend(surface_colour(rng), surface_colour(rng), spots), spots * rng.choice([0, 1, -1])


def _leather(rng: Rng) -> Painted:
    _, border = cells(rng, int(rng.integers(300, 1500)))
    colour = surface_colour(rng)
    return blend(colour * 0.65, colour, np.clip(border * 3, 0, 1)), np.clip(border * 2, 0, 1)


def _paint_colour(rng: Rng, vivid: bool = True) -> tuple[int, int, int]:
    red, green, blue = (surface_colour(rng, vivid=vivid) * 255).astype(int)
    return int(red), int(green), int(blue)


def _leaves(rng: Rng) -> Painted:
    """Overlapping shapes of all sizes, as in photographs: many small, few large."""
    canvas = np.full((SIZE, SIZE, 3), _paint_colour(rng), np.uint8)
    palette = [_paint_colour(rng, chance(rng, 0.5)) for _ in range(rng.integers(4, 16))]
    for _ in range(rng.integers(60, 400)):
        size = SIZE * 0.5 * min(1.0, 0.03 / (rng.random() + 0.02))
        centre, colour = rng.uniform(-20, SIZE + 20, 2), pick(rng, palette)
        turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        reach = size * rng.uniform(0.4, 1.3, (len(turn), 1))
        corners = centre + reach * np.stack([np.cos(turn), np.sin(turn)], 1)
        if chance(rng, 0.35):
            axes = (int(size) + 1, int(size * rng.uniform(0.3, 1)) + 1)
            cv2.ellipse(
                canvas, (int(centre[0]), int(centre[1])), axes, rng.uniform(0, 180), 0, 360, colour, -1
            )
        else:
            cv2.fillPoly(canvas, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), 0.7), float) / 255, 0.2 * noise(rng, 1.5)


def _print(rng: Rng) -> Painted:
    """A poster: soft gradients under bars and discs."""
    colour = blend(surface_colour(rng), surface_colour(rng), to_unit_range(noise(rng, 3.5)))
    for _ in range(rng.integers(4, 20)):
        turn, x, y = rng.random() * 2 * np.pi, rng.random(), rng.random()
        along = (GRID_X - x) * np.cos(turn) + (GRID_Y - y) * np.sin(turn)
        across = (GRID_Y - y) * np.cos(turn) - (GRID_X - x) * np.sin(turn)
        bar = (np.abs(along) < rng.uniform(0.02, 0.3)) & (np.abs(across) < rng.uniform(0.02, 0.3))
        disc = np.hypot(along, across) < rng.uniform(0.02, 0.2)
        inside = (bar if chance(rng, 0.6) else disc).astype(float)
        colour = blend(colour, surface_colour(rng, vivid=True), inside * rng.uniform(0.5, 1))
    return colour, np.zeros((SIZE, SIZE))


_LETTERS = "abcdefghiklmnoprstuvwxyz ABCDEFGHKLMNOPRSTU 0123456789 &.,"


def _text(rng: Rng) -> Painted:
    """Labels and pages: blocks of words over a plain or pictured ground."""
    ground = _leaves(rng)[0] if chance(rng, 0.25) else np.ones((SIZE, SIZE, 3)) * surface_colour(rng)
    image = Image.fromarray((ground * 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 5)):
        x, y, width, height = rng.integers([0, 0, 10, 10], [SIZE, SIZE, 200, 120])
        draw.rectangle((int(x), int(y), int(x + width), int(y + height)), fill=_paint_colour(rng))
    for _ in range(rng.integers(1, 14)):
        font = ImageFont.load_default(log_uniform(rng, 8, 70))
        lines = ["".join(rng.choice(list(_LETTERS), rng.integers(3, 22))) for _ in range(rng.integers(1, 5))]
        x, y = rng.integers(-20, SIZE - 30, 2)
        draw.multiline_text((int(x), int(y)), "\n".join(lines), fill=_paint_colour(rng), font=font)
    return np.asarray(image) / 255.0, np.zeros((SIZE, SIZE))


PAINTERS: dict[str, tuple[int, Callable[[Rng], Painted]]] = {
    "plain": (14, _plain),
    "clouds": (10, _clouds),
    "marble": (7, _marble),
    "wood": (14, _grain),
    "planks": (12, _planks),
    "brick": (8, lambda rng: _blocks(rng, bricks=True)),
    "tiles": (10, lambda rng: _blocks(rng, bricks=False)),
    "terrazzo": (6, _terrazzo),
    "fabric": (10, _fabric),
    "carpet": (8, _carpet),
    "checker": (5, _checker),
    "stripes": (8, _stripes),
    "dots": (5, _dots),
    "leather": (6, _leather),
    "print": (16, _print),
    "leaves": (20, _leaves),
    "text": (22, _text),
}
"""Texture kind -> how many a bank holds, and its painter."""


def paint(rng: Rng, kind: str) -> npt.NDArray[np.uint8]:
    """One texture (SIZE, SIZE, 4): display-coded colour and height, sometimes stained."""
    colour, height = PAINTERS[kind][1](rng)
    if chance(rng, 0.35):
        colour = colour * (1 - rng.uniform(0.1, 0.5) * to_unit_range(noise(rng, 2.2))[..., None])
    layers = np.dstack([np.clip(colour, 0.02, 0.97), np.clip(height / 6 + 0.5, 0, 1)])
    return (layers * 255).astype(np.uint8)


def environment(rng: Rng, rows: int = 64) -> npt.NDArray[np.float32]:
    """An equirectangular environment (rows, 2 rows, 3), linear, z up: a soft gradient with bright windows."""
    latitude = np.linspace(1, -1, rows)[:, None, None]
    up, level, down = (surface_colour(rng) ** 2.2 * log_uniform(rng, 0.2, 2) for _ in range(3))
    sky = np.where(latitude > 0, level + (up - level) * latitude, level + (down - level) * -latitude)
    clouds = to_unit_range(noise(rng, 2.5, size=rows))[:, np.arange(2 * rows) % rows]
    image = sky * (1 + 0.5 * clouds[..., None])
    for _ in range(rng.integers(1, 7)):
        top, left = int(rng.integers(0, int(rows * 0.8))), int(rng.integers(0, 2 * rows))
        high, wide = int(rng.integers(2, 18)), int(rng.integers(2, 30))
        columns = np.arange(left, left + wide) % (2 * rows)
        image[np.ix_(np.arange(top, min(rows, top + high)), columns)] += surface_colour(rng) * log_uniform(
            rng, 1, 20
        )
    smooth = gaussian_filter(image, (0.6, 0.6, 0), mode=("nearest", "wrap", "nearest"))
    return np.asarray(smooth, np.float32)


def sky(rng: Rng, rows: int = 64) -> npt.NDArray[np.float32]:
    """An outdoor environment (rows, 2 rows, 3), linear: blue to grey sky with clouds over a dull ground."""
    latitude = np.linspace(1, -1, rows)[:, None, None]
    zenith = hsv_to_rgb(0.58, float(rng.uniform(0.05, 0.75)), float(rng.uniform(0.5, 0.95))) ** 2.2
    horizon = zenith * 0.4 + 0.6 * rng.uniform(0.6, 1.0)
    ground = surface_colour(rng) ** 2.2 * 0.5
    above = horizon + (zenith - horizon) * np.clip(latitude, 0, 1) ** 0.6
    cover = to_unit_range(noise(rng, 2.4, (2, 1), rows))[:, np.arange(2 * rows) % rows, None]
    clouds = np.clip((cover - rng.uniform(0.2, 0.9)) * 3, 0, 1)
    image = np.where(latitude > 0, above * (1 - clouds) + clouds * rng.uniform(0.5, 1.0), ground)
    return np.ascontiguousarray(image, np.float32)
