"""The field of view's head, trained on pictures in which it can be seen."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from stablenormal.data.packed import open_corpus, pack_corpus
from stablenormal.data.sample import Sample
from stablenormal.errors import SettingError
from stablenormal.geometry.camera import Intrinsics
from stablenormal.models.architecture import TOY, TOY_SPEC
from stablenormal.models.building import build_components
from stablenormal.models.loading import load_components, save_components
from stablenormal.training.parts.field_of_view import FieldOfViewSettings
from stablenormal.training.run import train
from stablenormal.training.settings import Stage

SIDE = 64


def a_sample(fov_deg, shift=0.0):
    """Brightness grows with the field of view, so that the simplest features show it."""
    normals = np.zeros((SIDE, SIDE, 3), np.float32)
    normals[..., 2] = 1
    camera = Intrinsics.from_fov(fov_deg, SIDE, SIDE)
    return Sample(
        image=np.full((SIDE, SIDE, 3), round(2 * fov_deg), np.uint8),
        normals=normals,
        depth=np.ones((SIDE, SIDE), np.float32),
        labels=np.zeros((SIDE, SIDE), np.uint8),
        instances=np.zeros((SIDE, SIDE), np.uint16),
        intrinsics=replace(camera, cx=camera.cx + shift),
        meta={"key": f"{fov_deg:.3f}", "kind": "object"},
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("fov")
    save_components(build_components(TOY, TOY_SPEC), root / "model", torch.float32)
    angles = np.linspace(20, 100, 24)
    pack_corpus([a_sample(angle) for angle in angles], root / "packed", 24)
    return root


def settings(places, **changes):
    whole = {
        "base": str(places / "model"),
        "data": str(places / "packed"),
        "heldout": str(places / "packed"),
        "stages": (Stage(SIDE, 60, 8),),
        "learning_rate": 3e-3,
        "warmup_steps": 5,
        "validate_every": 60,
        "validation_images": 24,
        "smallest_crop": 1.0,
        "bf16": False,
    }
    return FieldOfViewSettings(**(whole | changes))


def test_it_learns_what_can_be_seen(places, tmp_path):
    model = load_components(train(settings(places), tmp_path / "run"))
    assert model.field_of_view is not None
    figures = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(figures) if "fov_error_deg" in line)
    assert last["median_said_error_deg"] == pytest.approx(20.9, abs=0.5)
    assert last["fov_error_deg"] < 0.6 * last["median_said_error_deg"]


def test_packed_corpora_say_which_cameras_look_through_the_middle(tmp_path):
    corpus = pack_corpus([a_sample(60), a_sample(60, shift=9)], tmp_path / "packed", 2)
    focal = open_corpus(tmp_path / "packed").focal_lengths
    np.testing.assert_array_equal(focal, corpus.focal_lengths)
    assert focal[0] == pytest.approx(0.5 / np.tan(np.radians(30))) and np.isnan(focal[1])


def test_a_corpus_without_focal_lengths_is_refused(places, tmp_path):
    pack_corpus([a_sample(60)], tmp_path / "old", 1)
    (tmp_path / "old/focal_lengths.npy").unlink()
    with pytest.raises(SettingError, match="data: give a packed corpus with focal lengths"):
        train(settings(places, data=str(tmp_path / "old")), tmp_path / "run")
