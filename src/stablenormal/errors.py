"""Every error this package raises on purpose.

StableNormalError
├── ImageReadError          a photograph that cannot be read                    (ValueError)
├── VideoError              a video that cannot be read                         (ValueError)
├── ImageShapeError         a tensor or map of the wrong shape                  (ValueError)
├── NormalMapError          a normal map that is damaged or badly coded         (ValueError)
├── FrameError              a coordinate frame that does not exist              (ValueError)
├── OutputError             an output that cannot be written                    (OSError)
├── ModelError              a model folder that is missing, damaged or strange  (ValueError)
├── OfflineError            something needed the network while it was forbidden (RuntimeError)
├── SettingError            an option or configuration value out of range       (ValueError)
├── DataError               a training sample, shard or data set that is broken (ValueError)
└── SceneError              posed photographs that are broken or do not fit     (ValueError)

A message is one line: which file or argument, what is wrong with it, what to do. It calls an argument by
`argument`, so that a program in front of the library can have it called as its own users do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_spelling: Callable[[str], str] = "`{}`".format


def argument(name: str) -> str:
    """An argument's name as messages write it: in backticks, unless `arguments_spelled` says otherwise."""
    return _spelling(name)


@contextmanager
def arguments_spelled(spelling: Callable[[str], str]) -> Iterator[None]:
    """While the block runs, messages write arguments in the way of a program that runs the library."""
    global _spelling
    before, _spelling = _spelling, spelling
    try:
        yield
    finally:
        _spelling = before


class StableNormalError(Exception):
    """Base of all errors that this package raises on purpose."""


class ImageReadError(StableNormalError, ValueError):
    """A photograph cannot be read: missing, truncated, not an image, too small or too large."""


class VideoError(StableNormalError, ValueError):
    """A video cannot be read: missing, not a video, or without a frame."""


class ImageShapeError(StableNormalError, ValueError):
    """A tensor or map has the wrong shape."""


class NormalMapError(StableNormalError, ValueError):
    """A normal map is damaged, of the wrong bit depth, or not unit length."""


class FrameError(StableNormalError, ValueError):
    """A coordinate frame is unknown, or lacks what its conversion needs."""


class OutputError(StableNormalError, OSError):
    """An output file or folder cannot be written."""


class ModelError(StableNormalError, ValueError):
    """A model folder is missing, incomplete, damaged or of another architecture."""


class OfflineError(StableNormalError, RuntimeError):
    """The network was needed while it was forbidden."""


class SettingError(StableNormalError, ValueError):
    """An option or a configuration value is unknown or out of range."""


class DataError(StableNormalError, ValueError):
    """A training sample, a shard or a data set is broken."""


class SceneError(StableNormalError, ValueError):
    """A scene of posed photographs is missing, broken, or of a kind that is not supported."""
