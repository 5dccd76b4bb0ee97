import numpy as np
import torch

from stablenormal.training.samples import divide_step

CPU = torch.device("cpu")


def _divide(rank=0, processes=1, passes=1, seed=0, step=3):
    return divide_step(np.arange(100, 112), seed, step, rank, processes, passes, CPU)


def _met(shares):
    """What each sample of the batch meets, by its place."""
    met = {}
    for share in shares:
        normal, uniform, whole = share.normal(2, 3), share.uniform(), share.integers(5, 900)
        for row, place in enumerate(share.places):
            augmentation = share.rngs[row].random()
            drawn = (
                share.index[row],
                augmentation,
                normal[row].tolist(),
                float(uniform[row]),
                int(whole[row]),
            )
            met[int(place)] = drawn
    return met


def test_samples_meet_the_same_however_they_are_divided():
    alone = _met(_divide())
    assert sorted(alone) == list(range(12))
    for processes, passes in ((2, 1), (1, 3), (2, 3), (4, 3)):
        together = {}
        for rank in range(processes):
            shares = _divide(rank, processes, passes)
            assert len(shares) == passes and all(len(one) == 12 // processes // passes for one in shares)
            together |= _met(shares)
        assert together == alone


def test_seed_step_and_place_decide():
    drawn = [_met(_divide(seed=seed, step=step)) for seed, step in ((0, 3), (1, 3), (0, 4))]
    values = {met[place][1] for met in drawn for place in met} | {met[p][3] for met in drawn for p in met}
    assert len(values) == 3 * 12 * 2


def test_shapes_and_ranges():
    (share,) = _divide()
    assert share.normal(4, 2, 2).shape == (12, 4, 2, 2) and len(share) == 12
    assert share.uniform().shape == (12,) and 0 <= share.uniform().min() <= share.uniform().max() < 1
    assert share.integers(7, 9).unique().tolist() == [7, 8]
