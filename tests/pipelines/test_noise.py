import torch

from stablenormal.pipelines.noise import seeded_noise


def test_draws_follow_one_generator_per_image():
    noise = seeded_noise(7, torch.zeros(2, 4, 3, 5))
    generator = torch.Generator().manual_seed(7)
    for _ in range(3):
        expected = torch.randn(4, 3, 5, generator=generator)
        draw = noise()
        assert torch.equal(draw[0], expected)
        assert torch.equal(draw[1], expected)


def test_stays_float32_and_leaves_the_global_state():
    before = torch.get_rng_state()
    draw = seeded_noise(7, torch.zeros(1, 4, 3, 5, dtype=torch.bfloat16))()
    assert torch.equal(draw, seeded_noise(7, torch.zeros(1, 4, 3, 5))())
    assert torch.equal(torch.get_rng_state(), before)
