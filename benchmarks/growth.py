"""How the time of a training grows with its data: the linear parts of All-Entire, which every fold of a study fits.

Made cycles of 13 muscles (26 inputs, both limbs). Printed are processor seconds, and the exponent with which they grow
from row to row: first with the cycles of ten subjects, then of a whole cross-validation (one fit for each subject left
out) with the number of subjects, ten cycles each. Of the cross-validation three folds are timed, and multiplied.

    python benchmarks/growth.py [--cycles 300 1000 5000] [--subjects 20 50 100] [--muscles 2]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.data.gait_cycles import MuscleCycles
from opensim_nem2e.data.manifest import CycleRecord
from opensim_nem2e.methods.stdr.fit_linear import fit_linear

NAMES = tuple(f"muscle{chr(97 + k)}" for k in range(13))
INPUTS = tuple(f"{side}:{name}" for side in ("contra", "ipsi") for name in NAMES)


def made(cycles: int, subjects: int, muscles: int) -> dict[str, MuscleCycles]:
    """Make smooth cycles; the EMG is the muscle's activation two samples later, and noise."""
    random = np.random.default_rng(0)
    phase = np.linspace(0.0, 1.0, 20)
    centre = random.random((cycles, 1, len(INPUTS)))
    x = 0.7 * np.exp(4.0 * (np.cos(2.0 * np.pi * (phase[None, :, None] - centre)) - 1.0))
    who = np.repeat([f"s{k:03d}" for k in range(subjects)], cycles // subjects)
    about: dict[str, Any] = dict.fromkeys(("speed", "model_file", "activation_file", "emg_file", "heel_strike"))
    about |= {"activation_source": "cmc", "side": "r", "emg_time_offset": 0.0, "start": 0.0, "end": 1.0}
    records = tuple(
        CycleRecord("made", subject, "trial", str(cycle), "walk", line=cycle + 2, **about)
        for cycle, subject in enumerate(who.tolist())
    )
    found = {}
    for name in NAMES[:muscles]:
        own = x[: len(who), :, INPUTS.index(f"ipsi:{name}")]
        y = np.roll(own, 2, axis=1) + random.normal(0.0, 0.02, own.shape)
        found[name] = MuscleCycles(name, INPUTS, x[: len(who)], own, y, who, records)
    return found


def seconds_of(work: Callable[[], object]) -> float:
    """Time some work (processor seconds)."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def table(title: str, sizes: Sequence[int], measure: Callable[[int], float]) -> None:
    """Print a table with exponents."""
    print(f"{title:<42}{'processor s':>14}{'exponent':>10}")
    before: tuple[int, float] | None = None
    for size in sizes:
        seconds = measure(size)
        exponent = math.log(seconds / before[1]) / math.log(size / before[0]) if before else math.nan
        print(f"{size:<42}{seconds:14.2f}{exponent:10.2f}", flush=True)
        before = size, seconds
    print()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, nargs="+", default=[300, 1000, 5000])
    parser.add_argument("--subjects", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--muscles", type=int, default=2)
    options = parser.parse_args()
    view = CycleView("All-Entire", input_muscles=INPUTS)
    fit_linear(made(20, 2, 1), view)

    def training(cycles: int) -> float:
        sets = made(cycles, 10, options.muscles)
        return seconds_of(lambda: fit_linear(sets, view))

    def study(subjects: int) -> float:
        sets = made(10 * (subjects - 1), subjects - 1, options.muscles)
        return subjects / 3.0 * seconds_of(lambda: [fit_linear(sets, view) for _ in range(3)])

    table("one training: cycles (10 subjects)", options.cycles, training)
    table("cross-validation: subjects (10 cycles)", options.subjects, study)


if __name__ == "__main__":
    main()
