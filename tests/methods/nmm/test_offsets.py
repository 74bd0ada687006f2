"""The time offset between EMG and motion: what simulation, other subjects' profiles and habit say of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from opensim_nem2e.errors import StorageError
from opensim_nem2e.methods.nmm.population import SAMPLES, PersonCycles, Population
from opensim_nem2e.methods.nmm.recordings import (
    LEAD,
    OFFSETS,
    ROWS,
    EmgChannel,
    RecordedTrial,
    Recordings,
    Windows,
    _recorded,
    put_on_clock,
)
from opensim_nem2e.methods.nmm.shapes import Mixer
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.storage import TimeSeries

TIME = np.arange(0.0, 6.0, 0.01)
MUSCLES = ("soleus", "tib")
PEAKS = (0.4, 0.9)


def bursts(time):
    """One burst a second of each muscle."""
    apart = [(time - peak + 0.5) % 1.0 - 0.5 for peak in PEAKS]
    return np.stack([np.exp(-0.5 * (x / 0.08) ** 2) for x in apart], -1)


def recordings(lead, late=0.0, *, gait=True, silent=False):
    """Strides of a second whose EMG leads the activations by ``lead`` s; the simulation comes ``late`` s after them."""
    emg = np.ones((TIME.size, 2)) if silent else bursts(TIME + lead)
    simulated = TimeSeries(TIME, MUSCLES, bursts(TIME - late))
    cycles = {"r": [Cycle("r", float(k), k + 1.0) for k in range(5)]} if gait else {}
    trial = RecordedTrial("walk", None, TimeSeries(TIME, ("a", "b"), emg), simulated, cycles)
    step = 1.0 / ROWS
    starts = np.array([1.0, 2.0, 3.0])
    time = starts[:, None] + step * np.arange(-LEAD, ROWS)
    windows = Windows(np.zeros(3, dtype=np.intp), time, np.full(3, step), *[np.empty(0)] * 5)
    channels = (EmgChannel("a", ("soleus",)), EmgChannel("b", ("tib",)))
    hill = SimpleNamespace(names=MUSCLES)
    return Recordings(hill, None, (), channels, (trial,), windows, np.eye(2), MUSCLES, ("r", "r"))


@pytest.fixture(scope="module")
def population():
    phase = np.arange(SAMPLES) / SAMPLES
    cycles = {name: curve[None] for name, curve in zip(MUSCLES, bursts(phase).T, strict=True)}
    return Population.learn([PersonCycles(name, "lab", cycles, cycles) for name in ("one", "two")])


def found(recordings, population=None, held=()):
    return -float(OFFSETS[Mixer(recordings, population).shapes(held, "copy").offsets[0]])


def test_a_simulation_that_is_right_tells_the_offset(population):
    for lead in (0.03, 0.12):
        assert found(recordings(lead)) == pytest.approx(lead, abs=0.011)
        assert found(recordings(lead), population, held=(0,)) == pytest.approx(lead, abs=0.011)


def test_profiles_of_other_subjects_put_a_late_simulation_right(population):
    alone = found(recordings(0.07, late=0.06))
    assert alone == pytest.approx(0.13, abs=0.011)
    assert found(recordings(0.07, late=0.06), population) == pytest.approx(0.10, abs=0.011)
    # Where the phase is not known, profiles tell nothing.
    assert found(recordings(0.07, late=0.06, gait=False), population) == alone


@pytest.mark.parametrize("offset", [-0.052, 0.1, 1000.0, -0.4])
def test_an_offset_that_is_given_is_taken_exactly(offset):
    """Between the offsets that are tried, and far beyond them: the EMG has a clock of its own."""
    emg = TimeSeries(TIME + offset, ("a", "b"), bursts(TIME))
    moved, near, clock = put_on_clock(emg, offset)
    assert near + clock == pytest.approx(offset)
    assert near in OFFSETS
    np.testing.assert_allclose(moved.time, TIME + near, atol=1e-9)
    assert near == pytest.approx(-0.07 if abs(offset) > 0.3 else offset, abs=0.003)


def test_a_cycle_must_be_recorded_whole_wherever_it_begins():
    span = [(0.0, float(TIME[-1]))]
    for offset in (0.4, 7.0):
        emg, near, clock = put_on_clock(TimeSeries(TIME, ("a", "b"), bursts(TIME)), offset)
        trial = RecordedTrial("cycle", SimpleNamespace(time=TIME), emg, cyclic=True, offset=near, clock=clock)
        assert _recorded(trial, span, ["a", "b"]) == span
    short = replace(trial, emg=TimeSeries(emg.time[:400], emg.labels, emg.data[:400]))
    with pytest.raises(StorageError, match=r"EMG must cover the motion, .* \(by its own clock 0\.000 to 3\.990 s\)"):
        _recorded(short, span, ["a", "b"])


def test_where_nothing_tells_the_usual_lead_is_taken(population):
    assert found(recordings(0.2, silent=True), population) == pytest.approx(0.07)
