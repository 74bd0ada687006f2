"""The table of gait events: written, edited, read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensim_nem2e.errors import MissingFileError, StorageError
from opensim_nem2e.storage.events_table import EVENTS, GaitEvent, read_gait_events, write_gait_events

EVENT = st.builds(
    GaitEvent,
    st.integers(-10_000, 10_000_000).map(lambda k: k / 10_000),
    st.sampled_from(EVENTS),
    st.sampled_from(["r", "l"]),
    st.sampled_from(["forces", "model", "my own, typed"]),
    st.sampled_from(["", 'he said "stop"']),
)


@given(events=st.lists(EVENT, unique_by=lambda e: (e.time, e.event, e.side)))
def test_what_is_written_is_read(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("events") / "a.csv"
    write_gait_events(path, events)
    assert read_gait_events(path) == sorted(events)


def test_a_table_as_people_edit_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfside, event, time\r\nl, heel_strike, 2.5\r\n,,\r\nr, toe_off, 1\r\n")
    assert read_gait_events(path) == [GaitEvent(1.0, "toe_off", "r"), GaitEvent(2.5, "heel_strike", "l")]
    assert {event.source for event in read_gait_events(path)} == {"manual"}


def test_every_fault_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "time,event,side\n1.0,heelstrike,r\n1,5,toe_off,r\nx,toe_off,r\n2.0,toe_off,right\n3,toe_off,l\n3,toe_off,l\n"
    )
    with pytest.raises(StorageError) as caught:
        read_gait_events(path)
    text = str(caught.value)
    assert text.count("\n") == 5
    assert "line 2: 'event' must be one of heel_strike, toe_off; found 'heelstrike'. Did you mean" in text
    assert "line 4: 'time' must be a number of seconds; found 'x'" in text
    assert "line 5: 'side' must be one of r, l; found 'right'" in text
    assert "line 7: the event is listed twice" in text
    path.write_text("time,evnt,side\n")
    with pytest.raises(StorageError, match=r"unknown column 'evnt'\. Did you mean 'event'\?"):
        read_gait_events(path)
    path.write_text("")
    with pytest.raises(StorageError, match="The header row is missing; allowed columns: time,"):
        read_gait_events(path)
    with pytest.raises(MissingFileError):
        read_gait_events(tmp_path / "none.csv")
