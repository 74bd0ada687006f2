"""What training takes and gives, without PyTorch: the process that plans and watches a training does not need it."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TrainingError
from ..extras import installed_version

#: Raised whenever the same data and settings come to give other bits: older checkpoints then no longer fit.
ENGINE_VERSION = 3

_PARTS = ("data", "held", "everything", "initial", "constants")


@dataclass(frozen=True)
class TrainingSettings:
    """How a module is trained, whatever it is; what belongs to one kind of module is an argument of the module.

    Parameters
    ----------
    epochs : int
        Passes through the data.
    batch_size : int
        Rows of the data per step.
    learning_rate : float
        Adam's step size.
    final_learning_rate : float or None
        The step size to which it falls from epoch to epoch, by half a cosine (Loshchilov and Hutter 2017, without
        restarts); None: it stays.
    weight_decay : float
        Adam's L2 penalty, or with ``decoupled_weight_decay`` the rate at which weights decay.
    decoupled_weight_decay : bool
        Train with AdamW (Loshchilov and Hutter 2019) instead of Adam.
    gradient_clip : float
        Largest norm of a step's gradient; 0: not limited.
    patience : int
        Stop when the validation loss has not improved for that many epochs, and keep the best weights; 0: never.
    seed : int
        Of the first weights, the order of the data and all that is drawn in a step.
    threads : int
        Threads PyTorch may use; more than one pays only for large networks, and changes the last bits of the result.
    """

    epochs: int = 100
    batch_size: int = 16
    learning_rate: float = 1e-3
    final_learning_rate: float | None = None
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    gradient_clip: float = 0.0
    patience: int = 0
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class ModuleSpec:
    """How a module is built, in words that another process understands.

    Parameters
    ----------
    builder : str
        ``package.module:callable``: what it returns is trained (:mod:`opensim_nem2e.training.trainable`).
    arguments : mapping of str to object
        Its keyword arguments: what JSON can hold (tuples become lists).

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        The arguments are not what JSON can hold.
    """

    builder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            arguments = json.loads(json.dumps(dict(self.arguments), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TrainingError(
                f"The arguments of '{self.builder}' must be texts, finite numbers, true, false, null, lists and "
                f"mappings of these: {error}."
            ) from error
        object.__setattr__(self, "arguments", arguments)

    def build(self, constants: Mapping[str, NDArray[Any]] | None = None) -> Any:
        """Call the builder.

        Parameters
        ----------
        constants : mapping of str to ndarray, optional
            One more argument, ``constants``, where there are some.

        Returns
        -------
        object
            What it returns.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            There is no such builder.
        """
        module, _, name = self.builder.partition(":")
        try:
            builder = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise TrainingError(
                f"The module to train cannot be built: '{self.builder}' must be 'package.module:callable', which can "
                f"be imported; found: {error}."
            ) from error
        more = {} if not constants else {"constants": {name: np.array(value) for name, value in constants.items()}}
        return builder(**self.arguments, **more)


@dataclass(frozen=True)
class Epoch:
    """What one pass through the data came to.

    Parameters
    ----------
    number : int
        Counted from 1.
    loss : float
        Mean over the rows of the sum of the loss terms, as it was trained.
    validation_loss : float or None
        Sum of the loss terms of the validation rows, as the module judges itself (free-running for STDR-Net).
    terms : mapping of str to float
        Mean over the rows of each loss term, as it was trained.
    """

    number: int
    loss: float
    validation_loss: float | None
    terms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A trained module.

    Parameters
    ----------
    weights : dict of str to ndarray
        Its parameters and persistent buffers by PyTorch's names.
    history : tuple of Epoch
        Every epoch that was run.
    best_epoch : int
        The epoch the weights are from.
    """

    weights: dict[str, NDArray[np.float32]]
    history: tuple[Epoch, ...]
    best_epoch: int


@dataclass(frozen=True)
class State:
    """All of a training that is under way: what goes on from it gives the bits that it would have given undisturbed.

    Parameters
    ----------
    arrays : dict of str to ndarray
        ``weights.*`` (persistent buffers among them), Adam's ``mean.*``, ``square.*`` and ``adam_steps.*``, the state
        of the random ``generator``, the ``order`` of the rows in the present epoch, ``losses``, ``held_losses`` (NaN:
        no validation data) and ``terms.*`` of the epochs that are done, and ``best.*`` weights when early stopping has
        some.
    numbers : dict of str to int or float
        ``position``: rows of the present epoch that are done; ``total``: their summed loss, and ``total.*`` their
        summed loss terms; ``steps``: all steps so far; ``best_epoch`` (0: none yet) and ``best_loss``. Where the number
        of epochs was found before (:attr:`Task.everything`): ``searched`` epochs of the history did that, in
        ``search_steps`` steps, and found ``epochs``.
    """

    arrays: dict[str, NDArray[Any]] = field(repr=False)
    numbers: dict[str, int | float]


def losses_of(history: Sequence[Epoch]) -> dict[str, NDArray[Any]]:
    """Put a loss history into arrays.

    Parameters
    ----------
    history : sequence of Epoch
        All epochs from the first on.

    Returns
    -------
    dict of str to ndarray
        ``losses``, ``held_losses`` (NaN: no validation data) and ``terms.*`` (NaN: not in this epoch), one value per
        epoch.
    """
    held = [np.nan if epoch.validation_loss is None else epoch.validation_loss for epoch in history]
    names = dict.fromkeys(name for epoch in history for name in epoch.terms)
    return {
        "losses": np.array([epoch.loss for epoch in history], dtype=np.float64),
        "held_losses": np.array(held, dtype=np.float64),
        **{f"terms.{name}": np.array([epoch.terms.get(name, np.nan) for epoch in history]) for name in names},
    }


def with_history(arrays: Mapping[str, NDArray[Any]], history: Sequence[Epoch]) -> dict[str, NDArray[Any]]:
    """Give arrays another loss history.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Of a state.
    history : sequence of Epoch
        The history.

    Returns
    -------
    dict of str to ndarray
        The other arrays, and those of :func:`losses_of`.
    """
    return {name: array for name, array in arrays.items() if not name.startswith("terms.")} | losses_of(history)


def epochs_of(arrays: Mapping[str, NDArray[Any]]) -> list[Epoch]:
    """Undo :func:`losses_of`.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Holds ``losses`` and ``held_losses``, and may hold ``terms.*``.

    Returns
    -------
    list of Epoch
        The history.
    """
    terms = _part(arrays, "terms")
    return [
        Epoch(
            k + 1,
            float(loss),
            None if np.isnan(arrays["held_losses"][k]) else float(arrays["held_losses"][k]),
            {name: float(values[k]) for name, values in terms.items() if not np.isnan(values[k])},
        )
        for k, loss in enumerate(arrays["losses"])
    ]


@dataclass(frozen=True)
class Task:
    """One training, whole: what it needs and nothing else.

    Parameters
    ----------
    module : ModuleSpec
        What is trained.
    settings : TrainingSettings
        How.
    data : mapping of str to ndarray, shape (rows, ...)
        What it is trained on; a step takes some of the rows of every array. Floating point numbers become float32;
        integers and booleans keep their type.
    held : mapping of str to ndarray, shape (held rows, ...), optional
        Arrays of the same names: the rows whose loss is recorded, and which decide when to stop.
    everything : mapping of str to ndarray, shape (all rows, ...), optional
        Arrays of the same names: all rows, normalised by themselves. Where they are given, the training with ``held``
        only finds the number of epochs; then the module is trained anew, on these rows, for this number.
    initial : mapping of str to ndarray, optional
        The first values of all parameters; those of the builder by default.
    constants : mapping of str to ndarray, optional
        Arrays for the builder, of any shape and type.
    """

    module: ModuleSpec
    settings: TrainingSettings
    data: Mapping[str, NDArray[Any]] = field(repr=False)
    held: Mapping[str, NDArray[Any]] | None = field(default=None, repr=False)
    everything: Mapping[str, NDArray[Any]] | None = field(default=None, repr=False)
    initial: Mapping[str, NDArray[Any]] | None = field(default=None, repr=False)
    constants: Mapping[str, NDArray[Any]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for part in _PARTS:
            arrays = getattr(self, part)
            if arrays is not None:
                change = np.asarray if part == "constants" else _single
                object.__setattr__(self, part, {name: change(array) for name, array in arrays.items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name.

        Returns
        -------
        dict of str to ndarray
            ``data.*`` and, where they are given, ``held.*``, ``everything.*``, ``initial.*`` and ``constants.*``.
        """
        return {f"{part}.{name}": array for part in _PARTS for name, array in (getattr(self, part) or {}).items()}

    @classmethod
    def of(cls, module: ModuleSpec, settings: TrainingSettings, arrays: Mapping[str, NDArray[Any]]) -> Task:
        """Put a training together again; the inverse of :meth:`arrays`.

        Parameters
        ----------
        module : ModuleSpec
            What is trained.
        settings : TrainingSettings
            How.
        arrays : mapping of str to ndarray
            From :meth:`arrays`.

        Returns
        -------
        Task
            The same training.
        """
        data, *others = (_part(arrays, name) for name in _PARTS)
        return cls(module, settings, data, *(part or None for part in others))

    @property
    def rows(self) -> int:
        """How many rows it is trained on."""
        return len(next(iter(self.data.values()), ()))

    @property
    def most_epochs(self) -> int:
        """The largest number of epochs that it takes, those that find their number included."""
        return self.settings.epochs * (1 if self.everything is None else 2)

    def check(self) -> None:
        """Make sure that something can be trained on the data.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            There are no rows, arrays do not have the same names or numbers of rows, or values are not finite.
        """
        for part, what in (("data", "training"), ("held", "validation"), ("everything", "final training")):
            arrays: Mapping[str, NDArray[Any]] | None = getattr(self, part)
            if arrays is None:
                continue
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
            rows = {array.shape[:1] for array in arrays.values()}
            if len(rows) != 1 or rows == {()} or not all(array.size for array in arrays.values()):
                raise TrainingError(
                    f"The {what} data must be arrays with the same number of rows, at least one window; found {shapes}."
                )
            if set(arrays) != set(self.data):
                raise TrainingError(
                    f"The {what} data must have the names of the training data, {', '.join(self.data)}; found {shapes}."
                )
            for name, array in arrays.items():
                if array.dtype.kind not in "biuf":
                    raise TrainingError(f"The {what} data '{name}' must be numbers; found {array.dtype}.")
                if not np.isfinite(array).all():
                    raise TrainingError(f"The {what} data hold values that are not finite numbers, in '{name}'.")

    def description(self) -> dict[str, Any]:
        """Say all that decides the result, for a checkpoint and for its key.

        Returns
        -------
        dict of str to object
            Settings, the module, versions, and a digest of the data; JSON can hold it.
        """
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
            digest.update(array.tobytes())
        return {
            # Checkpoints that are older than what may be left out go on.
            **{name: value for name, value in asdict(self.settings).items() if value is not None},
            "module": self.module.builder,
            "arguments": dict(self.module.arguments),
            "data": digest.hexdigest(),
            "torch": installed_version("torch"),
            "engine": ENGINE_VERSION,
        }

    @staticmethod
    def described(description: Mapping[str, Any]) -> tuple[ModuleSpec, TrainingSettings]:
        """Take module and settings from a :meth:`description`.

        Parameters
        ----------
        description : mapping of str to object
            The description.

        Returns
        -------
        module : ModuleSpec
            What is trained.
        settings : TrainingSettings
            How.

        Raises
        ------
        KeyError
            Something is missing.
        """
        needed = [known.name for known in fields(TrainingSettings) if known.default is not None]
        optional = [known.name for known in fields(TrainingSettings) if known.default is None]
        told = [*needed, *(name for name in optional if name in description)]
        settings = TrainingSettings(**{name: description[name] for name in told})
        return ModuleSpec(description["module"], description["arguments"]), settings


def _single(array: NDArray[Any]) -> NDArray[Any]:
    """Make floating point numbers float32."""
    array = np.asarray(array)
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    start = f"{prefix}."
    return {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}
