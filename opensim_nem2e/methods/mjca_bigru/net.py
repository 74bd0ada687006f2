"""The networks of PI-MJCA-BiGRU in PyTorch, for training; :mod:`.forward` says what they are.

:class:`MomentNet` learns the joint moments of inverse dynamics, and needs no labels of muscles. :class:`ActivationNet`
is the paper's: it puts out activations, and learns them from the equation of motion, effort and bounds (equations 15 to
22), or, as its supervised twin, from static optimisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .forward import CHANNELS, WIDTH, Architecture


class MotionNet(nn.Module):
    """A network that takes windows of motion.

    Parameters
    ----------
    architecture : mapping of str to object
        Of :meth:`.forward.Architecture.described`.
    dropout : float
        Share of values that are dropped between recurrent layers and between the layers of the head of ``mlp``; half
        of it after convolutions.
    """

    def __init__(self, architecture: Mapping[str, Any], dropout: float = 0.0):
        super().__init__()
        self.shape = shape = Architecture(**architecture)
        self.dropout = dropout
        units, joints = shape.joint_units, range(shape.joints)
        if shape.name == "mjca_bigru":
            others = (shape.joints - 1) * units
            self.embed = nn.ModuleList(nn.Linear(shape.features, units) for _ in joints)
            self.query = nn.ModuleList(nn.Linear(units, units, bias=False) for _ in joints)
            self.key = nn.ModuleList(nn.Linear(others, units, bias=False) for _ in joints)
            self.value = nn.ModuleList(nn.Linear(others, units, bias=False) for _ in joints)
            self.attended = nn.ModuleList(nn.Linear(units, units) for _ in joints)
            self.integrate = nn.Linear(shape.joints * units + shape.conditions, shape.integrated_units)
        elif shape.name == "cnn_bigru":
            channels = (shape.joints * shape.features, *CHANNELS)
            self.convolve = nn.ModuleList(
                nn.Conv1d(before, after, WIDTH, padding=WIDTH // 2) for before, after in pairwise(channels)
            )
        if shape.name != "mlp":
            self.gru = nn.GRU(
                shape.recurrent_inputs,
                shape.recurrent_units,
                shape.recurrent_layers,
                batch_first=True,
                bidirectional=True,
                dropout=dropout if shape.recurrent_layers > 1 else 0.0,
            )
        sizes = (shape.head_inputs, *shape.head, shape.outputs)
        self.head = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Compute; (windows, frames, outputs)."""
        answer: Tensor = self.answer(self.hidden(x, conditions))
        return answer

    def hidden(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Compute what the fully connected layers take.

        Parameters
        ----------
        x : torch.Tensor, shape (windows, samples, joints, features)
            Normalised motion.
        conditions : torch.Tensor, shape (windows, conditions)
            Normalised numbers of the subject.

        Returns
        -------
        torch.Tensor, shape (windows, frames, numbers)
            The features of the frames that are estimated.
        """
        shape = self.shape
        frames = torch.arange(shape.before, shape.samples - shape.after)
        flat = x.flatten(2)
        if shape.name == "mlp":
            seen = flat[:, frames[:, None] - torch.tensor(shape.lags)]
            return _with(seen.flatten(2), conditions)
        if shape.name == "mjca_bigru":
            steps = functional.gelu(self.integrate(_with(self._attend(x), conditions)))
        elif shape.name == "cnn_bigru":
            steps = flat.transpose(1, 2)
            for layer in self.convolve:
                steps = functional.dropout(functional.gelu(layer(steps)), 0.5 * self.dropout, self.training)
            steps = _with(steps.transpose(1, 2), conditions)
        else:
            steps = _with(flat, conditions)
        states: Tensor = self.gru(steps)[0]
        return states[:, frames]

    def answer(self, values: Tensor) -> Tensor:
        """Compute the fully connected layers.

        Parameters
        ----------
        values : torch.Tensor, shape (windows, frames, numbers)
            What :meth:`hidden` gives.

        Returns
        -------
        torch.Tensor, shape (windows, frames, outputs)
            Normalised estimates.
        """
        *inner, last = self.head
        for layer in inner:
            values = functional.gelu(layer(values))
            if self.shape.name == "mlp":
                values = functional.dropout(values, self.dropout, self.training)
        answer: Tensor = last(values)
        return answer

    def _attend(self, x: Tensor) -> Tensor:
        shape = self.shape
        own = [functional.gelu(self.embed[joint](x[:, :, joint])) for joint in range(shape.joints)]

        def heads(values: Tensor) -> Tensor:
            split: Tensor = values.unflatten(-1, (shape.heads, -1))
            return split.transpose(1, 2)

        found = []
        for joint in range(shape.joints):
            others = torch.cat([own[other] for other in range(shape.joints) if other != joint], -1)
            mixed = functional.scaled_dot_product_attention(
                heads(self.query[joint](own[joint])), heads(self.key[joint](others)), heads(self.value[joint](others))
            )
            found.append(self.attended[joint](mixed.transpose(1, 2).flatten(2)) + own[joint])
        return torch.cat(found, -1)


class MomentNet(MotionNet):
    """Learns joint moments: mean squared error, each moment in units of its own spread.

    Parameters
    ----------
    architecture : mapping of str to object
        As for :class:`MotionNet`.
    dropout : float
        As for :class:`MotionNet`.
    """

    def loss_terms(self, batch: Mapping[str, Tensor], draw: float) -> dict[str, Tensor]:
        """Compute the loss of a batch.

        Parameters
        ----------
        batch : mapping of str to torch.Tensor
            Windows ``x``, with ``conditions`` if there are any, and moments ``y`` (windows, frames, outputs); ``known``
            (windows, outputs) is 0 for moments that a subject's model does not have, else 1.
        draw : float
            Of no use here.

        Returns
        -------
        dict of str to torch.Tensor
            ``moments``, the mean squared error.
        """
        x = batch["x"]
        conditions = batch["conditions"] if "conditions" in batch else x.new_zeros(len(x), 0)
        error = (self(x, conditions) - batch["y"]) ** 2 * batch["known"][:, None]
        return {"moments": error.mean()}


class ActivationNet(MotionNet):
    """Learns activations as the paper does.

    Parameters
    ----------
    architecture : mapping of str to object
        As for :class:`MotionNet`.
    dropout : float
        As for :class:`MotionNet`.
    weights : sequence of float
        Those of the equation of motion, of effort and of bounds (3, 1000 and 500 in the paper); 0 leaves a term out.
    supervised : bool
        Learn the activations and forces of static optimisation instead.
    lowest : float
        Activations are to lie from it to 1.
    """

    def __init__(
        self,
        architecture: Mapping[str, Any],
        dropout: float = 0.0,
        weights: Sequence[float] = (3.0, 1000.0, 500.0),
        supervised: bool = False,
        lowest: float = 0.01,
    ):
        super().__init__(architecture, dropout)
        self.weights, self.supervised, self.lowest = tuple(weights), supervised, lowest

    def loss_terms(self, batch: Mapping[str, Tensor], draw: float) -> dict[str, Tensor]:
        """Compute the losses of windows with one frame each.

        Parameters
        ----------
        batch : mapping of str to torch.Tensor
            Windows ``x``; ``gain`` (windows, joints, muscles) and ``needed`` (windows, joints) say which torques
            activations make and which are needed (Nm). The supervised twin is given ``activation`` and ``force``
            (windows, muscles; the forces in units of their spread) and ``strength`` (windows, muscles): force per unit
            of activation in these units.
        draw : float
            Of no use here.

        Returns
        -------
        dict of str to torch.Tensor
            The terms of the loss, weighted.
        """
        x = batch["x"]
        found = self(x, x.new_zeros(len(x), 0))[:, -1]
        if self.supervised:
            return {
                "activations": functional.mse_loss(found, batch["activation"]),
                "forces": functional.mse_loss(found * batch["strength"], batch["force"]),
            }
        missing = batch["needed"] - (batch["gain"] @ found[..., None])[..., 0]
        beyond = functional.relu(self.lowest - found) ** 2 + functional.relu(found - 1.0) ** 2
        terms = {"dynamics": missing**2, "effort": found**2, "bounds": beyond}
        return {
            name: weight * values.sum(-1).mean()
            for weight, (name, values) in zip(self.weights, terms.items(), strict=True)
            if weight
        }


def _with(steps: Tensor, conditions: Tensor) -> Tensor:
    if not conditions.shape[-1]:
        return steps
    spread = conditions[:, None].expand(-1, steps.shape[1], -1)
    return torch.cat([steps, spread], -1)
