"""Which pixels of a scene's photographs show the object."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stablenormal.applications.foreground import foreground
from stablenormal.errors import ImageReadError, SettingError
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
    what stands out from the border; or a folder with NAME.png or NAME_mask.png of each view."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS and not Path(self.kind).is_dir():
            raise SettingError(f"--mask {self.kind}: no such folder; give one, or {', '.join(KINDS)}")

    def __str__(self) -> str:
        return self.kind

    def file(self, view: SceneView) -> Path | None:
        """The mask file of a view, if the choice is a folder.

        Raises:
            ImageReadError: if the folder has none.
        """
        if self.kind in KINDS:
            return None
        names = (f"{view.name}_mask.png", f"{view.name}.png", f"{view.image.name}.png", view.image.name)
        for path in (Path(self.kind) / name for name in names):
            if path.is_file():
                return path
        raise ImageReadError(f"{self.kind}: no mask for {view.image.name}; name it {names[0]} or {names[1]}")


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
    if not valid.any():
        raise SettingError(f"{view.image}: its mask leaves no pixel; check it")
    return picture, valid
