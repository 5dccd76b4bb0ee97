"""Starts the service and ends it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stablenormal.app.model_settings import LoadSettings
from stablenormal.app.run_record import versions
from stablenormal.app.serving import Address, Server
from stablenormal.errors import SettingError
from stablenormal.io.atomic import write_bytes
from stablenormal.io.output_folder import OutputFolder
from stablenormal.service.settings import Limits, Tokens


@dataclass(frozen=True)
class ServiceSettings:
    """How the service is started."""

    model: LoadSettings
    address: Address
    limits: Limits = field(default_factory=Limits)
    tokens: Tokens = field(default_factory=lambda: Tokens([]))
    output: Path | None = None
    """Folder of its record and of the log of requests."""


def require_libraries() -> None:
    """Refuse to start without what the service needs.

    Raises:
        SettingError: with the command that installs it.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise SettingError(
            f"the service needs {error.name}; install it: pip install 'stablenormal[serve]'"
        ) from error


def serve(settings: ServiceSettings, on_ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until Ctrl-C or SIGTERM; what is being answered then is finished.

    Args:
        settings: what and where.
        on_ready: is told the address, when it listens; the model is loaded after.

    Raises:
        SettingError: if a library is missing or the port is taken.
        ModelError, OfflineError, OutputError: if there is no model, or nothing can be written.
    """
    require_libraries()
    from stablenormal.service.application import build_service

    log = None if settings.output is None else _begin_log(settings, settings.output)
    app, state = build_service(
        settings.model.load, settings.limits, settings.tokens, log, on_failure=lambda: server.stop()
    )
    server = Server(app, settings.address, round(settings.limits.timeout_s) + 1)
    on_ready(server.url)
    server.run()
    if state.problem is not None:
        raise state.problem


def _begin_log(settings: ServiceSettings, output: Path) -> Path:
    """Write what the service is run with, and begin the log of its requests; an earlier one goes on."""
    folder = OutputFolder(output)
    folder.require_writable()
    record, log = output / "serve.json", output / "requests.jsonl"
    folder.check([record, log])
    folder.begin(log)
    content = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "address": asdict(settings.address),
        "model": asdict(settings.model),
        "limits": asdict(settings.limits),
        "tokens": bool(settings.tokens),
        "versions": versions(),
    }
    with folder.writing([record]):
        write_bytes(record, (json.dumps(content, indent=2) + "\n").encode())
    return log
