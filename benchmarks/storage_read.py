"""How fast a states file loads and is rewritten, beside the readers that people use today.

Makes files in OpenSim's own number format, at 8 and 20 digits, from synthetic numbers. Every reader is timed in turn,
several rounds in one process, and the best of its rounds counts; the values are compared bit by bit. Run it with
``python benchmarks/storage_read.py``; it needs about 250 MB of disk space in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 5


def make_states_file(path: Path, megabytes: float, precision: int, muscles: int = 54, coordinates: int = 23) -> None:
    """Write a states file like CMC's of gait2354: uneven time steps, fixed width numbers."""
    labels = [f"/jointset/joint{i}/q{i}/{kind}" for i in range(coordinates) for kind in ("value", "speed")]
    labels += [f"/forceset/muscle{i}_r/{kind}" for i in range(muscles) for kind in ("activation", "fiber_length")]
    columns = len(labels) + 1
    rows = round(megabytes * 1e6 / (columns * (precision + 9)))
    rng = np.random.default_rng(2026)
    time_column = 0.53 + np.cumsum(rng.uniform(6e-8, 2.7e-3, rows))
    data = np.cumsum(rng.normal(scale=0.01, size=(rows, columns - 1)), axis=0)
    number = f"%{precision + 8}.{precision}f"
    row_format = "\t".join([number] * columns) + "\n"
    with path.open("w", encoding="ascii", newline="\n") as stream:
        stream.write(f"synthetic\nversion=1\nnRows={rows}\nnColumns={columns}\ninDegrees=no\nendheader\n")
        stream.write("\t".join(["time", *labels]) + "\n")
        for row in range(rows):
            stream.write(row_format % (time_column[row], *data[row].tolist()))


def best_of(actions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Time actions in turn, so that a busy moment of the machine hits them alike."""
    best = dict.fromkeys(actions, float("inf"))
    for _ in range(rounds):
        for name, action in actions.items():
            start = time.perf_counter()
            result = action()
            best[name] = min(best[name], time.perf_counter() - start)
            del result
    return best


def compare_readers(path: Path, rounds: int) -> None:
    """Load one file with each reader."""
    import opensim
    import pandas as pd

    from opensim_nem2e.storage import read_storage, sto

    opensim.Logger.setLevelString("off")

    def with_numpy() -> Any:
        """Read as a process does that has not imported pandas and finds the file small."""
        content = path.read_bytes()
        layout = sto.read_layout(content, path)
        return sto._parse_with_numpy(sto.BytesIO(memoryview(content)[layout.body_offset :]), layout)

    best = best_of(
        {
            "read_storage": lambda: read_storage(path),
            "pandas.read_csv": lambda: pd.read_csv(path, sep="\t", skiprows=6),
            "read_storage, numpy's parser": with_numpy,
            "opensim.TimeSeriesTable": lambda: opensim.TimeSeriesTable(str(path)),
            "opensim.Storage": lambda: opensim.Storage(str(path)),
        },
        rounds,
    )
    ours = best["read_storage"]
    for name, seconds in best.items():
        print(f"  {name:30s} {seconds:7.3f} s   {seconds / ours:5.2f} x read_storage")
    series = read_storage(path)
    table = opensim.TimeSeriesTable(str(path))
    equal = np.array_equal(series.data, table.getMatrix().to_numpy()) and np.array_equal(
        series.time, np.array(table.getIndependentColumn())
    )
    numpy_equal = np.array_equal(with_numpy()[:, 1:], series.data)
    print(f"  bits equal to TimeSeriesTable: {equal}; numpy's parser gives the same: {numpy_equal}")
    print(
        f"  -> {best['opensim.TimeSeriesTable'] / ours:.1f} times as fast as TimeSeriesTable (at least 5 is the aim), "
        f"{ours / best['pandas.read_csv']:.2f} of bare pandas (at most 1.3 is the aim)"
    )


def compare_processes(path: Path) -> None:
    """Load one file in processes of their own: what imports cost counts, too."""
    programs = {
        "read_storage": "from opensim_nem2e.storage import read_storage; read_storage({path!r})",
        "pandas.read_csv": "import pandas; pandas.read_csv({path!r}, sep='\\t', skiprows=6)",
        "opensim.TimeSeriesTable": (
            "import opensim; opensim.Logger.setLevelString('off'); opensim.TimeSeriesTable({path!r})"
        ),
    }
    best = best_of(
        {
            name: lambda code=code: subprocess.run(
                [sys.executable, "-c", code.format(path=str(path))], check=True, stdout=subprocess.DEVNULL
            )
            for name, code in programs.items()
        },
        3,
    )
    for name, seconds in best.items():
        print(f"  {name:30s} {seconds:7.3f} s   start to exit of a process")


def time_rewrite(path: Path, folder: Path, rounds: int) -> None:
    """Replace 16 columns, as refining a trial does."""
    from opensim_nem2e.storage import read_storage, rewrite_columns, write_storage

    series = read_storage(path)
    chosen = [label for label in series.labels if label.endswith("/activation")][:16]
    new = {label: np.clip(series.column(label), 0.01, 1.0) for label in chosen}
    best = best_of(
        {
            "rewrite_columns, 16 columns": lambda: rewrite_columns(series, new, folder / "out.sto", name="refined"),
            "write_storage, all columns": lambda: write_storage(folder / "all.sto", series),
        },
        rounds,
    )
    for name, seconds in best.items():
        print(f"  {name:30s} {seconds:7.3f} s")
    back = read_storage(folder / "out.sto")
    kept = [index for index, label in enumerate(series.labels) if label not in new]
    print(f"  other columns bit-identical: {np.array_equal(back.data[:, kept], series.data[:, kept])}")


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=48.6, help="size of the large file (default 48.6)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds per reader (default {ROUNDS})")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for precision in (8, 20):
            large, small = folder / f"large{precision}.sto", folder / f"small{precision}.sto"
            make_states_file(large, options.megabytes, precision)
            make_states_file(small, 8, precision)
            print(f"{large.stat().st_size / 1e6:.1f} MB, {precision} digits, in one process")
            compare_readers(large, options.rounds)
            for path in (small, large):
                print(f"{path.stat().st_size / 1e6:.1f} MB, {precision} digits, a process for each")
                compare_processes(path)
            print(f"{small.stat().st_size / 1e6:.1f} MB, {precision} digits, writing")
            time_rewrite(small, folder, options.rounds)


if __name__ == "__main__":
    main()
