"""What a pipeline returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class NormalsOutput:
    """Normal maps of a call, in the order of its images."""

    normals: list[Tensor]
    """Unit normals (3, H, W) float32 on the CPU, OpenGL camera; invalid pixels are the zero vector."""
    uncertainty_deg: list[Tensor] | None
    """Mean angle (H, W) in degrees between the ensemble's members and their mean; None if not asked for."""
    seed: int
    """The seed of the call; member k of an ensemble used seed + k."""
    mode: str
    """`full` or `turbo`."""
    steps: int
    """Network calls of the refinement, 0 in turbo mode."""
    t_plus: int
    """The noise level at which the refinement started, or the timestep of the turbo call."""
    processing_resolution: int
    """Pixels of the longer side at which the networks saw the images; 0 for their own size."""
    ensemble: int
    """Members averaged."""
