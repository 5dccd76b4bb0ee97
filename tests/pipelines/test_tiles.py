import pytest
import torch
from torch.nn import functional

from stablenormal.errors import ImageShapeError, SettingError
from stablenormal.geometry.normals import angular_error_deg, unit_length
from stablenormal.pipelines.tiles import Grid, Tiling, Whole, Window, carried, in_tiles


def smooth(size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """A normal map (3, H, W) without edges, facing the viewer."""
    coarse = torch.randn(1, 3, 3, 4, generator=torch.Generator().manual_seed(seed)) * 0.4
    coarse[:, 2] = 1
    return unit_length(functional.interpolate(coarse, size=size, mode="bicubic"))[0]


def rolled(normals: torch.Tensor, angle_deg: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(angle_deg))
    turn = torch.tensor(
        [[1.0, 0, 0], [0, torch.cos(angle), -torch.sin(angle)], [0, torch.sin(angle), torch.cos(angle)]]
    )
    return torch.einsum("ij,jhw->ihw", turn, normals)


class TestGrid:
    @pytest.mark.parametrize(
        ("size", "side", "overlap"),
        [((300, 500), 128, 0.25), ((100, 500), 128, 0.5), ((129, 128), 128, 0.05), ((64, 1000), 65, 0.3)],
    )
    def test_weights_sum_to_one_and_every_tile_is_full_size(self, size, side, overlap):
        total, seen = torch.zeros(size), torch.zeros(size)
        for window, weight in Grid(size, side, overlap):
            assert (window.height, window.width) == (min(side, size[0]), min(side, size[1]))
            assert float(weight.min()) > 0
            window.of(total).add_(weight)
            window.of(seen).add_(1)
        torch.testing.assert_close(total, torch.ones(size))
        assert float(seen.min()) >= 1

    def test_neighbours_share_at_least_the_overlap(self):
        grid = Grid((300, 500), 128, 0.25)
        for spans in (grid.rows, grid.columns):
            for (first, _), (second, _) in zip(spans, spans[1:], strict=False):
                assert first + 128 - second >= 32

    def test_a_tile_counts_little_at_its_own_border(self):
        for (_, weight), number in zip(Grid((100, 500), 128, 0.25).columns, range(9), strict=False):
            assert number == 0 or float(weight[0]) < 0.01

    def test_borders_lie_inside(self):
        rows, columns = Grid((100, 500), 128, 0.25).borders
        assert rows == []
        assert columns and all(0 < column < 500 for column in columns)


class TestTiling:
    def test_a_quarter_of_the_longer_side_and_never_less_than_is_seen(self):
        assert Tiling().side((1000, 4096), 192) == 1024
        assert Tiling().side((600, 800), 448) == 448
        assert Tiling(300).side((600, 800), 448) == 300

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"size": 63}, "tile_size.*63 px are too few; use 64 or more"),
            ({"overlap": 0.0}, "tile_overlap.*from 0.05 to 0.5"),
            ({"overlap": 0.6}, "tile_overlap.*from 0.05 to 0.5"),
        ],
    )
    def test_refuses_what_cannot_be(self, values, message):
        with pytest.raises(SettingError, match=message):
            Tiling(**values)


class TestWhole:
    def test_looks_up_what_resizing_the_map_gives(self):
        low = smooth((24, 32))
        full = unit_length(functional.interpolate(low[None], size=(120, 160), mode="bilinear"))[0]
        window = Window(31, 40, 50, 70)
        torch.testing.assert_close(Whole(low, (120, 160)).at(window), window.of(full), atol=1e-5, rtol=0)


class TestCarried:
    def test_a_tile_that_is_turned_as_a_whole_is_turned_back(self):
        shape = smooth((96, 96))
        assert float(angular_error_deg(rolled(shape, 25.0)[None], shape[None]).median()) > 20
        back = carried(rolled(shape, 25.0), shape, 8.0)
        assert float(angular_error_deg(back[None], shape[None]).median()) < 1

    def test_detail_stays(self):
        shape, ripple = smooth((96, 96)), torch.zeros(3, 96, 96)
        ripple[0] = 0.3 * torch.sin(torch.arange(96) * 2.0)
        detail = unit_length((shape + ripple)[None])[0]
        kept = carried(detail, shape, 8.0)
        assert float(angular_error_deg(kept[None], detail[None]).median()) < 1.5
        assert float(angular_error_deg(kept[None], shape[None]).median()) > 8

    def test_what_points_apart_is_the_wholes(self):
        shape = smooth((96, 96))
        torch.testing.assert_close(carried(-shape, shape, 8.0), shape)


class TestInTiles:
    """The networks here are functions whose answer is known."""

    size = (180, 260)

    def test_tiles_that_disagree_leave_no_seam(self):
        whole = Whole(smooth((18, 26)), self.size)
        angles = iter([25.0, -20.0, 10.0, -25.0, 15.0, -10.0] * 20)
        truth = whole.at(Window(0, 0, *self.size))

        def estimate(tiles, shapes):
            return [(rolled(shape, next(angles)), torch.zeros(0)) for shape in shapes]

        grid = Grid(self.size, 100, 0.25)
        normals, _ = in_tiles(torch.rand(3, *self.size), whole, grid, estimate, 1, False)
        assert len(grid) > 5
        torch.testing.assert_close(normals.norm(dim=0), torch.ones(self.size))
        assert float(angular_error_deg(normals[None], truth[None]).max()) < 8
        wrong = normals - truth  # the truth's own turns are no seams
        jumps = (wrong[:, :, 1:] - wrong[:, :, :-1]).norm(dim=0)
        assert float(jumps.max()) < 0.005  # 0.0015; 0.023 where tiles are cut hard

    def test_each_tile_is_told_its_own_part(self):
        whole = Whole(smooth((18, 26)), self.size)
        image = torch.rand(3, *self.size)
        grid, seen = Grid(self.size, 100, 0.25), []

        def estimate(tiles, shapes):
            seen.extend(tile.clone() for tile in tiles)
            return [(shape, torch.full(shape.shape[1:], 3.0)) for shape in shapes]

        normals, spread = in_tiles(image, whole, grid, estimate, 4, True)
        for tile, (window, _) in zip(seen, grid, strict=True):
            assert torch.equal(tile, window.of(image))
        torch.testing.assert_close(spread, torch.full(self.size, 3.0))
        expected = whole.at(Window(0, 0, *self.size))
        torch.testing.assert_close(normals, expected, atol=1e-4, rtol=0)


class TestThePipeline:
    @pytest.fixture
    def photograph(self) -> torch.Tensor:
        return torch.rand(3, 150, 200, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize("mode", ["full", "turbo"])
    def test_unit_normals_same_bits_and_not_the_untiled_ones(self, pipeline, photograph, mode):
        first, again = (pipeline(photograph, mode=mode, tile=True, tile_size=96) for _ in range(2))
        assert first.tiles == (6,)
        assert torch.equal(first.normals[0], again.normals[0])
        torch.testing.assert_close(first.normals[0].norm(dim=0), torch.ones(150, 200))
        assert not torch.equal(first.normals[0], pipeline(photograph, mode=mode).normals[0])

    def test_batches_of_tiles_change_no_more_than_rounding(self, pipeline, photograph):
        one, many = (
            pipeline(photograph, mode="turbo", tile=True, tile_size=96, batch_size=size).normals[0]
            for size in (1, 4)
        )
        assert float(angular_error_deg(one[None], many[None]).max()) < 0.1

    def test_the_refinement_starts_from_the_whole(self, pipeline, photograph, monkeypatch):
        """In full mode each tile's refinement is given a start, in the frame and at the size of the tile."""
        given = []
        original = type(pipeline)._prepare

        def spy(self, images, valid, start, request):
            given.append((request.mode, None if start is None else [one.shape for one in start]))
            return original(self, images, valid, start, request)

        monkeypatch.setattr(type(pipeline), "_prepare", spy)
        pipeline(photograph, mode="full", tile=True, tile_size=96)
        starts = [shapes for mode, shapes in given if shapes]
        assert starts == [[torch.Size([3, 96, 96])]] * 6
        assert [mode for mode, _ in given].count("turbo") == 6

    def test_masked_pixels_are_zero_and_the_spread_is_there(self, pipeline, photograph):
        valid = torch.ones(150, 200, dtype=torch.bool)
        valid[40:90, 60:150] = False
        output = pipeline(
            photograph, tile=True, tile_size=96, valid=[valid], ensemble=2, uncertainty=True, mode="full"
        )
        assert torch.equal((output.normals[0] != 0).any(dim=0), valid)
        assert output.uncertainty_deg[0].shape == (150, 200)
        assert float(output.uncertainty_deg[0][valid].mean()) > 0
        assert float(output.uncertainty_deg[0][~valid].abs().max()) == 0

    def test_what_fits_into_one_tile_is_seen_whole(self, pipeline, photograph):
        small = photograph[:, :60, :80]
        output = pipeline([photograph, small], mode="turbo", tile=True, tile_size=96)
        assert output.tiles == (6, 1)
        assert torch.equal(output.normals[1], pipeline(small, mode="turbo").normals[0])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"tile_size": 96}, "tile_size.*only with.*tile"),
            ({"tile_overlap": 0.3}, "tile_overlap.*only with.*tile"),
            ({"tile": True, "processing_resolution": 0}, "0 sees an image whole at its own size"),
            ({"tile": True, "start": [torch.ones(3, 150, 200)]}, "tiles start from the whole image"),
        ],
    )
    def test_what_does_not_go_together_is_said(self, pipeline, photograph, options, message):
        with pytest.raises(SettingError, match=message):
            pipeline(photograph, **{"mode": "full", **options})

    def test_a_mask_of_another_size_is_refused(self, pipeline, photograph):
        with pytest.raises(ImageShapeError, match="valid 0"):
            pipeline(photograph, tile=True, tile_size=96, valid=[torch.ones(3, 3, dtype=torch.bool)])
