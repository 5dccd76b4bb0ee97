"""The settings of a reconstruction."""

import math
from dataclasses import dataclass, replace

from stablenormal.applications.multi_view_prior import PAPER_WEIGHT
from stablenormal.errors import SettingError, argument

LONGEST_STEP = 0.66
"""In grid spacings: four samples that are looked up together must lie within a cell of their middle."""


@dataclass(frozen=True)
class ReconstructionSettings:
    """Every number of a reconstruction; saved beside its mesh.

    Raises:
        SettingError: if a number is out of range.
    """

    resolutions: tuple[int, ...] = (32, 64, 128)
    """Nodes along each side of the grid, coarse to fine."""
    iterations: tuple[int, ...] = (500, 600, 700)
    """Steps at each resolution."""
    image_size: int = 128
    """Longer side in pixels at which photographs are used; larger ones are shrunk."""
    patches: int = 256
    """Patches of 2 x 2 neighbouring rays in a step; four give one normal of the rendered depth."""
    step: float = 0.5
    """Distance of samples along a ray, in grid spacings."""
    band: float = 2.5
    """Distance from the surface, in grid spacings, up to which rays are sampled."""
    width_start: float = 0.6
    """Width of the density, 1 / s of NeuS, in grid spacings, at the start of each resolution."""
    width_end: float = 0.25
    """The same at its end; it shrinks geometrically."""
    sdf_rate: float = 0.04
    """Step of the distances, in grid spacings."""
    colour_rate: float = 0.05
    """Step of the colours."""
    colour_degree: int = 1
    """Spherical harmonics of the viewing direction: 0 is the same colour from everywhere, 1 adds a lobe."""
    colour_weight: float = 1.0
    """Of the mean absolute colour difference."""
    mask_weight: float = 0.3
    """Of the cross entropy between opacity and mask."""
    eikonal_weight: float = 0.1
    """Of (|gradient| - 1)^2, mean over the grid's nodes near the surface."""
    smooth_weight: float = 0.02
    """Of the squared change of the gradient from node to node."""
    normal_weight: float = PAPER_WEIGHT
    """Lambda of the normal prior, for views that have one; 0 ignores priors."""
    prior_detail: float = 0.0125
    """Share of the picture's longer side: the prior is trusted below this width alone, and takes its broad
    shape from the surface itself, from the second resolution on. 0: it is trusted whole, as measured normals
    can be, with a weight of 0.8."""
    seed: int = 0
    """Of the choice of rays and of their jitter."""

    def __post_init__(self) -> None:
        if not self.resolutions or list(self.resolutions) != sorted(set(self.resolutions)):
            raise SettingError(f"resolutions must grow from level to level, got {self.resolutions}")
        if self.resolutions[0] < 8 or self.resolutions[-1] > 512:
            raise SettingError(f"resolutions must lie in 8 to 512, got {self.resolutions}")
        if len(self.iterations) != len(self.resolutions) or min(self.iterations) < 1:
            raise SettingError(
                f"expected a positive number of iterations for each of {len(self.resolutions)} resolutions, "
                f"got {self.iterations}"
            )
        if self.image_size < 16 or self.patches < 1:
            raise SettingError(
                f"image_size must be at least 16 and patches 1, got {self.image_size}, {self.patches}"
            )
        if self.colour_degree not in (0, 1):
            raise SettingError(f"colour_degree = {self.colour_degree}; choose 0 or 1")
        if self.step > LONGEST_STEP:
            raise SettingError(f"step = {self.step} could pass over a cell; choose at most {LONGEST_STEP}")
        positive = ("step", "band", "width_start", "width_end", "sdf_rate", "colour_rate")
        weights = ("colour_weight", "mask_weight", "eikonal_weight", "smooth_weight", "normal_weight")
        for name in (*positive, *weights, "prior_detail"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (name in positive and value == 0):
                raise SettingError(
                    f"{name} = {value}; choose a number {'above 0' if name in positive else 'of 0 or more'}"
                )

    @property
    def total_iterations(self) -> int:
        """Steps at all resolutions together."""
        return sum(self.iterations)


def chosen_settings(
    *,
    resolutions: str | None = None,
    iterations: str | None = None,
    image_size: int | None = None,
    normal_weight: float | None = None,
    prior_detail: float | None = None,
    seed: int = 0,
) -> ReconstructionSettings:
    """The settings with what a user chose; None is the default.

    Args:
        resolutions: numbers with commas.
        iterations: numbers with commas; None: as many at each resolution as the default has there.
        image_size: see the field.
        normal_weight: see the field.
        prior_detail: see the field.
        seed: see the field.

    Raises:
        SettingError: if something is no number or out of range.
    """
    default = ReconstructionSettings()
    levels = default.resolutions if resolutions is None else _numbers("resolutions", resolutions)
    # The last default count serves all finer resolutions too.
    counts = default.iterations + default.iterations[-1:] * len(levels)
    return replace(
        default,
        resolutions=levels,
        iterations=counts[: len(levels)] if iterations is None else _numbers("iterations", iterations),
        image_size=default.image_size if image_size is None else image_size,
        normal_weight=default.normal_weight if normal_weight is None else normal_weight,
        prior_detail=default.prior_detail if prior_detail is None else prior_detail,
        seed=seed,
    )


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingError(
            f"{argument(name)} {text}: expected numbers with commas, such as 32,64,128"
        ) from None
