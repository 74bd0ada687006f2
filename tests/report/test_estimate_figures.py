"""Figures of a refinement: nothing overlaps or is cut off at any width; muscles stand in anatomical order."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import matplotlib.transforms
import numpy as np
import pytest
from matplotlib.colors import to_hex

from opensim_nem2e.report import estimate_figures
from opensim_nem2e.report.drawing import CHANGED
from opensim_nem2e.report.estimate_figures import ActivationCurves, anatomical_order, draw_redistribution

TIME = np.linspace(0.0, 2.0, 201)


@pytest.fixture
def figures(monkeypatch):
    """Keep what is saved, to look into it."""
    kept = []
    monkeypatch.setattr(estimate_figures, "save_figure", lambda figure, path, dpi, **more: kept.append(figure))
    return kept


def curves(count: int) -> list[ActivationCurves]:
    half = TIME < 1.0
    values = 0.5 + 0.4 * np.sin(4 * TIME)
    names = ("soleus", "gasmed", "tibant", "vaslat", "recfem")
    return [ActivationCurves(f"{names[k]}_r", "r", values, values, values, half, (TIME, values)) for k in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nothing_overlaps_or_is_cut_off(figures, count):
    caption = "A caption that says at some length what is drawn here and by whom, " * 4
    draw_redistribution(TIME, curves(count), Path("x.png"), title="walk_with_a_long_name: activations", caption=caption)
    (figure,) = figures
    figure.draw_without_rendering()
    texts = [figure._suptitle, *figure.texts]
    boxes = [text.get_window_extent() for text in dict.fromkeys(texts)]
    boxes.append(figure.legends[0].get_window_extent())
    shown = [axis for axis in figure.axes if axis.get_visible()]
    boxes += [axis.get_tightbbox() for axis in shown]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    for one, other in combinations(boxes, 2):
        overlap = matplotlib.transforms.Bbox.intersection(one, other)
        assert overlap is None or overlap.height < 1.5 or overlap.width < 1.5, (one, other)
    assert "".join(text.get_text() for text in figure.texts).replace("\n", " ").count("by whom") == 4


def test_what_was_changed_has_a_ground_of_its_own(figures):
    draw_redistribution(TIME, curves(1), Path("x.png"), title="walk")
    (figure,) = figures
    ground = figure.axes[0].collections[0]
    assert to_hex(ground.get_facecolor()[0]).upper() == CHANGED
    (path,) = ground.get_paths()
    assert (path.vertices[:, 0].min(), path.vertices[:, 0].max()) == (0.0, pytest.approx(0.99))


def test_anatomical_order():
    muscles = [("psoas_l", "", "l"), ("tib_l", "tib", "l"), ("sol_l", "soleus", "l"), ("gm_r", "gasmed", "r")]
    muscles += [("sol_r", "soleus", "r"), ("psoas_r", "", "r")]
    found = [name for name, *_ in sorted(muscles, key=lambda muscle: anatomical_order(*muscle))]
    assert found == ["sol_r", "sol_l", "gm_r", "tib_l", "psoas_r", "psoas_l"]
