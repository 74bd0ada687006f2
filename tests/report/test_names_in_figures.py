"""Labels are drawn as they are written: a dollar in a name begins no formula."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from lxml import etree

from opensim_nem2e.estimates.consistency import TradeOff
from opensim_nem2e.report.emg_figures import ProcessedChannel, draw_envelopes
from opensim_nem2e.report.estimate_figures import draw_tradeoff
from opensim_nem2e.storage import TimeSeries

#: Matplotlib takes the first for a formula that it cannot read; the second would lose its dollars.
NAMES = ("a$^$b", "soleus$_r$")


@pytest.fixture(autouse=True)
def _text_stays_text() -> Iterator[None]:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        yield


def _drawn(path: Path) -> list[str]:
    return [element.text or "" for element in etree.parse(path).iter("{*}text")]


@pytest.mark.parametrize("name", NAMES)
def test_a_channel_with_dollars(name: str, tmp_path: Path) -> None:
    time = np.arange(2000) / 1000.0
    raw = np.random.default_rng(1).standard_normal((2000, 1)) * 1e-4
    channels = ProcessedChannel.all_of(
        TimeSeries(time, (name,), raw), TimeSeries(time, (name,), np.abs(raw) / 4e-4), (4e-4,)
    )
    draw_envelopes(channels, tmp_path / "emg.svg", title="", caption="", corners=(20.0,))
    assert any(text.startswith(name) for text in _drawn(tmp_path / "emg.svg"))


@pytest.mark.parametrize("name", NAMES)
def test_a_title_with_dollars(name: str, tmp_path: Path) -> None:
    curve = [
        TradeOff(
            reserve,
            chosen=reserve == 10.0,
            torque_error=error,
            largest_rmse=error,
            distance_refined=distance,
            distance_others=0.0,
            E=0.1,
        )
        for reserve, error, distance in ((np.inf, 40.0, 0.0), (10.0, 6.0, 0.1), (0.1, 2.0, 0.2))
    ]
    draw_tradeoff(curve, tmp_path / "curve.svg", title=name)
    draw_tradeoff(curve, tmp_path / "curve.png", title=name)
    assert name in _drawn(tmp_path / "curve.svg")
