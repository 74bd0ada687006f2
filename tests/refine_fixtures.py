"""Bundles with random weights and a made-up simulation, for the refinement's tests."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from opensim_nem2e.data.cycle_view import Condition, CycleView
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr.forward import variant_of, weight_shapes
from opensim_nem2e.methods.stdr.network import Network

MUSCLES = ("soleus", "med_gas", "tib_ant", "vas_lat", "psoas")
RESERVES = ("reserve_knee_angle_r", "FX")

#: Heel strikes of the made-up walk (s).
RIGHT_STRIKES = (0.2, 1.3, 2.35)
LEFT_STRIKES = (0.75, 1.8)


def random_network(
    condition: Condition, inputs: Sequence[str], rng: np.random.Generator, hidden: int = 8, size: float = 1.0
) -> Network:
    """Make a network whose output varies widely, so that a mistake in its input shows."""
    shapes = weight_shapes(variant_of(condition), len(inputs), 20, hidden, "general")
    weights = {name: (size * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    return Network(
        view=CycleView(condition, input_muscles=tuple(inputs)),
        inputs=tuple(inputs),
        score="general",
        weights=weights,
        input_offset=np.zeros(len(inputs), np.float32),
        input_scale=np.full(len(inputs), 0.3, np.float32),
        output_offset=np.full(20, 0.4, np.float32),
        output_scale=np.full(1, 0.15, np.float32),
    )


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory) -> Callable[..., Path]:
    """Return a function that writes a bundle with random weights."""

    def make(
        condition: Condition = "One-Entire",
        targets: Sequence[str] = ("soleus", "gasmed", "tib"),
        inputs: Sequence[str] = (),
        seed: int = 0,
        size: float = 1.0,
        validation: dict | None = None,
        **sections: object,
    ) -> Path:
        rng = np.random.default_rng(seed)
        networks = {
            target: random_network(condition, inputs or (f"ipsi:{target}",), rng, size=size) for target in targets
        }
        metadata = {
            "cycle": {"definition": "heel strike to heel strike", "sampling": "linear"},
            "normalization": {"activation": "none", "emg": "subject_max"},
            "data": {"description": "random numbers", "licence": "CC0", "attribution": "nobody"},
            "training": {"seed": seed},
            "packages": {"numpy": importlib.metadata.version("numpy")},
            "validation": validation or {"method": "none"},
            **sections,
        }
        path = tmp_path_factory.mktemp("bundle") / "random.safetensors"
        Bundle(find_method("stdr_net"), CycleView(condition), networks, metadata).save(path)
        return path

    return make


@dataclass(frozen=True)
class Simulation:
    """A made-up CMC result on disk."""

    folder: Path
    time: np.ndarray
    activations: dict[str, np.ndarray]

    @property
    def states(self) -> Path:
        return self.folder / "walk1_states.sto"

    @property
    def controls(self) -> Path:
        return self.folder / "walk1_controls.sto"


def write_rows(path: Path, name: str, labels: Sequence[str], time: np.ndarray, data: np.ndarray, digits: int) -> None:
    """Write a file the way OpenSim does, independently of the package's own writer."""
    with path.open("w") as stream:
        stream.write(f"{name}\nversion=1\nnRows={len(time)}\nnColumns={len(labels) + 1}\ninDegrees=no\nendheader\n")
        stream.write("\t".join(["time", *labels]) + "\n")
        for t, row in zip(time, data, strict=True):
            stream.write("\t".join(f"{value:{digits + 8}.{digits}f}" for value in (t, *row)) + "\n")


def bump(phase: np.ndarray, centre: float, width: float) -> np.ndarray:
    """A periodic burst of activity."""
    distance = (phase - centre + 0.5) % 1.0 - 0.5
    return np.exp(-((distance / width) ** 2))


@pytest.fixture(scope="session")
def made_simulation(tmp_path_factory) -> Simulation:
    """Write states (4.x labels, 20 digits) and controls of a made-up walk of 2.4 s on an uneven time base."""
    folder = tmp_path_factory.mktemp("simulation")
    rng = np.random.default_rng(1)
    time = np.cumsum(rng.choice([6e-8, 4e-4, 1.1e-3, 2.7e-3], size=3000, p=[0.02, 0.3, 0.4, 0.28]))
    time = time[time < 2.42]
    phase = (time - RIGHT_STRIKES[0]) / 1.08
    activations = {}
    for side, shift in (("r", 0.0), ("l", 0.5)):
        for k, muscle in enumerate(MUSCLES):
            activations[f"{muscle}_{side}"] = 0.02 + 0.6 * bump(phase - shift, 0.15 + 0.2 * k, 0.12) + 0.01 * k
    labels = ["/jointset/hip_r/hip_flexion_r/value", "/jointset/hip_r/hip_flexion_r/speed"]
    columns = [np.sin(phase), np.cos(phase)]
    for name, values in activations.items():
        labels += [f"/forceset/{name}/activation", f"/forceset/{name}/fiber_length"]
        columns += [values, 0.05 + 0.01 * values]
    write_rows(folder / "walk1_states.sto", "walk1", labels, time, np.column_stack(columns), 20)
    controls = np.column_stack([*activations.values(), 20.0 * np.sin(phase), -35.0 * np.cos(phase)])
    # CMC writes controls on a time base of their own.
    own = np.arange(time[0], time[-1], 0.0025)
    controls = np.column_stack([np.interp(own, time, column) for column in controls.T])
    write_rows(folder / "walk1_controls.sto", "walk1", [*activations, *RESERVES], own, controls, 20)
    return Simulation(folder, time, activations)


@pytest.fixture
def simulation(made_simulation, tmp_path) -> Simulation:
    """Return a copy of the made-up walk, to be changed."""
    for path in (made_simulation.states, made_simulation.controls):
        shutil.copy(path, tmp_path)
    copied = {name: values.copy() for name, values in made_simulation.activations.items()}
    return Simulation(tmp_path, made_simulation.time.copy(), copied)
