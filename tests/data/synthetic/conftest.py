"""A little bank and one OpenGL context for the tests of this folder."""

from collections.abc import Iterator

import pytest

from stablenormal.data.synthetic.bank import Bank, build_bank
from stablenormal.data.synthetic.draws import generator
from stablenormal.data.synthetic.rasteriser import Rasteriser


@pytest.fixture(scope="session")
def bank() -> Bank:
    return build_bank(generator(3), fraction=0.02)


@pytest.fixture(scope="session")
def rasteriser(bank: Bank) -> Iterator[Rasteriser]:
    made = Rasteriser(64)
    made.load_bank(bank)
    yield made
    made.close()
