"""How long refining one trial takes, process start to exit, beside what merely importing PyTorch costs.

A made-up CMC states file of 8 MB (80 muscles, uneven time steps, OpenSim's number format), with the controls file that
CMC writes beside it, is refined: 16 muscles, with networks first of the shipped size (hidden 64), then of the paper's
(hidden 700). Every line is the median of several whole processes, all measured in this one run; the ratios, not the
seconds, are what to compare.

    python benchmarks/refine_trial.py [--repeat 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr.forward import weight_shapes
from opensim_nem2e.methods.stdr.network import Network
from opensim_nem2e.storage import TimeSeries, write_storage
from opensim_nem2e.storage.muscles import MuscleNames
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

TARGETS = ("soleus", "gasmed", "gaslat", "tib", "rect", "vaslat", "vasmed", "bi")


def write_trial(folder: Path, megabytes: float = 8.0) -> Path:
    """Write a states file of the given size, with the muscles of a Rajagopal-like model, and the controls beside it."""
    rng = np.random.default_rng(0)
    known = [name for name in MuscleNames.load().standard_names if name not in TARGETS]
    muscles = [f"{name}_{side}" for side in "rl" for name in (*TARGETS, *known[:32])]
    labels = [f"/jointset/joint/q{k}/{kind}" for k in range(23) for kind in ("value", "speed")]
    labels += [f"/forceset/{muscle}/{state}" for muscle in muscles for state in ("activation", "fiber_length")]
    rows = int(megabytes * 1e6 / (17 * (len(labels) + 1)))
    steps = rng.choice([4e-4, 7e-4, 1e-3], size=rows)
    clock = np.cumsum(steps * 2.3 / steps.sum())
    data = 0.05 + 0.9 * rng.random((rows, len(labels)))
    path = folder / "trial_states.sto"
    write_storage(path, TimeSeries(clock, tuple(labels), data, name="trial"))
    controls = (*muscles, *(f"reserve_{k}" for k in range(23)))
    values = 0.05 + 0.9 * rng.random((rows, len(controls)))
    write_storage(folder / "trial_controls.sto", TimeSeries(clock, controls, values, name="trial"))
    return path


def write_bundle(path: Path, hidden: int) -> Path:
    """Write a bundle with random weights for the eight target muscles (sixteen with both limbs)."""
    rng = np.random.default_rng(0)
    networks = {}
    for target in TARGETS:
        shapes = weight_shapes("temporal", 1, 20, hidden, "general")
        weights = {n: rng.normal(scale=hidden**-0.5, size=s).astype(np.float32) for n, s in shapes.items()}
        one = np.ones(1, np.float32)
        offset = np.zeros(20, np.float32)
        networks[target] = Network((f"ipsi:{target}",), "general", weights, 0 * one, one, offset, one, CycleView())
    metadata = {
        "cycle": {"definition": "", "sampling": ""},
        "normalization": {"activation": "", "emg": ""},
        "data": {"description": "random weights", "licence": "", "attribution": ""},
        "training": {"seed": 0},
        "packages": {},
        "validation": {"method": "none"},
    }
    Bundle(find_method("stdr_net"), CycleView(), networks, metadata).save(path)
    return path


def seconds(command: list[str], repeat: int) -> float:
    """Return the median wall time of a process, after one run to warm the caches."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        states = write_trial(folder)
        sizes = [path.stat().st_size / 1e6 for path in (states, folder / "trial_controls.sto")]
        print(f"states {sizes[0]:.1f} MB, controls {sizes[1]:.1f} MB; median of {repeat} processes")
        reference = seconds([sys.executable, "-c", "import torch"], repeat)
        lines = [("python -c 'import torch'", reference)]
        lines.append(("python -c 'import opensim'", seconds([sys.executable, "-c", "import opensim"], repeat)))
        for hidden in (64, 700):
            tool = STDRRefineTool()
            tool.setName(f"refined{hidden}")
            tool.setStatesFileName(states)
            tool.bundle_file = write_bundle(folder / f"hidden{hidden}.safetensors", hidden)
            tool.right_heel_strikes = (0.05, 1.1, 2.2)
            tool.left_heel_strikes = (0.55, 1.65)
            tool.setResultsDir(folder / "results")
            setup = folder / f"setup{hidden}.xml"
            tool.printToXML(setup)
            command = [sys.executable, "-m", "opensim_nem2e", "run", str(setup)]
            lines.append((f"refine 16 muscles, hidden {hidden}", seconds(command, repeat)))
        for what, value in lines:
            print(f"{what:<34} {value:6.2f} s   {value / reference:5.2f} x import torch")


if __name__ == "__main__":
    main()
