"""How a command ends when something is wrong: one line, and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from stablenormal.errors import StableNormalError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


@contextmanager
def one_line_errors(debug: bool) -> Iterator[None]:
    """Turn an exception into one line on stderr and an exit code; with `debug`, let its traceback through.

    Raises:
        typer.Exit: with code 1 after an error, 130 after a keyboard interrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except StableNormalError as error:
        if debug:
            raise
        typer.echo(f"error: {_one_line(error)}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    except Exception as error:
        if debug or isinstance(error, typer.Exit):
            raise
        typer.echo(
            f"error: {type(error).__name__}: {_one_line(error)}; this is a fault of the program: "
            "please report it with what --debug shows",
            err=True,
        )
        raise typer.Exit(EXIT_FAILED) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
