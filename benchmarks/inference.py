"""Time and memory of a photograph's normals: a straightforward port against this package, in one process.

python benchmarks/inference.py [--models small sd21] [--modes turbo full] [--sizes 512 768] [--batches 1 4]
                               [--variants reference float32 bfloat16 compiled] [--steps 10] [--repeats 3]
                               [--by-parts] [--photographs FOLDER] [--plot rows.png] [-o results.json]

`small` is the bundled model, `sd21` has Stable Diffusion 2.1's shapes and random weights. What to look at is
the ratio of processor seconds to those of `reference` in the same row, and how far both are from the floor:
the operations and bytes that the mathematics needs, over what this machine does in a second. Memory is that
of the weights and the most that a call adds to it. Rows are measured in rounds, so that what else the machine
does falls on all variants; sd21's variants do not fit into memory together, and each is built anew for its
turn, with the rate of a matrix product measured beside it. `--by-parts` measures each network once instead,
all variants of it in turn, and adds up the calls: full size takes minutes, and so a machine's load falls on
all alike. The sum leaves out the injector and the noise, which are small. With `--photographs` the bundled
model's normals are compared with those of the reference.
"""

import argparse
import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import torch
from floor import Machine, bytes_of, count_work
from recording import parse, write_result
from reference import port_decode, port_encode, reference_normals
from torch import Tensor

from stablenormal.geometry.layout import channels_first
from stablenormal.geometry.normals import angular_error_deg
from stablenormal.io.image import read_image
from stablenormal.models.architecture import SD21, SD21_SPEC
from stablenormal.models.autoencoder import decode
from stablenormal.models.building import ModelComponents, build_components
from stablenormal.models.image_encoder import EncodedImage
from stablenormal.models.loading import load_components
from stablenormal.models.modes import MODES
from stablenormal.models.semantic_encoder import IMAGENET_MEAN, IMAGENET_STD, SemanticEncoder
from stablenormal.pipelines.placement import choose_dtype
from stablenormal.pipelines.stable_normal import StableNormal
from stablenormal.pipelines.two_stage import RefinementPlan, plan_refinement

DTYPES = {
    "reference": "float32",
    "float32": "float32",
    "bfloat16": "bfloat16",
    "compiled": None,  # what suits the machine
}
PHOTOGRAPHS = (".jpg", ".jpeg", ".png")

Predict = Callable[[list[Tensor], str, int], list[Tensor]]
"""From images, mode and resolution to normals."""


class Variant:
    """A way to run a model; what it needs is loaded when it is first run."""

    def __init__(self, name: str, model: str, steps: int, one_pair: bool = False) -> None:
        self.name, self.model, self.steps, self.one_pair = name, model, steps, one_pair
        self.pipeline: StableNormal | None = None

    def __enter__(self) -> "Variant":
        if self.pipeline is None:
            self.pipeline = self._load()
        return self

    def __exit__(self, *_: object) -> None:
        if self.model == "sd21":
            self.pipeline = None
            give_back_memory()

    def _load(self) -> StableNormal:
        compiled = {"compile": True} if self.name == "compiled" else {}
        if self.model != "sd21":
            chosen = DTYPES[self.name]
            pipeline = StableNormal.from_pretrained(self.model, device="cpu", dtype=chosen, **compiled)
            if self.name == "reference":
                assert pipeline.weights is not None
                pipeline = StableNormal(load_components(pipeline.weights), pipeline.weights)
            return pipeline
        dtype = DTYPES[self.name] or str(choose_dtype(None, torch.device("cpu"))).removeprefix("torch.")
        components = random_components(getattr(torch, dtype), self.one_pair)
        if self.name == "reference":
            return StableNormal(components)
        return StableNormal(components).for_inference(**compiled)

    @property
    def plan(self) -> RefinementPlan:
        """The refinement with the asked number of steps."""
        assert self.pipeline is not None
        return plan_refinement(self.pipeline.spec, self.steps)

    def predict(self, images: list[Tensor], mode: str, size: int) -> list[Tensor]:
        """Normals of images of one size."""
        assert self.pipeline is not None
        if self.name == "reference":
            return reference_normals(self.pipeline.components, images, mode, self.plan, size)
        steps = self.steps if mode == "full" else None
        call = self.pipeline(
            images, mode=mode, steps=steps, processing_resolution=size, batch_size=len(images)
        )
        return call.normals


def main() -> None:
    """Measure the chosen rows, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=["small", "sd21"])
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES)
    parser.add_argument("--sizes", nargs="*", type=int, default=[512, 768], help="side of square photographs")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 4])
    parser.add_argument("--variants", nargs="*", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--steps", type=int, default=10, help="of the refinement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--by-parts", action="store_true", help="each network once, times its calls")
    parser.add_argument("--photographs", type=Path, help="folder, for the angular difference")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    machines = {name: Machine.measured(getattr(torch, name)) for name in ("float32", "bfloat16")}
    for name, machine in machines.items():
        gigas = machine.operations / 1e9, machine.bytes / 1e9
        print(f"{name}: {gigas[0]:.0f} GFLOP and {gigas[1]:.1f} GB a processor second")
    rows = []
    for model in options.models:
        found = measure_parts(model, options) if options.by_parts else measure_calls(model, options)
        rows += rows_of(model, found, options, machines)
    differences = measure_differences(options) if options.photographs else []
    record = {
        "machine": platform.processor() or platform.machine(),
        "capabilities": sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True),
        "rates": {name: asdict(machine) for name, machine in machines.items()},
        "steps": options.steps,
        "rows": rows,
        "differences": differences,
    }
    write_result(options.out, record, options.dirty)
    if options.plot:
        plot(rows, options.plot)


Found = dict[tuple[str, str, int, int], list[dict[str, Any]]]
"""What was measured of each variant, mode, size and batch, once a repeat."""


def measure_calls(model: str, options: argparse.Namespace) -> Found:
    """Each mode, size and batch in every variant, from photograph to normals."""
    variants = [Variant(name, model, options.steps) for name in options.variants]
    cases = list(product(options.modes, options.sizes, options.batches))
    found: Found = {}
    for _ in range(options.repeats):
        for variant in variants:
            with variant:
                for mode, size, batch in cases:
                    images = random_photographs(batch, size)
                    once = measure(lambda: variant.predict(images, mode, size), variant)  # noqa: B023
                    found.setdefault((variant.name, mode, size, batch), []).append(once)
                    case = f"{model} {mode} {size} px x{batch} {variant.name}"
                    print(f"  {case}: {once['cpu_s']:.2f} s", flush=True)
    return found


def measure_parts(model: str, options: argparse.Namespace) -> Found:
    """Each network of every variant, added up as the modes call them."""
    variants = [Variant(name, model, options.steps, one_pair=True) for name in options.variants]
    found: Found = {}
    for size, batch, _ in product(options.sizes, options.batches, range(options.repeats)):
        taken: dict[str, dict[str, dict[str, float]]] = {variant.name: {} for variant in variants}
        image = torch.stack(random_photographs(batch, size)) * 2 - 1
        with ExitStack() as stack:
            parts = {one: parts_of(stack.enter_context(one), image) for one in variants}
            for steps in zip(*parts.values(), strict=True):
                for variant, (name, run) in zip(variants, steps, strict=True):
                    once = taken[variant.name][name] = measure(run, variant)
                    print(
                        f"  {model} {size} px x{batch} {name} {variant.name}: {once['cpu_s']:.2f} s",
                        flush=True,
                    )
            for mode, variant in product(options.modes, variants):
                calls = calls_of(mode, variant)
                of = taken[variant.name]
                summed = {key: sum(of[name][key] * count for name, count in calls.items())
                          for key in ("cpu_s", "wall_s")}  # fmt: skip
                summed["memory_gib"] = weights_gib(model, variant) + max(
                    of[name]["memory_gib"] - of[name]["weights_gib"] for name in calls
                )
                summed["parts"] = {name: of[name]["cpu_s"] * count for name, count in calls.items()}
                found.setdefault((variant.name, mode, size, batch), []).append(summed)
    return found


def parts_of(variant: "Variant", image: Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """The networks in the order in which they are called, each ready to run."""
    assert variant.pipeline is not None
    pipeline = variant.pipeline
    components, ported = pipeline.components, variant.name == "reference"
    image = image.to(pipeline.dtype)
    encoded, condition = EncodedImage(image, image), None

    def encode() -> None:
        nonlocal encoded
        encoded = port_encode(components, image) if ported else components.encode_image(image)

    def encode_condition() -> None:
        nonlocal condition
        condition = components.yoso.encode_condition(encoded.condition, 401)

    def decode_latent() -> Tensor:
        if ported:
            return port_decode(components, encoded.latent, encoded)
        return decode(components.autoencoder, encoded.latent, encoded.guides)

    yield "encode", encode
    yield "semantic", lambda: components.semantic_features(image, encoded)
    yield "condition", encode_condition
    yield "denoise", lambda: components.yoso.denoise(encoded.latent, 401, condition)
    yield "decode", decode_latent


def calls_of(mode: str, variant: "Variant") -> dict[str, int]:
    """How often each network runs for a batch."""
    if mode == "turbo":
        return {"encode": 1, "condition": 1, "denoise": 1, "decode": 1}
    steps = [step.t_network for step in variant.plan.table]
    conditions = len(steps) if variant.name == "reference" else len(set(steps))
    return {"encode": 1, "semantic": 1, "condition": 1 + conditions, "denoise": 1 + len(steps), "decode": 1}


def weights_gib(model: str, variant: "Variant") -> float:
    """Memory of all of a variant's weights, of both pairs."""
    assert variant.pipeline is not None
    components = on_meta(model, variant.pipeline.dtype)
    return bytes_of(components.parts()) / 2**30


def rows_of(
    model: str, found: Found, options: argparse.Namespace, machines: dict[str, Machine]
) -> list[dict[str, Any]]:
    """A row of the table for each variant, mode, size and batch."""
    rows = []
    for (name, mode, size, batch), repeats in found.items():
        row: dict[str, Any] = {"model": model, "variant": name, "mode": mode, "size": size, "batch": batch}
        numbers = [key for key in repeats[0] if key != "parts"]
        row |= {key: statistics.median(one[key] for one in repeats) for key in numbers}
        row["cpu_s"], row["wall_s"] = row["cpu_s"] / batch, row["wall_s"] / batch
        if options.by_parts:
            row["parts"] = {
                part: statistics.median(one["parts"][part] for one in repeats) / batch
                for part in repeats[0]["parts"]
            }
        row |= floor_of(model, row, options.steps, machines)
        rows.append(row)
    references = {
        (row["mode"], row["size"], row["batch"]): row for row in rows if row["variant"] == "reference"
    }
    for row in rows:
        against = references.get((row["mode"], row["size"], row["batch"]))
        row["speed_up"] = against["cpu_s"] / row["cpu_s"] if against else None
        row["memory_ratio"] = row["memory_gib"] / against["memory_gib"] if against else None
    show(rows)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    columns = ("cpu s", "wall s", "speed-up", "GiB", "of", "floor s", "x floor")
    print(f"{'row':28}{'variant':10}" + "".join(f"{name:>10}" for name in columns))
    for row in rows:
        case = f"{row['model']} {row['mode']} {row['size']} px x{row['batch']}"
        values = [row["cpu_s"], row["wall_s"], row["speed_up"], row["memory_gib"], row["memory_ratio"]]
        values += [row["floor_s"], row["cpu_s"] / row["floor_s"]]
        print(f"{case:28}{row['variant']:10}" + "".join(f"{value or 0:10.2f}" for value in values))


def measure(run: Callable[[], object], variant: Variant) -> dict[str, float]:
    """Seconds of a call, what it adds to the weights' memory at most, and the machine's rate beside it."""
    assert variant.pipeline is not None
    give_back_memory()
    square = torch.randn(1024, 1024)
    start = time.process_time()
    for _ in range(4):
        square @ square
    rate = 4 * 2 * 1024**3 / (time.process_time() - start)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = status_gib("VmRSS")
    start_wall, start = time.perf_counter(), time.process_time()
    with torch.no_grad():
        run()
    return {
        "cpu_s": time.process_time() - start,
        "wall_s": time.perf_counter() - start_wall,
        "memory_gib": (weights := bytes_of(variant.pipeline.components.parts()) / 2**30)
        + status_gib("VmHWM")
        - before,
        "weights_gib": weights,
        "rate_beside": rate,
    }


def floor_of(model: str, row: dict[str, Any], steps: int, machines: dict[str, Machine]) -> dict[str, Any]:
    """What the row needs for an image in the number format that this machine is fastest in."""
    dtype = max(machines, key=lambda name: machines[name].operations)
    if row["variant"] in ("reference", "float32"):
        dtype = "float32"
    meta = on_meta(model, getattr(torch, dtype))
    plan = plan_refinement(meta.spec, steps)
    work = count_work(meta, row["mode"], plan, row["size"], 1, every_step=row["variant"] == "reference")
    return {"floor_s": work.seconds(machines[dtype]), "operations": work.operations, "bytes": work.bytes}


def on_meta(model: str, dtype: torch.dtype) -> ModelComponents:
    """Components that hold no numbers and compute nothing."""
    if model == "sd21":
        with torch.device("meta"):
            meta = build_components(SD21, SD21_SPEC)
    else:
        meta = StableNormal.from_pretrained(model, device="cpu", dtype="float32").components
    return meta.to(torch.device("meta"), dtype)


def measure_differences(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Angles between the bundled model's normals and the reference's, over all pixels of a folder."""
    paths = sorted(path for path in options.photographs.iterdir() if path.suffix.lower() in PHOTOGRAPHS)
    paths = [path for path in paths if "_normal" not in path.stem]
    reference = Variant("reference", "small", options.steps)
    others = [Variant(name, "small", options.steps) for name in options.variants if name != "reference"]
    rows = []
    for mode, variant in product(options.modes, others):
        angles = []
        with reference, variant:
            size = reference.pipeline.spec.processing_resolution
            for path in paths:
                image = channels_first(read_image(path).rgb)
                one = reference.predict([image], mode, size)[0]
                other = variant.predict([image], mode, size)[0]
                angles.append(angular_error_deg(one[None], other[None]).flatten())
        pooled = torch.cat(angles).sort().values
        row = {
            "variant": variant.name,
            "mode": mode,
            "photographs": len(paths),
            "size": size,
            "mean_deg": float(pooled.mean()),
            "p99_deg": float(pooled[int(0.99 * len(pooled))]),
        }
        rows.append(row)
        print(f"{mode:6} {variant.name:10} {row['mean_deg']:.3f} degrees, {row['p99_deg']:.3f} at 99 %")
    return rows


@torch.no_grad()
def random_components(dtype: torch.dtype, one_pair: bool) -> ModelComponents:
    """Stable Diffusion 2.1's shapes with random weights, made at once in their final dtype.

    Args:
        dtype: of the weights.
        one_pair: let one denoiser with its condition encoder stand for both.
    """
    with torch.device("meta"):
        components = build_components(SD21, SD21_SPEC)
    if one_pair:
        components.refiner = components.yoso
    components.to(torch.device("meta"), dtype)
    generator = torch.Generator().manual_seed(0)
    for part in dict.fromkeys(components.parts().values()):
        part.to_empty(device="cpu").eval().requires_grad_(False)
        for value in part.parameters():
            if value.ndim > 1:
                value.uniform_(-1, 1, generator=generator).mul_(value[0].numel() ** -0.5)
            else:
                value.fill_(1 / 3)
    for pair in (components.yoso, components.refiner):
        pair.text.normal_(generator=generator)
    encoder = components.semantic_encoder
    assert isinstance(encoder, SemanticEncoder)
    encoder.mean.copy_(torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
    encoder.std.copy_(torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
    return components


def random_photographs(count: int, size: int) -> list[Tensor]:
    """Smooth random images (3, size, size)."""
    coarse = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return list(images)


def give_back_memory() -> None:
    """Return freed memory to the system, so that growth is what a call needs."""
    gc.collect()
    if platform.system() == "Linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def status_gib(name: str) -> float:
    """A line of this process's status: `VmRSS`, memory now, or `VmHWM`, the most since last cleared."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 2**20
    raise SystemExit("error: memory is measured as Linux tells it, in /proc/self/status")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Bars of processor seconds, and the floor of each as a mark."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = [
        f"{row['model']} {row['mode']} {row['size']} px x{row['batch']}, {row['variant']}" for row in rows
    ]
    figure, axes = pyplot.subplots(figsize=(9, 0.8 + 0.28 * len(rows)), layout="constrained")
    colours = {name: f"C{index}" for index, name in enumerate(DTYPES)}
    axes.barh(labels, [row["cpu_s"] for row in rows], color=[colours[row["variant"]] for row in rows])
    axes.plot([row["floor_s"] for row in rows], labels, "k|", markersize=10, label="floor")
    axes.set(xscale="log", xlabel="processor seconds an image")
    axes.invert_yaxis()
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
