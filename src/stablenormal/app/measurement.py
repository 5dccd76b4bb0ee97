"""What `evaluate` and `variance` share: names of regions, the record, the table of images, their pictures."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stablenormal.app.report_page import Picture
from stablenormal.app.run_record import versions
from stablenormal.evaluation.edges import EDGE_DEG, NEAR_PX
from stablenormal.io.atomic import write_bytes
from stablenormal.io.image import write_image
from stablenormal.io.output_folder import OutputFolder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

REGION_NAMES = {
    "everywhere": "All valid pixels",
    "on_edges": f"Within {NEAR_PX:g} px of an edge",
    "off_edges": "Away from edges",
}


def made(started: datetime) -> str:
    """When a run was made, for its page."""
    return started.strftime("%Y-%m-%d %H:%M UTC")


def write_record(
    path: Path,
    *,
    started: datetime,
    seconds: float,
    settings: "DataclassInstance",
    facts: Mapping[str, Any],
    edges: Mapping[str, Any],
    summary: "DataclassInstance",
    images: Sequence["DataclassInstance"],
) -> None:
    """Write all numbers of a measurement as JSON.

    Args:
        path: the file.
        started: when the run began.
        seconds: since then.
        settings: its options.
        facts: what else is worth recording.
        edges: what the edges are those of, beside how they are found.
        summary: over all images.
        images: each of them.
    """
    content: dict[str, Any] = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "settings": asdict(settings),
        **facts,
        "versions": versions(),
        "edges": {**edges, "turn_deg": EDGE_DEG, "near_px": NEAR_PX},
        "summary": asdict(summary),
        "images": [asdict(image) for image in images],
    }
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode("utf-8"))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a row for each image as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path, os.fsencode(text.getvalue()))


def write_pictures(
    folder: OutputFolder, name: str, previews: Mapping[str, NDArray[np.uint8]]
) -> list[Picture]:
    """Write an image's previews, by label, below `shown/`, for its card."""
    pictures = []
    for label, picture in previews.items():
        path = f"shown/{name}-{label.replace(' ', '-')}.jpg"
        file = folder.path(path)
        with folder.writing([file]):
            write_image(file, picture)
        pictures.append(picture_at(path, label, picture))
    return pictures


def picture_at(path: str, label: str, picture: NDArray[np.uint8]) -> Picture:
    """A picture that lies at `path`, relative to the page."""
    return Picture(label.capitalize(), path, picture.shape[1], picture.shape[0])
