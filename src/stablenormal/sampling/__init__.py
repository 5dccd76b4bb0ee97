"""Sampling: mathematics on a callable `denoise(x_t, t) -> x0`."""
