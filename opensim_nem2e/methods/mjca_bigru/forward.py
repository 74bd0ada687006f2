"""The networks of PI-MJCA-BiGRU in numpy: what a trained one computes, without PyTorch.

Four networks share ends. ``mjca_bigru`` is the paper's (equations 2 to 14): each joint's angle and its derivatives
become features, each joint attends over time to the features of all others, and two layers of bidirectional gated
recurrent units (GRU) follow. ``bigru`` leaves the attention out, ``cnn_bigru`` puts three convolutions in its place;
both are the paper's ablations. ``mlp`` sees the motion at a few lags alone. All end in fully connected layers.

``kernel`` is no network but kernel ridge regression (:mod:`.kernel`) on the motion at a few lags, put in the same form:
Gaussian functions about some training frames, each with a plane added, and one layer on them. ``kernel_mlp`` is the
mean of ``kernel`` and ``mlp``, which err differently.

The paper writes the key and value matrices as D_l x D_l; the features of the other joints, side by side, need
(N_j - 1) D_l x D_l.

References
----------
Ma, S., Huang, Z., Cao, Y., et al. Multi-joint physics-informed deep learning framework for time-efficient inverse
dynamics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError

Array = NDArray[np.float64]
Single = NDArray[np.float32]

ArchitectureName = Literal["kernel", "mjca_bigru", "bigru", "cnn_bigru", "mlp", "kernel_mlp"]

#: What they are called in logs and reports.
LABELS: Mapping[ArchitectureName, str] = {
    **{"kernel": "kernel ridge regression", "mlp": "MLP", "kernel_mlp": "kernel ridge regression and MLP"},
    **{"mjca_bigru": "MJCA-BiGRU", "bigru": "BiGRU", "cnn_bigru": "CNN-BiGRU"},
}

#: Those that see the motion at lags.
AT_LAGS = ("kernel", "mlp", "kernel_mlp")

#: Those that have a kernel's features.
WITH_KERNEL = ("kernel", "kernel_mlp")

#: The weights of ``kernel``'s features (:func:`likeness`).
KERNEL = ("centers", "squares", "width", "linear")

#: Channels and width of the convolutions of ``cnn_bigru``.
CHANNELS, WIDTH = (64, 128, 128), 3

#: No size of a network is larger: what a file says is not to be trusted.
_LARGEST = 100_000


@dataclass(frozen=True)
class Architecture:
    """A network's shape.

    Parameters
    ----------
    name : {'kernel', 'mjca_bigru', 'bigru', 'cnn_bigru', 'mlp', 'kernel_mlp'}
        Which of them.
    joints, features : int
        Joints, and what is known of each at every sample (angle, velocity, acceleration).
    conditions : int
        Numbers that hold for the whole window (body mass, segment lengths).
    outputs : int
        Numbers put out per sample.
    samples : int
        Samples of a window.
    before, after : int
        Samples at its start and end for which nothing is put out.
    lags : tuple of int
        ``mlp``, ``kernel`` and both: the samples, counted back from the one that is estimated, that they see.
    joint_units, heads, integrated_units : int
        D_l, N_h and D_i of the paper.
    recurrent_units, recurrent_layers : int
        D_g and L of the paper.
    head : tuple of int
        Units of the fully connected layers before the last; ``kernel``: how many Gaussian functions it has, which stand
        first in ``kernel_mlp``.
    """

    name: ArchitectureName
    joints: int
    features: int
    conditions: int
    outputs: int
    samples: int
    before: int
    after: int = 0
    lags: tuple[int, ...] = ()
    joint_units: int = 64
    heads: int = 2
    integrated_units: int = 128
    recurrent_units: int = 128
    recurrent_layers: int = 2
    head: tuple[int, ...] = (128, 64)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lags", tuple(self.lags))
        object.__setattr__(self, "head", tuple(self.head))

    @classmethod
    def read(cls, found: Any) -> Architecture:
        """Take it from what JSON held.

        Parameters
        ----------
        found : object
            Of :meth:`described`; not to be trusted.

        Returns
        -------
        Architecture
            The same.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            It is none.
        """
        names = get_args(ArchitectureName)
        known = set(cls.__dataclass_fields__)
        if not isinstance(found, dict) or set(found) != known or found["name"] not in names:
            raise BundleError(f"'architecture' must say {', '.join(sorted(known))}; found {found!r}")
        wrong = []
        for key, value in found.items():
            numbers = value if key in ("lags", "head") else [value]
            lowest = -_LARGEST if key == "lags" else 0
            if key != "name" and not (isinstance(numbers, list) and all(_is_whole(n, lowest) for n in numbers)):
                wrong.append(key)
        if wrong:
            raise BundleError(f"these of 'architecture' must be whole numbers up to {_LARGEST}: {', '.join(wrong)}")
        one = cls(**found)
        fits = one.before + one.after < one.samples
        fits &= one.name != "kernel" or len(one.head) == 1
        fits &= one.name != "kernel_mlp" or len(one.head) > 1
        fits &= max((0, *one.lags)) <= one.before and -min((0, *one.lags)) <= one.after
        divides = one.name != "mjca_bigru" or (one.heads >= 1 and one.joint_units % one.heads == 0)
        if not (fits and divides and min(one.joints, one.features, one.outputs) >= 1):
            raise BundleError(f"the sizes of 'architecture' do not fit each other: {found!r}")
        return one

    def described(self) -> dict[str, Any]:
        """Say it so that JSON can hold it.

        Returns
        -------
        dict of str to object
            All fields.
        """
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def frames(self) -> int:
        """Samples of a window for which something is put out."""
        return self.samples - self.before - self.after

    @property
    def head_inputs(self) -> int:
        """Numbers that the fully connected layers, or the Gaussian functions, take."""
        if self.name in AT_LAGS:
            return len(self.lags) * self.joints * self.features + self.conditions
        return 2 * self.recurrent_units

    @property
    def recurrent_inputs(self) -> int:
        """Numbers that the first recurrent layer takes at each sample."""
        if self.name == "mjca_bigru":
            return self.integrated_units
        inputs = CHANNELS[-1] if self.name == "cnn_bigru" else self.joints * self.features
        return inputs + self.conditions

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name all weights.

        Returns
        -------
        dict of str to tuple of int
            Shapes by PyTorch's names.
        """
        shapes: dict[str, tuple[int, ...]] = {}

        def linear(name: str, inputs: int, outputs: int) -> None:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

        units = self.joint_units
        if self.name == "mjca_bigru":
            for joint in range(self.joints):
                linear(f"embed.{joint}", self.features, units)
                shapes[f"query.{joint}.weight"] = (units, units)
                shapes[f"key.{joint}.weight"] = shapes[f"value.{joint}.weight"] = (units, (self.joints - 1) * units)
                linear(f"attended.{joint}", units, units)
            linear("integrate", self.joints * units + self.conditions, self.integrated_units)
        elif self.name == "cnn_bigru":
            inputs = self.joints * self.features
            for layer, channels in enumerate(CHANNELS):
                shapes[f"convolve.{layer}.weight"] = (channels, inputs, WIDTH)
                shapes[f"convolve.{layer}.bias"] = (channels,)
                inputs = channels
        head = self.head
        if self.name in WITH_KERNEL:
            count, head = self.head[0], self.head[1:]
            shapes["centers"], shapes["squares"] = (count, self.head_inputs), (count,)
            shapes["width"] = shapes["linear"] = (1,)
            linear("head.0" if self.name == "kernel" else "kernel", count, self.outputs)
        if self.name == "kernel":
            return shapes
        if self.name not in AT_LAGS:
            inputs, gates = self.recurrent_inputs, 3 * self.recurrent_units
            for layer in range(self.recurrent_layers):
                for ending in ("", "_reverse"):
                    for kind, columns in (("ih", inputs), ("hh", self.recurrent_units)):
                        shapes[f"gru.weight_{kind}_l{layer}{ending}"] = (gates, columns)
                        shapes[f"gru.bias_{kind}_l{layer}{ending}"] = (gates,)
                inputs = 2 * self.recurrent_units
        sizes = (self.head_inputs, *head, self.outputs)
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            linear(f"head.{layer}", inputs, outputs)
        return shapes


def run(architecture: Architecture, weights: Mapping[str, Single], x: Single, conditions: Single) -> Single:
    """Compute a network.

    Parameters
    ----------
    architecture : Architecture
        Its shape.
    weights : mapping of str to ndarray
        Its weights (:meth:`Architecture.weight_shapes`).
    x : ndarray, shape (windows, samples, joints, features)
        Normalised motion.
    conditions : ndarray, shape (windows, conditions)
        Normalised.

    Returns
    -------
    ndarray, shape (windows, frames, outputs)
        What it puts out, for the samples from ``before`` to ``samples - after``.
    """
    seen = hidden(architecture, weights, x, conditions)
    found = _head(weights, seen)
    if architecture.name == "kernel_mlp":
        found = 0.5 * (found + _linear(weights, "kernel", _likeness_to_centers(weights, seen)))
    return cast(Single, found)


def hidden(architecture: Architecture, weights: Mapping[str, Single], x: Single, conditions: Single) -> Single:
    """Compute what a network's fully connected layers take: its features.

    Parameters
    ----------
    architecture : Architecture
        Its shape.
    weights : mapping of str to ndarray
        Its weights.
    x : ndarray, shape (windows, samples, joints, features)
        Normalised motion.
    conditions : ndarray, shape (windows, conditions)
        Normalised.

    Returns
    -------
    ndarray, shape (windows, frames, numbers)
        The features.
    """
    shape = architecture
    windows, samples = x.shape[:2]
    frames = np.arange(shape.before, shape.samples - shape.after)
    flat = x.reshape(windows, samples, -1)
    if shape.name in AT_LAGS:
        seen = flat[:, frames[:, None] - np.array(shape.lags)].reshape(windows, len(frames), -1)
        seen = cast(Single, _with(seen, conditions))
        if shape.name == "kernel":
            return _likeness_to_centers(weights, seen)
        return seen
    if shape.name == "mjca_bigru":
        steps = gelu(_linear(weights, "integrate", _with(_attend(shape, weights, x), conditions)))
    elif shape.name == "cnn_bigru":
        steps = _with(_convolve(weights, flat), conditions)
    else:
        steps = _with(flat, conditions)
    for layer in range(shape.recurrent_layers):
        steps = np.concatenate([_recur(weights, steps, f"l{layer}"), _recur(weights, steps, f"l{layer}_reverse")], -1)
    return cast(Single, steps[:, frames])


def likeness(values: Any, centers: Any, squares: Any, width: Any, linear: Any) -> Any:
    """Compute how alike values and some points are: a Gaussian function of their distance, and their product.

    Parameters
    ----------
    values : ndarray, shape (..., numbers)
        Where.
    centers : ndarray, shape (points, numbers)
        The points.
    squares : ndarray, shape (points,)
        Of their distances from 0: to sum them up again for every frame of a live motion would take most of its time.
    width : float or ndarray, shape (1,)
        Squared, in units of the numbers' count.
    linear : float or ndarray, shape (1,)
        What the mean product of their numbers counts beside the Gaussian function.

    Returns
    -------
    ndarray, shape (..., points)
        The kernel.
    """
    count, products = values.shape[-1], values @ centers.T
    apart = (values**2).sum(-1, keepdims=True) + squares - 2.0 * products
    return np.exp(np.minimum(-apart / (2.0 * count * width), 0.0)) + (linear / count) * products


def gelu(values: Any) -> Any:
    """Compute x times the normal distribution's cumulative probability.

    Parameters
    ----------
    values : ndarray
        x.

    Returns
    -------
    ndarray
        Of the same shape and type.
    """
    from scipy.special import erf

    return 0.5 * values * (1.0 + erf(values * np.float32(2.0**-0.5)))


def _likeness_to_centers(weights: Mapping[str, Single], seen: Single) -> Single:
    return cast(Single, likeness(seen, *(weights[name] for name in KERNEL)))


def _is_whole(value: Any, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= _LARGEST


def _with(steps: Any, conditions: Any) -> Any:
    """Give every sample the conditions of its window."""
    if not conditions.shape[-1]:
        return steps
    spread = np.broadcast_to(conditions[:, None], (*steps.shape[:2], conditions.shape[-1]))
    return np.concatenate([steps, spread], axis=-1)


def _linear(weights: Mapping[str, Any], name: str, values: Any) -> Any:
    return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _head(weights: Mapping[str, Any], values: Any) -> Any:
    layers = sum(name.startswith("head.") for name in weights) // 2
    for layer in range(layers):
        values = _linear(weights, f"head.{layer}", values)
        if layer < layers - 1:
            values = gelu(values)
    return values


def _attend(shape: Architecture, weights: Mapping[str, Any], x: Any) -> Any:
    """Let every joint attend to all others (equations 2 to 8); (windows, samples, joints x units)."""
    windows, samples = x.shape[:2]
    own = [gelu(_linear(weights, f"embed.{joint}", x[:, :, joint])) for joint in range(shape.joints)]

    def heads(values: Any) -> Any:
        return values.reshape(windows, samples, shape.heads, -1).swapaxes(1, 2)

    found = []
    for joint in range(shape.joints):
        others = np.concatenate([own[other] for other in range(shape.joints) if other != joint], axis=-1)
        query = heads(own[joint] @ weights[f"query.{joint}.weight"].T)
        key, value = (heads(others @ weights[f"{name}.{joint}.weight"].T) for name in ("key", "value"))
        score = query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(query.shape[-1]))
        score = np.exp(score - score.max(axis=-1, keepdims=True))
        mixed = (score / score.sum(axis=-1, keepdims=True)) @ value
        joined = mixed.swapaxes(1, 2).reshape(windows, samples, -1)
        found.append(_linear(weights, f"attended.{joint}", joined) + own[joint])
    return np.concatenate(found, axis=-1)


def _convolve(weights: Mapping[str, Any], steps: Any) -> Any:
    """Convolve over time, with zeros beyond both ends."""
    reach = WIDTH // 2
    for layer in range(len(CHANNELS)):
        kernel = weights[f"convolve.{layer}.weight"]
        padded = np.pad(steps, ((0, 0), (reach, reach), (0, 0)))
        length = steps.shape[1]
        summed = sum(padded[:, place : place + length] @ kernel[:, :, place].T for place in range(WIDTH))
        steps = gelu(summed + weights[f"convolve.{layer}.bias"])
    return steps


def _recur(weights: Mapping[str, Any], steps: Any, ending: str) -> Any:
    """Run one direction of one layer of gated recurrent units, as PyTorch defines them."""
    given = steps @ weights[f"gru.weight_ih_{ending}"].T + weights[f"gru.bias_ih_{ending}"]
    kernel, bias = weights[f"gru.weight_hh_{ending}"].T, weights[f"gru.bias_hh_{ending}"]
    units = kernel.shape[0]
    state = np.zeros((len(steps), units), dtype=given.dtype)
    states = np.empty((*steps.shape[:2], units), dtype=given.dtype)
    order = range(steps.shape[1])
    for step in reversed(order) if ending.endswith("reverse") else order:
        past, now = state @ kernel + bias, given[:, step]
        reset = _sigmoid(now[:, :units] + past[:, :units])
        update = _sigmoid(now[:, units : 2 * units] + past[:, units : 2 * units])
        new = np.tanh(now[:, 2 * units :] + reset * past[:, 2 * units :])
        state = new + update * (state - new)
        states[:, step] = state
    return states


def _sigmoid(values: Any) -> Any:
    return 0.5 * (1.0 + np.tanh(0.5 * values))
