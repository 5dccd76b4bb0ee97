"""Records of a training run: `log.jsonl`, TensorBoard's events, and pictures as PNG."""

import json
import logging
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from torch import Tensor

from stablenormal.io import png
from stablenormal.io.atomic import write_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_LOG = logging.getLogger(__name__)


class RunRecords:
    """Writes a run's figures and pictures; a `with` block closes it.

    Args:
        folder: the run folder.
        name: what is trained, for the log.
        step: where the run begins; a crashed run's later events are hidden.
        writes: false in processes other than the first, which then writes nothing.
    """

    def __init__(self, folder: Path, name: str, step: int, writes: bool) -> None:
        self._folder, self._name, self._writes = folder, name, writes
        self._board = _summary_writer(folder / "tensorboard", step) if writes else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()

    def figures(self, step: int, group: str, values: dict[str, float]) -> None:
        """Log figures of a step, to `log.jsonl` as they are and to TensorBoard under `group/`."""
        if not self._writes:
            return
        shown = " ".join(f"{key} {value:.4g}" for key, value in values.items())
        _LOG.info("%s step %d %s", self._name, step, shown)
        with (self._folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"step": step} | values) + "\n")
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{group}/{key}", value, step)

    def picture(self, step: int, grid: Tensor) -> None:
        """Write a picture (3, H, W) uint8 to `pictures/` and TensorBoard."""
        if not self._writes:
            return
        pixels = grid.permute(1, 2, 0).contiguous().numpy()
        write_bytes(self._folder / "pictures" / f"{step:07d}.png", png.encode(pixels, {"Step": str(step)}))
        if self._board is not None:
            self._board.add_image("validation", grid, step)


def _summary_writer(folder: Path, step: int) -> "SummaryWriter | None":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _LOG.info("TensorBoard is not installed; for its events: pip install 'stablenormal[train]'")
        return None
    return SummaryWriter(str(folder), purge_step=step)
