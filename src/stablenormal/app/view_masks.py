"""Which pixels of a scene's photographs show the object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stablenormal.applications.foreground import foreground
from stablenormal.errors import ImageReadError, SettingError
from stablenormal.io.image import require_pixels
from stablenormal.io.mask_files import find_mask
from stablenormal.io.scene import SceneView, ViewPicture, read_view

KINDS = ("alpha", "none", "auto")


@dataclass(frozen=True)
class MaskChoice:
    """Where masks come from.

    Raises:
        SettingError: if the kind does not exist, or the folder is missing.
    """

    kind: str = "alpha"
    """`alpha`: the photograph's transparency and the mask that the scene names; `none`: every pixel; `auto`:
    what stands out from the border; or a folder of masks, named as `io.mask_files` says."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS and not Path(self.kind).is_dir():
            raise SettingError(f"--mask {self.kind}: no such folder; give one, or {', '.join(KINDS)}")

    def __str__(self) -> str:
        return self.kind

    def rule(self) -> str:
        """The kind, without the path of a folder: what counts are the files in it."""
        return self.kind if self.kind in KINDS else "folder"

    def used(self, view: SceneView) -> Path | None:
        """The mask file that a view is read with, if there is one."""
        try:
            return None if self.kind == "none" else self.file(view) or view.mask
        except ImageReadError:
            return None  # said when the view is read

    def files(self, views: Sequence[SceneView]) -> list[Path | None]:
        """The mask files of views."""
        return [self.used(view) for view in views]

    def file(self, view: SceneView) -> Path | None:
        """The mask file of a view, if the choice is a folder.

        Raises:
            ImageReadError: if the folder has none.
        """
        if self.kind in KINDS:
            return None
        return find_mask(Path(self.kind), Path(view.name + view.image.suffix), view.image)


BY_ALPHA = MaskChoice()


def masked_view(view: SceneView, choice: MaskChoice) -> tuple[ViewPicture, npt.NDArray[np.bool_]]:
    """A view's picture without distortion, and its mask (H, W).

    Raises:
        ImageReadError, SceneError: if the photograph or the mask cannot be read or does not fit.
        SettingError: if the mask leaves no pixel, or `auto` finds no object.
    """
    picture = read_view(replace(view, mask=None) if choice.kind == "none" else view, choice.file(view))
    valid = picture.photograph.valid
    if choice.kind == "none":
        valid = picture.seen
    elif choice.kind == "auto":
        valid = valid & foreground(picture.photograph.rgb)
    require_pixels(valid, view.image)
    return picture, valid
