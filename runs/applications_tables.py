"""Write docs/applications.md from the results: multi-view, integration, enhancement.

python runs/applications_tables.py [--results results] [-o docs/applications.md]

A section without its result file is left out.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

REFERENCE_MM = {"bear": 0.334, "cat": 0.074, "pot2": 0.220, "reading": 0.257}
"""Of the BiNI authors' code on the same normals, masks and cameras, as told; not run here."""


def main() -> None:
    """Collect the sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/applications.md"))
    options = parser.parse_args()
    sections: dict[str, Callable[[Any], list[str]]] = {
        "reconstruction": multi_view,
        "diligent": integration,
        "integration-scaling": scaling,
        "enhancement": enhancement,
    }
    lines = [
        "# Applications in numbers",
        "",
        "The paper's applications, measured with the bundled model. `runs/applications_tables.py` writes",
        "this page; below each table stands the file that its figures come from.",
    ]
    for name, write in sections.items():
        path = options.results / f"{name}.json"
        if path.is_file():
            lines += ["", *write(json.loads(path.read_text())), "", f"`{path.as_posix()}`"]
    options.out.write_text("\n".join(lines) + "\n")


def multi_view(record: Any) -> list[str]:
    """The paper's table 1: a line for each prior, means over seeds and then over scenes."""
    config = record["config"]
    scenes = config["scenes"]
    rows = []
    for prior, means in record["summary"].items():
        runs = [run for run in record["runs"] if run["prior"] == prior]
        each = [[run["chamfer"] for run in runs if run["scene"] == scene] for scene in scenes]
        shown = ("chamfer", "f_score", "normal_consistency", "chamfer_seed_spread", "processor_seconds")
        rows.append([prior, *(sum(one) / len(one) for one in each), *(means[key] for key in shown)])
    errors = ", ".join(f"{one['mean_error_deg']:.1f}" for one in record["priors"].values())
    columns = ["prior", *(f"Chamfer, statue {scene}" for scene in scenes), "Chamfer, mean"]
    columns += [f"F-score at {config['f_score_threshold']}", "normal consistency"]
    columns += ["Chamfer's spread over seeds", "processor s"]
    return [
        "## Surfaces from many photographs, with and without the prior",
        "",
        f"Statues of radius 1 without texture, {config['views']} photographs of {config['size']} px, "
        f"{len(config['seeds'])} seeds, grids up to {config['reconstruction']['resolutions'][-1]}.",
        f"The predicted normals are {errors} degrees off.",
        "",
        *table(columns, rows),
    ]


def integration(record: Any) -> list[str]:
    """The paper's table 5 on ground-truth normals."""
    rows = [
        [name, row["error_mm"], REFERENCE_MM.get(name, ""), row["processor_seconds"], int(row["pixels"])]
        for name, row in record["objects"].items()
    ]
    columns = ["object", "error, mm", "BiNI's code, mm (as told, not run here)", "processor s", "pixels"]
    return [
        "## Surfaces from one normal map: DiLiGenT",
        "",
        "Ground-truth normals, mean absolute depth error after one median scale.",
        "",
        *table(columns, rows),
    ]


def scaling(record: Any) -> list[str]:
    """Time per pixel and memory of the integration."""
    columns = ["method", "megapixels", "time per pixel over the smallest", "peak GiB"]
    first = {}
    rows = []
    for row in record["rows"]:
        share = row["processor_seconds"] / row["megapixels"]
        rows.append(
            [
                row["method"],
                row["megapixels"],
                share / first.setdefault(row["method"], share),
                row["peak_gib"],
            ]
        )
    return ["## Cost of the integration", "", *table(columns, rows)]


def enhancement(record: Any) -> list[str]:
    """Errors before and after, over strengths."""
    columns = ["coarse map", "strength", "error, deg", "near edges, deg", "sharpness"]
    measured = [{"degradation": "six views, blur 4 px", **row} for row in record["six_views"]]
    rows = [
        [row["degradation"], "before" if row["strength"] is None else row["strength"]]
        + [row[key] for key in ("error_deg", "edge_error_deg", "sharpness")]
        for row in [*record["heldout"], *measured]
    ]
    return [f"## Enhanced normals ({record['count']} unseen renders)", "", *table(columns, rows)]


def table(columns: list[str], rows: list[list[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    texts = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *texts]
    return ["| " + " | ".join("-" if cell == "None" else cell for cell in line) + " |" for line in lines]


if __name__ == "__main__":
    main()
