"""Opens the page: model, folder of the results, server, browser."""

import os
import tempfile
import webbrowser
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stablenormal.app.model_settings import LoadSettings
from stablenormal.app.serving import Address, Server
from stablenormal.errors import SettingError, arguments_spelled
from stablenormal.io.output_folder import OutputFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablenormal.app.interface.page import Results

_NEVER_ASK_ELSEWHERE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_RUN_HISTORY": "False",
}


GRACE_S = 2
"""An open page listens for as long as it is open; so the end does not wait for it."""


@dataclass(frozen=True)
class PageSettings:
    """How the page is opened."""

    model: LoadSettings
    address: Address
    output: Path | None = None
    """Folder that keeps the results; None: they go when the page is closed."""
    browser: bool = True
    """Whether a browser is opened on it."""


def require_gradio() -> None:
    """Refuse to start without the page's library.

    Raises:
        SettingError: with the command that installs it.
    """
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise SettingError("the page needs gradio; install it: pip install 'stablenormal[app]'") from error


def open_page(settings: PageSettings, on_ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        settings: what and where.
        on_ready: is told its address.

    Raises:
        SettingError: if a library is missing or the port is taken.
        ModelError, OfflineError, OutputError: if there is no model, or nothing can be written.
    """
    os.environ.update(_NEVER_ASK_ELSEWHERE)  # gradio reads them when it is imported
    require_gradio()
    from stablenormal.app.interface.page import build_app, name_of

    with _results(settings.output) as results:
        pipeline = settings.model.load()
        server = Server(build_app(pipeline, settings.model.model, results), settings.address, GRACE_S)
        on_ready(server.url)
        if settings.browser:
            webbrowser.open(server.url)
        with arguments_spelled(name_of):
            server.run()


@contextmanager
def _results(output: Path | None) -> "Iterator[Results]":
    """The folder of the results; uploads lie in one of their own, which goes with the page."""
    with tempfile.TemporaryDirectory(prefix="stablenormal-page-", ignore_cleanup_errors=True) as temporary:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(temporary) / "uploads")
        from stablenormal.app.interface.page import Results

        if output is None:
            yield Results(Path(temporary) / "results", kept=False)
        else:
            OutputFolder(output).require_writable()
            yield Results(output.resolve(), kept=True)
