import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from stablenormal.data.mixture import SourceConfig
from stablenormal.errors import SettingError
from stablenormal.training.loop import epoch_indices, images_left, learning_rate_factor
from stablenormal.training.parts.angular import AngularSettings
from stablenormal.training.parts.catalogue import PARTS, SUPERVISIONS
from stablenormal.training.parts.refiner import RefinerSettings
from stablenormal.training.parts.self_distillation import SelfDistillationSettings
from stablenormal.training.parts.yoso import YosoSettings
from stablenormal.training.settings import Stage, TrainingSettings
from stablenormal.training.settings_file import read_settings, write_settings

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = YosoSettings("new", "corpus", "heldout", (Stage(64, 5, 8), Stage(128, 10, 4)), warmup_steps=4)
SHARED = {field.name for field in dataclasses.fields(TrainingSettings)}
KINDS = list(dict.fromkeys([*PARTS.values(), *SUPERVISIONS.values()]))


def settings_of(kind, **changes):
    stages = (Stage(64, 5, 8), Stage(128, 10, 4))
    return kind("new", "corpus", "heldout", stages, **{"warmup_steps": 4} | changes)


def test_written_configuration_reads_back_equal(tmp_path):
    write_settings(CONFIG, tmp_path / "c.yaml")
    assert read_settings(tmp_path / "c.yaml") == CONFIG
    fresh = dataclasses.replace(
        settings_of(AngularSettings),
        stages=(Stage(64, 5, 4, 0),),
        train_image_encoder=True,
        image_encoder_channels=(8, 16),
    )
    write_settings(fresh, tmp_path / "fresh.yaml")
    assert read_settings(tmp_path / "fresh.yaml") == fresh


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_read_back_as_what_it_was(kind, tmp_path):
    settings = settings_of(kind)
    write_settings(settings, tmp_path / "c.yaml")
    found = read_settings(tmp_path / "c.yaml", settings.part)
    assert found == settings and type(found) is kind


def test_a_file_of_a_version_with_one_list_of_settings_says_what_to_do(tmp_path):
    """Earlier run folders hold a `config.yaml` with the settings of all parts."""
    content = {"part": "yoso"}
    for kind in KINDS:
        write_settings(settings_of(kind), tmp_path / "c.yaml")
        content = yaml.safe_load((tmp_path / "c.yaml").read_text()) | content
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SettingError, match=r"c\.yaml: is of an earlier version.* a new run folder"):
        read_settings(tmp_path / "c.yaml", "yoso")
    for name in {field.name for field in dataclasses.fields(SelfDistillationSettings)} - SHARED:
        content.pop(name, None)  # which makes it no whole list
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SettingError, match="part 'yoso' has no setting"):
        read_settings(tmp_path / "c.yaml", "yoso")


def test_changes_stand_in_place_of_what_the_file_says(tmp_path):
    write_settings(CONFIG, tmp_path / "c.yaml")
    stages = "stages=[{size: 32, steps: 7, batch: 2}]"
    changes = ("learning_rate=0.004", "learning_rate=2e-3", stages, "seed=5")
    found = read_settings(tmp_path / "c.yaml", "yoso", changes)
    expected = {"learning_rate": 2e-3, "stages": (Stage(32, 7, 2),), "seed": 5}
    assert found == dataclasses.replace(CONFIG, **expected)
    for change, message in {
        "learning_rat=1": "no setting is named 'learning_rat'; did you mean 'learning_rate'",
        "decode_cells=4": "part 'yoso' has no setting 'decode_cells'",
        "seed=many": "seed must be int, got 'many'",
        "seed": "seed: expected KEY=VALUE, such as",
        "stages=[{": "the value is not valid YAML",
    }.items():
        with pytest.raises(SettingError, match=message):
            read_settings(tmp_path / "c.yaml", "yoso", [change])


REQUIRED = "base: new\ndata: d\nheldout: h\nstages: [{size: 64, steps: 1, batch: 1}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("part: yoso\nstart: zeros", "part 'yoso' has no setting 'start'; part 'angular' has it"),
        (
            "part: autoencoder\ndecode_cells: 4",
            "part 'autoencoder' has no setting 'decode_cells'; part 'refiner' and part 'angular' have it",
        ),
        (
            "part: semantic\nlocal_crops: 2",
            "has no setting 'local_crops'; part 'semantic' with supervision: self_distillation has it",
        ),
        (
            "part: yoso\nsupervision: labels",
            "part 'yoso' has no setting 'supervision'; part 'semantic' has it",
        ),
        (
            "part: semantic\nsupervision: teacher",
            "unknown supervision 'teacher'; choose one of labels, self_",
        ),
        ("part: refiner\nlow_noise_fractions: 1", "did you mean 'low_noise_fraction'"),
    ],
)
def test_a_setting_of_another_part_names_the_part_that_has_it(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(REQUIRED + text)
    with pytest.raises(SettingError, match=message) as caught:
        read_settings(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_stages_of_a_part_without_latents_have_no_variants(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "part: autoencoder\n" + REQUIRED.replace("batch: 1", "batch: 1, variants: 2")
    )
    with pytest.raises(SettingError, match="variants: of a stage's latent cache, which part 'autoencoder'"):
        read_settings(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("part: yoso\nlearning_rte: 1", "did you mean 'learning_rate'"),
        ("part: [", "not valid YAML"),
        ("just words", "expected keys"),
        ("part: yoso\nbase: new\ndata: d\nheldout: h", "at least one stage"),
        (
            "part: yoso\nbase: new\ndata: d\nheldout: h\nstages: [{size: 50, steps: 1, batch: 1}]",
            "multiple of 8",
        ),
        (
            "part: yoso\nbase: new\ndata: d\nheldout: h\nstages: [{size: 64, steps: x, batch: 1}]",
            "must be int",
        ),
        (
            "part: yosso\nbase: new\ndata: d\nheldout: h\nstages: [{size: 64, steps: 1, batch: 1}]",
            "unknown part 'yosso'; did you mean 'yoso'",
        ),
        (
            "part: yoso\nbase: new\ndata: d\nheldout: h\ndecay: linear\n"
            "stages: [{size: 64, steps: 1, batch: 1}]",
            "unknown decay 'linear'; choose one of cosine",
        ),
        (
            "part: yoso\nbase: new\ndata: d\nheldout: h\naccumulate: 0\n"
            "stages: [{size: 64, steps: 1, batch: 1}]",
            "accumulate is 0; it must be at least 1",
        ),
        (
            "part: yoso\nbase: new\ndata: d\nheldout: h\noptimiser: muon\nshard: true\n"
            "stages: [{size: 64, steps: 1, batch: 1}]",
            "use adamw with shard",
        ),
        ("part: yoso\nstages: [{size: 64, steps: 1, batch: 1}]", "missing"),
    ],
)
def test_bad_configuration_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(SettingError, match=message) as caught:
        read_settings(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


def test_configuration_of_another_part_is_refused(tmp_path):
    write_settings(CONFIG, tmp_path / "c.yaml")
    with pytest.raises(SettingError, match="is for part 'yoso', not 'refiner'"):
        read_settings(tmp_path / "c.yaml", "refiner")
    with pytest.raises(SettingError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml")


OTHER_VALUES = {
    "stages": (Stage(64, 5, 4),),
    "decay": "constant",
    "alignment": "upsampler",
    "start": "zeros",
    "optimiser": "muon",
    "jitter_zoom": 2.0,
}
"""Where a larger number, another word or the opposite will not do."""
NEED_OTHERS = (
    "sources", "tokens", "train_image_encoder", "image_encoder_channels", "edge_weight", "transformer_blocks",
)  # fmt: skip
OF_THE_MACHINE = ("loader_threads", "checkpoints_kept")


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, field.name)
        for kind in KINDS
        for field in dataclasses.fields(kind)
        if field.name not in (*NEED_OTHERS, *OF_THE_MACHINE)
        and (kind is YosoSettings or field.name not in SHARED)
    ],
)
def test_fingerprint_changes_with_every_field(kind, field):
    settings = settings_of(kind)
    value = getattr(settings, field)
    usual = {bool: lambda: not value, int: lambda: value + 1, str: lambda: value + "x"}
    other = OTHER_VALUES.get(field) or usual.get(type(value), lambda: 0.5 + value / 4)()
    assert settings.fingerprint() != dataclasses.replace(settings, **{field: other}).fingerprint()
    assert settings.fingerprint() == dataclasses.replace(settings).fingerprint()


@pytest.mark.parametrize("field", OF_THE_MACHINE)
def test_a_run_may_go_on_where_the_machine_is_another(field):
    settings = settings_of(YosoSettings)
    other = dataclasses.replace(settings, **{field: getattr(settings, field) + 1})
    assert settings.fingerprint() == other.fingerprint()


def test_every_part_has_a_fingerprint_of_its_own():
    assert len({settings_of(kind).fingerprint() for kind in KINDS}) == len(KINDS) == 8


def test_fingerprint_changes_with_fields_that_need_others():
    fresh = dataclasses.replace(settings_of(AngularSettings), stages=(Stage(64, 5, 4, 0),))
    tuned = dataclasses.replace(fresh, train_image_encoder=True)
    anew = dataclasses.replace(tuned, image_encoder_channels=(8, 8))
    assert len({each.fingerprint() for each in (fresh, tuned, anew)}) == 3
    weighted = dataclasses.replace(fresh, edge_weight=1.0)
    assert weighted.fingerprint() != fresh.fingerprint()
    sources = tuple(SourceConfig(reader="folder", root=root) for root in ("a", "b"))
    drawn = [dataclasses.replace(CONFIG, data="", sources=(one,)).fingerprint() for one in sources]
    assert len({CONFIG.fingerprint(), *drawn}) == 3
    known = [dataclasses.replace(CONFIG, data="", tokens=(one,)).fingerprint() for one in ("a", "b")]
    assert len({CONFIG.fingerprint(), *known}) == 3


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (YosoSettings, {"seed": -1}), (YosoSettings, {"warmup_steps": -1}),
        (YosoSettings, {"source_size": 0}), (YosoSettings, {"roll_deg": -1.0}),
        (YosoSettings, {"shrinkage": 1.1}),
        (YosoSettings, {"smallest_crop": 0.0}), (YosoSettings, {"ema_decay": -0.1}),
        (AngularSettings, {"edge_weight": -1.0}), (RefinerSettings, {"edge_weight": 1.0}),
        (AngularSettings, {"image_encoder_channels": (8, 0)}), (AngularSettings, {"latent_weight": -1.0}),
        (AngularSettings, {"image_encoder_channels": (8, 8)}), (AngularSettings, {"image_encoder_layers": 0}),
        (RefinerSettings, {"low_noise_fraction": 2.0}), (RefinerSettings, {"angular_weight": -1.0}),
        (SelfDistillationSettings, {"prototypes": 0}), (SelfDistillationSettings, {"koleo_weight": -1.0}),
        (PARTS["autoencoder"], {"normals_fraction": 1.5}), (PARTS["upsampler"], {"levels": 5}),
        (PARTS["upsampler"], {"jitter_zoom": 0.5}),
    ],
)  # fmt: skip
def test_numbers_that_no_run_can_use_are_refused(kind, change):
    with pytest.raises(SettingError, match=next(iter(change))):
        settings_of(kind, **change)


def test_stages_follow_each_other():
    assert [CONFIG.stage_at(step)[0] for step in (0, 4, 5, 14)] == [0, 0, 1, 1]
    assert CONFIG.total_steps == 15


def test_an_epoch_holds_every_sample_once_and_the_next_has_another_order():
    seen = np.concatenate([epoch_indices(3, step, 5, 20) for step in range(8)])
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert list(seen[:20]) != list(seen[20:])
    straddling = epoch_indices(3, 2, 8, 20)
    assert len(straddling) == 8


def test_learning_rate_warms_up_and_decays():
    factors = [learning_rate_factor(CONFIG, step) for step in range(15)]
    assert factors[0] < factors[1] < factors[3]
    assert factors[4] > factors[9] > factors[14] > CONFIG.final_fraction * 0.9


def test_decays_end_where_they_should():
    exponential, constant = (
        dataclasses.replace(CONFIG, decay=decay) for decay in ("exponential", "constant")
    )
    factors = [learning_rate_factor(exponential, step) for step in range(4, 16)]
    ratios = [after / before for before, after in pairwise(factors)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios)) and ratios[0] < 1
    assert factors[-1] == pytest.approx(CONFIG.final_fraction)
    assert [learning_rate_factor(constant, step) for step in (0, 3, 15)] == [0.25, 1, 1]


def test_images_left_are_counted_by_their_pixels():
    assert images_left(CONFIG, 0) == 5 * 8 + 10 * 4 * 4
    assert images_left(CONFIG, 12) == 3 * 4
    assert images_left(CONFIG, 15) == 0


def test_unknown_part_of_the_command_names_the_nearest(tmp_path):
    with pytest.raises(SettingError, match="did you mean 'refiner'"):
        read_settings(tmp_path / "none.yaml", "refine")


def test_fields_at_their_default_do_not_count_for_the_fingerprint():
    spelled, other = (settings_of(SelfDistillationSettings, koleo_weight=weight) for weight in (0.1, 0.2))
    assert settings_of(SelfDistillationSettings).fingerprint() == spelled.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_published_configuration_can_be_read(path):
    assert read_settings(path).total_steps > 0
