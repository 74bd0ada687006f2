"""A bundle: networks for one or more target muscles, with all that is needed to use and to judge them, in one file.

The file is a ``.safetensors`` file (never pickle). Its tensors are ``<target>.<weight>`` in 32-bit floats
(:func:`opensim_nem2e.methods.stdr.forward.weight_shapes`) and, per target, ``input_offset`` and ``input_scale`` (inputs,),
``output_offset`` (samples,) and ``output_scale`` (1,):

    x_network = (activation - input_offset) / input_scale
    EMG       = output_offset + output_scale * y_network

Networks that correct a linear prediction also have ``linear.activation`` (inputs, samples, samples) and
``linear.shape`` (samples, samples), see :mod:`opensim_nem2e.methods.stdr.linear_part`; then
``EMG = max(0, output_offset + linear prediction + output_scale * y_network)``.

Everything else is JSON text under the metadata key ``opensim_nem2e``. Importing and using this module needs neither
PyTorch nor SciPy nor pandas; only the networks that are asked for are read from the file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .. import __version__
from ..errors import BundleError, did_you_mean
from ..storage.atomic import atomic_path
from .base import Prediction, Provenance, Quantity
from .stdr.conditions import (
    CONDITIONS,
    SCORES,
    Condition,
    Score,
    cycle_samples,
    join_cycle,
    split_cycle,
    variant_of,
    windows_per_cycle,
)
from .stdr.forward import run_free, weight_shapes
from .stdr.linear_part import LinearPart

#: Version of the file layout this package writes; files of a higher version are refused.
FORMAT_VERSION = 2

#: The one key of the safetensors metadata that holds our JSON text.
METADATA_KEY = "opensim_nem2e"

#: Where the networks that ship with the package lie.
SHIPPED = Path(__file__).resolve().parent.parent / "bundles"

#: Sections that the metadata must have besides the networks themselves, and the keys each must hold.
SECTIONS: dict[str, tuple[str, ...]] = {
    "cycle": ("definition", "sampling"),
    "normalization": ("activation", "emg"),
    "data": ("description", "licence", "attribution"),
    "training": ("seed",),
    "packages": (),
    "validation": ("method",),
}

#: Ways of estimating the error on unseen people, whose figures the section ``validation`` may hold, muscle by muscle.
VALIDATION_METHODS = ("leave_one_subject_out", "held_out")

#: The figures of a muscle: RMS errors and their change (``E / E_opensim - 1``), averaged over subjects.
VALIDATION_FIGURES = ("E_opensim", "E_refined", "E_mean", "E_ridge", "Er_refined")

_INPUT = re.compile(r"(ipsi|contra):[A-Za-z0-9_]+")
_TARGET = re.compile(r"[A-Za-z0-9_]+")


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
        The weights, named as PyTorch names them.
    input_offset, input_scale : ndarray, shape (inputs,)
        Normalisation of the activations: ``(activation - offset) / scale``.
    output_offset : ndarray, shape (samples,)
        What is added to the network's output at each sample of the window.
    output_scale : ndarray, shape (1,)
        What the network's output is multiplied by.
    linear : LinearPart, optional
        The linear part of the estimate, which the network's output corrects. With it the estimate is never negative.
    """

    inputs: tuple[str, ...]
    score: Score
    weights: Mapping[str, NDArray[np.float32]]
    input_offset: NDArray[np.float32]
    input_scale: NDArray[np.float32]
    output_offset: NDArray[np.float32]
    output_scale: NDArray[np.float32]
    linear: LinearPart | None = None

    @property
    def hidden(self) -> int:
        """Units of the encoder and of the decoder."""
        return int(self.weights["output.weight"].shape[1])

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return every array of the network by name.

        Returns
        -------
        dict of str to ndarray
            Weights, normalisation and linear part.
        """
        linear = {} if self.linear is None else {name: getattr(self.linear, name[7:]) for name in _LINEAR}
        return {**self.weights, **{name: getattr(self, name) for name in _NORMALISATION}, **linear}


_NORMALISATION = ("input_offset", "input_scale", "output_offset", "output_scale")
_LINEAR = ("linear.activation", "linear.shape")


@dataclass(frozen=True)
class _Entry:
    """What the metadata say about one network."""

    target: str
    inputs: tuple[str, ...]
    hidden: int
    score: Score
    linear: bool


class Bundle:
    """Networks that refine OpenSim's activations of a gait cycle toward EMG.

    Made by :meth:`load` from a file, or by the training tool from the networks it trained.

    Parameters
    ----------
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition of all networks.
    networks : mapping of str to Network
        The networks by target muscle (standard name), in order.
    metadata : mapping of str to Any
        The sections of :data:`SECTIONS`: cycle definition, normalisation, provenance and licence of the data, training
        settings, package versions, validation figures.
    samples : int
        Samples of one network window.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        Something is missing, of another shape, or not finite.
    """

    def __init__(
        self,
        condition: Condition,
        networks: Mapping[str, Network],
        metadata: Mapping[str, Any],
        samples: int = 20,
    ):
        entries = [
            {
                "target": target,
                "inputs": list(network.inputs),
                "hidden": network.hidden,
                "score": network.score,
                **({} if network.linear is None else {"linear": True}),
            }
            for target, network in networks.items()
        ]
        header = {
            **metadata,
            # What an older version of the package can apply it may read.
            "format_version": FORMAT_VERSION if any(entry.get("linear") for entry in entries) else 1,
            "condition": condition,
            "samples": samples,
            "networks": entries,
        }
        shapes = {
            f"{target}.{name}": (tuple(array.shape), str(array.dtype))
            for target, network in networks.items()
            for name, array in network.tensors().items()
        }
        self._adopt(header, shapes, None)
        for target, network in networks.items():
            self._check_values(target, network)
        self._networks.update(networks)

    def _adopt(
        self, header: Mapping[str, Any], shapes: Mapping[str, tuple[tuple[int, ...], str]], path: Path | None
    ) -> None:
        """Check the description of the networks against their tensors and keep it."""
        self.path = path
        entries = _check(header, shapes, path)
        self._entries = {entry.target: entry for entry in entries}
        self._condition: Condition = header["condition"]
        self._samples: int = header["samples"]
        self._metadata = dict(header)
        self._networks: dict[str, Network] = {}
        self._file: Any = None

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str]) -> Bundle:
        """Open a bundle.

        The description and the shapes of all tensors are checked now; the values of a network are read, and checked
        to be finite, when that network is first used.

        Parameters
        ----------
        path_or_name : str or os.PathLike
            A ``.safetensors`` file, or the name of a bundle that ships with the package, such as ``gait``.

        Returns
        -------
        Bundle
            The networks, ready to refine.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            There is no such file or shipped bundle; it is truncated, not a safetensors file, not a bundle, of a newer
            format; or a tensor is missing or of the wrong shape.
        """
        path = find_bundle(path_or_name)
        try:
            file = safe_open(path, framework="numpy")
            header_text = (file.metadata() or {}).get(METADATA_KEY)
            shapes = {}
            for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
                tensor = file.get_slice(key)
                shapes[key] = (tuple(tensor.get_shape()), str(tensor.get_dtype()))
        except (SafetensorError, OSError) as error:
            raise BundleError(
                f"{path}: this network bundle cannot be read: it must be a complete .safetensors file; "
                f"the file is truncated, damaged or of another kind ({error})."
            ) from error
        if header_text is None:
            raise BundleError(
                f"{path}: this is a safetensors file but not a network bundle: its metadata have no key "
                f"'{METADATA_KEY}'. Bundles are written by STDRTrainTool."
            )
        try:
            header = json.loads(header_text)
        except ValueError as error:
            raise BundleError(f"{path}: the bundle's metadata are not valid JSON: {error}.") from error
        bundle = cls.__new__(cls)
        bundle._adopt(header, shapes, path)
        bundle._file = file
        return bundle

    @property
    def condition(self) -> Condition:
        """The input condition: ``One-Quarter``, ``One-Entire`` or ``All-Entire``."""
        return self._condition

    @property
    def targets(self) -> tuple[str, ...]:
        """Standard names of the muscles whose EMG the bundle estimates."""
        return tuple(self._entries)

    @property
    def samples(self) -> int:
        """Samples of one network window."""
        return self._samples

    @property
    def cycle_samples(self) -> int:
        """Evenly spaced samples, both ends included, at which :meth:`refine` takes and gives a whole gait cycle."""
        return cycle_samples(self._condition, self._samples)

    @property
    def metadata(self) -> dict[str, Any]:
        """Everything the file says about its networks: cycle, normalisation, data, training, packages, validation."""
        return self._metadata

    def inputs(self, target: str) -> tuple[str, ...]:
        """Name the input muscles of a target, in the order :meth:`refine` takes them.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.

        Returns
        -------
        tuple of str
            ``ipsi:<standard name>`` for the target's own side, ``contra:<standard name>`` for the other.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            The bundle has no network for this muscle.
        """
        return self._entry(target).inputs

    def network(self, target: str) -> Network:
        """Return the network of a target, reading it from the file if need be.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.

        Returns
        -------
        Network
            Weights and normalisation.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            The bundle has no network for this muscle, or a value in it is not finite.
        """
        entry = self._entry(target)
        if target not in self._networks:
            shapes = _expected_shapes(entry, self._condition, self._samples)
            arrays = {name: self._file.get_tensor(f"{target}.{name}") for name in shapes}
            normalisation = {name: arrays.pop(name) for name in _NORMALISATION}
            linear = None
            if entry.linear:
                own = f"ipsi:{target}"
                activation, shape = (arrays.pop(name) for name in _LINEAR)
                linear = LinearPart(activation, shape, entry.inputs.index(own) if own in entry.inputs else None)
            network = Network(entry.inputs, entry.score, arrays, **normalisation, linear=linear)
            self._check_values(target, network)
            self._networks[target] = network
        return self._networks[target]

    def refine(self, target: str, x: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate the EMG of one muscle from OpenSim's activations, many cycles at once.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.
        x : array_like, shape (cycles, cycle_samples, inputs)
            OpenSim's activations as they are (0..1), one column per entry of ``inputs(target)``, at
            ``linspace(start, end, cycle_samples)`` of each cycle. For One-Quarter that is 77 samples: the four windows
            of 20 that share their border samples are cut, and put together again, in here.

        Returns
        -------
        y : ndarray, shape (cycles, cycle_samples)
            The estimate of the normalised EMG at the same times. It can leave 0..1; a network with a linear part gives
            nothing negative.
        attention : ndarray, shape (cycles, samples, encoder steps)
            Attention weights; each row (output sample) sums to one. Encoder steps are input samples (One-Entire) or
            input muscles (All-Entire). For One-Quarter the shape is (cycles, 4, samples, samples).

        Raises
        ------
        opensim_nem2e.errors.BundleError
            The bundle has no network for this muscle, or x has another shape or values that are not finite.
        """
        network = self.network(target)
        values = np.asarray(x, dtype=np.float64)
        expected = (self.cycle_samples, len(network.inputs))
        if values.ndim != 3 or values.shape[1:] != expected:
            raise BundleError(
                f"The '{self.condition}' network of '{target}' takes activations of shape "
                f"(cycles, {expected[0]} samples, {expected[1]} muscles); found {values.shape}."
            )
        if not np.isfinite(values).all():
            raise BundleError(f"The activations given to the network of '{target}' are not all finite numbers.")
        return refine_cycles(network, values, self._condition, self._samples)

    def predict(self, target: str, x: ArrayLike) -> Prediction:
        """Estimate the EMG of one muscle, as :meth:`refine`, with the attention joined over a cycle's windows.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.
        x : array_like, shape (cycles, cycle_samples, inputs)
            As for :meth:`refine`.

        Returns
        -------
        Prediction
            The estimate, and the attention (cycles, cycle_samples, steps).
        """
        values, attention = self.refine(target, x)
        return Prediction(values, join_cycle(attention.reshape(-1, *attention.shape[-2:]), self._condition))

    def attention_steps(self, target: str) -> tuple[str, ...]:
        """Name the steps of the attention.

        Parameters
        ----------
        target : str
            Standard name of the target muscle.

        Returns
        -------
        tuple of str
            The inputs (All-Entire), or ``sample_01`` ... of the cycle (One-Entire) or of the quarter (One-Quarter).
        """
        if self._condition == "All-Entire":
            return self.inputs(target)
        return tuple(f"sample_{step:02d}" for step in range(1, self._samples + 1))

    @property
    def quantity(self) -> Quantity:
        """What its estimates are: EMG relative to its maximum."""
        return "emg"

    @property
    def provenance(self) -> Provenance:
        """Where its estimates come from."""
        return Provenance(
            method="stdr",
            label=f"STDR-Net, {self._condition}",
            bundle=self.path.name if self.path else "",
            path=self.path,
            package_version=__version__,
            validation=self._metadata["validation"],
            calibration=self._metadata.get("calibration"),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bundle to a ``.safetensors`` file, replacing an older one only when it is complete.

        Parameters
        ----------
        path : str or os.PathLike
            The file. Its folder must exist.
        """
        tensors = {
            f"{target}.{name}": np.ascontiguousarray(array)
            for target in self.targets
            for name, array in self.network(target).tensors().items()
        }
        text = json.dumps(self._metadata, allow_nan=False, ensure_ascii=False)
        with atomic_path(path) as temporary:
            # Not save_file: it makes files that only their owner can read.
            temporary.write_bytes(save(tensors, metadata={METADATA_KEY: text}))

    def _entry(self, target: str) -> _Entry:
        if target not in self._entries:
            raise BundleError(
                f"{self._where()}there is no network for the muscle '{target}'.{did_you_mean(target, self.targets)} "
                f"The bundle's muscles are: {', '.join(self.targets)}."
            )
        return self._entries[target]

    def _check_values(self, target: str, network: Network) -> None:
        for name, array in network.tensors().items():
            if not np.isfinite(array).all():
                raise BundleError(
                    f"{self._where()}the tensor '{target}.{name}' holds values that are not finite numbers."
                )
        for name in ("input_scale", "output_scale"):
            if not (getattr(network, name) > 0).all():
                raise BundleError(f"{self._where()}the tensor '{target}.{name}' must be positive.")

    def _where(self) -> str:
        return "" if self.path is None else f"{self.path}: "


def refine_cycles(
    network: Network, x: NDArray[np.float64], condition: Condition, samples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Apply one network to whole cycles: cut them into windows, normalise, run, undo, join.

    Parameters
    ----------
    network : Network
        The network.
    x : ndarray, shape (cycles, cycle_samples, inputs)
        OpenSim's activations as they are.
    condition : {'One-Quarter', 'One-Entire', 'All-Entire'}
        The input condition.
    samples : int
        Samples of one network window.

    Returns
    -------
    y : ndarray, shape (cycles, cycle_samples)
        The estimate of the EMG.
    attention : ndarray, shape (cycles, samples, encoder steps) or (cycles, 4, samples, samples)
        As :meth:`Bundle.refine` gives it.
    """
    windows = split_cycle((x - network.input_offset) / network.input_scale, condition, samples)
    raw, attention = run_free(network.weights, windows, variant_of(condition), samples)
    estimate = np.asarray(network.output_offset + network.output_scale * raw.astype(np.float64), dtype=np.float64)
    if network.linear is not None:
        # No EMG is negative, but sums of weighted activations can be.
        estimate = np.maximum(estimate + network.linear.predict(split_cycle(x, condition, samples)), 0)
    weights = attention.astype(np.float64)
    count = windows_per_cycle(condition)
    if count > 1:
        weights = weights.reshape(-1, count, *weights.shape[1:])
    return join_cycle(estimate, condition), weights


def shipped_bundles() -> dict[str, Path]:
    """List the bundles that ship with the package.

    Returns
    -------
    dict of str to pathlib.Path
        Files by name.
    """
    return {file.stem: file for file in sorted(SHIPPED.glob("*.safetensors"))}


def find_bundle(path_or_name: str | os.PathLike[str]) -> Path:
    """Find the file that a path or the name of a shipped bundle stands for.

    Parameters
    ----------
    path_or_name : str or os.PathLike
        A file, or a shipped bundle's name.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        There is no such file and no such name.
    """
    text = os.fspath(path_or_name)
    path = Path(text)
    if path.is_file():
        return path
    shipped = shipped_bundles()
    if text in shipped:
        return shipped[text]
    allowed = f"shipped bundles: {', '.join(shipped) or 'none'}"
    if path.is_dir():
        raise BundleError(f"{path}: a network bundle must be a .safetensors file; found a folder ({allowed}).")
    if path.suffix or len(path.parts) > 1:
        raise BundleError(f"{path}: there is no such network bundle ({allowed}).{did_you_mean(path.stem, shipped)}")
    raise BundleError(
        f"There is no network bundle '{text}': it must be a .safetensors file or the name of a shipped bundle "
        f"({allowed}).{did_you_mean(text, shipped)}"
    )


def _expected_shapes(entry: _Entry, condition: Condition, samples: int) -> dict[str, tuple[int, ...]]:
    count = len(entry.inputs)
    return {
        **weight_shapes(variant_of(condition), count, samples, entry.hidden, entry.score),
        "input_offset": (count,),
        "input_scale": (count,),
        "output_offset": (samples,),
        "output_scale": (1,),
        **(
            {"linear.activation": (count, samples, samples), "linear.shape": (samples, samples)} if entry.linear else {}
        ),
    }


def _check(header: Any, shapes: Mapping[str, tuple[tuple[int, ...], str]], path: Path | None) -> list[_Entry]:
    """Check the metadata and the tensors' shapes; report every fault at once."""
    where = "The bundle" if path is None else f"{path}: the bundle"
    if not isinstance(header, dict):
        raise BundleError(f"{where}'s metadata must be a JSON object.")
    version = header.get("format_version")
    if not _is_count(version):
        raise BundleError(f"{where} does not say its format_version (a whole number from 1 to {FORMAT_VERSION}).")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{where} has format version {version}; this version of opensim_nem2e reads up to {FORMAT_VERSION}. "
            "Update the package: pip install --upgrade opensim-nem2e."
        )
    faults: list[str] = []
    condition = header.get("condition")
    if condition not in CONDITIONS:
        faults.append(f"unknown condition {condition!r}; allowed: {', '.join(CONDITIONS)}")
    samples = header.get("samples")
    if not _is_count(samples) or samples < 2:
        faults.append(f"'samples' must be a whole number of at least 2; found {samples!r}")
    for section, keys in SECTIONS.items():
        value = header.get(section)
        if not isinstance(value, dict):
            faults.append(f"the section '{section}' is missing from the metadata")
            continue
        faults += [f"'{key}' is missing from the section '{section}'" for key in keys if key not in value]
    faults += _check_texts(header)
    faults += _check_validation(header.get("validation"))
    faults += _check_calibration(header.get("calibration"))
    entries = _check_entries(header.get("networks"), condition, faults)
    if not faults:
        expected = {
            f"{entry.target}.{name}": shape
            for entry in entries
            for name, shape in _expected_shapes(entry, header["condition"], header["samples"]).items()
        }
        faults += _check_shapes(expected, shapes)
    if faults:
        shown = faults[:20] + ([f"... and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise BundleError(f"{where} cannot be used:\n" + "\n".join(f"  - {fault}" for fault in shown))
    return entries


def _check_texts(header: Mapping[str, Any]) -> list[str]:
    """Check what is shown to the user when the bundle is applied."""
    faults = []
    for section, key in (
        ("data", "description"),
        ("data", "licence"),
        ("data", "attribution"),
        ("normalization", "emg"),
    ):
        value = header.get(section)
        if isinstance(value, dict) and key in value and not isinstance(value[key], str):
            faults.append(f"'{key}' of the section '{section}' must be a text; found {value[key]!r}")
    return faults


def _check_validation(section: Any) -> list[str]:
    """Check the errors on unseen people, where there are any."""
    if not isinstance(section, dict):
        return []
    faults = []
    for method in VALIDATION_METHODS:
        if method not in section:
            continue
        table = section[method]
        if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
            faults.append(f"'{method}' of the section 'validation' must hold one object per muscle")
            continue
        for muscle, row in table.items():
            needed = VALIDATION_FIGURES if muscle == "ALL" else ("subjects", *VALIDATION_FIGURES)
            missing = [name for name in needed if not _is_number(row.get(name))]
            if missing:
                faults.append(
                    f"'{method}' of the section 'validation' lacks numbers for '{muscle}': {', '.join(missing)}"
                )
    return faults


def _check_calibration(section: Any) -> list[str]:
    """Check what is shown of the person that a bundle was calibrated to, if it was."""
    if section is None:
        return []
    if not isinstance(section, dict):
        return ["the section 'calibration' must be an object"]
    faults = [
        f"'{key}' of the section 'calibration' must be a list of texts"
        for key in ("subjects", "motions")
        if not isinstance(section.get(key), list) or not all(isinstance(name, str) for name in section[key])
    ]
    muscles = section.get("muscles")
    if not isinstance(muscles, dict) or not all(
        isinstance(row, dict) and all(map(_is_number, row.values())) for row in muscles.values()
    ):
        faults.append("'muscles' of the section 'calibration' must hold one object with numbers per muscle")
    return faults


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_entries(found: Any, condition: Any, faults: list[str]) -> list[_Entry]:
    if not isinstance(found, list) or not found:
        faults.append("the metadata list no networks")
        return []
    entries: list[_Entry] = []
    for item in found:
        target = item.get("target") if isinstance(item, dict) else None
        if not isinstance(target, str) or not _TARGET.fullmatch(target):
            faults.append(f"a network's 'target' must be a muscle's standard name; found {target!r}")
            continue
        inputs, hidden, score = item.get("inputs"), item.get("hidden"), item.get("score")
        if not _is_list_of_inputs(inputs):
            faults.append(
                f"the inputs of '{target}' must be different names like 'ipsi:soleus' or 'contra:soleus'; "
                f"found {inputs!r}"
            )
        elif condition in CONDITIONS and condition != "All-Entire" and len(inputs) != 1:
            faults.append(f"a '{condition}' network has one input muscle; '{target}' has {len(inputs)}")
        if not _is_count(hidden):
            faults.append(f"'hidden' of '{target}' must be a whole number of at least 1; found {hidden!r}")
        if score not in SCORES:
            faults.append(f"'score' of '{target}' must be {' or '.join(SCORES)}; found {score!r}")
        if any(entry.target == target for entry in entries):
            faults.append(f"there are two networks for '{target}'")
        linear = item.get("linear", False)
        if not isinstance(linear, bool):
            faults.append(f"'linear' of '{target}' must be true or false; found {linear!r}")
        if not faults:
            entries.append(_Entry(target, tuple(inputs), hidden, score, linear))
    return entries


def _check_shapes(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[tuple[int, ...], str]]
) -> list[str]:
    faults = []
    for name, shape in expected.items():
        if name not in found:
            faults.append(f"the tensor '{name}' is missing")
            continue
        found_shape, kind = found[name]
        if found_shape != shape:
            faults.append(f"the tensor '{name}' must have the shape {shape}; found {found_shape}")
        if kind not in ("F32", "float32"):
            faults.append(f"the tensor '{name}' must hold 32-bit floats; found {kind}")
    faults += [f"the tensor '{name}' belongs to no network" for name in found if name not in expected]
    return faults


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_list_of_inputs(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    return all(isinstance(name, str) and _INPUT.fullmatch(name) for name in value) and len(set(value)) == len(value)
