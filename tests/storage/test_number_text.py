"""Numbers in cells are what ``printf`` writes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensim_nem2e.storage.number_text import number_cells

ODD = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-300, 0.5, -1.5, 2.5, 9998.99999999, -9999.9999, 9999.9999999999, 999999.0]


def texts(cells):
    return [[bytes(cell).decode() for cell in row] for row in cells]


@pytest.mark.parametrize("precision", [1, 2, 3, 4, 6, 7, 8, 12, 15, 20, 23, 30])
def test_every_digit_is_printf_s(precision):
    rng = np.random.default_rng(precision)
    values = [*ODD, *rng.normal(size=200) * 10.0 ** rng.integers(-12, 6, 200)]
    # Exactly between two last digits, and numbers that were written with one digit more.
    values += [
        *rng.integers(-999, 999, 50) * 0.5 ** rng.integers(0, 12, 50),
        *np.round(rng.normal(size=50), precision + 1),
    ]
    table = np.array(values[: len(values) // 3 * 3]).reshape(-1, 3)
    cells = number_cells(table, precision)
    assert texts(cells) == [[f"%{precision + 8}.{precision}f" % value for value in row] for row in table.tolist()]


@given(st.floats(-9e5, 9e5), st.integers(1, 12))
def test_any_number(value, precision):
    (text,) = texts(number_cells(np.array([[value]]), precision))[0]
    assert text == f"%{precision + 8}.{precision}f" % value


def test_what_does_not_fit():
    assert number_cells(np.array([[0.5, 1e7]]), 8) is None
    assert number_cells(np.array([[-1e6]]), 8) is None
    assert number_cells(np.zeros((3, 0)), 8).shape == (3, 0, 16)
