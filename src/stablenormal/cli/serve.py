"""`stablenormal serve`: normals over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from stablenormal.cli.choices import existing
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


def serve(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", show_default="none", help="Folder for the log of requests and the settings."
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    tokens: Annotated[
        Path | None,
        typer.Option(
            show_default="STABLENORMAL_TOKENS, or open to all",
            help="File with bearer tokens, one a line.",
            callback=existing(),
        ),
    ] = None,
    queue: Annotated[int, typer.Option(help="Requests at a time; more are told to come again.")] = 32,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Photographs that run together.")] = 4,
    batch_wait_ms: Annotated[
        int, typer.Option("--batch-wait-ms", help="How long one waits for others to run with.")
    ] = 5,
    max_mb: Annotated[int, typer.Option("--max-mb", help="Largest request, in 2^20 bytes.")] = 64,
    max_megapixels: Annotated[int, typer.Option("--max-megapixels", help="Largest photograph.")] = 40,
    max_photographs: Annotated[int, typer.Option("--max-photographs", help="Most in one batch.")] = 64,
    timeout: Annotated[float, typer.Option(help="Seconds for a request and its answer.")] = 120,
    upload_timeout: Annotated[
        float, typer.Option("--upload-timeout", help="Seconds of it for the request to arrive.")
    ] = 30,
    model: Model = "small",
    device: Device = None,
    dtype: Dtype = None,
    offline: Offline = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Answer over HTTP: POST /v1/normals, /v1/batch; /openapi.json describes them."""
    from rich.console import Console

    from stablenormal.app.model_settings import LoadSettings
    from stablenormal.app.serving import Address
    from stablenormal.service.settings import Limits, read_tokens

    address = Address(host, port)
    loaded = LoadSettings(**load_options(context))
    limits = Limits(
        queue=queue,
        batch_size=batch_size,
        batch_wait_ms=batch_wait_ms,
        max_mb=max_mb,
        max_megapixels=max_megapixels,
        max_photographs=max_photographs,
        timeout_s=timeout,
        upload_timeout_s=upload_timeout,
    )
    secrets = read_tokens(tokens)
    console = Console(stderr=True)
    with loading(console):
        from stablenormal.service.run import ServiceSettings, require_libraries, serve

        require_libraries()
    if not address.is_loopback and not secrets:
        console.print(
            "note: who reaches this machine can use the service; --tokens closes it", highlight=False
        )

    def ready(url: str) -> None:
        typer.echo(f"service: {url} (Ctrl-C ends it, after what is being answered)")

    serve(ServiceSettings(loaded, address, limits, secrets, output), ready)
