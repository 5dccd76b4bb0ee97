"""The study's page, plots and summary, computed from the results of its runs. Called by `study.py`."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from stablenormal.evaluation.bootstrap import Interval, bootstrap_mean
from stablenormal.io.atomic import write_bytes
from studies.claims.plan import (
    AXES,
    CLAIMS,
    LAMBDAS,
    LEVELS,
    METRICS,
    NETWORKS,
    PAPER_LAMBDA,
    PAPER_LEVEL,
    PAPER_STEPS,
    ROWS,
    STEPS,
    SWEEPS,
    TABLE,
    at,
)
from studies.claims.records import read_records
from studies.claims.statistics import RULE, Claim, Comparison, Finding, answer, judge

Table = dict[str, dict[str, NDArray[np.float64]]]
BLUE, ORANGE, GREY = "#2a5caa", "#d1602f", "#8a8f9c"


def write(out: Path, records: Path, docs: Path | None) -> None:
    """Write `claims.json` and `plots/` below OUT; with `docs` also the page, its pictures, the summary.

    Args:
        out: folder for them.
        records: of the study's runs, as `read_records` takes them.
        docs: the manual's folder; `results/study.json` is written beside it.
    """
    results = read_records(records)
    runs = _runs(results)
    measurements = _measurements(runs, results.get("times"))
    findings = {claim.key: [judge(one, measurements) for one in claim.comparisons] for claim in CLAIMS}
    summary = _summary(results, runs, measurements, findings)
    _write_json(out / "claims.json", summary)
    plots = _plot_all(out / "plots", measurements)
    if docs is None:
        return
    _write_json(docs.parent / "results" / "study.json", summary)
    for plot in plots:
        write_bytes(docs / "claims" / plot.name, plot.read_bytes())
    page = _wrapped(_page(summary, measurements, findings, [plot.name for plot in plots]))
    write_bytes(docs / "claims.md", page.encode())


def _runs(results: dict[str, dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Row -> training seed -> its result."""
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for name in ROWS:
        for place, result in results.items():
            row, _, seed = place.removeprefix("rows/").rpartition("-s")
            if place.startswith("rows/") and row == name:
                runs.setdefault(name, {})[int(seed)] = result
    return runs


def _measurements(runs: dict[str, dict[int, dict[str, Any]]], times: dict[str, Any] | None) -> Table:
    """Row -> metric -> (training seeds, images), NaN where an image was not measured or has no value."""
    table: Table = {}
    for name, seeds in runs.items():
        metrics = dict.fromkeys(metric for run in seeds.values() for metric in run["values"])
        table[name] = {}
        for metric in metrics:
            rows = [seeds[seed]["values"].get(metric, []) for seed in sorted(seeds)]
            table[name][metric] = _rectangle(rows)
    width: dict[str, int] = {}
    for metrics_of_row in table.values():
        for metric, values in metrics_of_row.items():
            width[metric] = max(width.get(metric, 0), values.shape[1])
    for metrics_of_row in table.values():
        for metric, values in metrics_of_row.items():
            missing = ((0, 0), (0, width[metric] - values.shape[1]))
            metrics_of_row[metric] = np.pad(values, missing, constant_values=np.nan)
    if times is not None:
        for name, seconds in times["seconds"].items():
            table.setdefault(name, {})["seconds"] = _rectangle([seconds])
    return table


def _rectangle(rows: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    filled = np.full((len(rows), max(map(len, rows))), np.nan)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = [np.nan if value is None else value for value in row]
    return filled


def _interval(measurements: Table, row: str, metric: str) -> Interval | None:
    values = measurements.get(row, {}).get(metric)
    if values is None or np.isnan(values).any(axis=0).all():
        return None
    return bootstrap_mean(values)


def _planned(every_run: Sequence[dict[str, Any]]) -> int:
    """Rows times their training seeds in the budget of these runs."""
    if not every_run:
        return 0
    seeds = every_run[0]["settings"]["budget"]["training_seeds"]
    return sum(min(row.seeds, seeds) for row in ROWS.values())


def _summary(
    results: dict[str, dict[str, Any]],
    runs: dict[str, dict[int, dict[str, Any]]],
    measurements: Table,
    findings: dict[str, list[Finding]],
) -> dict[str, Any]:
    """What the page says, as numbers."""
    networks: dict[str, Any] = {}
    for place, found in results.items():
        if not place.startswith("networks/"):
            continue
        kept = (
            "parameters",
            "samples",
            "seconds_of_this_run",
            "cpu_seconds_of_this_run",
            "weights",
            "commit",
        )
        networks[place.removeprefix("networks/")] = {key: found[key] for key in kept}
    every_run = [run for seeds in runs.values() for run in seeds.values()]
    shared = ("budget", "corpus", "heldout", "base", "optimiser")
    rows = {
        name: {
            "title": ROWS[name].title,
            "training_seeds": sorted(runs.get(name, {})),
            "metrics": {
                metric: asdict(interval)
                for metric in METRICS
                if (interval := _interval(measurements, name, metric)) is not None
            },
        }
        for name in measurements
    }
    return {
        "command": "python -m studies.claims OUT --model SMALL --corpus PACKED --heldout PACKED --pairs DIR "
        "--docs docs",
        "commits": sorted({run["commit"] for run in every_run}),
        "settings": {key: every_run[0]["settings"][key] for key in shared} if every_run else {},
        "runs": {"measured": len(every_run), "planned": _planned(every_run)},
        "cpu_seconds": {
            "training": sum(one["cpu_seconds_of_this_run"] for one in networks.values()),
            "measuring": sum(run["cpu_seconds"] for run in every_run),
        },
        "seconds": {
            "training": sum(one["seconds_of_this_run"] for one in networks.values()),
            "measuring": sum(run["seconds"] for run in every_run),
        },
        "networks": networks,
        "rows": rows,
        "claims": [
            {
                "key": claim.key,
                "sentence": claim.sentence,
                "verdict": answer(findings[claim.key]),
                "comparisons": [asdict(finding) for finding in findings[claim.key]],
            }
            for claim in CLAIMS
        ],
    }


# Plots


def _plot_all(folder: Path, measurements: Table) -> list[Path]:
    """Every plot of which there is something to see."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = [
        _plot_table(folder / "table.png", measurements),
        _plot_sweep(
            folder / "lambda.png",
            measurements,
            "shrinkage lambda",
            {
                "full": at(LAMBDAS, "full-lambda", PAPER_LAMBDA),
                "turbo": at(LAMBDAS, "turbo-lambda", PAPER_LAMBDA, "turbo"),
            },
            ("error", "variance", "spread"),
        ),
        _plot_sweep(
            folder / "level.png",
            measurements,
            "t+",
            {"full": at(LEVELS, "level", PAPER_LEVEL)},
            ("error", "near_edges", "variance"),
        ),
        _plot_sweep(
            folder / "steps.png",
            measurements,
            "refinement steps",
            {"full": at(STEPS, "steps", PAPER_STEPS)},
            ("error", "near_edges", "sharpness_gap"),
        ),
    ]
    return [plot for plot in plots if plot is not None]


def _plot_table(path: Path, measurements: Table) -> Path | None:
    """Error everywhere and near edges of every method of the table."""
    rows = [name for name in TABLE if _interval(measurements, name, "error")]
    if not rows:
        return None
    figure, axes = plt.subplots(1, 3, figsize=(11, 0.42 * len(rows) + 1.4), sharey=True, layout="constrained")
    for axis, metric in zip(axes, ("error", "near_edges", "variance"), strict=True):
        for place, name in enumerate(rows):
            interval = _interval(measurements, name, metric)
            if interval is not None:
                colour = ORANGE if name in ("full", "full-half", "turbo") else BLUE
                _bar(axis, interval, place, colour, horizontal=True)
        axis.set_xlabel(AXES[metric])
        if metric == "variance":
            axis.set_xscale("symlog", linthresh=0.01)
        axis.grid(axis="x", color="#e3e5ea")
        axis.set_axisbelow(True)
    axes[0].set_yticks(range(len(rows)), [TABLE[name].title for name in rows])
    axes[0].invert_yaxis()
    return _save(figure, path)


def _plot_sweep(
    path: Path,
    measurements: Table,
    label: str,
    lines: dict[str, list[tuple[Any, str]]],
    metrics: Sequence[str],
) -> Path | None:
    """Metrics against a setting, minus what the paper's own value gives, on the same images."""
    figure, axes = plt.subplots(1, len(metrics), figsize=(3.6 * len(metrics), 3.1), layout="constrained")
    found = False
    for axis, metric in zip(axes, metrics, strict=True):
        for (line, rows), colour in zip(lines.items(), (ORANGE, BLUE)[: len(lines)], strict=True):
            points = [
                (place, difference)
                for place, (_, name) in enumerate(rows)
                if (difference := _difference(measurements, name, line, metric)) is not None
            ]
            found = found or len(points) > 1
            shown = ([p for p, _ in points], [d.mean for _, d in points])
            axis.plot(*shown, color=colour, alpha=0.5, label=line)
            for place, difference in points:
                _bar(axis, difference, place, colour, horizontal=False, filled=rows[place][1] == line)
        values = next(iter(lines.values()))
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.set_xticks(range(len(values)), [f"{value:g}" for value, _ in values])
        axis.set_xlabel(label)
        axis.set_ylabel(f"{AXES[metric]}:\ndifference")
        axis.grid(axis="y", color="#e3e5ea")
        axis.set_axisbelow(True)
    if len(lines) > 1:
        axes[0].legend(frameon=False)
    if not found:
        plt.close(figure)
        return None
    return _save(figure, path)


def _difference(measurements: Table, row: str, main: str, metric: str) -> Interval | None:
    return judge(Comparison(row, main, metric), measurements).difference


def _bar(
    axis: Any, interval: Interval, place: float, colour: str, *, horizontal: bool, filled: bool = True
) -> None:
    ends = [[interval.mean - interval.low], [interval.high - interval.mean]]
    style = {
        "fmt": "o",
        "color": colour,
        "markerfacecolor": colour if filled else "white",
        "capsize": 3,
        "markersize": 5,
    }
    if horizontal:
        axis.errorbar([interval.mean], [place], xerr=ends, **style)
    else:
        axis.errorbar([place], [interval.mean], yerr=ends, **style)


def _save(figure: Any, path: Path) -> Path:
    for axis in figure.axes:
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


# The page


def _page(
    summary: dict[str, Any], measurements: Table, findings: dict[str, list[Finding]], plots: Sequence[str]
) -> str:
    parts = [
        "# Do the paper's claims hold at this scale?",
        "<!-- Written by python -m studies.claims from the results of its runs; do not edit. -->",
        _introduction(summary),
        "## Answers",
        RULE
        + " The rule does not correct for the number of claims: of twenty true zero differences about one "
        "interval misses zero by chance. Plain diffusion with 50 steps and ensembles of 10 has one training "
        "seed, whose own luck no interval knows.",
        _claims_table(findings),
        "## Why: the differences",
        "Metric of the first method minus that of the second, in the metric's own unit; negative speaks "
        "for the claim.",
        _differences_table(findings),
        "## The methods at equal compute",
        _methods_text(summary),
        _methods_table(summary, measurements),
        _picture(
            plots, "table.png", "Error, error near edges and variance of every method, with 95 % intervals."
        ),
        "## Settings",
        "Differences to the paper's own value (filled), on the same images, with 95 % intervals; below zero "
        "is better than the paper's.",
        _picture(plots, "lambda.png", "Error, variance and spread against lambda."),
        _picture(plots, "level.png", "Error, error near edges and variance against t+."),
        _picture(
            plots,
            "steps.png",
            "Error, error near edges and distance of the sharpness from 1 against the number of steps.",
        ),
        _sweeps_table(measurements),
        "## Cost and limits",
        _limits(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _wrapped(page: str) -> str:
    """The page with its prose in lines of at most 110 characters; tables, code and pictures stay."""
    return (
        "\n\n".join(
            block
            if block.startswith(("|", "```", "![", "<!--", "#"))
            else "\n".join(
                textwrap.fill(
                    line,
                    110,
                    subsequent_indent="  " if line.startswith("- ") else "",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                for line in block.split("\n")
            )
            for block in page.rstrip("\n").split("\n\n")
        )
        + "\n"
    )


def _introduction(summary: dict[str, Any]) -> str:
    command = f"```bash\n{summary['command']}\n```"
    if not summary["settings"]:
        return f"Nothing is measured yet; this page is written by\n\n{command}"
    budget = summary["settings"]["budget"]
    counts = [verdict["verdict"] for verdict in summary["claims"]]
    runs = summary["runs"]
    unfinished = (
        f"**Not complete yet**: {runs['measured']} of {runs['planned']} runs are measured. Answers of a "
        "single training seed may be that seed's luck.\n\n"
        if runs["measured"] < runs["planned"]
        else ""
    )
    return unfinished + (
        f"Of {len(counts)} claims of the paper {counts.count('yes')} hold here, {counts.count('no')} do "
        f"not, {counts.count('cannot tell')} cannot be told, {counts.count('not measured')} are not "
        f"measured. *Here* means: networks of {_millions(summary)} million parameters trained from nothing "
        f"on {budget['size']} px renders, {budget['steps'] * budget['batch']:,} samples each, measured on "
        f"{budget['heldout_images']} renders of unseen scenes, whose truth is exact. The paper starts from "
        "Stable Diffusion with 866 million parameters. What fails here may hold there, and the other way "
        "round: the answers say what the method's ideas are worth without a large prior.\n\nEvery number "
        f"comes from\n\n{command}\n\nand is in `results/study.json`."
    )


def _millions(summary: dict[str, Any]) -> str:
    sizes = [one["parameters"] / 1e6 for one in summary["networks"].values()]
    if not sizes:
        return "?"
    low, high = f"{min(sizes):.2g}", f"{max(sizes):.2g}"
    return low if low == high else f"{min(sizes):.3g} to {max(sizes):.3g}"


def _claims_table(findings: dict[str, list[Finding]]) -> str:
    rows = []
    for claim in CLAIMS:
        found = findings[claim.key]
        rows.append([claim.sentence, f"**{answer(found)}**", _why(claim, found)])
    return _markdown(["claim", "holds?", "because"], rows)


def _why(claim: Claim, findings: Sequence[Finding]) -> str:
    """The comparison that decided, in one line."""
    measured = [finding for finding in findings if finding.difference is not None]
    if not measured:
        return "not measured"
    verdict = answer(findings)
    deciding = [finding for finding in measured if finding.verdict == verdict] or measured
    # Of several the weakest support, or the strongest contradiction: the largest difference.
    finding = max(deciding, key=lambda one: one.difference.mean if one.difference else 0.0)
    against = ROWS[finding.comparison.worse].title
    count = (
        f"; {sum(one.verdict == 'yes' for one in findings)} of {len(findings)} hold"
        if len(findings) > 1
        else ""
    )
    note = ""
    interval = finding.difference
    if finding.verdict == "cannot tell" and interval is not None:
        inside = interval.low <= finding.comparison.margin <= interval.high
        note = ": the interval holds zero" if inside else ": training seeds disagree"
        if inside and finding.comparison.margin:
            note = ": the interval holds the margin"
    return f"{_shown(interval)} against {against}{note}{count}"


def _shown(interval: Interval | None, signed: bool = True) -> str:
    if interval is None:
        return ""
    scale = max(abs(interval.low), abs(interval.high), abs(interval.mean))
    digits = 2 if scale >= 0.5 else 4
    form = f"{'+' if signed else ''}.{digits}f"
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _differences_table(findings: dict[str, list[Finding]]) -> str:
    rows = []
    for claim in CLAIMS:
        for finding in findings[claim.key]:
            comparison = finding.comparison
            rows.append(
                [
                    claim.key,
                    METRICS[comparison.metric].split(",")[0].split(";")[0],
                    f"{ROWS[comparison.better].title} - {ROWS[comparison.worse].title}",
                    _shown(finding.difference),
                    ", ".join(f"{value:+.3g}" for value in finding.per_seed),
                    finding.verdict + (f" (margin {comparison.margin:g})" if comparison.margin else ""),
                ]
            )
    return _markdown(
        ["claim", "metric", "difference of", "mean [95 %]", "each training seed", "holds?"], rows
    )


def _methods_text(summary: dict[str, Any]) -> str:
    if not summary["networks"]:
        return ""
    return (
        "*Samples* are training samples over all networks of a method, as a multiple of one training. All "
        "networks see the same samples in the same order, with the same optimiser, learning rate and "
        "length, which were tuned for none of them. Ensembles are measured on fewer images, and combined "
        "by the member nearest to the mean. Sharpness is 1 for a prediction as sharp as the truth; noise "
        "raises it. Times are medians, with all methods in turns in one process; only their ratio to the "
        "feed-forward network carries over to other machines."
    )


def _methods_table(summary: dict[str, Any], measurements: Table) -> str:
    rows = []
    base = _interval(measurements, "feed-forward", "seconds")
    for name, row in TABLE.items():
        metrics = {metric: _interval(measurements, name, metric) for metric in METRICS}
        if metrics["error"] is None:
            continue
        seconds, sharpness = metrics["seconds"], metrics["sharpness"]
        ratio = float(np.median(measurements[name]["seconds"])) if seconds else None
        reference = float(np.median(measurements["feed-forward"]["seconds"])) if base else None
        rows.append(
            [
                row.title,
                f"{row.samples:g}",
                str(len(measurements[name]["error"])),
                str(int((~np.isnan(measurements[name]["error"]).any(axis=0)).sum())),
                *(_shown(metrics[metric], signed=False) for metric in ("error", "near_edges", "away")),
                f"{sharpness.mean:.2f}" if sharpness else "",
                *(_shown(metrics[metric], signed=False) for metric in ("variance", "spread", "photographs")),
                f"{ratio:.3f} s" if ratio else "",
                f"{ratio / reference:.1f}" if ratio and reference else "",
            ]
        )
    if not rows:
        return ""
    header = ["method", "samples", "training seeds", "images", "error", "near edges", "away", "sharpness"]
    return _markdown([*header, "variance", "spread", "photographs", "time", "time, ratio"], rows)


def _sweeps_table(measurements: Table) -> str:
    metrics = ("error", "near_edges", "variance")
    rows = []
    for name, row in SWEEPS.items():
        main = "turbo" if row.kind == "one_step" else "full"
        found = [_difference(measurements, name, main, metric) for metric in metrics]
        error = _interval(measurements, name, "error")
        if error is not None:
            shown = [_shown(one) for one in found]
            seeds = str(len(measurements[name]["error"]))
            rows.append([row.title, main, seeds, _shown(error, signed=False), *shown])
    if not rows:
        return ""
    header = ["setting", "against", "training seeds", "error", "error, difference", "near edges, difference"]
    return _markdown([*header, "variance, difference"], rows)


def _limits(summary: dict[str, Any]) -> str:
    text = (
        "- The denoisers begin with random weights: no claim about what a prior of photographs brings is "
        "tested.\n- The rivals copy only the style of other methods, with our networks and data; "
        "their authors' models are larger and trained longer.\n- GenPercept style is the paper's special "
        "case of YOSO (zeros, t+ = 0, latent error); GenPercept itself also "
        "tried losses on images, as the E2E-FT style does here.\n- "
        "The refiner is trained at all noise levels alike, on the truth with noise, as the paper says.\n- "
        "All methods see photographs through the base's frozen encoder. The bundled model's was trained "
        "with a one-step network and an angular loss, which may favour such rivals.\n- "
        "Ensembles are compared on the images on which they were measured."
    )
    if not summary["networks"]:
        return text
    minutes = {name: f"{seconds / 60:.0f}" for name, seconds in summary["seconds"].items()}
    hours = sum(summary["cpu_seconds"].values()) / 3600
    return (
        f"Training {len(summary['networks'])} networks took {minutes['training']} minutes, measuring "
        f"{minutes['measuring']} minutes, {hours:.2g} CPU hours in all (interrupted runs count from where "
        f"they resumed). Commits: {', '.join(summary['commits'])}.\n\n{_networks_table(summary)}\n\n{text}"
    )


def _networks_table(summary: dict[str, Any]) -> str:
    """Every kind of network: parameters, samples, and the time of its trainings."""
    rows = []
    for name in NETWORKS:
        found = [one for run, one in summary["networks"].items() if run.rpartition("-s")[0] == name]
        if found:
            minutes = ", ".join(f"{one['cpu_seconds_of_this_run'] / 60:.1f}" for one in found)
            rows.append([name, f"{found[0]['parameters'] / 1e6:.2f}", f"{found[0]['samples']:,}", minutes])
    return _markdown(["network", "million parameters", "samples", "CPU minutes of each training seed"], rows)


def _picture(plots: Sequence[str], name: str, text: str) -> str:
    return f"![{text}](claims/{name})" if name in plots else ""


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())
