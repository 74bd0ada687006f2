"""A clean study: the shipped example's real CMC files, with EMG that its muscles would have given."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opensim_nem2e import EMGEnvelopeTool, TimeSeries, read_storage, write_storage
from opensim_nem2e.signals.events import events_from_external_loads

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "01_refine_walking"

#: The model's muscle: its standard name, and how loud its EMG is.
MUSCLES = {
    "soleus": ("soleus", 0.21),
    "gasmed": ("gasmed", 0.14),
    "tibant": ("tib", 0.3),
    "vaslat": ("vaslat", 0.12),
    "semimem": ("sem", 0.08),
}


@dataclass(frozen=True)
class Study:
    """A folder with a manifest and all that it names."""

    folder: Path

    @property
    def trials(self) -> Path:
        return self.folder / "trials.csv"

    @property
    def emg(self) -> Path:
        return self.folder / "walk_emg.sto"

    def edit(self, name: str, change: Callable[[dict[str, str]], Any]) -> None:
        """Change every row of a table in place."""
        with (self.folder / name).open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        for row in rows:
            change(row)
        with (self.folder / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def rewrite(self, name: str, change: Callable[[TimeSeries], TimeSeries], precision: int = 8) -> None:
        """Change a storage file in place."""
        write_storage(self.folder / name, change(read_storage(self.folder / name)), precision=precision)


@pytest.fixture(scope="session")
def clean_study(tmp_path_factory: pytest.TempPathFactory, raw_emg: Callable[..., Any]) -> Study:
    """Make the study: raw EMG is made from the simulated activations, and led through EMGEnvelopeTool."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "cmc").mkdir()
    for name in ("walking_states.sto", "walking_controls.sto", "walking_Kinematics_q.sto"):
        # A quarter of CMC's rows is read four times as fast, and still 200 a second.
        series = read_storage(EXAMPLE / "cmc" / name)
        write_storage(folder / "cmc" / name, replace(series, time=series.time[::4], data=series.data[::4]))
    for name in ("walker.osim", "walking_coordinates.mot", "walking_grf.mot", "external_loads.xml", "actuators.xml"):
        shutil.copy(EXAMPLE / name, folder / name)
    events = events_from_external_loads(folder / "external_loads.xml")
    states = read_storage(folder / "cmc" / "walking_states.sto")
    time = np.arange(0.0, 14.0, 1e-3)
    columns, channels = {}, []
    spans = {}
    for side, strikes in (("r", events.right), ("l", events.left)):
        start, end = next(pair for pair in itertools.pairwise(strikes) if pair[0] > states.time[0])
        spans[side] = (start, end)
        phase = ((time - start) / (end - start)) % 1.0
        for k, (muscle, (standard, gain)) in enumerate(MUSCLES.items()):
            label = f"/forceset/{muscle}_{side}/activation"
            activation = np.interp(start + phase * (end - start), states.time, states.column(label))
            columns[f"{muscle}_{side}"] = gain * raw_emg(activation, 1000.0, seed=k + 10 * (side == "l"))
            channels.append(["example", f"{muscle}_{side}", f"{muscle}_{side}", standard])
    write_storage(folder / "walk.sto", TimeSeries(time, tuple(columns), np.column_stack(list(columns.values()))))
    tool = EMGEnvelopeTool()
    tool.emg_files = [str(folder / "walk.sto")]
    tool.results_directory = str(folder)
    tool.write_figures = False
    tool.run()
    with (folder / "emg_channels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["dataset", "emg_column", "muscles", "standard_name"], *channels])
    files = {
        "model_file": "walker.osim",
        "activation_file": "cmc/walking_states.sto",
        "activation_source": "cmc",
        "emg_file": "walk_emg.sto",
        "external_loads_file": "external_loads.xml",
        "coordinates_file": "walking_coordinates.mot",
    }
    with (folder / "trials.csv").open("w", newline="") as stream:
        rows = [
            {
                **{"dataset": "example", "subject": "walker", "trial": "walk", "stride": k, "motion": "walk"},
                **{"side": side, "emg_time_offset_s": 0, "t_start": f"{start:.4f}", "t_end": f"{end:.4f}"},
                **files,
            }
            for k, (side, (start, end)) in enumerate(spans.items(), start=1)
        ]
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return Study(folder)


@pytest.fixture
def study(clean_study: Study, tmp_path: Path) -> Study:
    """Return a copy of the clean study to be spoilt."""
    shutil.copytree(clean_study.folder, tmp_path / "study")
    return Study(tmp_path / "study")
