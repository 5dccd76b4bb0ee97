"""Chooses the picture that is meant in a file that holds several."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What the user says of files that hold more than one picture."""

    layer: str | None = None
    """Layer of an EXR, the part of its channels' names before the last dot: `ViewLayer.Normal`."""
    part: str | None = None
    """Part of an EXR by name or number, page of a TIFF or frame of an animation by number; the first is 1."""


UNSAID = Choice()
