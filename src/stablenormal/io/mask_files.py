"""Finds the mask of a photograph in a folder of masks.

The mask lies in the folder of masks where the photograph lies in its own, under one of these names, the most
telling first:

    photo.jpg.png        COLMAP's way
    photo.jpg_mask.png
    photo_mask.png       as `stablenormal priors` writes it
    photo.png            the photograph's name, with the ending of any picture
"""

from pathlib import Path

from stablenormal.errors import ImageReadError
from stablenormal.io.image_files import list_pictures


def find_mask(folder: Path, relative: Path, photograph: Path) -> Path:
    """The mask of a photograph.

    Args:
        folder: of the masks.
        relative: path of the photograph below the folder of photographs, with its ending.
        photograph: the file itself, which is never its own mask.

    Raises:
        ImageReadError: if there is none, or several of one kind of name.
    """
    place = folder / relative.parent
    there = [path for path in list_pictures(place) if not _is_photograph(path, photograph)]
    stem, name = relative.stem, relative.name
    for wanted in (name, f"{name}_mask", f"{stem}_mask", stem):
        found = [path for path in there if path.stem == wanted]
        if len(found) > 1:
            raise ImageReadError(f"{photograph}: has two masks, {found[0]} and {found[1]}; take one away")
        if found:
            return found[0]
    raise ImageReadError(
        f"{photograph}: no mask named {relative.with_name(stem)} in {folder}; name it {stem}.png, "
        f"{stem}_mask.png or {name}.png, in the same sub-folder as the photograph"
    )


def _is_photograph(path: Path, photograph: Path) -> bool:
    return path.name == photograph.name and path.exists() and path.samefile(photograph)
