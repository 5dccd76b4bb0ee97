"""Training images with a frozen transformer's tokens, computed once and read in windows.

A folder holds one group of files for each shard that it was made from, and `tokens.json`, which says what
made them. Tokens know the whole picture, so training may read a window of it: a quarter of the pixels costs
a quarter of the time.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stablenormal.data.corpus import View
from stablenormal.data.sample import UNLABELLED
from stablenormal.errors import DataError
from stablenormal.io.array_file import map_array
from stablenormal.io.plain_values import parse_json

RECIPE_NAME = "tokens.json"
ARRAYS = ("images", "normals", "tokens")
NORMAL_SCALE = 127.0
"""Of normals in one byte; their direction is off by 0.2 degrees in the mean."""


class TokenView(NamedTuple):
    """A window of one image."""

    image: NDArray[np.uint8]
    """(W, W, 3), sRGB."""
    normals: NDArray[np.int8]
    """(W, W, 3), normals times NORMAL_SCALE, OpenGL, zero where invalid."""
    tokens: NDArray[np.uint8]
    """(L, g, g, C): of L layers, eight-bit floats (e4m3) of unit variance as bytes."""


class TokenCorpus:
    """The entries of one or more folders, as memory maps; a `data.corpus.Corpus` too.

    Args:
        folders: written by `training.token_cache.write_tokens`, all with the same recipe.

    Raises:
        DataError: if one is missing, empty, or made in another way than the first.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.recipe = read_recipe(folders[0])
        self._groups: list[dict[str, NDArray[Any]]] = []
        for folder in folders:
            recipe = read_recipe(folder)
            differences = [name for name in self.recipe if recipe.get(name) != self.recipe[name]]
            if differences:
                raise DataError(
                    f"{folder}: its tokens differ from those of {folders[0]} in {', '.join(differences)}; "
                    "make them again in the same way"
                )
            self._groups += [_open_group(folder, name) for name in finished_groups(folder)]
        if not self._groups:
            raise DataError(f"{folders[0]}: holds no finished group of tokens; make some first")
        counts = [len(group["images"]) for group in self._groups]
        self._group_of = np.repeat(np.arange(len(counts)), counts)
        self._place_of = np.concatenate([np.arange(count) for count in counts])

    def __len__(self) -> int:
        return len(self._group_of)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.recipe["size"])

    @property
    def patch_size(self) -> int:
        """Pixels of the side of a token's patch."""
        return int(self.recipe["patch_size"])

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the transformer's layers, from 1."""
        return tuple(self.recipe["layers"])

    def view(self, sample: int | np.int64, window: tuple[slice, slice]) -> View:
        """Rows and columns of one entry without its tokens, as any corpus gives them."""
        group, place = self._groups[self._group_of[sample]], self._place_of[sample]
        vectors = group["normals"][place][window].astype(np.float32)
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        normals = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
        labels = np.full(normals.shape[:2], UNLABELLED, np.uint8)
        return group["images"][place][window], normals, labels

    def token_view(self, entry: int | np.int64, top: int, left: int, side: int) -> TokenView:
        """A window of one entry with its tokens; its place and side are whole patches."""
        group, place = self._groups[self._group_of[entry]], self._place_of[entry]
        rows, columns = slice(top, top + side), slice(left, left + side)
        patch = self.patch_size
        cells = [slice(line.start // patch, line.stop // patch) for line in (rows, columns)]
        return TokenView(
            group["images"][place, rows, columns],
            group["normals"][place, rows, columns],
            group["tokens"][place, :, cells[0], cells[1]],
        )


def read_recipe(folder: Path) -> dict[str, Any]:
    """What made a folder's tokens.

    Raises:
        DataError: if it does not say.
    """
    path = folder / RECIPE_NAME
    try:
        recipe = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); is this a folder written by `stablenormal data tokens`?"
        ) from error
    if not isinstance(recipe, dict):
        raise DataError(f"{path}: expected a JSON object; make the tokens again")
    return recipe


def is_token_folder(folder: Path) -> bool:
    """Whether a folder says that it holds tokens."""
    return (folder / RECIPE_NAME).is_file()


def finished_groups(folder: Path) -> list[str]:
    """Names of the groups whose files are all there, in order."""
    return sorted(path.name.removesuffix(".done") for path in folder.glob("*.done"))


def group_path(folder: Path, group: str, array: str) -> Path:
    """Where one array of a group lies."""
    return folder / f"{group}.{array}.npy"


def _open_group(folder: Path, group: str) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = {
            name: map_array(group_path(folder, group, name)) for name in ARRAYS
        }
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: group {group} is damaged ({error}); delete its files") from error
    if len({len(array) for array in arrays.values()}) != 1:
        raise DataError(f"{folder}: the arrays of group {group} differ in length; delete its files")
    return arrays
