"""How near two surfaces are: Chamfer distance, F-score, and agreement of their normals, by sampled points.

Sources: Chamfer distance as in DTU's and NeuS's evaluation (mean of both directions), F-score as in Tanks and
Temples (Knapitsch et al., SIGGRAPH 2017), normal consistency as in Occupancy Networks (Mescheder et al.).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import trimesh
from scipy.spatial import cKDTree

from stablenormal.errors import SettingError

Array = npt.NDArray[np.float64]

CANDIDATES = 8
"""Samples of the other surface whose triangles are tried for the nearest point."""

SAMPLES_PER_POINT = 4
"""Density of those samples, over that of the points that are measured."""


@dataclass(frozen=True)
class SurfaceMetrics:
    """Distances in the meshes' unit."""

    chamfer: float
    """Mean of `accuracy` and `completeness`."""
    accuracy: float
    """Mean distance from the prediction to the truth."""
    completeness: float
    """Mean distance from the truth to the prediction."""
    precision: float
    """Share of the prediction nearer to the truth than the threshold, in [0, 1]."""
    recall: float
    """Share of the truth nearer to the prediction than the threshold, in [0, 1]."""
    f_score: float
    """Harmonic mean of precision and recall."""
    normal_consistency: float
    """Mean cosine between the normals at nearest points, both directions, in [-1, 1]; sides count."""
    threshold: float
    """Of precision, recall and F-score."""


def surface_metrics(
    prediction: trimesh.Trimesh, truth: trimesh.Trimesh, threshold: float, points: int = 30_000, seed: int = 0
) -> SurfaceMetrics:
    """Compare two meshes.

    Points are drawn evenly over each surface; the distance of a point is that to the nearest triangle among
    those of the nearest samples of the other surface, so that equal surfaces have distance zero at any number
    of points.

    Args:
        prediction: triangles, wound counter-clockwise seen from outside.
        truth: the same.
        threshold: distance that counts as near; state it with the F-score.
        points: drawn from each mesh.
        seed: of the points.

    Raises:
        SettingError: if a mesh has no area, or a number is not positive.
    """
    if threshold <= 0 or points < 1:
        raise SettingError(f"threshold and points must be positive, got {threshold} and {points}")
    for name, mesh in (("prediction", prediction), ("truth", truth)):
        if not len(mesh.faces) or not mesh.area > 0:
            raise SettingError(f"the {name} has no surface; check its faces")
    to_truth, cosines = _distances(prediction, truth, points, seed)
    to_prediction, more_cosines = _distances(truth, prediction, points, seed + 1)
    precision, recall = float((to_truth < threshold).mean()), float((to_prediction < threshold).mean())
    both = precision + recall
    accuracy, completeness = float(to_truth.mean()), float(to_prediction.mean())
    return SurfaceMetrics(
        chamfer=(accuracy + completeness) / 2,
        accuracy=accuracy,
        completeness=completeness,
        precision=precision,
        recall=recall,
        f_score=2 * precision * recall / both if both else 0.0,
        normal_consistency=float((cosines.mean() + more_cosines.mean()) / 2),
        threshold=threshold,
    )


def _distances(
    source: trimesh.Trimesh, target: trimesh.Trimesh, points: int, seed: int
) -> tuple[Array, Array]:
    """Distance (N,) of points on `source` from `target`, and the cosine (N,) of the normals there."""
    sampled, faces = trimesh.sample.sample_surface(source, points, seed=seed)
    dense, dense_faces = trimesh.sample.sample_surface(target, points * SAMPLES_PER_POINT, seed=seed + 1000)
    _, nearest = cKDTree(dense).query(sampled, k=CANDIDATES)  # (N, K)
    candidates = dense_faces[nearest]
    repeated = np.repeat(np.asarray(sampled), CANDIDATES, axis=0)
    feet = trimesh.triangles.closest_point(target.triangles[candidates.reshape(-1)], repeated)
    distances = np.linalg.norm(feet - repeated, axis=1).reshape(-1, CANDIDATES)
    best = distances.argmin(axis=1)
    rows = np.arange(len(best))
    cosines = np.einsum("ni,ni->n", source.face_normals[faces], target.face_normals[candidates[rows, best]])
    return distances[rows, best], cosines
