"""Whatever is done to a table, each reader gives one of our errors, short, or sound data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opensim_nem2e.data.manifest import CHANNEL_COLUMNS, TRIAL_COLUMNS, examine_channels, examine_trials
from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.storage.emg_files import read_emg
from opensim_nem2e.storage.events_table import read_gait_events
from opensim_nem2e.storage.muscles import MuscleNames
from opensim_nem2e.storage.trc import read_trc

ROWS = "".join(f"{k / 1000:.3f},{0.01 * k:.3f},{-0.02 * k:.3f}\n" for k in range(12))
SEEDS = {
    "emg": [
        "time,a,b\n" + ROWS,
        "X[s],EMG 1,X[s],Acc 1.X\n" + "".join(f"{k / 1000},{k},{k / 100},{k}\n" for k in range(12)),
        "Devices\n1000\n,,Trigno,\nFrame,Sub Frame,A,B\n,,V,V\n1,0,1,2\n1,1,3,4\n\nTrajectories\n100\n,,S\nFrame,X\n",
        "Name,w\nFrequency,1000\n\n" + '"Time,s","RT SOL,uV","x"\n' + ROWS,
        "# a b c\n" + ROWS.replace(",", " "),
        "Zeit;a;b\nms;mV;g\n" + ROWS.replace(",", ";").replace(".", ","),
    ],
    "events": ["time,event,side,source,note\n0.1,heel_strike,r,x,\n0.5,toe_off,l,,\n"],
    "muscles": ["model_muscle,standard_name,side\na,soleus,r\nb,tib,\n"],
    "channels": [",".join(CHANNEL_COLUMNS) + "\nd,a,soleus_r;gas_r,soleus\nd,b,tib_r,\n"],
    "trials": [",".join(TRIAL_COLUMNS[:15]) + "\nd,s,t,1,walk,1.2,r,m.osim,a.sto,so,e.sto,0,0.1,1.2,\n"],
    "trc": [
        "PathFileType\t4\t(X/Y/Z)\ta.trc\nDataRate\tNumMarkers\tUnits\n100\t2\tmm\nFrame#\tTime\tA\t\t\tB\n\tX1\n\n"
        "1\t0\t1\t2\t3\t4\t5\t6\n2\t0.01\t\t\t\t4\t5\t6\n"
    ],
}

#: What turns up in tables that it should not.
PIECES = st.sampled_from(
    [
        *('"', ",", ";", "\t", "\n", "\r", " ", "-", ".", "e", "0", "1", "1e999", "nan", "inf", "1_0", "9" * 400, "é"),
        *("\u0661", "\u2028", "\x00", "\x1b", "\ufeff", "\xa0"),
        *("time", "t", "X", "#", "Frame", "sep=;", "ms", "NumMarkers", "Devices"),
    ]
)
EDIT = st.tuples(st.sampled_from(["insert", "delete", "cut", "line", "swap"]), st.integers(0, 10**6), PIECES)


def edited(text, edits):
    for what, place, piece in edits:
        at = place % (len(text) + 1)
        if what == "insert":
            text = text[:at] + piece + text[at:]
        elif what == "delete":
            text = text[:at] + text[at + 1 + place % 7 :]
        elif what == "cut":
            text = text[:at] or piece
        else:
            lines = text.split("\n")
            row = place % len(lines)
            lines = lines[:row] + ([lines[row], lines[row]] if what == "line" else []) + lines[row + 1 :]
            text = "\n".join(lines)
    return text


@pytest.mark.parametrize("kind", list(SEEDS))
@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
def test_every_reader(tmp_path, kind, data, encoding):
    text = edited(data.draw(st.sampled_from(SEEDS[kind])), data.draw(st.lists(EDIT, min_size=1, max_size=4)))
    path = tmp_path / ("a.trc" if kind == "trc" else "a.csv")
    path.write_bytes(text.encode(encoding, "replace"))
    try:
        if kind == "emg":
            series = read_emg(path, sampling_rate=data.draw(st.sampled_from([None, 1000.0])))
            assert np.isfinite(series.time).all()
            assert (np.diff(series.time) > 0.0).all()
            assert not np.isinf(series.data).any()
            assert len(set(series.labels)) == len(series.labels) > 0
            assert all(label.replace("\xa0", " ").isprintable() and label for label in series.labels)
        elif kind == "trc":
            markers = read_trc(path)
            assert (np.diff(markers.time) > 0.0).all()
            assert not np.isinf(markers.positions).any()
        else:
            readers = {
                "events": read_gait_events,
                "muscles": MuscleNames.load,
                "channels": examine_channels,
                "trials": examine_trials,
            }
            readers[kind](path)
    except NEM2EError as error:
        assert len(str(error)) < 30_000  # noqa: PT017
