"""The finished STDR-Net of one muscle: weights, normalisation and linear part, applied to whole cycles without PyTorch.

    x_network = (activation - input_offset) / input_scale
    EMG       = output_offset + output_scale * y_network

A network that corrects a linear prediction (:mod:`.linear_part`) adds this prediction, and its estimate is never
negative: ``EMG = max(0, output_offset + linear prediction + output_scale * y_network)``. EMG profiles may stand beside
it (:mod:`.guide`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...data.cycle_view import CycleView
from ...errors import BundleError
from ..base import Prediction, check_arrays
from .forward import SCORES, Score, run_free, variant_of, weight_shapes
from .guide import Guide, load_guide
from .linear_part import LinearPart

_NORMALISATION = ("input_offset", "input_scale", "output_offset", "output_scale")
_LINEAR = ("linear.activation", "linear.shape")


@dataclass(frozen=True)
class Network:
    """The network of one target muscle.

    Parameters
    ----------
    inputs : tuple of str
        Side-neutral input muscles in the order the network takes them: ``ipsi:soleus``, ``contra:soleus``, ...
    score : {'dot', 'general'}
        Luong's score function.
    weights : mapping of str to ndarray
        The weights, named as PyTorch names them (:func:`.forward.weight_shapes`), 32-bit floats.
    input_offset, input_scale : ndarray, shape (inputs,)
        Normalisation of the activations: ``(activation - offset) / scale``.
    output_offset : ndarray, shape (samples,)
        What is added to the network's output at each sample of the window.
    output_scale : ndarray, shape (1,)
        What the network's output is multiplied by.
    view : CycleView
        The input condition and its windows.
    linear : LinearPart, optional
        The linear part of the estimate, which the network's output corrects. With it the estimate is never negative.
    guide : Guide, optional
        EMG profiles that the estimate is mixed with.
    """

    inputs: tuple[str, ...]
    score: Score
    weights: Mapping[str, NDArray[np.float32]] = field(repr=False)
    input_offset: NDArray[np.float32] = field(repr=False)
    input_scale: NDArray[np.float32] = field(repr=False)
    output_offset: NDArray[np.float32] = field(repr=False)
    output_scale: NDArray[np.float32] = field(repr=False)
    view: CycleView
    linear: LinearPart | None = field(default=None, repr=False)
    guide: Guide | None = field(default=None, repr=False)

    @property
    def hidden(self) -> int:
        """Units of the encoder and of the decoder."""
        return int(self.weights["output.weight"].shape[1])

    @property
    def chosen(self) -> Mapping[str, float]:
        """The network's share by motion, where there are profiles beside it."""
        if self.guide is None:
            return {}
        shares = zip(self.guide.profiles.classes, self.guide.shares.tolist(), strict=True)
        return {f"share {motion or 'all'}": share for (motion, age), share in shares if not age}

    @property
    def attention_steps(self) -> tuple[str, ...]:
        """The input muscles (All-Entire), or the samples of the window."""
        if self.view.condition == "All-Entire":
            return self.inputs
        return tuple(f"sample_{step + 1:02d}" for step in range(self.view.samples))

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> Prediction:
        """Apply the network to whole cycles: cut them into windows, normalise, run, undo, join, mix with profiles.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            ``activation``, shape (cycles, cycle_samples, inputs): OpenSim's activations as they are; ``motion`` and
            ``age_group``, shape (cycles,), where they are known.

        Returns
        -------
        Prediction
            The estimate of the EMG, which can leave 0..1, and the attention weights.
        """
        x, view = inputs["activation"], self.view
        windows = view.split((x - self.input_offset) / self.input_scale)
        raw, attention = run_free(self.weights, windows, variant_of(view.condition), view.samples)
        estimate = np.asarray(self.output_offset + self.output_scale * raw.astype(np.float64), dtype=np.float64)
        if self.linear is not None:
            # No EMG is negative, but sums of weighted activations can be.
            estimate = np.maximum(estimate + self.linear.predict(view.split(x)), 0)
        values, weights = view.join(estimate), view.join(attention.astype(np.float64))
        if self.guide is None:
            return Prediction(values, weights)
        values, remarks, origins = self.guide.apply(values, inputs)
        return Prediction(values, weights, remarks=remarks, origins=origins)

    def alone(self) -> Network:
        """Leave the profiles out.

        Returns
        -------
        Network
            What the profiles added where the motion is not known is in its constant.
        """
        if self.guide is None:
            return self
        offset = self.guide.profiles.profiles[0] - self.guide.profiles.base[0]
        constant = (self.output_offset + offset).astype(np.float32)
        return replace(self, output_offset=constant, guide=None)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights, normalisation and linear part."""
        linear = {} if self.linear is None else {name: getattr(self.linear, name[7:]) for name in _LINEAR}
        guide = {} if self.guide is None else self.guide.arrays()
        return {**self.weights, **{name: getattr(self, name) for name in _NORMALISATION}, **linear, **guide}

    def description(self) -> dict[str, Any]:
        """Return size and score function, and whether there is a linear part."""
        about: dict[str, Any] = {"hidden": self.hidden, "score": self.score}
        if self.guide is not None:
            about["classes"] = [list(names) for names in self.guide.profiles.classes]
        return about | ({} if self.linear is None else {"linear": True})


def load_network(
    part: str, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], view: CycleView
) -> Network:
    """Put a network together again, and check it.

    Parameters
    ----------
    part : str
        The target muscle.
    description : mapping of str to object
        From :meth:`Network.description`.
    arrays : mapping of str to ndarray
        From :meth:`Network.arrays`.
    view : CycleView
        The input condition.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        A number or an array is missing, of another shape, or out of range.
    """
    hidden, score, has_linear = description.get("hidden"), description.get("score"), description.get("linear", False)
    faults = []
    if not isinstance(hidden, int) or isinstance(hidden, bool) or hidden < 1:
        faults.append(f"'hidden' of '{part}' must be a whole number of at least 1; found {hidden!r}")
    if score not in SCORES:
        faults.append(f"'score' of '{part}' must be {' or '.join(SCORES)}; found {score!r}")
    if not isinstance(has_linear, bool):
        faults.append(f"'linear' of '{part}' must be true or false; found {has_linear!r}")
    if faults:
        raise BundleError("\n".join(faults))
    assert isinstance(hidden, int)
    score = cast(Score, score)
    inputs, samples = view.inputs_of(part), view.samples
    count = len(inputs)
    shapes = weight_shapes(variant_of(view.condition), count, samples, hidden, score)
    linear_shapes = {"linear.activation": (count, samples, samples), "linear.shape": (samples, samples)}
    normalisation = {
        "input_offset": (count,),
        "input_scale": (count,),
        "output_offset": (samples,),
        "output_scale": (1,),
    }
    guided = {name: array for name, array in arrays.items() if name.startswith("guide.")}
    plain = {name: array for name, array in arrays.items() if name not in guided}
    check_arrays(part, plain, {**shapes, **normalisation, **(linear_shapes if has_linear else {})})
    for name in ("input_scale", "output_scale"):
        if not (arrays[name] > 0).all():
            raise BundleError(f"the tensor '{part}.{name}' must be positive")
    linear = None
    if has_linear:
        own = f"ipsi:{part}"
        linear = LinearPart(
            arrays["linear.activation"], arrays["linear.shape"], inputs.index(own) if own in inputs else None
        )
    return Network(
        inputs,
        score,
        {name: arrays[name] for name in shapes},
        **{name: arrays[name] for name in normalisation},
        view=view,
        linear=linear,
        guide=load_guide(part, description, guided, view) if guided or "classes" in description else None,
    )
