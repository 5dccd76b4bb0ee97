"""The job behind `stablenormal data check`: a training set in, a report of every view and a keep-list out."""

import csv
import io
import json
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stablenormal.app.run_record import versions
from stablenormal.data.checking import (
    PROBLEMS,
    Finding,
    Limits,
    ViewReport,
    check_view,
    majority_axes,
    unreadable,
)
from stablenormal.data.keep_list import write_keep_list
from stablenormal.data.readers.catalogue import open_source
from stablenormal.data.readers.source import Source
from stablenormal.errors import DataError, SettingError, StableNormalError
from stablenormal.geometry.frames import FRAMES
from stablenormal.io.atomic import write_bytes
from stablenormal.io.fingerprint import stamp
from stablenormal.io.output_folder import OutputFolder

logger = logging.getLogger(__name__)

MOST = 0.5
"""Share of the views that must agree on another frame before it is said of the whole set."""


FIRST_VIEWS = 8
"""If so many fail alike from the beginning, no more are tried."""

CHANCE_SHARE = 0.03
"""Of the views: fewer mirrored ones are chance; of 140 exact renders of the package one looks so."""


@dataclass(frozen=True)
class CheckSettings:
    """The options of a check; saved with its result."""

    reader: str
    """A name in `data.readers.catalogue.READERS`."""
    root: str
    """Folder of the set."""
    keep: str | None = None
    """Keep-list of an earlier check: look only at its views."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the reader takes besides, such as `frame`."""
    limit: int | None = None
    """Check only so many views, evenly spread."""
    ignored: tuple[str, ...] = ()
    """Problems that do not count."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what does not exist.

        Raises:
            SettingError: if a problem is unknown or the limit not positive.
        """
        unknown = [name for name in self.ignored if name not in PROBLEMS]
        if unknown:
            raise SettingError(
                f"there is no problem '{unknown[0]}' to ignore; choose of {', '.join(PROBLEMS)}"
            )
        if self.limit is not None and self.limit < 1:
            raise SettingError(f"--limit {self.limit}: check 1 view or more")


@dataclass(frozen=True)
class CheckReport:
    """What a check found."""

    views: tuple[ViewReport, ...]
    ignored: tuple[str, ...]
    counts: Mapping[str, int]
    """Views with each problem that was met, ignored ones too."""
    advice: tuple[str, ...]
    """Lines about the set as a whole."""
    kept: tuple[str, ...]
    """Keys of the views without a problem."""
    keep_list: Path | None
    """Where they were written, if they were."""
    seconds: float

    @property
    def bad(self) -> list[ViewReport]:
        """Views with a problem that counts."""
        return [view for view in self.views if _counting(view, self.ignored)]


def check_data(
    settings: CheckSettings,
    output: Path | None = None,
    *,
    workers: int = 1,
    on_start: Callable[[int], None] = lambda total: None,
    on_view: Callable[[], None] = lambda: None,
) -> CheckReport:
    """Check a set.

    Args:
        settings: what and how.
        output: folder for `check.json`, `views.csv` and `keep.txt`; a check that was interrupted goes on
            there from `views.jsonl`. None writes nothing.
        workers: processes; the result does not depend on them.
        on_start: called once with the number of views.
        on_view: called after each.

    Raises:
        SettingError, DataError: if the set cannot be listed, or `output` holds another check.
        OutputError: if the results cannot be written.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    source = _open(settings)
    folder = (
        None if output is None else OutputFolder(output, [Path(settings.keep) if settings.keep else None])
    )
    if folder is not None:
        folder.check(folder.root / name for name in ("check.json", "views.csv", "keep.txt", "views.jsonl"))
    count = len(source) if settings.limit is None else min(settings.limit, len(source))
    indices = [int(index) for index in np.linspace(0, len(source) - 1, count)]
    on_start(count)
    stamps = {source.keys[index]: stamp(source.files(index)) for index in indices}
    done = _read_progress(folder, settings, stamps) if folder else {}
    todo = [index for index in indices if source.keys[index] not in done]
    for _ in range(count - len(todo)):
        on_view()
    for view in _checked(settings, source, todo, workers):
        done[view.key] = view
        if len(done) == min(FIRST_VIEWS, count):
            _require_readable([*done.values()], settings)
        if folder:
            _append_progress(folder, view, stamps[view.key])
        on_view()
    views = _without_chance([done[source.keys[index]] for index in indices])
    kept = tuple(view.key for view in views if not _counting(view, settings.ignored))
    report = CheckReport(
        views=views,
        ignored=settings.ignored,
        counts=dict(Counter(problem for view in views for problem in view.problems).most_common()),
        advice=tuple(_advice(views, source, settings)),
        kept=kept,
        keep_list=output / "keep.txt" if output and kept and settings.limit is None else None,
        seconds=time.monotonic() - clock,
    )
    if folder:
        _write(folder, report, settings, source, started)
    return report


def _require_readable(views: Sequence[ViewReport], settings: CheckSettings) -> None:
    """Refuse a set of which the first views all fail for one reason: that is a setting, not a damaged file.

    Raises:
        SettingError: with the reason, once.
    """
    reasons = {
        finding.detail.partition(": ")[2] or finding.detail
        for view in views
        for finding in view.findings
        if finding.problem == "unreadable"
    }
    if len(views) > 1 and len(reasons) == 1 and all("unreadable" in view.problems for view in views):
        raise SettingError(
            f"{settings.root}: none of the first {len(views)} views can be read: {reasons.pop()}; "
            "check the reader and its options"
        )


def _without_chance(views: Sequence[ViewReport]) -> tuple[ViewReport, ...]:
    """The views without findings that so few of them have that they are chance.

    Edges of one picture in a few hundred fit the mirrored normals better, if neither fits well; a set that is
    mirrored is so in most of its views.
    """
    mirrored = sum("mirrored" in view.problems for view in views)
    if mirrored == 0 or mirrored > CHANCE_SHARE * len(views):
        return tuple(views)
    return tuple(
        replace(view, findings=tuple(one for one in view.findings if one.problem != "mirrored"))
        for view in views
    )


def _counting(view: ViewReport, ignored: Sequence[str]) -> list[Finding]:
    return [finding for finding in view.findings if finding.problem not in ignored]


def _open(settings: CheckSettings) -> Source[Any]:
    return open_source(settings.reader, settings.root, settings.keep, **settings.options)


def _check(settings: CheckSettings, source: Source[Any], index: int) -> ViewReport:
    try:
        view = source.view(index)
    except StableNormalError as error:
        return unreadable(source.keys[index], str(error))
    return check_view(view, source.keys[index], source.frame, source.convention.derived, settings.limits)


def _checked(
    settings: CheckSettings, source: Source[Any], indices: Sequence[int], workers: int
) -> Iterator[ViewReport]:
    """Reports in the order of the indices."""
    if workers <= 1:
        for index in indices:
            yield _check(settings, source, index)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _Worker.begin, (settings,)) as pool:
        yield from pool.map(_Worker.check, indices, chunksize=4)


class _Worker:
    """What a process of the pool keeps between views."""

    settings: CheckSettings
    source: Source[Any]

    @classmethod
    def begin(cls, settings: CheckSettings) -> None:
        cls.settings, cls.source = settings, _open(settings)

    @classmethod
    def check(cls, index: int) -> ViewReport:
        return _check(cls.settings, cls.source, index)


def _advice(views: Sequence[ViewReport], source: Source[Any], settings: CheckSettings) -> Iterator[str]:
    """What to do about the set as a whole."""
    axes, times, judged = majority_axes(views)
    if axes and times > MOST * judged:
        what = f"{times} of {judged} views fit {axes} better than the declared {source.frame or 'frames'}"
        yield (
            f"{what}; read them with --frame {axes}" if axes in FRAMES else f"{what}; no frame has these axes"
        )
    if any("tilt-shift" in view.problems for view in views):
        yield (
            "the normals of tilted cameras are turned into the axes of their image plane when read; "
            "--ignore tilt-shift keeps them"
        )
    if source.convention.uncertain and not settings.options:
        yield f"not certain about this set: {source.convention.uncertain}"
    if settings.limit is not None:
        yield "only a part was checked, so no keep-list is written; leave --limit out for one"


def _settings_line(settings: CheckSettings) -> str:
    """What decides the measures of a view, and nothing that only decides what counts."""
    content = asdict(settings) | {"ignored": None, "limit": None, "options": dict(settings.options)}
    return json.dumps(content, sort_keys=True, default=str)


def _read_progress(
    folder: OutputFolder, settings: CheckSettings, stamps: Mapping[str, str]
) -> dict[str, ViewReport]:
    """Views that an interrupted check has done and whose files are the same; begins the file otherwise."""
    output = folder.root
    path = output / "views.jsonl"
    if not path.is_file():
        folder.begin(path)
        write_bytes(path, (_settings_line(settings) + "\n").encode())
        return {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if not lines or lines[0].rstrip("\n") != _settings_line(settings):
        raise DataError(
            f"{output}: holds the check of another set or with other options; choose another folder"
        )
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):  # interrupted in the middle of a line
        write_bytes(path, "".join(whole).encode())
    entries = [json.loads(line) for line in whole[1:]]
    same = [entry for entry in entries if entry.pop("files", None) == stamps.get(entry["key"])]
    changed = {entry["key"] for entry in entries} - {entry["key"] for entry in same}
    for key in sorted(changed & stamps.keys()):
        logger.warning("%s: checked again, as its files changed since", key)
    return {view.key: view for view in map(_view_of, same)}


def _append_progress(folder: OutputFolder, view: ViewReport, files: str) -> None:
    with (folder.root / "views.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(view) | {"files": files}) + "\n")


def _view_of(content: dict[str, Any]) -> ViewReport:
    shift = content.pop("shift_px")
    findings = tuple(Finding(**finding) for finding in content.pop("findings"))
    return ViewReport(**content, shift_px=tuple(shift) if shift else None, findings=findings)


def _write(
    folder: OutputFolder, report: CheckReport, settings: CheckSettings, source: Source[Any], started: datetime
) -> None:
    content = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 3),
        "settings": json.loads(_settings_line(settings))
        | {"ignored": settings.ignored, "limit": settings.limit},
        "frame": source.frame,
        "uncertain": source.convention.uncertain,
        "versions": versions(),
        "views": len(report.views),
        "bad": len(report.bad),
        "problems": report.counts,
        "advice": report.advice,
        "per_view": [asdict(view) | {"problems": view.problems} for view in report.views],
    }
    output = folder.root
    with folder.writing([output / "check.json", output / "views.csv"]):
        write_bytes(output / "check.json", (json.dumps(content, indent=1) + "\n").encode("utf-8"))
        write_bytes(output / "views.csv", os.fsencode(_csv(report.views)))
    if not report.keep_list:
        (output / "keep.txt").unlink(missing_ok=True)  # of an earlier check; a foreign one was refused
    else:
        remarks = [
            f"root: {settings.root}",
            f"{len(report.kept)} of {len(report.views)} views; left out: "
            + (", ".join(f"{name} {times}" for name, times in report.counts.items()) or "none"),
        ]
        with folder.writing([report.keep_list]):
            write_keep_list(report.keep_list, settings.reader, report.kept, remarks)


def _csv(views: Sequence[ViewReport]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = [entry.name for entry in fields(ViewReport) if entry.name != "findings"]
    writer.writerow([*measures, "problems", "details"])
    for view in views:
        row = [getattr(view, name) for name in measures]
        row = [
            "" if value is None else f"{value:.5g}" if isinstance(value, float) else value for value in row
        ]
        details = "; ".join(f"{finding.problem}: {finding.detail}" for finding in view.findings)
        writer.writerow([*row, " ".join(view.problems), details])
    return text.getvalue()
