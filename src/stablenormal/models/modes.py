"""What is spent on a photograph, by name: which stages of the method run, on how many views."""

from typing import Literal, get_args

Mode = Literal["full", "turbo"]
"""`full`: one-step start and refinement; `turbo`: the one step alone."""
MODES: tuple[Mode, ...] = get_args(Mode)
QUALITIES = ("fast", "normal", "best")
"""What every model has, from the quickest to the most careful; its spec says what each is."""

SMALLEST_TILE = 64
"""Pixels of the side of a tile of a large photograph, at least."""
TILE_OVERLAPS = (0.05, 0.5)
"""Least and largest share of its side that a tile has in common with the next one."""
