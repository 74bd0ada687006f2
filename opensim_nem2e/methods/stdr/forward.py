"""STDR-Net's forward pass in NumPy, for refining without PyTorch (whose import alone takes longer than refining).

The free-running twin of :class:`opensim_nem2e.methods.stdr.net.STDRNet`; tests hold the two together within 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...data.cycle_view import Condition

Array = NDArray[np.float32]
Variant = Literal["temporal", "spatial"]
Score = Literal["dot", "general"]

SCORES: tuple[Score, ...] = get_args(Score)

#: A batch of so few vectors is multiplied one by one if the matrix has at least so many elements.
_FEW, _LARGE = 6, 2**18


def variant_of(condition: Condition) -> Variant:
    """Tell over what a network of this input condition attends.

    Parameters
    ----------
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.

    Returns
    -------
    {'temporal', 'spatial'}
        Over the samples of the target muscle, or over muscles.
    """
    return "spatial" if condition == "All-Entire" else "temporal"


def weight_shapes(variant: Variant, inputs: int, samples: int, hidden: int, score: Score) -> dict[str, tuple[int, ...]]:
    """Name every weight of a network, as PyTorch names them, with its shape.

    Parameters
    ----------
    variant : {'temporal', 'spatial'}
        Over what the network attends.
    inputs : int
        Number of input muscles.
    samples : int
        Samples of a window.
    hidden : int
        Units of the encoder and of the decoder.
    score : {'dot', 'general'}
        Luong's score function.

    Returns
    -------
    dict of str to tuple of int
        Shapes by name.
    """
    gates = 4 * hidden
    shapes: dict[str, tuple[int, ...]] = {}
    for part, features in (("encoder", samples if variant == "spatial" else inputs), ("decoder", 1)):
        shapes[f"{part}.weight_ih_l0"] = (gates, features)
        shapes[f"{part}.weight_hh_l0"] = (gates, hidden)
        shapes[f"{part}.bias_ih_l0"] = (gates,)
        shapes[f"{part}.bias_hh_l0"] = (gates,)
    if score == "general":
        shapes["attention.weight"] = (hidden, hidden)
    shapes["combine.weight"] = (hidden, 2 * hidden)
    shapes["output.weight"] = (1, hidden)
    return shapes


def run_free(weights: Mapping[str, Array], x: ArrayLike, variant: Variant, samples: int = 20) -> tuple[Array, Array]:
    """Refine a batch of windows; the decoder is fed its own output.

    Parameters
    ----------
    weights : mapping of str to ndarray
        The network's weights (:func:`weight_shapes`); with ``attention.weight`` the score is ``general``, else ``dot``.
    x : array_like, shape (batch, samples, inputs)
        OpenSim's activations, normalised as in training.
    variant : {'temporal', 'spatial'}
        Over what the network attends.
    samples : int
        Samples of the output window.

    Returns
    -------
    y : ndarray, shape (batch, samples)
        The estimate of the EMG, normalised as in training.
    attention : ndarray, shape (batch, samples, encoder steps)
        Attention weights; each row sums to one.
    """
    sequence = np.asarray(x, dtype=np.float32)
    if variant == "spatial":
        sequence = sequence.transpose(0, 2, 1)
    batch, steps, _ = sequence.shape
    size = weights["output.weight"].shape[1]

    hidden = np.zeros((batch, size), dtype=np.float32)
    cell = np.zeros_like(hidden)
    recurrent = weights["encoder.weight_hh_l0"]
    bias = weights["encoder.bias_ih_l0"] + weights["encoder.bias_hh_l0"]
    projected = sequence @ weights["encoder.weight_ih_l0"].T + bias
    memory = np.empty((batch, steps, size), dtype=np.float32)
    for step in range(steps):
        hidden, cell = _lstm_step(projected[:, step] + _multiply(recurrent, hidden), cell)
        memory[:, step] = hidden

    general = weights.get("attention.weight")
    keys = memory if general is None else memory @ general.T
    recurrent = weights["decoder.weight_hh_l0"]
    bias = weights["decoder.bias_ih_l0"] + weights["decoder.bias_hh_l0"]
    from_previous = weights["decoder.weight_ih_l0"].T
    combine = weights["combine.weight"]
    out = weights["output.weight"].T
    previous = np.zeros((batch, 1), dtype=np.float32)
    y = np.empty((batch, samples), dtype=np.float32)
    attention = np.empty((batch, samples, steps), dtype=np.float32)
    for step in range(samples):
        hidden, cell = _lstm_step(previous @ from_previous + bias + _multiply(recurrent, hidden), cell)
        scores = (keys @ hidden[:, :, None])[:, :, 0]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        context = (scores[:, None, :] @ memory)[:, 0]
        previous = np.tanh(_multiply(combine, np.concatenate((context, hidden), axis=1))) @ out
        y[:, step] = previous[:, 0]
        attention[:, step] = scores
    return y, attention


def _multiply(weight: Array, vectors: Array) -> Array:
    """Multiply a matrix (out, in) by a batch of vectors (batch, in).

    A matrix product first copies the matrix into another order, which for a handful of cycles and the paper's 700
    units costs more than the multiplication; one vector at a time streams it once per vector (1.2 instead of 2.9 ms
    for three).
    """
    if 1 < len(vectors) <= _FEW and weight.size >= _LARGE:
        return np.stack([weight @ vector for vector in vectors])
    return vectors @ weight.T


def _lstm_step(gates: Array, cell: Array) -> tuple[Array, Array]:
    """Finish one LSTM step; gates in PyTorch's order: input, forget, candidate, output, each (batch, hidden)."""
    size = cell.shape[1]
    # The logistic function as a hyperbolic tangent cannot overflow.
    gate_in, forget = 0.5 + 0.5 * np.tanh(0.5 * gates[:, :size]), 0.5 + 0.5 * np.tanh(0.5 * gates[:, size : 2 * size])
    candidate = np.tanh(gates[:, 2 * size : 3 * size])
    gate_out = 0.5 + 0.5 * np.tanh(0.5 * gates[:, 3 * size :])
    cell = forget * cell + gate_in * candidate
    return gate_out * np.tanh(cell), cell
