"""The record of a run, `run.json`: what was computed, with what, and what became of each photograph."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from stablenormal.errors import SettingError
from stablenormal.io.atomic import write_bytes
from stablenormal.io.fingerprint import MadeFrom, changed, made_from
from stablenormal.io.output_folder import OutputFolder
from stablenormal.io.plain_values import parse_json

Status = Literal["done", "skipped", "failed"]
RunStatus = Literal["running", "interrupted", "stopped", "complete"]


@dataclass(frozen=True)
class FileResult:
    """What became of one photograph."""

    source: str
    """The photograph, as the user named it."""
    name: str
    """Path of the result in the output folder, without ending; empty where there was no photograph."""
    status: Status
    """`done`: computed in this run; `skipped`: kept from an earlier one; `failed`: see `error`."""
    outputs: tuple[str, ...] = ()
    """Written files, relative to the output folder."""
    width: int = 0
    """Width of the photograph in pixels."""
    height: int = 0
    """Height of the photograph in pixels."""
    seconds: float = 0.0
    """Network and writing."""
    uncertainty_deg: float | None = None
    """Mean of the uncertainty map over valid pixels."""
    error: str | None = None
    """One line: file, what is wrong, what to do."""
    note: str | None = None
    """One line that the user should know of, such as why it was computed again."""
    made_from: MadeFrom = field(default_factory=dict)
    """Fingerprints of the photograph, what belongs to it, settings and weights; see `io.fingerprint`."""

    def unchanged(self, made_from: MadeFrom) -> bool:
        """Whether the same things would make this result again."""
        return not changed(self.made_from, made_from)

    def why_again(self, source: Path, made_from: MadeFrom) -> str:
        """Why this result is not kept for a photograph of its name."""
        what = ", ".join(changed(self.made_from, made_from))
        return f"{source}: computed again, as its earlier result is of another {what}"


def write_record(
    path: Path,
    *,
    status: RunStatus,
    started: str,
    seconds: float,
    computed_with: Mapping[str, Any],
    settings: Mapping[str, Any],
    spec: Mapping[str, Any],
    device: str,
    results: Sequence[FileResult],
) -> None:
    """Write the record of a run.

    Args:
        path: the JSON file.
        status: how far the run is; `interrupted` by the user, `stopped` by an error.
        started: date and time, ISO 8601.
        seconds: since the start.
        computed_with: settings and weights that the numbers in the files depend on.
        settings: every option.
        spec: the model's own way to run, which fills in for options that were not given.
        device: where it was computed.
        results: one entry per photograph so far.
    """
    done = sum(result.status == "done" for result in results)
    content = {
        "status": status,
        "started": started,
        "seconds": round(seconds, 3),
        "images_per_second": round(done / seconds, 4) if done else None,
        "computed_with": computed_with,
        "settings": settings,
        "spec": spec,
        "device": device,
        "versions": versions(),
        "files": [asdict(result) for result in results],
    }
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode("utf-8"))


def keep_record(folder: OutputFolder, record: Path) -> Path | None:
    """Put the record of an earlier run aside, before the next one of the same folder is written.

    `run.json` of a run that began on 27 November 2026 at 4:12:33 is kept as `run-2026-11-27T04-12-33.json`.

    Returns:
        Where it lies now; None if there is none of this program's.

    Raises:
        OutputError: if it cannot be written.
    """
    if not folder.made(record):
        return None
    content = record.read_bytes()
    try:
        started = datetime.fromisoformat(parse_json(content)["started"])
    except (ValueError, KeyError, TypeError):
        return None  # cut off, or a record of something else: what follows says nothing of it either
    stem = f"{record.stem}-{started.strftime('%Y-%m-%dT%H-%M-%S')}"
    names = (record.with_name(f"{stem}{again}{record.suffix}") for again in ("", *_COUNTED))
    kept = next((name for name in names if not name.exists() or name.read_bytes() == content), None)
    if kept is None or kept.exists():
        return kept
    with folder.writing([kept]):
        write_bytes(kept, content)
    return kept


_COUNTED = tuple(f"-{number}" for number in range(2, 100))
"""Runs that began in one second."""


def settled(computed_with: Mapping[str, Any]) -> MadeFrom:
    """Fingerprints of the settings and weights of a run, by names that fit a sentence."""
    facts = {name.replace("weight_hash", "set of weights"): value for name, value in computed_with.items()}
    return made_from(facts=facts)


def earlier_results(path: Path) -> dict[str, FileResult]:
    """Finished results of earlier runs into a folder, by result name; none if there is no record.

    Args:
        path: the record of the last run; those that `keep_record` put aside beside it are read too, and of
            several results of one name the last one counts.

    Raises:
        SettingError: if a record is damaged.
    """
    records = [*sorted(path.parent.glob(f"{path.stem}-*{path.suffix}")), *([path] if path.is_file() else ())]
    results = (result for record in records for result in _results_of(record))
    return {result.name: result for result in results if result.status != "failed"}


def _results_of(record: Path) -> list[FileResult]:
    try:
        content = parse_json(record.read_text(encoding="utf-8-sig"))
        return [FileResult(**{**entry, "outputs": tuple(entry["outputs"])}) for entry in content["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"{record}: not a record of this program ({error}); "
            "use another folder, or delete it; --skip-existing then finds no earlier results"
        ) from error


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on, by package."""
    packages = ("stablenormal", "torch", "diffusers", "transformers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
