"""Every number that a tool can be given: absurd ones are refused, and with those that are taken results are finite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from opensim_nem2e import EMGEnvelopeTool, STDRRefineTool, TimeSeries, write_storage
from opensim_nem2e.errors import NEM2EError, SetupError
from opensim_nem2e.options import Element, Interval, Options, Property, layout_of
from opensim_nem2e.storage import read_storage
from opensim_nem2e.tools import tool_registry as registry

VALUES = (math.nan, math.inf, -math.inf, -1.0, -1, 0.0, 0, 1e300, -1e300, 1e-300, 10**400, 10**5000)

#: Infinity says something here: all of the file, never, no limit.
ENDLESS = {
    *("initial_time", "final_time", "whole_file_heel_strike"),
    *("checkpoint_interval", "time_limit", "reserve_bound", "maximum_cycle_deviation"),
}

#: Counts and times of a run; seeds may be any integer.
LARGEST = 1e10


def numbers(declaration: type[Options], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Property]]:
    for row in layout_of(declaration).rows:
        if isinstance(row, Element):
            yield from numbers(row.declaration, (*path, row.name))
        elif row.type in ("int", "ints", "double", "doubles"):
            yield (*path, row.name), row


def tools() -> list[str]:
    return sorted(registry._TOOLS)


@pytest.mark.parametrize("name", tools())
def test_declared_numbers_have_bounds(name):
    for path, prop in numbers(registry.tool_class(name).declaration):
        where = f"{name}: {'/'.join(path)}"
        for value in VALUES:
            try:
                found = prop.convert((value,) if prop.is_list else value)
            except ValueError:
                continue
            assert not np.isnan(found).any(), where
            if prop.name in ENDLESS or prop.name in ("seed", "seeds"):
                continue
            assert (np.abs(found) <= LARGEST).all(), f"{where} takes {value}"


def test_two_ranges():
    both = Interval.of("[-1000, 0) or [0.01, 1000]")
    assert str(both) == "[-1000, 0) or [0.01, 1000]"
    assert [value in both for value in (-1001, -1, 0, 1e-3, 6, 1001, math.nan)] == [False, True, False, False, True] + [
        False
    ] * 2


def accepted(prop: Property) -> list[object]:
    found = []
    for value in VALUES:
        try:
            found.append(prop.convert((value,) if prop.is_list else value))
        except ValueError:
            continue
    if prop.interval is not None:
        ends = (prop.interval.low, prop.interval.high)
        found += [prop.convert((end,) if prop.is_list else end) for end in ends if end in prop.interval]
    return list(dict.fromkeys(found))


def all_finite(folder) -> bool:
    return all(np.isfinite(read_storage(path).data).all() for path in folder.glob("*.sto"))


@pytest.mark.slow
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_refining_with_every_number_that_is_taken(simulation, make_bundle):
    bundle, outcomes = make_bundle(), {"finite": 0, "refused": 0}
    for path in (simulation.states, simulation.controls):
        # Every fourth row: a hundred files are read, solved and written.
        series = read_storage(path)
        write_storage(path, replace(series, time=series.time[::4], data=series.data[::4]))
    for path, prop in numbers(STDRRefineTool.declaration):
        for value in accepted(prop):
            tool = STDRRefineTool(states_file=str(simulation.states), bundle_file=str(bundle), amplitude="emg")
            tool.results_directory = str(simulation.folder / "results")
            tool.right_heel_strikes, tool.left_heel_strikes = (0.2, 1.3, 2.35), (0.75, 1.8)
            tool.write_report = False
            try:
                tool.set(path[-1], value)
                tool.run()
            except NEM2EError:
                outcomes["refused"] += 1
                continue
            assert all_finite(simulation.folder / "results"), f"{path} = {value}"
            outcomes["finite"] += 1
    assert outcomes["finite"] > 20


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_envelopes_with_every_number_that_is_taken(tmp_path, raw_emg):
    time = np.arange(2000) / 1000.0
    raw = raw_emg(np.exp(-(((time - 1.0) / 0.2) ** 2)), 1000.0)
    write_storage(tmp_path / "raw.sto", TimeSeries(time, ("a",), raw[:, None]))
    finite = 0
    for path, prop in numbers(EMGEnvelopeTool.declaration):
        for value in accepted(prop):
            tool = EMGEnvelopeTool(emg_files=[str(tmp_path / "raw.sto")], results_directory=str(tmp_path / "results"))
            tool.write_figures = False
            try:
                tool.set(path[-1], value)
                tool.run()
            except NEM2EError:
                continue
            assert all_finite(tmp_path / "results"), f"{path} = {value}"
            finite += 1
    assert finite > 10


@pytest.mark.parametrize("value", [1e300, math.inf])
def test_emg_that_no_unit_explains_is_refused(tmp_path, value):
    time = np.arange(2000) / 1000.0
    data = np.sin(1000.0 * time)
    data[7] = value
    write_storage(tmp_path / "raw.sto", TimeSeries(time, ("a",), data[:, None]))
    tool = EMGEnvelopeTool(emg_files=[str(tmp_path / "raw.sto")], results_directory=str(tmp_path / "results"))
    with pytest.raises(NEM2EError, match=r"at most 1e\+12|finite"):
        tool.run()


def test_a_refusal_says_both_ranges():
    with pytest.raises(SetupError, match=r"must be a number in \[-1000, 0\) or \[0\.01, 1000\], but '?0"):
        STDRRefineTool(lowpass_cutoff_frequency_for_coordinates=0.0)
