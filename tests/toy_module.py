"""Modules to train that are not STDR-Net, and tasks for both; other processes import it, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from opensim_nem2e.methods.stdr.method import module_of
from opensim_nem2e.training.task import ModuleSpec, Task, TrainingSettings


class Toy(nn.Module):
    """A module with two loss terms, a parameter group, a constant, dropout, and a buffer that it changes."""

    def __init__(
        self, hidden: int = 6, dropout: float = 0.3, batched: bool = False, *, constants: dict[str, np.ndarray]
    ):
        super().__init__()
        mix = torch.from_numpy(constants["mix"])
        self.batched = batched
        self.first = nn.Linear(mix.shape[0], hidden)
        self.second = nn.Linear(hidden, mix.shape[1])
        self.drop = nn.Dropout(dropout)
        self.gain = nn.Parameter(torch.ones(mix.shape[1]))
        self.register_buffer("mix", mix, persistent=False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        return self.gain * self.second(self.drop(torch.tanh(self.first(x))))

    def loss_terms(self, batch, draw):
        if self.training and not self.batched:
            self.seen += len(batch["x"])
        error = ((self(batch["x"]) - batch["x"] @ self.mix) * batch["weight"][:, None]).square().mean()
        return {"error": error, "gain": 0.1 * (self.gain - 1).square().sum() * (1.0 + draw)}

    def parameter_groups(self):
        return [{"params": [self.gain], "learning_rate_factor": 10.0, "weight_decay": 0.0}]


class Broken(nn.Module):
    """A module that says batched, but cannot be."""

    batched = True

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def loss_terms(self, batch, draw):
        loss = (self.weight * batch["x"]).square().mean()
        return {"loss": loss if loss > 0 else loss * 2}


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
