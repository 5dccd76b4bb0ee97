"""Two real processes against one: same losses, same weights, whole checkpoints."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stablenormal.errors import SettingError
from stablenormal.training.parallel import Processes
from stablenormal.training.parts.autoencoder import AutoencoderSettings
from stablenormal.training.parts.self_distillation import SelfDistillationSettings
from stablenormal.training.parts.yoso import YosoSettings
from stablenormal.training.run import train
from stablenormal.training.settings import Stage
from stablenormal.training.settings_file import write_settings

RUNS = (
    "yoso", "autoencoder", "self_distillation", "yoso_and_stopped", "muon_and_stopped", "sharded_and_stopped",
)  # fmt: skip


def _config(name, corpus_folder, toy_model):
    kind, own = {
        "self_distillation": (SelfDistillationSettings, {"local_crops": 1, "prototypes": 16}),
        "autoencoder": (AutoencoderSettings, {}),
    }.get(name, (YosoSettings, {}))
    return kind(
        base=str(toy_model),
        data=str(corpus_folder),
        heldout=str(corpus_folder),
        stages=(Stage(32, 4, 4),),
        warmup_steps=1,
        validate_every=4,
        checkpoint_every=2,
        validation_images=4,
        bf16=False,
        shard=name.startswith("sharded"),
        optimiser="muon" if name.startswith("muon") else "adamw",
        **own,
    )


@pytest.fixture(scope="module")
def runs(corpus_folder, toy_model, tmp_path_factory):
    """Every training in one process and in two."""
    folder = tmp_path_factory.mktemp("parallel")
    arguments = []
    for name in RUNS:
        config = _config(name, corpus_folder, toy_model)
        write_settings(config, folder / f"{name}.yaml")
        stop = ":2" if name.endswith("stopped") else ""
        arguments.append(f"{folder / name}.yaml:{folder / 'two' / name}{stop}")
        train(config, folder / "one" / name)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("run_in_processes.py")), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _log(folder):
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record for record in records if "loss" in record], [r for r in records if "loss" not in r]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_give_the_losses_and_weights_of_one(runs, name):
    one, two = (_log(runs / count / name) for count in ("one", "two"))
    assert len(one[1]) == len(two[1]) == 1  # the first process alone writes
    if name.endswith("stopped"):  # logged in two pieces of two steps each
        assert len(two[0]) == 2
        two[0][-1]["loss"] = (two[0][0]["loss"] + two[0][1]["loss"]) / 2
    assert two[0][-1]["loss"] == pytest.approx(one[0][-1]["loss"], rel=1e-5)
    assert one[1][0].keys() == two[1][0].keys()
    if name in ("self_distillation", "autoencoder") or name.startswith("muon"):
        return  # biases before a norm have no gradient but rounding, which the optimiser scales up
    files = sorted(path.relative_to(runs / "one") for path in (runs / "one" / name).rglob("*.safetensors"))
    assert files
    for file in files:
        a, b = load_file(runs / "one" / file), load_file(runs / "two" / file)
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], atol=2e-5, rtol=1e-3, msg=f"{file} {key}")


def test_two_processes_stopped_and_resumed_equal_two_that_never_stopped(runs):
    files = sorted((runs / "two" / "yoso").rglob("*.safetensors"))
    assert files
    for file in files:
        whole, parts = load_file(file), load_file(Path(str(file).replace("/yoso/", "/yoso_and_stopped/")))
        assert all(torch.equal(whole[key], parts[key]) for key in whole), file


def test_a_sharded_checkpoint_is_whole(runs):
    one, two = (
        torch.load(runs / count / "sharded_and_stopped" / "checkpoint.pt", weights_only=True)["state"]
        for count in ("one", "two")
    )
    assert one["module"].keys() == two["module"].keys()
    assert all(value.shape == two["module"][key].shape for key, value in one["module"].items())
    moments = [state["optimisers"][0]["state"] for state in (one, two)]
    assert all(moments[0][i]["exp_avg"].shape == moments[1][i]["exp_avg"].shape for i in moments[0])
    assert all(isinstance(value, torch.Tensor) for value in two["average"]["shadow_params"])


def test_a_batch_that_cannot_be_divided_is_one_line(corpus_folder, toy_model, tmp_path):
    config = dataclasses.replace(_config("yoso", corpus_folder, toy_model), accumulate=3)
    with pytest.raises(SettingError, match="a multiple of 3"):
        train(config, tmp_path)
    assert not Processes(shard=True).sharded  # one process has nothing to divide with
