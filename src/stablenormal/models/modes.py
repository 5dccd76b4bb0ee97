"""Which stages of the method run, by name."""

from typing import Literal, get_args

Mode = Literal["full", "turbo"]
"""`full`: one-step start and refinement; `turbo`: the one step alone."""
MODES: tuple[Mode, ...] = get_args(Mode)
