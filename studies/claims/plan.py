"""What the study trains, what it measures, and which claims of the paper it asks about."""

from dataclasses import dataclass, field
from typing import Any, Literal

from stablenormal.models.architecture import (
    TOY,
    Architecture,
    AutoencoderShape,
    DenoiserShape,
    SemanticShape,
)
from studies.claims.statistics import Claim, Comparison

LAMBDAS = (0.0, 0.2, 0.4, 0.6, 1.0)
LEVELS = (1, 101, 201, 401, 601, 801)
STEPS = (1, 2, 5, 10, 20)
PAPER_LAMBDA, PAPER_LEVEL, PAPER_STEPS = 0.4, 401, 10

_DENOISER = DenoiserShape(
    block_out_channels=(64, 96, 160),
    cross_attention=(False, False, True),
    attention_heads=(2, 3, 5),
    layers_per_block=1,
    cross_attention_dim=64,
    norm_groups=16,
    text_tokens=2,
    rgb_embedding_channels=(1,),
)

STUDIED = Architecture(
    autoencoder=AutoencoderShape(
        latent_channels=16,
        patch=4,
        block_out_channels=(64, 96),
        layers_per_block=1,
        mid_attention=False,
        norm_groups=2,
        scaling_factor=1.0,
    ),
    yoso=_DENOISER,
    refiner=_DENOISER,
    semantic=SemanticShape(width=192, depth=6, heads=3, patch_size=14, position_size=224),
)
"""Shapes of the published study's networks: those of `small` when it ran, whatever `small` has since. Its
frozen parts came from the weights of that time, src/stablenormal/weights/small in commit 3a09254."""

ARCHITECTURES = {"small": STUDIED, "toy": TOY}
"""Of the fresh networks, by the name of the model that gives the frozen parts."""


@dataclass(frozen=True)
class Budget:
    """How large the study is."""

    size: int
    """Side of the images in pixels."""
    steps: int
    """Optimiser steps of a network."""
    batch: int
    """Samples of a step."""
    corpus_images: int
    """Training images, at most."""
    variants: int
    """Augmented versions of each."""
    heldout_images: int
    """Renders of unseen scenes on which everything is measured."""
    ensemble_images: int
    """The first of them, on which ensembles of ten are measured."""
    training_seeds: int
    """Trainings of each network that a claim hangs on."""
    noise_seeds: int
    """Draws of an image from which its variance is computed."""
    sweep_noise_seeds: int
    """Draws of an image where only the error is asked for."""
    batch_images: int
    """Images of a batch when measuring."""
    timing_rounds: int
    """Times that every method of the table is timed."""


BUDGETS = {
    "small": Budget(96, 400, 32, 9600, 2, 96, 24, 3, 10, 4, 12, 5),
    "tiny": Budget(64, 2, 4, 8, 1, 4, 2, 1, 2, 2, 4, 1),
}


@dataclass(frozen=True)
class Network:
    """A network to train."""

    kind: Literal["yoso", "refiner", "rival"]
    settings: dict[str, Any] = field(default_factory=dict)
    """Of its part, beside the study's own."""
    rival: str = ""
    """A name in `rivals.RIVALS`."""
    share: float = 1.0
    """Of the optimiser steps."""
    semantics: bool = True
    """Refiner: whether it has an injector."""
    seeds: int = 3
    """Training seeds, at most."""


def _yoso(shrinkage: float, share: float = 1.0, seeds: int = 3) -> Network:
    return Network("yoso", {"shrinkage": shrinkage}, share=share, seeds=seeds)


NETWORKS: dict[str, Network] = {
    "yoso": _yoso(PAPER_LAMBDA),
    "refiner": Network("refiner", {"low_noise_fraction": 0.0}),
    "diffusion": Network("rival", rival="diffusion"),
    "marigold": Network("rival", rival="marigold"),
    "genpercept": Network("rival", rival="genpercept"),
    "end-to-end": Network("rival", rival="end_to_end"),
    "feed-forward": Network("rival", rival="feed_forward"),
    "refiner-no-semantics": Network("refiner", {"low_noise_fraction": 0.0}, semantics=False),
    "yoso-lambda-0": _yoso(0.0),
    "yoso-lambda-1": _yoso(1.0),
    "yoso-lambda-0.2": _yoso(0.2, seeds=1),
    "yoso-lambda-0.6": _yoso(0.6, seeds=1),
    "yoso-half": _yoso(PAPER_LAMBDA, share=0.5),
    "refiner-half": Network("refiner", {"low_noise_fraction": 0.0}, share=0.5),
}


@dataclass(frozen=True)
class Row:
    """A method to measure."""

    title: str
    """What the page calls it."""
    kind: Literal["one_step", "two_stage", "diffusion"]
    networks: tuple[str, ...]
    """Names in `NETWORKS`: one; or YOSO and refiner; what starts first."""
    steps: int = PAPER_STEPS
    level: int = PAPER_LEVEL
    rule: str = "hold_then_descend"
    start: Literal["yoso", "noise", "feed_forward"] = "yoso"
    """Two stages: what the refinement starts from."""
    semantics: Literal["on", "off", "shuffled"] = "on"
    ensemble: int = 1
    draws: Literal["many", "few", "two"] = "few"
    """How many noise seeds: `noise_seeds`, `sweep_noise_seeds`, or two where the result is deterministic."""
    photographs: bool = False
    """Whether it is also measured on `--pairs`."""
    timed: bool = False
    seeds: int = 3
    """Training seeds, at most."""

    @property
    def samples(self) -> float:
        """Training samples of all its networks, as a multiple of one full training."""
        return sum(NETWORKS[name].share for name in self.networks)


def _table_row(
    title: str, kind: Literal["one_step", "two_stage", "diffusion"], *networks: str, **options: Any
) -> Row:
    return Row(title, kind, networks, photographs=True, timed=True, **{"draws": "many", **options})


TABLE: dict[str, Row] = {
    "full": _table_row("StableNormal (full)", "two_stage", "yoso", "refiner"),
    "full-half": _table_row(
        "StableNormal (full), half the samples each", "two_stage", "yoso-half", "refiner-half"
    ),
    "turbo": _table_row("StableNormal turbo (YOSO)", "one_step", "yoso"),
    "diffusion-10": _table_row("Plain diffusion, 10 steps", "diffusion", "diffusion"),
    "diffusion-50": _table_row("Plain diffusion, 50 steps", "diffusion", "diffusion", steps=50),
    "diffusion-10-x10": _table_row(
        "Plain diffusion, 10 steps, ensemble of 10", "diffusion", "diffusion", ensemble=10
    ),
    "diffusion-50-x10": _table_row(
        "Plain diffusion, 50 steps, ensemble of 10",
        "diffusion",
        "diffusion",
        steps=50,
        ensemble=10,
        draws="few",
        seeds=1,
    ),
    "marigold-10": _table_row("Marigold style, 10 steps", "diffusion", "marigold"),
    "marigold-10-x10": _table_row(
        "Marigold style, 10 steps, ensemble of 10", "diffusion", "marigold", ensemble=10
    ),
    "genpercept": _table_row("GenPercept style", "one_step", "genpercept", draws="two"),
    "end-to-end": _table_row("E2E-FT style", "one_step", "end-to-end", draws="two"),
    "feed-forward": _table_row("Feed-forward", "one_step", "feed-forward", draws="two"),
}


def _lambda_name(value: float) -> str:
    return "yoso" if value == PAPER_LAMBDA else f"yoso-lambda-{value:g}"


def _lambda_rows() -> dict[str, Row]:
    rows = {}
    for value in LAMBDAS:
        if value != PAPER_LAMBDA:
            network = _lambda_name(value)
            seeds = NETWORKS[network].seeds
            rows[f"turbo-lambda-{value:g}"] = Row(
                f"turbo, lambda {value:g}", "one_step", (network,), draws="many", seeds=seeds
            )
            rows[f"full-lambda-{value:g}"] = Row(
                f"full, lambda {value:g}", "two_stage", (network, "refiner"), draws="many", seeds=seeds
            )
    return rows


def _full(title: str, **options: Any) -> Row:
    return Row(title, "two_stage", ("yoso", "refiner"), **options)


SWEEPS: dict[str, Row] = {
    **_lambda_rows(),
    **{f"level-{level}": _full(f"t+ {level}", level=level) for level in LEVELS if level != PAPER_LEVEL},
    "semantics-off": Row(
        "trained without semantics", "two_stage", ("yoso", "refiner-no-semantics"), semantics="off"
    ),
    "semantics-shuffled": _full("semantics of another image", semantics="shuffled"),
    "from-noise": Row("refinement from noise", "two_stage", ("refiner",), start="noise", draws="many"),
    "from-feed-forward": Row(
        "refinement from the feed-forward network",
        "two_stage",
        ("feed-forward", "refiner"),
        start="feed_forward",
    ),
    **{
        f"steps-{steps}": _full("1 step" if steps == 1 else f"{steps} steps", steps=steps)
        for steps in STEPS
        if steps != PAPER_STEPS
    },
    "no-hold": _full("10 steps without the hold", rule="ddim"),
}

ROWS: dict[str, Row] = {**TABLE, **SWEEPS}


def at(values: tuple[Any, ...], stem: str, papers: Any, main: str = "full") -> list[tuple[Any, str]]:
    """The rows of a sweep, by value; the paper's own value is the main row."""
    return [(value, main if value == papers else f"{stem}-{value:g}") for value in values]


def _below(metric: str, better: str, *worse: str, margin: float = 0.0) -> tuple[Comparison, ...]:
    return tuple(Comparison(better, other, metric, margin) for other in worse)


DIFFUSION_ROWS = ("diffusion-10", "diffusion-50", "marigold-10")
ENSEMBLE_ROWS = ("diffusion-10-x10", "diffusion-50-x10", "marigold-10-x10")
ONE_STEP_ROWS = ("genpercept", "end-to-end", "feed-forward")

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "error-diffusion",
        "Full has a smaller error than diffusion estimators.",
        _below("error", "full", *DIFFUSION_ROWS),
    ),
    Claim(
        "error-diffusion-equal",
        "At equal compute too: full's two networks together see as many samples as a diffusion estimator's.",
        _below("error", "full-half", *DIFFUSION_ROWS),
    ),
    Claim(
        "error-one-step",
        "Full has a smaller error than deterministic one-step networks.",
        _below("error", "full", *ONE_STEP_ROWS),
    ),
    Claim(
        "error-one-step-equal",
        "At equal compute too: full's two networks together see as many samples as a one-step network.",
        _below("error", "full-half", *ONE_STEP_ROWS),
    ),
    Claim(
        "sharp-one-step",
        "One-step regression blurs: full has a smaller error within 3 px of edges.",
        _below("near_edges", "full", *ONE_STEP_ROWS),
    ),
    Claim(
        "sharpness-one-step",
        "Full's edges are closer to the sharpness of the truth than those of one-step networks.",
        _below("sharpness_gap", "full", *ONE_STEP_ROWS),
    ),
    Claim("refine-error", "The refinement lowers YOSO's error.", _below("error", "full", "turbo")),
    Claim(
        "refine-edges",
        "The refinement lowers YOSO's error near edges.",
        _below("near_edges", "full", "turbo"),
    ),
    Claim(
        "refine-sharpness",
        "The refinement brings YOSO's edges closer to the sharpness of the truth.",
        _below("sharpness_gap", "full", "turbo"),
    ),
    Claim(
        "stable-diffusion",
        "Full varies less over seeds than diffusion estimators (variance of the image-mean error).",
        _below("variance", "full", *DIFFUSION_ROWS),
    ),
    Claim(
        "stable-ensemble",
        "Full varies less over seeds than even ensembles of ten of diffusion estimators.",
        _below("variance", "full", *ENSEMBLE_ROWS),
    ),
    Claim(
        "spread-diffusion",
        "Full varies less than diffusion estimators pixel by pixel (spread of the normals over seeds).",
        _below("spread", "full", *DIFFUSION_ROWS),
    ),
    Claim(
        "shrinkage-variance",
        "Shrinkage (lambda 0.4) lowers YOSO's variance over seeds against lambda 0.",
        _below("variance", "turbo", "turbo-lambda-0"),
    ),
    Claim(
        "shrinkage-spread",
        "Shrinkage lowers the spread of YOSO's normals, pixel by pixel.",
        _below("spread", "turbo", "turbo-lambda-0"),
    ),
    Claim(
        "shrinkage-error",
        "Lambda 0.4 gives full a smaller error than no shrinkage and than zeros alone (lambda 1).",
        _below("error", "full", "full-lambda-0", "full-lambda-1"),
    ),
    Claim(
        "level",
        "t+ = 401 has a smaller error than starting nearly clean (t+ 1) and than starting noisy (t+ 801).",
        _below("error", "full", "level-1", "level-801"),
    ),
    Claim(
        "semantic-training",
        "The semantic prior lowers the error: against a refiner trained without it.",
        _below("error", "full", "semantics-off"),
    ),
    Claim(
        "semantic-use",
        "The refiner uses it: features of another image raise the error.",
        _below("error", "full", "semantics-shuffled"),
    ),
    Claim(
        "start-noise",
        "A refinement that starts from YOSO has a smaller error than one from noise.",
        _below("error", "full", "from-noise"),
    ),
    Claim(
        "start-variance",
        "A refinement that starts from YOSO varies less over seeds than one from noise.",
        _below("variance", "full", "from-noise"),
    ),
    Claim(
        "start-feed-forward",
        "A refinement that starts from YOSO has a smaller error than one from the feed-forward network.",
        _below("error", "full", "from-feed-forward"),
    ),
    Claim(
        "steps-enough",
        "10 steps are enough: 20 are not better by 0.2 degrees.",
        _below("error", "full", "steps-20", margin=0.2),
    ),
    Claim(
        "steps-needed",
        "More than one step is needed: 10 are better than 1.",
        _below("error", "full", "steps-1"),
    ),
    Claim(
        "hold", "Holding at t+ for half of the steps lowers the error.", _below("error", "full", "no-hold")
    ),
    Claim(
        "photographs",
        "On photographs full has a smaller error than every rival without an ensemble.",
        _below("photographs", "full", *DIFFUSION_ROWS, *ONE_STEP_ROWS),
    ),
    Claim(
        "time",
        "Full takes less time than ensembles of ten.",
        _below("seconds", "full", *ENSEMBLE_ROWS),
    ),
)

METRICS = {
    "error": "mean angular error, degrees",
    "near_edges": "mean angular error within 3 px of edges, degrees",
    "away": "mean angular error away from edges, degrees",
    "sharpness": "squared turns near edges, prediction over truth",
    "sharpness_gap": "distance of the sharpness from 1, blur and noise alike",
    "variance": "variance of the image-mean error over K noise seeds, degrees squared, divided by K - 1",
    "spread": "mean angle of the noise seeds' normals to their mean, degrees",
    "photographs": "mean angular error on photographs, degrees",
    "seconds": "seconds for one image",
}

AXES = {
    "error": "error, degrees",
    "near_edges": "near edges, degrees",
    "sharpness": "sharpness",
    "sharpness_gap": "distance of the sharpness from 1",
    "variance": "variance, degrees squared",
    "spread": "spread, degrees",
}
"""Short names for plots."""
