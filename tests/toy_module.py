"""Modules to train that are not STDR-Net; other processes import it, too."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


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
