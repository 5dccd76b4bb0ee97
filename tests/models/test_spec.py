import json
from dataclasses import replace

import pytest

from stablenormal.errors import ModelError, SettingError
from stablenormal.models.spec import ModelSpec, Quality, load_spec, save_spec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("start", "image"),
        ("text", "none"),
        ("refinement", "ddim"),
        ("injection", "nowhere"),
        ("alignment", "nearest"),
        ("native_frame", "world"),
        ("native_frame", "blender"),
        ("t_plus", 0),
        ("t_plus", 1000),
        ("t_plus", 401.5),
        ("turbo_t", -1),
        ("steps", 0),
        ("steps", True),
        ("tau", 1.5),
        ("processing_resolution", -8),
        ("semantic_input_size", 0),
        ("zero_convolutions", "no"),
    ],
)
def test_refuses_by_name_what_cannot_be(field, value):
    with pytest.raises(SettingError, match=f"^{field}: "):
        ModelSpec(**{"name": "x", field: value})


def test_round_trip(tmp_path):
    spec = ModelSpec(name="mine", start="image_latent", tau=0.5, zero_convolutions=True)
    save_spec(spec, tmp_path)
    assert load_spec(tmp_path) == spec != replace(spec, tau=0)


def test_qualities_survive_the_file_and_have_usual_meanings(tmp_path):
    measured = {"best": Quality("full", (384, 448), mirrored=True)}
    spec = ModelSpec(name="mine", qualities=measured)
    save_spec(spec, tmp_path)
    assert load_spec(tmp_path) == spec
    assert spec.quality("best") == measured["best"]
    assert (spec.quality("fast").mode, spec.quality("normal").mode) == ("turbo", "full")
    assert ModelSpec(name="other").quality("best").mirrored


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "slow"}, "mode: 'slow'"),
        ({"sizes": (-1,)}, "sizes: expected"),
        ({"sizes": (True,)}, "sizes: expected"),
        ({"sizes": (448.0,)}, "sizes: expected"),
        ({"mirrored": 1}, "mirrored: expected"),
    ],
)
def test_a_quality_that_cannot_be_is_refused(given, message):
    with pytest.raises(SettingError, match=message):
        Quality(**given)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "missing"),
        ("{", "unreadable"),
        ("[]", "JSON object"),
        ('{"name": "x", "colour": 1}', "unknown fields colour"),
        ('{"name": "x", "steps": 0}', "steps"),
        ("{}", "name"),
        ('{"name": "x", "qualities": {"great": {}}}', "quality: 'great' does not exist"),
        ('{"name": "x", "qualities": {"best": {"mode": "slow"}}}', "mode: 'slow'"),
        ('{"name": "x", "qualities": {"best": {"time": 3}}}', "time"),
        ('{"name": "x", "qualities": [1]}', "items"),
    ],
)
def test_a_broken_file_is_a_model_error_that_names_it(tmp_path, content, message):
    if content is not None:
        (tmp_path / "spec.json").write_text(content)
    with pytest.raises(ModelError, match=rf"spec\.json: .*{message}") as caught:
        load_spec(tmp_path)
    assert "\n" not in str(caught.value)


def test_is_written_as_plain_json(tmp_path):
    save_spec(ModelSpec(name="mine"), tmp_path)
    assert json.loads((tmp_path / "spec.json").read_text())["t_plus"] == 401
