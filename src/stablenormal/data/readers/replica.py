"""Replica and other renders in the layout of Omnidata's starter set (Eftekhar et al., ICCV 2021).

    ROOT/rgb/.../point_0_view_0_domain_rgb.png
    ROOT/normal/.../point_0_view_0_domain_normal.png               8-bit RGB, n / 255 * 2 - 1
    ROOT/depth_zbuffer/.../point_0_view_0_domain_depth_zbuffer.png optional, 16-bit grey, 1 / 512 m, 65535 is
                                                                   unknown
    ROOT/mask_valid/.../point_0_view_0_domain_depth_zbuffer.png    optional, bright is valid
    ROOT/point_info/.../point_0_view_0_domain_point_info.json      optional, `field_of_view_rads`

`...` is the same for all kinds of one picture, such as `replica/apartment_0`.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stablenormal.data.readers.source import (
    MeasuredSource,
    View,
    first_existing,
    picture,
    stored_vectors,
    surface_flags,
)
from stablenormal.errors import DataError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.io.plain_values import parse_json
from stablenormal.io.search import files_below

_UNKNOWN_CODE = 65535


@dataclass(frozen=True)
class _Point:
    root: Path
    place: Path
    """Such as `replica/apartment_0/point_0_view_0`."""

    def file(self, folder: str, domain: str, ending: str = ".png") -> Path:
        below = self.place.parent / f"{self.place.name}_domain_{domain}{ending}"
        return self.root / folder / below


@dataclass(eq=False, kw_only=True)
class Replica(MeasuredSource[_Point]):
    """Replica-style renders; their root is the folder with `rgb`, `normal` and so on."""

    reader = "replica"
    layout = "rgb/**/*_domain_rgb.png"

    fov_deg: float | None = None
    """Field of view of pictures without a `point_info`."""

    def find(self, root: Path) -> dict[str, _Point]:
        """Every picture below `rgb`."""
        ending = "_domain_rgb.png"
        places = (
            path.relative_to(root / "rgb").with_name(path.name.removesuffix(ending))
            for path in files_below(root / "rgb", f"*{ending}")
        )
        return {place.as_posix(): _Point(root, place) for place in places}

    def read(self, entry: _Point) -> View:
        """Picture, normals and what else is there."""
        image, opaque = picture(entry.file("rgb", "rgb"))
        vectors = stored_vectors(entry.file("normal", "normal"), self.frame)
        mask = first_existing(
            *(entry.file("mask_valid", domain) for domain in ("depth_zbuffer", "mask_valid"))
        )
        depth = self.depth(first_existing(entry.file("depth_zbuffer", "depth_zbuffer")))
        if depth is not None:
            depth[depth >= np.float32(_UNKNOWN_CODE * self.unit_m())] = 0
        return View(
            image=image,
            vectors=vectors,
            valid=surface_flags(vectors, opaque, mask),
            depth=depth,
            intrinsics=self._intrinsics(entry, image.shape[1], image.shape[0]),
            meta={"scene": entry.place.parent.as_posix()},
        )

    def _intrinsics(self, entry: _Point, width: int, height: int) -> Intrinsics | None:
        facts = first_existing(entry.file("point_info", "point_info", ".json"))
        fov_deg = self.fov_deg
        if facts:
            try:
                fov_deg = math.degrees(float(parse_json(facts.read_bytes())["field_of_view_rads"]))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{facts}: does not say the field of view ({error}); copy it again"
                ) from error
        return None if fov_deg is None else Intrinsics.from_fov(fov_deg, width, height)
