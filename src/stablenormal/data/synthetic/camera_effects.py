"""What a camera does to light: background, exposure, white balance, tone curve, blur, noise, grey, JPEG."""

import cv2
import numpy as np
import numpy.typing as npt

from stablenormal.data.synthetic.draws import Array, Rng, chance, surface_colour
from stablenormal.data.synthetic.rasteriser import Map
from stablenormal.data.transforms import compressed

Image = npt.NDArray[np.uint8]


def photograph(rng: Rng, colour: Map, coverage: Map, textures: Image, *, phones: bool = False) -> Image:
    """Develop linear light into a display-coded picture.

    Args:
        rng: source of all choices.
        colour: (H, W, 3) linear, weighted by coverage.
        coverage: (H, W), how much of each pixel shows a surface.
        textures: (L, N, N, 4) display-coded pictures that can serve as background.
        phones: whether half of the pictures are also developed as telephones do: noise smoothed away in
            blotches, sharpened, with more local contrast, saved small and hard; and whether white grounds
            are as frequent as black ones, and pictures with hard light and dark more so.

    Returns:
        (H, W, 3) RGB.
    """
    picture = _tone(rng, _exposed(rng, colour, coverage))
    if coverage.min() < 1:
        weight = coverage[..., None].astype(float)
        whiter = phones and chance(rng, 0.25)
        ground = (
            np.full((*coverage.shape, 3), rng.uniform(0.85, 1))
            if whiter
            else background(rng, coverage.shape[0], textures)
        )
        picture = picture * weight + ground * (1 - weight)
    picture = _lens(rng, picture)
    if phones and chance(rng, 0.12):
        picture = _harder(rng, picture)
    picture = _colours(rng, picture)
    if phones and chance(rng, 0.5):
        return _phone(rng, picture)
    picture = _noise(rng, picture)
    image = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return compressed(image, int(rng.integers(35, 96))) if chance(rng, 0.5) else image


def _exposed(rng: Rng, colour: Map, coverage: Map) -> Array:
    """Unweighted by coverage, and scaled so that a high percentile of brightness lands at a chosen level."""
    covered = coverage > 0
    light = colour.astype(float)
    light[covered] /= coverage[covered][:, None]
    brightest = light[covered].max(-1)
    level = rng.uniform(0.4, 1.1)
    choice = rng.random()
    if choice < 0.08:  # low key: most of the picture dark
        level *= rng.uniform(0.15, 0.5)
    elif choice < 0.16:  # high key: much of it near white
        level *= rng.uniform(1.3, 2.4)
    gain = level / (np.percentile(brightest, rng.uniform(75, 98.5)) + 1e-4)
    balance = np.exp(rng.normal(0, 0.07 if chance(rng, 0.85) else 0.2, 3))
    exposed: Array = light * gain * balance
    return exposed


def _tone(rng: Rng, light: Array) -> Array:
    """Linear light to display code, by one of several curves."""
    choice = rng.random()
    if choice < 0.35:
        light = 1 - np.exp(-1.4 * light)
    elif choice < 0.6:
        light = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    coded = np.clip(light, 0, 1) ** (1 / rng.uniform(1.9, 2.5))
    if chance(rng, 0.35):  # more contrast: an S curve around the middle
        strength = rng.uniform(0.3, 1.0)
        coded = coded * (1 - strength) + strength * coded**2 * (3 - 2 * coded)
    return np.asarray(coded)


def background(rng: Rng, size: int, textures: Image) -> Array:
    """What stands behind a lone object, (size, size, 3): black, white, plain, graded or a blurred picture."""
    choice = rng.random()
    if choice < 0.35:
        return np.full((size, size, 3), 0.0 if chance(rng, 0.8) else rng.uniform(0, 0.1))
    if choice < 0.5:
        return np.full((size, size, 3), rng.uniform(0.8, 1))
    if choice < 0.72:
        grade = 1 - np.linspace(0, 1, size)[:, None, None] * rng.uniform(-0.3, 0.6)
        return np.clip(surface_colour(rng) * grade * np.ones((size, size, 1)), 0, 1)
    texture = textures[rng.integers(len(textures)), ..., :3] / 255.0 * rng.uniform(0.2, 1)
    picture = np.asarray(cv2.resize(texture, (size, size), interpolation=cv2.INTER_LINEAR), float)
    if chance(rng, 0.7):
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 6) * size / 256), float)
    return picture


def _lens(rng: Rng, picture: Array) -> Array:
    if chance(rng, 0.15):
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.2)), float)
    if chance(rng, 0.15):  # darker corners
        axis = np.linspace(-1, 1, picture.shape[0])
        picture = picture * (1 - rng.uniform(0.1, 0.5) * (axis[:, None] ** 2 + axis**2) / 2)[..., None]
    return picture


def _colours(rng: Rng, picture: Array) -> Array:
    """Less colour in some pictures; one in six is black and white, often seen through a filter and harder."""
    choice = rng.random()
    if choice < 0.16:
        weights = np.array([0.3, 0.59, 0.11]) if chance(rng, 0.5) else rng.dirichlet([2.0, 2.0, 1.0])
        grey = (picture @ weights)[..., None]
        if chance(rng, 0.6):  # an S curve around a level of the picture itself
            middle, slope = np.median(grey), rng.uniform(2, 9)
            grey = 1 / (1 + np.exp(-slope * (grey - middle)))
            grey = (grey - grey.min()) / max(float(np.ptp(grey)), 1e-3)
        toned = grey * (np.array([1.06, 1.0, 0.86]) if chance(rng, 0.15) else np.ones(3))
        return np.asarray(toned)
    keep = rng.uniform(0.2, 1.35) if choice < 0.4 else 1.0
    grey = (picture @ np.array([0.3, 0.59, 0.11]))[..., None]
    mixed: Array = picture * keep + grey * (1 - keep)
    return mixed


def _noise(rng: Rng, picture: Array) -> Array:
    if chance(rng, 0.5):
        channels = 1 if chance(rng, 0.5) else 3
        strength = rng.uniform(0.003, 0.03)
        picture = picture + rng.normal(0, strength, (*picture.shape[:2], channels))
    return picture


def _harder(rng: Rng, picture: Array) -> Array:
    """High contrast in colour: an S curve around the picture's middle, so that ends are lost."""
    middle, slope = float(np.median(picture)), rng.uniform(3, 8)
    low, high = (1 / (1 + np.exp(-slope * (end - middle))) for end in (0.0, 1.0))
    hard: Array = (1 / (1 + np.exp(-slope * (picture - middle))) - low) / (high - low)
    return hard


def _phone(rng: Rng, picture: Array) -> Image:
    """What a telephone saves: noise smoothed into blotches, local contrast, sharpened edges, JPEG."""
    side = picture.shape[0]
    shot = np.asarray(np.clip(picture, 0, 1), np.float32)
    strength = rng.uniform(0.004, 0.05)
    fine = rng.normal(0, strength, (side, side, 1))
    coarse = cv2.resize(
        rng.normal(0, 0.7 * strength, (side // 3 + 1, side // 3 + 1, 3)), (side, side),
        interpolation=cv2.INTER_LINEAR,
    )  # fmt: skip
    shot = np.asarray(shot + fine * (0.4 + 0.6 * (1 - shot)) + coarse, np.float32)
    if chance(rng, 0.6):  # smoothed where the noise is, edges kept
        shot = np.asarray(cv2.bilateralFilter(shot, 5, 2.5 * strength + 0.02, 2.0), np.float32)
    if chance(rng, 0.4):  # local contrast
        wide = np.asarray(cv2.GaussianBlur(shot, (0, 0), side / rng.uniform(12, 40)), np.float32)
        shot = shot + (shot - wide) * rng.uniform(0.15, 0.6)
    if chance(rng, 0.75):  # sharpened, with halos
        soft = np.asarray(cv2.GaussianBlur(shot, (0, 0), rng.uniform(0.6, 1.8)), np.float32)
        shot = shot + (shot - soft) * rng.uniform(0.4, 2.2)
    image: Image = (np.clip(shot, 0, 1) * 255 + 0.5).astype(np.uint8)
    if chance(rng, 0.3):  # made small and large again
        small = max(16, round(side * rng.uniform(0.45, 0.9)))
        image = np.asarray(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), np.uint8)
        image = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    return compressed(image, int(rng.integers(18, 90)))
