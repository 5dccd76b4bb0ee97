import json

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stablenormal.io import png
from stablenormal.training.pictures import class_colours, feature_colours, grid
from stablenormal.training.records import RunRecords


def test_figures_and_pictures_are_in_every_place(tmp_path):
    picture = torch.arange(3 * 4 * 5, dtype=torch.uint8).view(3, 4, 5)
    with RunRecords(tmp_path, "yoso", 0, writes=True) as records:
        records.figures(7, "training", {"loss": 0.5})
        records.figures(8, "validation", {"turbo_deg": 30.0})
        records.picture(8, picture)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"step": 7, "loss": 0.5}, {"step": 8, "turbo_deg": 30.0}]
    shown = png.decode((tmp_path / "pictures" / "0000008.png").read_bytes())
    assert np.array_equal(shown, picture.permute(1, 2, 0).numpy())
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in events.Scalars("training/loss")] == [(7, 0.5)]
    assert [(one.step, one.value) for one in events.Scalars("validation/turbo_deg")] == [(8, 30.0)]
    assert [(one.step, one.width, one.height) for one in events.Images("validation")] == [(8, 5, 4)]


def test_other_processes_write_nothing(tmp_path):
    with RunRecords(tmp_path, "yoso", 0, writes=False) as records:
        records.figures(1, "training", {"loss": 0.5})
        records.picture(1, torch.zeros(3, 4, 4, dtype=torch.uint8))
    assert not any(tmp_path.iterdir())


def test_grid_puts_rows_and_columns_apart():
    pictures = [torch.full((3, 4, 6), value, dtype=torch.uint8) for value in range(4)]
    joined = grid([pictures[:2], pictures[2:]])
    assert joined.shape == (3, 10, 14)
    assert joined[0, 0, 0] == 0 and joined[0, 0, 8] == 1 and joined[0, 6, 0] == 2 and joined[0, 9, 13] == 3
    assert (joined[:, 4:6] == 255).all() and (joined[:, :, 6:8] == 255).all()


def test_classes_have_colours_of_their_own_and_the_background_is_black():
    coloured = class_colours(torch.arange(22).view(1, 22))
    assert (coloured[:, 0, 0] == 0).all()
    assert len({tuple(column.tolist()) for column in coloured[:, 0].T}) == 22


def test_equal_features_have_equal_colours():
    features = torch.randn(6, 2, 2, generator=torch.Generator().manual_seed(0))
    one, two = feature_colours([features, features.repeat_interleave(2, 1).repeat_interleave(2, 2)], (8, 8))
    assert torch.equal(one, two) and one.shape == (3, 8, 8) and one.float().std() > 20
