"""`stablenormal app`: a page to try photographs on."""

from pathlib import Path
from typing import Annotated

import typer

from stablenormal.cli.image_progress import loading
from stablenormal.cli.options import (
    Device,
    Dtype,
    Host,
    Model,
    Offline,
    Port,
    TrustRemoteCode,
    load_options,
)


def app(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            show_default="none: they go with the page",
            help="Folder that keeps the results, a run each.",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    model: Model = "small",
    device: Device = None,
    dtype: Dtype = None,
    offline: Offline = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Open a page in the browser: photographs in; normals to slide, to light, and as a mesh."""
    from rich.console import Console

    from stablenormal.app.model_settings import LoadSettings
    from stablenormal.app.serving import Address

    address = Address(host, port)
    settings = LoadSettings(**load_options(context))
    console = Console(stderr=True)
    with loading(console):
        from stablenormal.app.interface.launch import PageSettings, open_page, require_gradio

        require_gradio()
    if not address.is_loopback:
        console.print(
            "note: who reaches this machine can use the page; it asks for no password", highlight=False
        )

    def ready(url: str) -> None:
        typer.echo(f"page: {url} (Ctrl-C ends it)")

    open_page(PageSettings(settings, address, output, browser), ready)
