"""Fits personal muscles and excitations to a subject's EMG and joint torques, many leave-out folds side by side.

The excitation of a muscle is ``gain * (shape + deviation)``: the shape is its EMG or what others tell of it
(:mod:`.shapes`), the deviation a small network's of the motion, the needed torques and the measured EMG, held the
smaller the surer the shape is. Synergy extrapolation (Ao & Fregly 2020) makes unmeasured excitations of the measured
channels' synergies, the paper's way (Kumar 2025) of a Transformer's output. All pass through the same delay,
activation dynamics and personal Hill muscles with rigid tendons.

References
----------
Kumar et al. (2025), arXiv 2503.05201. Ao, D., Shourijeh, M. S., Patten, C., Fregly, B. J. (2020). Evaluation of synergy
extrapolation for predicting unmeasured muscle excitations. Front. Comput. Neurosci. 14, 588943.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.adamw import adamw

from ...musculoskeletal.hill import HillMuscles
from ...musculoskeletal.redistribution import cost_of_moving
from ...musculoskeletal.row_programs import solve_rows
from .excitation_dynamics import ActivationDynamics
from .recordings import LEAD, Recordings
from .shapes import Shapes

Array = NDArray[np.float64]
Head = Literal["mixture", "synergies", "transformer"]

#: Torques count in these shares of their 95th percentile, EMG in these of its maximum.
_TORQUE, _EMG = 0.015, 0.05

#: What the deviation may be, in units of what is expected to be wrong with a shape; of a muscle of which nobody's EMG
#: tells; and of a measured channel; and the least. Freer ones meet the torques better and left-out channels worse:
#: torques do not tell which of several muscles is missing. With the first at 0.07 left-out channels of other subjects,
#: their synergists measured, were estimated worse than without any deviation (r .70 and .74), at 0.02 as well (.74);
#: with the second at 0.3, of eight subjects without population and synergist, R2 0 instead of .26 at 0.03.
_DEVIATION, _FREE, _MEASURED = 0.02, 0.03, 0.06
_LEAST = 0.001

#: Hidden units of the deviation's network, and width of the Transformer.
_HIDDEN, _WIDTH = 32, 32

#: Learning rates of personal parameters and networks, and weight decay of the networks.
_PERSONAL_RATE, _RATE, _DECAY = 0.08, 0.02, 0.3

#: Unmeasured excitations of Transformer and synergies are held to be small (RMS).
_SMALL = 0.3

#: Where the fit's rest is put right, a reserve of so many Nm costs as much as an activation moved by 1. Chosen on ten
#: subjects whom no table reports: with 10 Nm torques are met to 0.5 %, and left-out channels without a measured
#: synergist lose .01 in r, with 3 Nm .03; the one subject apart whose torques the model's muscles cannot make.
RESERVE = 10.0

#: Passive force counts up to so many maximal forces: a fit must not lean on tissue.
MOST_PASSIVE = 2.0

#: Curves over fiber and tendon length are straightened out, and anew after so many steps.
_STRAIGHT = 60


@dataclass(frozen=True)
class Bound:
    """How a personal parameter may differ from the model's.

    Parameters
    ----------
    low, high : float
        Bounds.
    start : float
        Where it starts.
    spread : float
        Expected deviation from the start.
    source : str
        Where the bounds come from.
    """

    low: float
    high: float
    start: float
    spread: float
    source: str


#: Personal parameters, as factors of the model's where they have no unit.
BOUNDS: dict[str, Bound] = {
    "strength": Bound(0.5, 2.5, 1.0, 0.25, "CEINMS (Pizzolato 2015)"),
    "optimal_fiber_length": Bound(0.6, 1.4, 1.0, 0.05, "NMSM Pipeline (Hammond 2025)"),
    "tendon_slack_length": Bound(0.85, 1.15, 1.0, 0.02, "CEINMS"),
    "nonlinearity": Bound(-3.0, 0.0, -0.5, 0.4, "CEINMS"),
    "emg_gain": Bound(0.05, 1.0, 0.4, 0.1, "NMSM Pipeline"),
    "delay": Bound(0.0, 0.125, 0.05, 0.03, "NMSM Pipeline (s)"),
    "activation_time": Bound(0.0075, 0.035, 0.015, 0.005, "NMSM Pipeline (s); deactivation 4 times that"),
}


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit came to, for every fold.

    Parameters
    ----------
    excitations, activations : numpy.ndarray, shape (folds, windows, ROWS, muscles)
        0..1.
    torques : numpy.ndarray, shape (folds, windows, ROWS, coordinates)
        Of the activations (Nm).
    put_right, right_torques : numpy.ndarray
        The activations nearest to these, in proportion to their size, that make the torques needed; and their torques.
    led : numpy.ndarray, shape (folds, windows, ROWS, muscles)
        The activations that the EMG of all channels leads to, of those that are left out, too; 0 for muscles without.
    parameters : mapping of str to numpy.ndarray, shape (folds, muscles)
        Personal parameters, those of BOUNDS.
    """

    excitations: Array
    activations: Array
    torques: Array
    put_right: Array
    right_torques: Array
    led: Array
    parameters: dict[str, Array]

    def torque_errors(self, recordings: Recordings, windows: NDArray[np.bool_], *, put_right: bool = False) -> Array:
        """Measure the torques' errors.

        Parameters
        ----------
        recordings : Recordings
            The subject.
        windows : numpy.ndarray of bool, shape (windows,)
            The windows that count.
        put_right : bool
            Of which activations.

        Returns
        -------
        numpy.ndarray, shape (folds, coordinates)
            RMSE in percent of the largest torque.
        """
        needed = recordings.windows.torques
        torques = self.right_torques if put_right else self.torques
        error = np.sqrt(np.mean((torques - needed)[:, windows] ** 2, axis=(1, 2)))
        share: Array = 100.0 * error / np.abs(needed).max((0, 1))
        return share


class _Parameters(nn.Module):
    """Personal parameters of every fold, free numbers mapped into bounds."""

    def __init__(self, recordings: Recordings, folds: Sequence[Shapes], fitted: NDArray[np.bool_]) -> None:
        super().__init__()
        count, muscles = len(folds), len(recordings.muscles)
        starts = {name: np.full((count, muscles), bound.start) for name, bound in BOUNDS.items()}
        for k, fold in enumerate(folds):
            shape = fold.curves[fitted][:, LEAD:].reshape(-1, muscles)
            aim = fold.simulated[fitted][:, LEAD:].reshape(-1, muscles)
            gain = (shape * aim).sum(0) / np.maximum((shape**2).sum(0), 1e-9)
            starts["emg_gain"][k] = np.clip(gain, 0.08, 0.95)
            rise = 2.5 * BOUNDS["activation_time"].start
            starts["delay"][k] = np.clip(float(np.mean(fold.ahead)) - rise, 0.005, 0.12)
        # Static optimisation may leave a muscle out that has EMG; what it gives is a hint of the gain.
        self.start = {name: torch.as_tensor(values, dtype=torch.float32) for name, values in starts.items()}
        self.free = nn.ParameterDict(
            {
                name: nn.Parameter(torch.zeros(count, 1 if BOUNDS[name].source.endswith(("(s)", "that")) else muscles))
                for name in BOUNDS
            }
        )

    def values(self) -> dict[str, torch.Tensor]:
        """Return the parameters, (folds, muscles or 1)."""
        found = {}
        for name, bound in BOUNDS.items():
            start = self.start[name]
            start = start[:, : self.free[name].shape[1]]
            moved = self.free[name] * bound.spread
            room = torch.where(moved > 0.0, bound.high - start, start - bound.low)
            found[name] = start + room * torch.tanh(moved / room.clamp(min=1e-6))
        return found

    def penalty(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the squared deviations from the starts in units of what is expected, a mean per fold."""
        total = torch.zeros(len(weights))
        for free in self.free.values():
            total = total + free.square().mean(1)
        return total


def _first_weights(folds: int, inputs: int, outputs: int, size: float = 1.0) -> nn.Parameter:
    """Draw the weights that all folds start from, so that an estimate does not depend on what else is left out."""
    return nn.Parameter((torch.randn(inputs, outputs) * size / math.sqrt(inputs)).repeat(folds, 1, 1))


class _Deviation(nn.Module):
    """A small network per fold: features of the motion and the fold's measured EMG to a deviation of every muscle."""

    def __init__(self, folds: int, inputs: int, outputs: int) -> None:
        super().__init__()
        sizes = (inputs, _HIDDEN, _HIDDEN, outputs)
        self.weights = nn.ParameterList(
            _first_weights(folds, a, b, 1.0 if k < 2 else 0.1) for k, (a, b) in enumerate(pairwise(sizes))
        )
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(folds, 1, b)) for b in sizes[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = x.shape[:3]
        x = x.flatten(1, 2)
        for k, (weight, shift) in enumerate(zip(self.weights, self.shifts, strict=True)):
            x = torch.baddbmm(shift, x, weight)
            x = torch.tanh(x) if k < 2 else 0.5 * torch.tanh(x)
        made: torch.Tensor = x.unflatten(1, shape[1:])
        return made


class _Transformer(nn.Module):
    """The paper's network, one per fold: two layers of self-attention over a window's rows."""

    def __init__(self, folds: int, inputs: int, outputs: int, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.heads = heads

        weight = partial(_first_weights, folds)
        self.enter, self.leave = weight(inputs, _WIDTH), weight(_WIDTH, outputs, 0.3)
        self.shift = nn.Parameter(torch.full((folds, 1, outputs), -2.5))
        self.layers = nn.ModuleList(
            nn.ParameterDict(
                {
                    "ask": weight(_WIDTH, 3 * _WIDTH),
                    "join": weight(_WIDTH, _WIDTH),
                    "widen": weight(_WIDTH, 2 * _WIDTH),
                    "narrow": weight(2 * _WIDTH, _WIDTH),
                }
            )
            for _ in range(layers)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        folds, windows, rows, _ = x.shape

        def normal(values: torch.Tensor) -> torch.Tensor:
            return nn.functional.layer_norm(values, (_WIDTH,))

        x = x.flatten(1, 2) @ self.enter
        for layer in self.layers:
            assert isinstance(layer, nn.ParameterDict)
            parts = (normal(x) @ layer["ask"]).reshape(folds * windows, rows, 3, self.heads, -1)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            seen = nn.functional.scaled_dot_product_attention(query, key, value)
            x = x + seen.transpose(1, 2).reshape(folds, windows * rows, _WIDTH) @ layer["join"]
            x = x + nn.functional.gelu(normal(x) @ layer["widen"]) @ layer["narrow"]
        out: torch.Tensor = torch.sigmoid(torch.baddbmm(self.shift, normal(x), self.leave))
        made: torch.Tensor = out.unflatten(1, (windows, rows))
        return made


def fit(
    recordings: Recordings,
    folds: Sequence[Shapes],
    fitted: NDArray[np.bool_],
    *,
    head: Head = "mixture",
    deviates: bool = True,
    steps: int = 200,
    seed: int = 0,
    synergies: int = 5,
) -> Fit:
    """Fit all folds together.

    Parameters
    ----------
    recordings : Recordings
        The subject.
    folds : sequence of Shapes
        Which channels count as unmeasured, and the muscles' curves.
    fitted : numpy.ndarray of bool, shape (windows,)
        The windows whose EMG and torques are fitted; all are estimated.
    head : {'mixture', 'synergies', 'transformer'}
        Where unmeasured excitations come from.
    deviates : bool
        For ``mixture``: whether excitations may deviate from the shapes.
    steps : int
        Steps of Adam.
    seed : int
        Of the networks' first weights.
    synergies : int
        For ``synergies``: how many, at most.

    Returns
    -------
    Fit
        The estimates.
    """
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        problem = _Problem(recordings, folds, fitted, head, deviates, synergies)
        problem.train(steps)
        return problem.result()
    finally:
        torch.random.set_rng_state(state)


class _AdamW:
    """What torch.optim.AdamW does; that imports PyTorch's compiler first, which takes seconds in every process.

    A group is parameters, their learning rate and their weight decay.
    """

    def __init__(self, groups: Sequence[tuple[list[nn.Parameter], float, float]]) -> None:
        self.groups = groups
        #: Running means of the gradients and of their squares, and how often they were taken.
        self.memory: dict[nn.Parameter, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Take a step with a share of the learning rates, and forget the gradients."""
        for parameters, rate, decay in self.groups:
            moved = {one: one.grad for one in parameters if one.grad is not None}
            for one in moved.keys() - self.memory.keys():
                self.memory[one] = torch.zeros_like(one), torch.zeros_like(one), torch.tensor(0.0)
            means, squares, steps = map(list, zip(*(self.memory[one] for one in moved), strict=True))
            adamw(
                [*moved],
                [*moved.values()],
                means,
                squares,
                [],
                steps,
                amsgrad=False,
                beta1=0.9,
                beta2=0.98,
                lr=rate * factor,
                weight_decay=decay,
                eps=1e-8,
                maximize=False,
            )
            for one in moved:
                one.grad = None


class _Problem:
    def __init__(
        self,
        recordings: Recordings,
        folds: Sequence[Shapes],
        fitted: NDArray[np.bool_],
        head: Head,
        deviates: bool,
        synergies: int,
    ) -> None:
        self.recordings, self.head, self.deviates = recordings, head, deviates
        self.fitted = np.flatnonzero(fitted)
        w = recordings.windows
        count, muscles = len(folds), len(recordings.muscles)

        def tensor(values: Any) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.float32)

        self.step = tensor(w.step)
        self.arms, self.needed = tensor(w.moment_arms), tensor(w.torques)
        self.lengths, self.velocities = tensor(w.lengths), tensor(w.velocities)
        self.hill = recordings.hill.to_torch(torch.float32)
        peak = np.quantile(np.abs(w.torques[fitted]).reshape(-1, w.torques.shape[-1]), 0.95, axis=0)
        self.peak = tensor(np.maximum(peak, max(0.05 * peak.max(), 0.1)))
        self.shapes = torch.stack([tensor(fold.curves) for fold in folds])
        recorded = np.zeros(self.shapes.shape)
        for fold, table in zip(folds, recorded, strict=True):
            for c, places in enumerate(recordings.channel_muscles):
                table[:, :, places] = fold.emg[..., c, None]
        self.recorded = tensor(recorded)
        measured = np.stack([fold.measured for fold in folds])
        self.measured = torch.as_tensor(measured >= 0)
        self.unmeasured = (~self.measured).float()[:, None, None]
        spread = np.stack(
            [
                np.where(fold.measured >= 0, _MEASURED, np.where(fold.guessed, _FREE, _DEVIATION) * fold.spread)
                for fold in folds
            ]
        )
        self.spread = tensor(np.maximum(spread, _LEAST))[:, None, None]
        # No fold's network sees a channel that the fold leaves out.
        seen = np.stack([[c not in fold.held for c in range(len(recordings.channels))] for fold in folds])
        own = torch.stack([tensor(fold.emg) for fold in folds]) * tensor(seen)[:, None, None]
        features = tensor(w.features).expand(count, -1, -1, -1)
        self.inputs = torch.cat([features, own], -1)
        self.parameters = _Parameters(recordings, folds, fitted)
        groups = [(list(self.parameters.parameters()), _PERSONAL_RATE, 0.0)]
        self.network: nn.Module | None = None
        size = self.inputs.shape[-1]
        if head == "transformer":
            # The paper's inputs: motion and load alone.
            self.inputs = features
            self.network = _Transformer(count, features.shape[-1], muscles)
        elif head == "mixture" and deviates:
            self.network = _Deviation(count, size, muscles)
        elif head == "synergies":
            commands = np.stack([_commands(fold, fitted, synergies) for fold in folds])
            self.commands = tensor(commands)
            self.mixing = nn.Parameter(torch.full((count, commands.shape[-1], muscles), -2.5))
            groups.append(([self.mixing], 0.05, 0.0))
        if self.network is not None:
            groups.append((list(self.network.parameters()), _RATE, _DECAY))
        self.optimiser = _AdamW(groups)

    def train(self, steps: int) -> None:
        """Take steps of Adam, the curves over fiber and tendon length straightened out around the last values."""
        rows = torch.as_tensor(self.fitted)
        straight = None
        for k in range(steps):
            if k % _STRAIGHT == 0:
                straight = self._straighten(rows)
            self._loss(rows, straight).backward()
            self.optimiser.step(min(1.0, (k + 1) / 20) * (0.5 * (1.0 + math.cos(math.pi * k / steps)) + 0.01))

    def _loss(self, rows: torch.Tensor, straight: Any) -> torch.Tensor:
        values = self.parameters.values()
        excitations, deviation = self._excitations(rows, values)
        activations = self._activations(excitations, values, rows)
        active, passive = straight(values)
        torques = _joint(self.arms[rows], active * activations + passive)
        error = (torques - self.needed[rows]) / self.peak
        loss = error.square().mean((1, 2, 3)) / _TORQUE**2
        loss = loss + 0.1 * self.parameters.penalty(self.unmeasured)
        if self.head == "mixture":
            if deviation is not None:
                loss = loss + (deviation / self.spread).square().mean((1, 2, 3))
            return loss.sum()
        share = self.unmeasured.mean((1, 2, 3)).clamp(min=1e-6)
        small = (excitations * self.unmeasured).square().mean((1, 2, 3)) / share
        loss = loss + 0.3 * small / _SMALL**2
        if self.head == "transformer":
            assert deviation is not None
            known = 1.0 - self.unmeasured
            wrong = ((deviation - self.shapes[:, rows]) * known).square().mean((1, 2, 3))
            loss = loss + wrong / known.mean((1, 2, 3)) / _EMG**2
            bend = excitations[:, :, 2:] - 2.0 * excitations[:, :, 1:-1] + excitations[:, :, :-2]
            loss = loss + 0.1 * (bend * self.unmeasured).square().mean((1, 2, 3)) / share / 0.1**2
        return loss.sum()

    def _excitations(
        self, rows: torch.Tensor, values: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        gain = values["emg_gain"][:, None, None]
        shapes = self.shapes[:, rows]
        if self.head == "transformer":
            assert self.network is not None
            out = self.network(self.inputs[:, rows])
            return torch.where(self.measured[:, None, None], gain * out, out), out
        if self.head == "synergies":
            made = torch.einsum("fwnk,fkm->fwnm", self.commands[:, rows], nn.functional.softplus(self.mixing))
            return torch.where(self.measured[:, None, None], gain * shapes, made).clamp(0.0, 1.0), None
        deviation = None if self.network is None else self.network(self.inputs[:, rows])
        curves = shapes if deviation is None else shapes + deviation
        return (gain * curves).clamp(0.0, 1.0), deviation

    def _activations(
        self, excitations: torch.Tensor, values: dict[str, torch.Tensor], rows: torch.Tensor
    ) -> torch.Tensor:
        """Delay excitations, integrate the activation dynamics, and bend the result by the muscles' non-linearity."""
        delay = values["delay"][:, :, None, None] / self.step[rows][None, :, None, None]
        # Each row is a mean of the two rows that lie a delay before it; what precedes the first row is like it.
        row = torch.arange(excitations.shape[2])
        hat = (1.0 - (row[:, None] - row[None, 1:] - delay).abs()).clamp(min=0.0)
        delayed = torch.cat([1.0 - hat.sum(-1, keepdim=True), hat], -1) @ excitations
        apply: Any = ActivationDynamics.apply
        reached = apply(delayed, values["activation_time"], self.step[rows])[:, :, LEAD:]
        bend = values["nonlinearity"][:, None, None].clamp(max=-1e-3)
        return torch.expm1(bend * reached) / torch.expm1(bend)

    def _terms(
        self, rows: torch.Tensor, strength: torch.Tensor, fiber: torch.Tensor, tendon: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hill = replace(
            self.hill,
            max_isometric_force=self.hill.max_isometric_force * strength[:, None, None],
            optimal_fiber_length=self.hill.optimal_fiber_length * fiber[:, None, None],
            tendon_slack_length=self.hill.tendon_slack_length * tendon[:, None, None],
        )
        active, passive = hill.rigid_terms(self.lengths[rows][None], self.velocities[rows][None])
        return active, torch.minimum(passive, MOST_PASSIVE * hill.max_isometric_force)

    def _straighten(self, rows: torch.Tensor) -> Any:
        """Return the muscles' forces as straight lines of fiber and tendon length around the present ones."""
        with torch.no_grad():
            values = {name: value.clone() for name, value in self.parameters.values().items()}
            fiber, tendon = values["optimal_fiber_length"], values["tendon_slack_length"]
            one = torch.ones_like(fiber)
            middle = self._terms(rows, one, fiber, tendon)
            slopes = []
            for d_fiber, d_tendon in ((0.01, 0.0), (0.0, 0.005)):
                high = self._terms(rows, one, fiber + d_fiber, tendon + d_tendon)
                low = self._terms(rows, one, fiber - d_fiber, tendon - d_tendon)
                width = 2.0 * (d_fiber + d_tendon)
                slopes.append([(h - lo) / width for h, lo in zip(high, low, strict=True)])

        def terms(new: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            by_fiber = (new["optimal_fiber_length"] - fiber)[:, None, None]
            by_tendon = (new["tendon_slack_length"] - tendon)[:, None, None]
            strength = new["strength"][:, None, None]
            lines = (
                base + slope_fiber * by_fiber + slope_tendon * by_tendon
                for base, slope_fiber, slope_tendon in zip(middle, *slopes, strict=True)
            )
            return [strength * line for line in lines]

        return terms

    def result(self) -> Fit:
        """Evaluate all windows, with the exact curves."""
        rows = torch.arange(len(self.recordings.windows))
        with torch.no_grad():
            values = self.parameters.values()
            excitations, _ = self._excitations(rows, values)
            activations = self._activations(excitations, values, rows)
            lengths = values["optimal_fiber_length"], values["tendon_slack_length"]
            active, passive = self._terms(rows, values["strength"], *lengths)
            torques = _joint(self.arms, active * activations + passive)
            of_emg = values["emg_gain"][:, None, None] * self.recorded
            led = self._activations(of_emg.clamp(0.0, 1.0), values, rows)
            gain = torch.einsum("wnmc,fwnm->fwncm", self.arms, active)
            owed = self.needed - _joint(self.arms, passive)
            put_right = torch.stack([_put_right(*fold) for fold in zip(activations, gain, owed, strict=True)])
            right_torques = _joint(self.arms, active * put_right + passive)
        shape = values["strength"].shape
        parameters = {name: value.expand(shape).double().numpy() for name, value in values.items()}
        made, held, turned, right, righted, recorded = (
            values.double().numpy()
            for values in (excitations[:, :, LEAD:], activations, torques, put_right, right_torques, led)
        )
        return Fit(made, held, turned, right, righted, recorded, parameters)


def _put_right(activations: torch.Tensor, gain: torch.Tensor, owed: torch.Tensor) -> torch.Tensor:
    """Move one fold's activations as little as the torques ask for; (windows, rows, ...)."""
    aim, gains, needed = (values.double().flatten(0, 1).numpy() for values in (activations, gain, owed))
    reserve = np.full(needed.shape[1], RESERVE)
    price = cost_of_moving(aim)
    found = solve_rows(gains, needed, low=0.01, high=1.0, reserve=reserve, target=aim, weight=price)
    return torch.as_tensor(found.activations, dtype=torch.float32).reshape(activations.shape)


def _joint(arms: torch.Tensor, forces: torch.Tensor) -> torch.Tensor:
    made: torch.Tensor = torch.einsum("wnmc,fwnm->fwnc", arms, forces)
    return made


def _commands(fold: Shapes, fitted: NDArray[np.bool_], count: int) -> Array:
    """Factor the measured channels into non-negative synergies; return their commands, maximum 1, padded by zeros."""
    kept = [c for c in range(fold.emg.shape[-1]) if c not in fold.held]
    table = fold.emg[..., kept]
    number = min(count, len(kept))
    rng = np.random.default_rng(0)
    learned = table[fitted][:, LEAD:].reshape(-1, len(kept))
    weights, vectors = rng.random((len(learned), number)) + 0.1, rng.random((number, len(kept))) + 0.1
    for _ in range(300):
        vectors *= (weights.T @ learned) / (weights.T @ weights @ vectors + 1e-9)
        weights *= (learned @ vectors.T) / (weights @ vectors @ vectors.T + 1e-9)
    vectors /= vectors.sum(1, keepdims=True)
    every = table.reshape(-1, len(kept))
    found = np.full((len(every), number), 0.3)
    for _ in range(200):
        found *= (every @ vectors.T) / (found @ vectors @ vectors.T + 1e-9)
    commands = np.zeros((*table.shape[:2], count))
    commands[..., :number] = found.reshape(*table.shape[:2], number)
    highest = commands[fitted][:, LEAD:].max((0, 1))
    return commands / np.where(highest > 0.0, highest, 1.0)


def personal_muscles(hill: HillMuscles, parameters: dict[str, Array]) -> HillMuscles:
    """Apply personal parameters.

    Parameters
    ----------
    hill : HillMuscles
        The model's muscles.
    parameters : dict of str to numpy.ndarray, shape (muscles,)
        As in :attr:`Fit.parameters`, of one fold.

    Returns
    -------
    HillMuscles
        With strengths, fiber and tendon lengths of the subject.
    """
    names = ("max_isometric_force", "optimal_fiber_length", "tendon_slack_length")
    factors = (parameters[name] for name in ("strength", "optimal_fiber_length", "tendon_slack_length"))
    changed = {name: getattr(hill, name) * factor for name, factor in zip(names, factors, strict=True)}
    return replace(hill, **changed)
