import pytest

from stablenormal.app.predict_settings import PredictSettings
from stablenormal.errors import FrameError, SettingError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"formats": ()}, ["--format", "png16"]),
        ({"formats": ("png16", "gif")}, ["--format", "gif", "exr"]),
        ({"mode": "fast"}, ["--mode", "fast", "turbo"]),
        ({"uncertainty": True}, ["--uncertainty", "--ensemble"]),
        ({"ensemble": 0}, ["--ensemble", "0"]),
        ({"batch_size": 0}, ["--batch-size"]),
        ({"resolution": 8}, ["--resolution", "8", "64"]),
        ({"steps": 0}, ["--steps"]),
        ({"seed": -1}, ["--seed"]),
        ({"t_plus": 0}, ["--t-plus", "1 or more"]),
        ({"t_plus": 1000}, ["--t-plus", "999"]),
        ({"mode": "turbo", "steps": 4}, ["--steps", "turbo", "full"]),
        ({"mode": "turbo", "t_plus": 4}, ["--t-plus", "turbo", "full"]),
        ({"tile_size": 512}, ["--tile-size", "only with --tile"]),
        ({"tile_overlap": 0.3}, ["--tile-overlap", "only with --tile"]),
        ({"tile": True, "tile_size": 32}, ["--tile-size", "32", "64 or more"]),
        ({"tile": True, "tile_overlap": 0.9}, ["--tile-overlap", "0.9", "from 0.05 to 0.5"]),
        ({"tile": True, "resolution": 0}, ["--resolution", "0", "--tile"]),
    ],
)
def test_an_impossible_option_is_refused_with_the_way_out(
    options: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(SettingError) as caught:
        PredictSettings(**options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("frame", ["opengl2", "world", ""])
def test_an_impossible_frame_is_refused_with_the_choices(frame: str) -> None:
    with pytest.raises(FrameError, match="opengl, opencv, directx, dsine"):
        PredictSettings(frame=frame)


def test_resolution_0_is_the_photographs_own() -> None:
    assert PredictSettings(resolution=0).resolution == 0
