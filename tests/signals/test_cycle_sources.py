"""Where gait cycles come from: each source gives the cycles that its heel strikes bound."""

from __future__ import annotations

import numpy as np
import pytest

from opensim_nem2e.errors import CycleError, StorageError
from opensim_nem2e.signals.cycle_sources import (
    CycleLimits,
    EventsTable,
    GroundReactions,
    ListedStrikes,
    WholeFile,
    find_cycles,
    warn_of_other_strikes,
)
from opensim_nem2e.signals.cycles import Cycle

TIME = np.arange(0.0, 3.0, 0.01)


def test_listed_strikes_bound_cycles():
    cycles = find_cycles(TIME, ListedStrikes([0.1, 1.2, 2.2], [0.6, 1.7]), CycleLimits())
    assert cycles == {"r": [Cycle("r", 0.1, 1.2), Cycle("r", 1.2, 2.2)], "l": [Cycle("l", 0.6, 1.7)]}


def test_of_many_cycles_the_log_names_some(caplog):
    caplog.set_level("INFO", logger="opensim_nem2e")
    find_cycles(np.arange(0.0, 100.0, 0.01), ListedStrikes(np.arange(0.5, 99.5).tolist(), []), CycleLimits())
    assert "5.5000-6.5000, ..., 97.5000-98.5000 (98 in all). Complete left" in caplog.text


def test_the_time_range_and_the_tolerance(caplog):
    strikes = ListedStrikes([-0.02, 1.0, 2.0, 3.01], [])
    with pytest.raises(CycleError, match="There is no complete gait cycle between"):
        find_cycles(TIME, strikes, CycleLimits(1.5, 2.5))
    assert len(find_cycles(TIME, strikes, CycleLimits())["r"]) == 1
    # Times that were copied from the log, or rounded to milliseconds.
    measured = ListedStrikes([0.71848, 1.82243], [])
    assert len(find_cycles(TIME, measured, CycleLimits(0.7185, 1.8224))["r"]) == 1
    assert len(find_cycles(TIME, measured, CycleLimits(0.719, 1.822))["r"]) == 1
    with pytest.raises(CycleError):
        find_cycles(TIME, measured, CycleLimits(0.725, 1.83))
    with pytest.raises(
        CycleError, match=r"right: none; left: none\. All are at 718\.5 to 1822\.4 s: of this trial, and in"
    ):
        find_cycles(TIME, ListedStrikes([718.5, 1822.4], []), CycleLimits())
    caplog.set_level("DEBUG", logger="opensim_nem2e")
    assert len(find_cycles(TIME, strikes, CycleLimits(tolerance=0.04))["r"]) == 3
    assert "begins 20 ms outside the file: the first value is held there" in caplog.text


@pytest.mark.parametrize("trusted", [True, False])
def test_listed_strikes_are_not_second_guessed(trusted, tmp_path):
    strikes = [0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.6]
    source = ListedStrikes(strikes, ())
    if not trusted:
        table = tmp_path / "events.csv"
        table.write_text("time,event,side\n" + "".join(f"{time},heel_strike,r\n" for time in strikes))
        source = EventsTable(table)
    cycles = find_cycles(TIME, source, CycleLimits(minimum_duration=0.3))
    # The last lasts half as long again as the median.
    assert len(cycles["r"]) == (6 if trusted else 5)


def test_a_whole_file_is_one_cycle(caplog):
    cycles = find_cycles(TIME[:101], WholeFile("l", 0.25), CycleLimits())
    assert cycles["l"] == [Cycle("l", 0.0, 1.0, 0.25)]
    assert cycles["r"][0].roll == pytest.approx(0.75)
    assert not caplog.records
    find_cycles(TIME, WholeFile(), CycleLimits())
    assert "is not plausible" in caplog.text


def test_a_limb_without_a_cycle_takes_the_others_rolled():
    source = ListedStrikes([0.1, 1.1, 2.1], [0.6])
    assert find_cycles(TIME, source, CycleLimits())["l"] == []
    (rolled,) = find_cycles(TIME, source, CycleLimits(roll_incomplete=True))["l"]
    assert (rolled.start, rolled.end, rolled.roll) == (0.1, 1.1, pytest.approx(0.5))


@pytest.mark.parametrize(("late", "told"), [(0.1, "0.10 s later"), (-0.12, "0.12 s earlier"), (-0.06, ""), (0.5, "")])
def test_strikes_on_another_clock_than_the_forces(repository, caplog, late, told):
    """Paths of markers give strikes up to 0.06 s early; half a cycle away are those of the other foot."""
    path = repository / "examples" / "01_refine_walking" / "external_loads.xml"
    given = {"r": [0.248 + late, 1.366 + late], "l": [0.807 + late, 1.924 + late]}
    warn_of_other_strikes(given, path, {}, 0.0, 2.1)
    assert len(caplog.records) == bool(told)
    assert f"The heel strikes given are {told}" in caplog.text or not told
    caplog.clear()
    warn_of_other_strikes({"r": [0.35], "l": []}, path, {}, 0.0, 2.1)
    warn_of_other_strikes(given, path.with_name("none.xml"), {}, 0.0, 2.1)
    assert not caplog.records


def test_ground_reactions(repository):
    path = repository / "examples" / "01_refine_walking" / "external_loads.xml"
    cycles = find_cycles(np.array([0.0, 2.1]), GroundReactions(path), CycleLimits())
    assert [(round(c.start, 4), round(c.end, 4)) for c in cycles["r"]] == [(0.2482, 1.3655)]


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(CycleError, match="at least two rows"):
        find_cycles(TIME[:1], WholeFile(), CycleLimits())
    with pytest.raises(CycleError, match="nothing in common with <initial_time>"):
        find_cycles(TIME, WholeFile(), CycleLimits(5.0, 6.0))
    (tmp_path / "events.csv").write_text("nonsense\n")
    with pytest.raises(StorageError):
        find_cycles(TIME, EventsTable(tmp_path / "events.csv"), CycleLimits())
