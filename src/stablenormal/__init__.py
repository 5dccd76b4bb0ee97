"""StableNormal: surface normals from one photograph.

The names below are loaded when they are first used, so `import stablenormal` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stablenormal.applications.multi_view_prior import normal_prior_loss
    from stablenormal.applications.normal_integration import integrate_normals
    from stablenormal.applications.quick import enhance, mesh
    from stablenormal.errors import StableNormalError
    from stablenormal.geometry.camera import Intrinsics
    from stablenormal.geometry.normal_map import NormalMap
    from stablenormal.geometry.normals import angular_error_deg, convert_frame
    from stablenormal.io.image import Photograph, read_image
    from stablenormal.io.normal_map import read_normal_map, write_normal_map
    from stablenormal.pipelines import NormalsOutput, StableNormal
    from stablenormal.pipelines.quick import predict

__version__ = "0.1.0"

__all__ = [
    "Intrinsics",
    "NormalMap",
    "NormalsOutput",
    "Photograph",
    "StableNormal",
    "StableNormalError",
    "__version__",
    "angular_error_deg",
    "convert_frame",
    "enhance",
    "integrate_normals",
    "mesh",
    "normal_prior_loss",
    "predict",
    "read_image",
    "read_normal_map",
    "write_normal_map",
]

_HOMES = {
    "Intrinsics": "stablenormal.geometry.camera",
    "NormalMap": "stablenormal.geometry.normal_map",
    "NormalsOutput": "stablenormal.pipelines",
    "Photograph": "stablenormal.io.image",
    "StableNormal": "stablenormal.pipelines",
    "StableNormalError": "stablenormal.errors",
    "angular_error_deg": "stablenormal.geometry.normals",
    "convert_frame": "stablenormal.geometry.normals",
    "enhance": "stablenormal.applications.quick",
    "integrate_normals": "stablenormal.applications.normal_integration",
    "mesh": "stablenormal.applications.quick",
    "normal_prior_loss": "stablenormal.applications.multi_view_prior",
    "predict": "stablenormal.pipelines.quick",
    "read_image": "stablenormal.io.image",
    "read_normal_map": "stablenormal.io.normal_map",
    "write_normal_map": "stablenormal.io.normal_map",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its room (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'stablenormal' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
