"""The record of a run, `run.json`: what was computed, with what, and what became of each photograph."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from stablenormal.errors import SettingError
from stablenormal.io.atomic import write_bytes
from stablenormal.io.fingerprint import MadeFrom, changed, made_from

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


def settled(computed_with: Mapping[str, Any]) -> MadeFrom:
    """Fingerprints of the settings and weights of a run, by names that fit a sentence."""
    facts = {name.replace("weight_hash", "set of weights"): value for name, value in computed_with.items()}
    return made_from(facts=facts)


def earlier_results(path: Path) -> dict[str, FileResult]:
    """Finished results that a record names, by result name; none if there is no record.

    Raises:
        SettingError: if the record is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        results = [FileResult(**{**entry, "outputs": tuple(entry["outputs"])}) for entry in content["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingError(
            f"{path}: not a record of this program ({error}); "
            "use another output folder or leave out --skip-existing"
        ) from error
    return {result.name: result for result in results if result.status != "failed"}


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on, by package."""
    packages = ("stablenormal", "torch", "diffusers", "transformers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
