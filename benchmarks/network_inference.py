"""Refining without PyTorch: one process, from start to exit, beside the same work with PyTorch.

    python benchmarks/network_inference.py [--hidden 64 700] [--cycles 1] [--networks 16] [--repeat 5]

Each figure is the median wall time of a fresh process that loads a bundle of random networks and refines every muscle.
"""

from __future__ import annotations

import argparse
import os
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

START = "import numpy"
WITH_NUMPY = """
import sys, numpy as np
from opensim_nem2e.methods.bundle import Bundle
bundle = Bundle.load(sys.argv[1])
for target in bundle.targets:
    bundle.refine(target, np.full((int(sys.argv[2]), 20, 1), 0.3))
"""
WITH_TORCH = """
import sys, torch
from safetensors.torch import load_file
from opensim_nem2e.methods.stdr.net import STDRNet
weights = load_file(sys.argv[1])
x = torch.full((int(sys.argv[2]), 20, 1), 0.3)
with torch.inference_mode():
    for target in sorted({name.partition(".")[0] for name in weights}):
        own = {k.partition(".")[2]: v for k, v in weights.items() if k.startswith(target + ".")}
        net = STDRNet("temporal", hidden=own["output.weight"].shape[1])
        net.load_state_dict({k: own[k] for k in net.state_dict()})
        net(x)
"""


def random_bundle(hidden: int, count: int) -> Bundle:
    """Make a bundle of random One-Entire networks."""
    random = np.random.default_rng(0)
    networks = {}
    for k in range(count):
        shapes = weight_shapes("temporal", 1, 20, hidden, "general")
        networks[f"muscle{k}"] = Network(
            inputs=(f"ipsi:muscle{k}",),
            score="general",
            weights={n: random.normal(0, 0.03, s).astype(np.float32) for n, s in shapes.items()},
            input_offset=np.zeros(1, np.float32),
            input_scale=np.ones(1, np.float32),
            output_offset=np.zeros(20, np.float32),
            output_scale=np.ones(1, np.float32),
            view=CycleView(),
        )
    metadata = {
        "cycle": {"definition": "none", "sampling": "none"},
        "normalization": {"activation": "none", "emg": "none"},
        "data": {"description": "random weights", "licence": "CC0", "attribution": "none"},
        "training": {"seed": 0},
        "packages": {},
        "validation": {"method": "none"},
    }
    return Bundle(find_method("stdr_net"), CycleView(), networks, metadata)


def wall(code: str, *arguments: str, repeat: int) -> float:
    """Run a program in fresh processes with one thread and return the median wall time (s)."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, env={**os.environ, **threads})
        times.append(time.perf_counter() - start)
    # The first run reads the files from disk.
    return statistics.median(times[1:])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 700])
    parser.add_argument("--cycles", type=int, default=1)
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    print(f"{options.networks} networks, {options.cycles} cycles, 1 thread, median of {options.repeat} processes")
    print(f"{'python -c import numpy':<28}{wall(START, repeat=options.repeat) * 1e3:8.0f} ms")
    print(f"{'python -c import torch':<28}{wall('import torch', repeat=options.repeat) * 1e3:8.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        for hidden in options.hidden:
            path = str(Path(folder) / f"random{hidden}.safetensors")
            random_bundle(hidden, options.networks).save(path)
            ours = wall(WITH_NUMPY, path, str(options.cycles), repeat=options.repeat)
            torch = wall(WITH_TORCH, path, str(options.cycles), repeat=options.repeat)
            print(f"{f'hidden {hidden}, NumPy':<28}{ours * 1e3:8.0f} ms")
            print(f"{f'hidden {hidden}, PyTorch':<28}{torch * 1e3:8.0f} ms  ({torch / ours:.1f} times NumPy)")


if __name__ == "__main__":
    main()
