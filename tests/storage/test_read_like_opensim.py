"""Headers of every kind, read by OpenSim's two readers and by this package: where either reads, so do we."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import StorageError
from opensim_nem2e.storage import read_storage

pytest.importorskip("opensim")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork: OpenSim's readers can hang or crash")

#: Reads files with both of OpenSim's readers, each file in a process and with a time limit of its own.
READ = """
import json, os, signal, sys
import opensim
opensim.Logger.setLevelString("off")

def table(path):
    found = opensim.TimeSeriesTable(path)
    matrix = found.getMatrix()
    rows = [[matrix.get(i, j) for j in range(matrix.ncol())] for i in range(matrix.nrow())]
    return [list(found.getColumnLabels()), list(found.getIndependentColumn()), rows, None]

def storage(path):
    found = opensim.Storage(path)
    labels = found.getColumnLabels()
    vectors = [found.getStateVector(i) for i in range(found.getSize())]
    rows = [[v.getData().get(j) for j in range(v.getData().getSize())] for v in vectors]
    times = [v.getTime() for v in vectors]
    return [[labels.get(i) for i in range(1, labels.getSize())], times, rows, found.isInDegrees()]

for path in sys.argv[1:]:
    for read in (table, storage):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            signal.alarm(2)
            try:
                line = json.dumps(read(path))
            except BaseException as error:
                line = json.dumps(str(error)[-200:])
            print("@" + line, flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            print("@null", flush=True)
"""


@dataclass
class Made:
    """A file, and what it holds."""

    text: str
    suffix: str
    labels: list[str]
    numbers: np.ndarray


@st.composite
def files(draw):
    """Make a file whose numbers are sound; its header is of any kind."""
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    of = lambda *values: draw(st.sampled_from(values))  # noqa: E731

    def entry(key, value):
        return f"{key}{of('=', '=', ' = ', ' ', chr(9), '==')}{value}"

    lines = [of("trial", "name trial", "a trial of two words", "  trial", "# comment", "")]
    if of(True, True, False):
        lines.append(entry("version", of(1, 1, 2, 3, 0, 4, "1.0", "x")))
    if of(True, True, False):
        lines.append(entry(of("nRows", "datarows", "nr"), of(rows, rows, f"{rows} rows", f"{rows}.0")))
    if of(True, True, False):
        lines.append(entry(of("nColumns", "datacolumns", "nc"), columns + 1))
    if of(True, False):
        lines += [entry("datacolumns", columns + 1), entry("datarows", rows)]
    if of(True, False):
        lines.append(entry("inDegrees", of("yes", "no", "Y", "NO", "true", "maybe")))
    lines += draw(
        st.lists(
            st.sampled_from(
                ["# SIMM Motion File Header:", "Units are S.I. units (second, meters, ...)", "", "units m", "wrap",
                 "Angles are in degrees.", "some = free = text", "name of it", "range 0.0 1.0", "range of motion",
                 "otherdata 1", "DataType=double", "OpenSimVersion=4.6", "nRows of it", "version of the model: 3"]
            ),
            max_size=3,
        )
    )  # fmt: skip
    if of(False, False, True):
        lines = draw(st.permutations(lines))
    lines.append(of("endheader", "endheader", "endheader", "  endheader ", "endheader\t"))
    lines += [""] * of(0, 0, 1, 2)
    labels = [f"{of('a', 'b_', '/forceset/x/activation', 'q.')}{index}" for index in range(columns)]
    between = of("\t", "\t", "\t\t", " ", "\t ")
    lines.append(of("", "", "\t", " ") + between.join(["time", *labels]) + of("", "", "\t", " "))
    between = of(between, "\t", "\t", "  ")
    start = of(0.0, 1_700_000_000.123456)
    number = of("%.6f", "%16.8f", "%.3e")
    values = st.floats(-1e3, 1e3)
    words = [[f"{start + 0.01 * row:.6f}", *(number % draw(values) for _ in labels)] for row in range(rows)]
    lines += [of("", "", "\t", " ") + between.join(row) + of("", "", "\t", " ") for row in words]
    line_end = of("\n", "\n", "\r\n")
    text = of("", "", "", "\ufeff") + line_end.join(lines) + of(line_end, "")
    return Made(text, of(".sto", ".mot"), labels, np.array([[float(word) for word in row] for row in words]))


def right(found, made):
    """Tell whether a reader has found the numbers that were written."""
    if not isinstance(found, list) or len(found[1]) != len(made.numbers):
        return False
    rows = np.column_stack([found[1], np.array(found[2], dtype=float).reshape(len(found[1]), -1)])
    return np.array_equal(rows, made.numbers)


@settings(
    deadline=None,
    max_examples=3,
    derandomize=True,
    # A failure is shown as it is: to shrink it would take minutes of OpenSim's time.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(batch=st.lists(files(), min_size=20, max_size=20))
def test_where_either_of_opensims_readers_reads_so_do_we(tmp_path_factory, batch):
    folder = tmp_path_factory.mktemp("headers")
    paths = []
    for index, made in enumerate(batch):
        paths.append(folder / f"{index}{made.suffix}")
        paths[-1].write_bytes(made.text.encode())
    done = subprocess.run([sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=True, timeout=300)
    answers = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]
    assert len(answers) == 2 * len(paths)
    for made, path, table, storage in zip(batch, paths, answers[::2], answers[1::2], strict=True):
        if not right(table, made) and not right(storage, made):
            continue
        try:
            ours = read_storage(path)
        except StorageError as error:
            pytest.fail(f"{error}\n{made.text!r}")
        np.testing.assert_array_equal(np.column_stack([ours.time, ours.data]), made.numbers, repr(made.text))
        assert list(ours.labels) == made.labels, made.text
        # A .mot file without a version is in degrees to OpenSim even where it says that it is not.
        old_motion = made.suffix == ".mot" and ours.header.get("version", "0")[:1] in ("0", "x")
        if right(storage, made) and not old_motion:
            assert ours.in_degrees == storage[3], made.text
