import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from stablenormal.cli.main import main
from stablenormal.data.packed import pack_corpus
from stablenormal.data.sample import Sample
from stablenormal.geometry.camera import Intrinsics
from stablenormal.training.parts.yoso import YosoSettings
from stablenormal.training.settings import Stage
from stablenormal.training.settings_file import read_settings, write_settings


@pytest.fixture
def config(toy_model, tmp_path):
    rng = np.random.default_rng(0)
    normals = np.zeros((32, 32, 3), np.float32)
    normals[..., 2] = 1
    samples = [
        Sample(
            image=rng.integers(0, 255, (32, 32, 3), np.uint8),
            normals=normals,
            depth=np.ones((32, 32), np.float32),
            labels=np.ones((32, 32), np.uint8),
            instances=np.ones((32, 32), np.uint16),
            intrinsics=Intrinsics(fx=32, fy=32, cx=16, cy=16, width=32, height=32),
        )
        for _ in range(4)
    ]
    pack_corpus(samples, tmp_path / "corpus", 4)
    corpus = str(tmp_path / "corpus")
    settings = YosoSettings(
        str(toy_model), corpus, corpus, (Stage(32, 100_000, 2),), validate_every=100_000,
        checkpoint_every=100_000,
    )  # fmt: skip
    write_settings(settings, tmp_path / "c.yaml")
    return tmp_path / "c.yaml"


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_sigterm_writes_a_checkpoint_and_the_run_goes_on(config, tmp_path, capsys):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "stablenormal", "train", "yoso", str(config), "-o", str(out)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 200
    while not (out / "log.jsonl").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    assert not (out / "checkpoint.pt").exists()
    process.send_signal(signal.SIGTERM)
    printed, logged = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped with a checkpoint; run again to go on" in printed
    assert "Traceback" not in logged and "images_per_s" in logged and "hours_left" in logged
    assert (out / "checkpoint.pt").exists() and not list(out.glob(".*part*"))
    assert run("train", "yoso", config, "-o", out, "--stop-after", 1) == 0  # which it already passed
    assert "stopped with a checkpoint" in capsys.readouterr().out


def test_settings_of_the_command_line_go_before_those_of_the_file(config, tmp_path):
    out = tmp_path / "run"
    assert (
        run(
            "train", "yoso", config, "-o", out, "--stop-after", 1, "--set", "seed=3", "--set", "ema_decay=0.5"
        )
        == 0
    )
    kept = read_settings(out / "config.yaml", "yoso")
    assert (kept.seed, kept.ema_decay) == (3, 0.5)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("yosso", ("", ""), "error: unknown part 'yosso'; did you mean 'yoso'"),
        ("refiner", ("", ""), "is for part 'yoso', not 'refiner'"),
        (
            "yoso",
            ("warmup_steps", "warmup_step"),
            "no setting is named 'warmup_step'; did you mean 'warmup_steps'",
        ),
        ("yoso", ("corpus", "corpse"), "corpse: not a packed corpus"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(config, tmp_path, capsys, part, change, message):
    config.write_text(config.read_text().replace(*change))
    assert run("train", part, config, "-o", tmp_path / "run") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "run").exists()
