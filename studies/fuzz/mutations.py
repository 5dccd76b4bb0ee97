"""Damaged copies of files, drawn from a seed."""

from collections.abc import Callable, Sequence

import numpy as np

_NUMBERS = tuple(
    value.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for value in (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
    for order in ("little", "big")
)
"""Sizes and counts at the ends of their range."""

_WORDS = (
    b"nan", b"inf", b"-1", b"0", b"1e999", b"9" * 30, b"null", b"{}", b"[]", b'""', b"\xff\xfe", b"\x00",
    b"../", b"/etc/passwd", b"\n", b"%s", b"\xf0\x9f\x92\xa9",
)  # fmt: skip
"""What stands in text files where a number, a name or a list is expected."""

Mutation = Callable[[bytearray, np.random.Generator, bytes], None]


def _flip(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))


def _cut(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    del data[rng.integers(0, len(data)) :]


def _remove(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    start, length = _stretch(len(data), rng)
    del data[start : start + length]


def _repeat(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    start, length = _stretch(len(data), rng)
    data[start:start] = data[start : start + length] * int(rng.integers(1, 5))


def _blank(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    start, length = _stretch(len(data), rng)
    data[start : start + length] = bytes([rng.choice([0, 255])]) * length


def _number(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    number = _NUMBERS[rng.integers(len(_NUMBERS))]
    place = int(rng.integers(0, len(data)))
    data[place : place + len(number)] = number


def _header(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    number = _NUMBERS[rng.integers(len(_NUMBERS))]
    place = int(rng.integers(0, min(len(data), 128)))
    data[place : place + len(number)] = number


def _word(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    place = int(rng.integers(0, len(data)))
    data[place : place + int(rng.integers(0, 8))] = _WORDS[rng.integers(len(_WORDS))]


def _splice(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    data[rng.integers(0, len(data)) :] = other[rng.integers(0, max(1, len(other))) :]


def _stretch(size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and length of a piece, mostly a short one."""
    start = int(rng.integers(0, size))
    return start, min(size - start, int(2 ** rng.uniform(0, 12)))


_MUTATIONS: tuple[Mutation, ...] = (
    _flip, _cut, _remove, _repeat, _blank, _number, _header, _word, _splice,
)  # fmt: skip


def mutated(seeds: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """A damaged copy of one of several files: one to four changes, some of them from another of the files."""
    data = bytearray(seeds[int(rng.integers(len(seeds)))])
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        _MUTATIONS[rng.integers(len(_MUTATIONS))](data, rng, seeds[int(rng.integers(len(seeds)))])
    return bytes(data)
