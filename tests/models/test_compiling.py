"""Which calls are compiled; the compiler itself is PyTorch's."""

import shutil
import subprocess
import sys

import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from stablenormal.models.compiling import MOST_SIZES, Compiler
from stablenormal.models.denoiser import GuidedDenoiser

MODEL = {"spec": "toy", "weights": "0"}


def scaled(network, sample, factor):
    return network(sample) * factor


@pytest.fixture
def compiled(monkeypatch):
    """In place of PyTorch's compiler: counts its calls, and the shapes."""
    shapes = []

    def compile(function, dynamic):
        assert not dynamic

        def run(network, sample, *others):
            shapes.append(tuple(sample.shape))
            return function(network, sample, *others)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    return shapes


@torch.no_grad()
def test_a_size_is_announced_once_and_compiled(compiled, tmp_path, caplog):
    compiler, network = Compiler(MODEL, tmp_path), torch.nn.Identity()
    sample = torch.ones(1, 4, 2, 3)
    for _ in range(3):
        assert torch.equal(compiler.run(scaled, network, sample, 2.0), sample * 2)
    assert compiled == [(1, 4, 2, 3)] * 3
    assert caplog.text.count("compiling a network for latents of 2 x 3") == 1
    assert "kept for the next run" in caplog.text


@torch.no_grad()
def test_further_sizes_run_as_they_are(compiled, tmp_path):
    compiler, network = Compiler(MODEL, tmp_path), torch.nn.Identity()
    for width in range(1, MOST_SIZES + 3):
        compiler.run(scaled, network, torch.ones(1, 4, 2, width), 2.0)
    assert len(compiled) == MOST_SIZES


def test_gradients_are_not_compiled(compiled, tmp_path):
    sample = torch.ones(1, 4, 2, 2, requires_grad=True)
    Compiler(MODEL, tmp_path).run(scaled, torch.nn.Identity(), sample, 2.0).sum().backward()
    assert not compiled and sample.grad is not None


@torch.no_grad()
def test_a_failing_compiler_is_told_and_left_out(monkeypatch, tmp_path, caplog):
    def compile(function, dynamic):
        def run(*given):
            raise TorchDynamoException("no C++ compiler\nmany lines")

        return run

    monkeypatch.setattr(torch, "compile", compile)
    compiler, sample = Compiler(MODEL, tmp_path), torch.ones(1, 4, 2, 2)
    for _ in range(2):
        assert torch.equal(compiler.run(scaled, torch.nn.Identity(), sample, 2.0), sample * 2)
    assert compiler.failed and caplog.text.count("compiling failed (no C++ compiler)") == 1


@torch.no_grad()
def test_both_networks_of_a_denoiser_go_through_it(compiled, toy, tmp_path, generator):
    pair: GuidedDenoiser = toy.refiner.eval()
    latent = torch.randn(1, 4, 4, 4, generator=generator)
    features = torch.randn(1, 12, 2, 2, generator=generator)

    def predicted():
        residuals = pair.encode_semantic(features, (4, 4))
        return pair.denoise(latent, 401, pair.encode_condition(latent, 401), residuals)

    plain = predicted()
    pair.compiler = Compiler(MODEL, tmp_path)
    torch.testing.assert_close(predicted(), plain)
    assert len(compiled) == 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs a C++ compiler")
def test_a_later_process_finds_what_was_compiled(tmp_path):
    """With the real compiler, on a function of one kernel, in two processes."""
    script = f"""
import torch
from pathlib import Path
from torch._dynamo.utils import counters
from stablenormal.models.compiling import Compiler

def scaled(network, sample, factor):
    return network(sample) * factor

with torch.no_grad():
    compiler = Compiler({MODEL}, Path({str(tmp_path)!r}))
    network, sample = torch.nn.SiLU(), torch.ones(1, 4, 2, 3)
    torch.testing.assert_close(compiler.run(scaled, network, sample, 2.0), scaled(network, sample, 2.0))
assert not compiler.failed
print(counters["inductor"]["fxgraph_cache_hit"])
"""
    hits = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        hits.append(run.stdout.split()[-1])
    assert hits == ["0", "1"]
