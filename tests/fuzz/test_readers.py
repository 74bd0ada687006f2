"""Every reader takes files of its grammar, and a little beyond, or refuses them with one of our errors.

Short, and the same files every time. ``python tests/fuzz/run.py`` goes on for as long as you like.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from fuzz import grammars
from fuzz.readers import READERS, Read, Reader, try_input
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_TRIALS = (
    *("dataset", "subject", "trial", "stride", "motion", "speed_m_s", "side", "model_file", "activation_file"),
    *("activation_source", "emg_file", "emg_time_offset_s", "t_start", "t_end"),
)
_n, _w = grammars.numbers, grammars.names


def _trial_cells() -> list[st.SearchStrategy[str]]:
    usual = {
        "speed_m_s": _n,
        "side": grammars.mostly(st.sampled_from(["r", "l"]), grammars.odd_names),
        "activation_source": grammars.mostly(st.just("cmc"), grammars.odd_names),
        "activation_file": grammars.mostly(st.just("file.csv"), grammars.odd_names),
        "emg_file": grammars.mostly(st.just("file.csv"), grammars.odd_names),
        "model_file": st.just(""),
        "emg_time_offset_s": _n,
        "t_start": grammars.mostly(st.just("0.1"), _n),
        "t_end": grammars.mostly(st.just("1.2"), _n),
    }
    return [usual.get(name, _w) for name in _TRIALS]


def _study_table(reader: Reader) -> st.SearchStrategy[bytes]:
    header, first = reader.seeds()[0].decode().splitlines()[:2]
    cells = [grammars.mostly(st.just(value), st.one_of(_n, _w)) for value in first.split(",")]
    return grammars.tables(header.split(","), cells)


_GRAMMARS: dict[str, Callable[[Reader], st.SearchStrategy[bytes]]] = {
    "storage": lambda reader: grammars.storage(),
    "repair": lambda reader: grammars.storage(),
    "emg": lambda reader: st.one_of(
        grammars.tables(("time", "sol", "tib"), (_n, _n, _n)), st.sampled_from(reader.seeds()).flatmap(grammars.damaged)
    ),
    "c3d": lambda reader: grammars.damaged(reader.seeds()[0]),
    "trials": lambda reader: grammars.tables(_TRIALS, _trial_cells()),
    "channels": lambda reader: grammars.tables(("dataset", "emg_column", "muscles", "standard_name"), (_w,) * 4),
    "events": lambda reader: grammars.tables(
        ("time", "side", "event"),
        (_n, st.sampled_from(["r", "l", "x"]), st.sampled_from(["heel_strike", "toe_off", ""])),
    ),
    "trc": lambda reader: grammars.trc(),
    "muscle_names": lambda reader: grammars.tables(("model_muscle", "standard_name"), (_w, _w)),
    "study_cycles": _study_table,
    "study_statistics": _study_table,
    "study_npz": lambda reader: grammars.npz(),
    "bundle": lambda reader: grammars.damaged(reader.seeds()[0]),
    "checkpoint": lambda reader: grammars.damaged(reader.seeds()[0]),
    "pattern": lambda reader: grammars.patterns(),
    **{
        name: lambda reader: grammars.json_like(reader.seeds()[0])
        for name in ("study_json", "skeleton", "checkpoint_setup", "record", "switch")
    },
    **{
        name: lambda reader: grammars.xml(reader.seeds()[0])
        for name in ("setup", "opensim_setup", "osim", "controls_xml", "external_loads")
    },
}


@cache
def _prepared(name: str) -> Read:
    (reader,) = (reader for reader in READERS if reader.name == name)
    return reader.prepare(Path(tempfile.mkdtemp(prefix="fuzz_")))


def test_every_reader_has_a_grammar() -> None:
    assert set(_GRAMMARS) == {reader.name for reader in READERS}
    assert len(READERS) >= 14


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_good_files_are_read(reader: Reader, tmp_path: Path) -> None:
    if reader.name == "c3d":
        pytest.importorskip("ezc3d")
    read = reader.prepare(tmp_path)
    for content in reader.seeds():
        if reader.name in ("setup", "checkpoint_setup"):
            # They name files that are not there.
            assert try_input(read, content) is None
        else:
            read(content)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_read_or_refused(reader: Reader) -> None:
    if reader.name == "c3d":
        pytest.importorskip("ezc3d")
    read = _prepared(reader.name)
    # Each C3D file is read by a process of its own.
    examples = 2 if reader.name == "c3d" else 10

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_GRAMMARS[reader.name](reader))
    def check(content: bytes) -> None:
        error = try_input(read, content)
        if error is not None:
            raise error

    check()


def test_the_fuzzer_counts_and_finds(tmp_path: Path) -> None:
    """A short run of the program: it says how often each reader was called."""
    script = Path(__file__).with_name("run.py")
    command = [sys.executable, str(script), "--minutes", "0.08", "--seed", "1", "--folder", str(tmp_path)]
    done = subprocess.run([*command, "--reader", "record"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("record"))
    assert int(line.split()[1]) >= 1  # how many a machine manages in five seconds is its own affair
    assert "No findings." in done.stdout
    assert list((tmp_path / "corpus" / "record").iterdir())
