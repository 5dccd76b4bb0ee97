"""Score an estimator over a set, image by image, in bounded memory."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from stablenormal.errors import ImageShapeError
from stablenormal.evaluation.edges import near_edges
from stablenormal.evaluation.frame_check import FrameCheck
from stablenormal.evaluation.metrics import (
    AngularMetrics,
    angular_metrics,
    mean_of_metrics,
    mean_over_sources,
)
from stablenormal.evaluation.pairs import Pair
from stablenormal.evaluation.pooling import PooledAngles
from stablenormal.evaluation.protocols import PROTOCOLS, Protocol, angles_deg
from stablenormal.geometry.layout import channels_first

Estimator = Callable[[Tensor], Tensor]
"""Image (3, H, W) in [0, 1] -> OpenGL normals (3, H, W)."""

REGIONS = ("everywhere", "on_edges", "off_edges")
"""All valid pixels; those near an edge of the ground truth (see `edges`); the others."""


@dataclass(frozen=True)
class ImageScore:
    """Errors of one image."""

    name: str
    source: str
    everywhere: AngularMetrics
    on_edges: AngularMetrics | None
    """None where no pixel is near an edge."""
    off_edges: AngularMetrics | None
    """None where every pixel is."""
    missing: int
    """Valid pixels for which there is no prediction; each counts as 90 degrees."""


@dataclass(frozen=True)
class Summary:
    """Errors over a set."""

    protocol: str
    images: int
    everywhere: AngularMetrics
    on_edges: AngularMetrics | None
    """None where no image has an edge."""
    off_edges: AngularMetrics | None
    """None where every pixel is near one."""
    mean_over_sources: float
    """Degrees; image means, averaged per source, then over the sources."""
    per_source: dict[str, float]
    """Degrees; the mean of the image means of each source."""
    missing: int
    """Valid pixels without a prediction."""
    mean_error_by_frame: dict[str, float]
    """Degrees, on a sample of pixels: had the predictions been in another frame."""
    frame_warning: str | None
    """One line, if another frame than the declared one would score much better."""


@dataclass(frozen=True, eq=False)
class Compared:
    """An image that was scored."""

    score: ImageScore
    angles_deg: Tensor
    """(H, W)."""
    valid: Tensor
    """bool (H, W): where `angles_deg` counts."""


class Evaluator:
    """Scores image after image and remembers what the summary needs.

    Args:
        protocol: the rule.
        frame: the frame that the predictions were declared in; only the warning needs it.
    """

    def __init__(self, protocol: Protocol, frame: str = "opengl") -> None:
        self.protocol = protocol
        self.scores: list[ImageScore] = []
        self._pools = {region: PooledAngles() for region in REGIONS} if protocol.pooled else {}
        self._frames = FrameCheck(frame)

    def add(self, pair: Pair, prediction: Tensor) -> Compared:
        """Score one image.

        Args:
            pair: photograph and ground truth.
            prediction: normals (3, H, W), OpenGL, unit length, zero where missing.

        Raises:
            ImageShapeError: if the prediction has another size than the ground truth, or that has no valid
            pixel.
        """
        truth = channels_first(pair.normals)
        if prediction.shape != truth.shape:
            raise ImageShapeError(
                f"{pair.name}: predicted {tuple(prediction.shape)}, truth is {tuple(truth.shape)}"
            )
        prediction = prediction.detach().cpu().float()
        angles, valid = angles_deg(self.protocol, prediction, truth, pair.stored_8bit)
        near = near_edges(truth)
        masks = dict(zip(REGIONS, (valid, valid & near, valid & ~near), strict=True))
        for region, pool in self._pools.items():
            pool.add(angles[masks[region]])
        metrics = {region: angular_metrics(angles[mask]) for region, mask in masks.items() if mask.any()}
        if "everywhere" not in metrics:
            raise ImageShapeError(f"{pair.name}: the ground truth has no valid pixel; take the image out")
        score = ImageScore(
            name=pair.name,
            source=pair.source,
            everywhere=metrics["everywhere"],
            on_edges=metrics.get("on_edges"),
            off_edges=metrics.get("off_edges"),
            missing=int((valid & (prediction == 0).all(dim=0)).sum()),
        )
        self.scores.append(score)
        self._frames.add(prediction, truth, valid)
        return Compared(score, angles, valid)

    def summary(self) -> Summary:
        """Errors of all images so far.

        Raises:
            ImageShapeError: if there are none.
        """
        if not self.scores:
            raise ImageShapeError("no pairs to score")
        overall, per_source = mean_over_sources([(one.source, one.everywhere.mean) for one in self.scores])
        everywhere = self._region("everywhere")
        assert everywhere is not None, "every score has it"
        return Summary(
            protocol=self.protocol.name,
            images=len(self.scores),
            everywhere=everywhere,
            on_edges=self._region("on_edges"),
            off_edges=self._region("off_edges"),
            mean_over_sources=overall,
            per_source=per_source,
            missing=sum(one.missing for one in self.scores),
            mean_error_by_frame=self._frames.mean_errors(),
            frame_warning=self._frames.warning(),
        )

    def _region(self, region: str) -> AngularMetrics | None:
        if self.protocol.pooled:
            pool = self._pools[region]
            return pool.metrics() if pool.count else None
        found = [metrics for one in self.scores if (metrics := getattr(one, region)) is not None]
        return mean_of_metrics(found) if found else None


@dataclass(frozen=True)
class Scores:
    """Errors of one estimator on a set of pairs.

    Attributes:
        mean_over_sources: degrees; image means, averaged per source, then over the sources.
        per_source: degrees, the mean of each source.
        per_image: for each name the metrics of its valid pixels.
    """

    mean_over_sources: float
    per_source: dict[str, float]
    per_image: dict[str, dict[str, Any]]


def score(estimator: Estimator, pairs: Iterable[Pair]) -> Scores:
    """Run an estimator over pairs and compare at the pairs' own size, per image and per source.

    Raises:
        ImageShapeError: if a prediction has another size than its ground truth, or there are no pairs.
    """
    evaluator = Evaluator(PROTOCOLS["marigold"])
    for pair in pairs:
        evaluator.add(pair, estimator(channels_first(pair.image)))
    summary = evaluator.summary()
    per_image = {one.name: {"source": one.source} | asdict(one.everywhere) for one in evaluator.scores}
    return Scores(summary.mean_over_sources, summary.per_source, per_image)
