"""The two renderers behind one scene description, and how to choose between them."""

from dataclasses import dataclass
from typing import Protocol

from stablenormal.data.synthetic.bank import Bank
from stablenormal.data.synthetic.cameras import Camera
from stablenormal.data.synthetic.lighting import Lighting
from stablenormal.data.synthetic.path_tracer import DEFAULT_VARIANT, VARIANTS, PathTracer, load_mitsuba
from stablenormal.data.synthetic.rasteriser import GBuffer, Map, Rasteriser, open_context
from stablenormal.data.synthetic.scene import Scene
from stablenormal.errors import SettingError

RENDERERS = ("raster", "path")


class Renderer(Protocol):
    """What both renderers can do; see Rasteriser for the meaning of each method."""

    size: int

    def load_bank(self, bank: Bank) -> None:
        """Take the textures and environments that scenes refer to."""

    def load_scene(self, scene: Scene) -> None:
        """Take a scene's triangles."""

    def set_materials(self, materials: Map) -> None:
        """Give every slot of the loaded scene its material, (slots, FIELDS)."""

    def set_lighting(self, lighting: Lighting) -> None:
        """Light the loaded scene."""

    def gbuffer(self, camera: Camera) -> GBuffer:
        """Exact geometry at the pixel centres."""

    def colour(self, camera: Camera, reach: float) -> tuple[Map, Map]:
        """Linear RGB (H, W, 3) weighted by coverage, and coverage (H, W)."""

    def close(self) -> None:
        """Give back what is held."""


@dataclass(frozen=True)
class RendererSettings:
    """Which renderer, and how well it renders."""

    name: str = "raster"
    """raster (fast) or path (true light)."""
    samples_per_pixel: int = 32
    """Of the path tracer: 1 or more; a multiple of 16 is best."""
    variant: str = DEFAULT_VARIANT
    """Of the path tracer: the Mitsuba variant."""

    def __post_init__(self) -> None:
        """Check the choices.

        Raises:
            SettingError: if a choice does not exist or is out of range.
        """
        if self.name not in RENDERERS:
            raise SettingError(f"renderer {self.name!r} is unknown; choose from {', '.join(RENDERERS)}")
        if self.samples_per_pixel < 1:
            raise SettingError(f"samples per pixel {self.samples_per_pixel} must be 1 or more")
        if self.variant not in VARIANTS:
            raise SettingError(
                f"Mitsuba variant {self.variant!r} is unknown; choose from {', '.join(VARIANTS)}"
            )

    def recipe(self) -> dict[str, object]:
        """What a corpus must say to be rendered again; nothing for the rasteriser, the first renderer."""
        if self.name == "raster":
            return {}
        return {"renderer": self.name, "samples_per_pixel": self.samples_per_pixel, "variant": self.variant}


def open_renderer(settings: RendererSettings, size: int) -> Renderer:
    """The chosen renderer for images of `size` by `size` pixels.

    Raises:
        SettingError: if what it needs is not installed.
    """
    if settings.name == "path":
        return PathTracer(size, settings.samples_per_pixel, settings.variant)
    return Rasteriser(size)


def check_renderer(settings: RendererSettings) -> None:
    """Find out early whether the chosen renderer can run here.

    Raises:
        SettingError: if what it needs is not installed.
    """
    if settings.name == "path":
        load_mitsuba(settings.variant)
    else:
        open_context().release()
