"""How a command ends when something is wrong: one line that speaks of its options, and an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stablenormal.errors import StableNormalError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


@contextmanager
def one_line_errors(debug: bool) -> Iterator[None]:
    """Turn an exception into one line on stderr and exit code 1; with `debug`, let its traceback through.

    Raises:
        SystemExit: in place of the exception.
    """
    try:
        yield
    except Exception as error:
        if debug:
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(EXIT_FAILED)


def as_option(name: str) -> str:
    """An argument of the library as the option of the commands that sets it."""
    return f"--{name.replace('_', '-')}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, StableNormalError):
        return text
    return f"{type(error).__name__}: {text}; not foreseen, please report it with what --debug shows"
