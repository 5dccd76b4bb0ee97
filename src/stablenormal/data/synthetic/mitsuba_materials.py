"""Rows of the material table as Mitsuba surfaces, equal in meaning to the rasteriser's shader.

Every surface has one of two plugin graphs, and all its numbers but one are bitmaps: then Mitsuba's compiled
variants find the kernels of the last scene again (5 s of compilation a scene otherwise).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from stablenormal.data.synthetic.draws import Array

MIN_ROUGHNESS = 0.1
"""Lamps are clusters of points, whose mirror images smoother surfaces would show as sparks."""
STEEPEST = 0.9
"""Slope that 99 of 100 places of a bump map stay under; steeper ones only make black specks."""
RIPPLE = 1e-3
"""Slope of the ripple."""
GLASS_ETA = 1.5
CLEAR_PALENESS = 0.65
"""How much paler a wholly clear material is painted, as light crosses two or four of its walls on its way."""


def texture_coordinates(uv: npt.NDArray[np.float32], material: Array) -> npt.NDArray[np.float32]:
    """Texture coordinates (V, 2) in repeats, from metres: scaled, turned and shifted as the material says."""
    repeats, turn, reflectance = material[1], material[13], material[14]
    cos, sin = np.cos(turn), np.sin(turn)
    turned = uv @ np.array([[cos, sin], [-sin, cos]])
    return np.asarray(turned * repeats + [turn * 7.0, reflectance * 50.0], np.float32)


def painted_colour(texture: npt.NDArray[np.uint8], material: Array) -> npt.NDArray[np.float32]:
    """Linear colour (N, N, 3) of a texture (N, N, 4) under the tints of a material."""
    tint, second, replace = material[4:7], material[8:11], material[11]
    painted = (texture[..., :3] / 255.0) ** 2
    light = np.clip(painted @ [0.3, 0.6, 0.1] * 1.6, 0, 1)[..., None]
    mixed = painted * tint * (1 - replace) + (second * (1 - light) + tint * light) * replace
    mixed = np.clip(mixed, 0, 1) ** (1 - CLEAR_PALENESS * material[15])
    return np.asarray(mixed, np.float32)


def height_map(texture: npt.NDArray[np.uint8], material: Array) -> npt.NDArray[np.float32]:
    """Height (N, N) in metres, flattened where its slopes would be too steep to shade.

    An invisible ripple lies over it: where it is exactly level, Mitsuba 3.9's bump map makes glossy surfaces
    NaN.
    """
    side, bump = texture.shape[0], material[2]
    texel = 1 / (side * material[1])
    height = texture[..., 3] / 255.0 * bump
    steps = [(np.roll(height, -1, axis) - height) / texel for axis in (0, 1)]
    steep = float(np.percentile(np.hypot(*steps), 99))
    ripple = RIPPLE * texel * (np.indices((side, side)).sum(0) % 2)
    return np.asarray(height * min(1.0, STEEPEST / max(steep, 1e-9)) + ripple, np.float32)


def paint(mitsuba: Any, texture: npt.NDArray[np.uint8], material: Array) -> Any:
    """The painted colour of a material as a Mitsuba texture."""
    return mitsuba.load_dict(_bitmap(mitsuba, painted_colour(texture, material)))


def matt(mitsuba: Any, paint: Any) -> Any:
    """A surface that has only this paint."""
    return mitsuba.load_dict({"type": "twosided", "nested": {"type": "diffuse", "reflectance": paint}})


def surface(mitsuba: Any, paint: Any, texture: npt.NDArray[np.uint8], material: Array) -> Any:
    """The Mitsuba BSDF of one material.

    Opaque materials are Disney's principled surface. Clear and translucent ones are its thin variant, which
    lets light through a sheet without bending it, clear (the walls of a glass or a bottle) or scattered (wax,
    paper, a leaf).

    Args:
        mitsuba: the module, with its variant set.
        paint: its colour, see `paint`.
        texture: (N, N, 4), the layer that the material names.
        material: (FIELDS,), see `draw_material`.
    """

    def number(value: float) -> dict[str, Any]:
        return _bitmap(mitsuba, np.full((2, 2, 1), value, np.float32))

    roughness, metalness, reflectance, clearness, translucency = (
        float(material[k]) for k in (3, 7, 14, 15, 16)
    )
    thin = clearness > 0 or translucency > 0
    look: dict[str, Any] = {"base_color": paint, "roughness": number(max(roughness, MIN_ROUGHNESS))}
    if thin:
        # Mitsuba's `diff_trans` is 1 where half of the scattered light goes through.
        look |= {"type": "principledthin", "spec_trans": number(clearness), "eta": GLASS_ETA}
        look |= {"diff_trans": number(translucency)}
    else:
        # Disney's `specular` is the reflectance at normal incidence in units of 0.08; it takes no bitmap.
        # At zero Mitsuba would make metals black, too.
        specular = float(np.clip(round(reflectance / 0.08 * 4) / 4, 0.25, 1.0))
        look |= {"type": "principled", "metallic": number(metalness), "specular": specular}
    heights = height_map(texture if material[2] > 0 else texture[:2, :2], material)[..., None]
    bumpy = {"type": "bumpmap", "arbitrary": _bitmap(mitsuba, heights), "scale": 1.0, "nested": look}
    return mitsuba.load_dict(bumpy if thin else {"type": "twosided", "nested": bumpy})


def _bitmap(mitsuba: Any, values: npt.NDArray[np.float32]) -> dict[str, Any]:
    picture = mitsuba.Bitmap(np.ascontiguousarray(values))
    return {"type": "bitmap", "bitmap": picture, "raw": True, "wrap_mode": "repeat"}
