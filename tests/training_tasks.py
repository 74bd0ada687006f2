"""Tasks for STDR-Net and for the toy of toy_module.py; making them needs no PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from opensim_nem2e.methods.stdr.method import module_of
from opensim_nem2e.training.task import ModuleSpec, Task, TrainingSettings


def toy_task(seed: int = 0, rows: int = 10, **changes: Any) -> Task:
    """Make a task for the toy module; keywords are settings, or arguments of the module."""
    random = np.random.default_rng(seed)
    data = {"x": random.random((rows, 3)), "weight": random.integers(1, 3, rows)}
    arguments = {name: changes.pop(name) for name in ("hidden", "dropout", "batched") if name in changes}
    held, everything = changes.pop("held", True), changes.pop("everything", False)
    settings = {"epochs": 5, "batch_size": 4, "learning_rate": 1e-2, "weight_decay": 0.1, "seed": seed, **changes}
    return Task(
        ModuleSpec("toy_module:Toy", arguments),
        TrainingSettings(**settings),
        data,
        {name: values[:3] for name, values in data.items()} if held else None,
        {name: np.concatenate([values, values]) for name, values in data.items()} if everything else None,
        constants={"mix": np.array([[1, 0], [0, 1], [1, 1]], np.float32)},
    )


def stdr_task(
    variant: str, x: np.ndarray, y: np.ndarray, held: Any = None, everything: Any = None, **changes: Any
) -> Task:
    """Make a task for STDR-Net; keywords are settings, or arguments of the network."""
    arguments = {"hidden": 12, "score": "general", "teacher_forcing": 1.0}
    arguments |= {name: changes.pop(name) for name in arguments if name in changes}
    module = module_of(variant, x.shape[2], x.shape[1], **arguments)
    parts = [None if part is None else dict(zip("xy", part, strict=True)) for part in ((x, y), held, everything)]
    return Task(module, TrainingSettings(**changes), *parts)
