"""What a module must have to be trained, and what it may have besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import TrainingError
from .task import Task, TrainingSettings


@runtime_checkable
class Trainable(Protocol):
    """An ``nn.Module`` that knows its losses.

    With the class attribute ``batched = True`` it says that many of it may be computed together by ``torch.func.vmap``:
    then its loss terms draw nothing at random, change no buffer, use nothing without a batching rule (``nn.LSTM`` has
    none), and take no path that depends on a tensor's values. The attribute ``stacked`` of the module is set to True
    where it is so computed.
    """

    def loss_terms(self, batch: Mapping[str, Tensor], draw: float) -> dict[str, Tensor]:
        """Compute the losses of some rows.

        Parameters
        ----------
        batch : mapping of str to Tensor, shape (rows, ...)
            The rows.
        draw : float
            Drawn for this step evenly from 0 (included) to 1 (excluded), for what is to happen in some of the steps. A
            Tensor of one number where many modules are computed together.

        Returns
        -------
        dict of str to Tensor
            Scalars by name, means over the rows, already weighted. Their sum is minimised.
        """


@runtime_checkable
class HeldOut(Protocol):
    """A module that is judged otherwise than it is trained."""

    def held_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses of rows that it is not trained on; by default ``loss_terms(batch, draw=1.0)``.

        Parameters
        ----------
        batch : mapping of str to Tensor, shape (rows, ...)
            The rows.

        Returns
        -------
        dict of str to Tensor
            Scalars by name. Their sum is the validation loss.
        """


@runtime_checkable
class Grouped(Protocol):
    """A module whose parameters are not all trained alike, such as muscle parameters beside weights."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Say how parameters are trained; those that are not named as the settings say.

        Returns
        -------
        list of dict
            ``params`` (parameters of the module), and at will ``learning_rate_factor`` (1 by default) and
            ``weight_decay`` (that of the settings by default).
        """


@dataclass(frozen=True)
class Group:
    """Parameters that are trained alike.

    Parameters
    ----------
    names : tuple of str
        Their names in the module.
    learning_rate : float
        Adam's step size.
    weight_decay : float
        As in the settings.
    """

    names: tuple[str, ...]
    learning_rate: float
    weight_decay: float


def build(task: Task) -> nn.Module:
    """Build the module of a task from its seed, with its first weights.

    Parameters
    ----------
    task : Task
        The training.

    Returns
    -------
    Module
        On the processor.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        It cannot be built, is no :class:`Trainable` module, or the first weights do not fit it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.settings.seed)
        module = task.module.build(task.constants)
    if not (isinstance(module, nn.Module) and isinstance(module, Trainable)):
        raise TrainingError(
            f"'{task.module.builder}' must build a torch.nn.Module that has loss_terms(batch, draw); "
            f"found {type(module).__name__}."
        )
    if task.initial is not None:
        _set_weights(module, task.initial)
    return cast(nn.Module, module)


@torch.no_grad()
def _set_weights(module: nn.Module, initial: Mapping[str, NDArray[Any]]) -> None:
    expected = {name: tuple(weight.shape) for name, weight in module.named_parameters()}
    found = {name: initial[name].shape for name in expected if name in initial}
    if found != expected:
        wrong = [f"{name} {shape}: {found.get(name, 'missing')}" for name, shape in expected.items()]
        raise TrainingError(f"The first weights must fit the module; expected and found: {'; '.join(wrong)}.")
    for name, weight in module.named_parameters():
        weight.copy_(torch.from_numpy(np.array(initial[name])))


def groups_of(module: nn.Module, settings: TrainingSettings) -> list[Group]:
    """Say how the parameters of a module are trained.

    Parameters
    ----------
    module : Module
        The module.
    settings : TrainingSettings
        How, unless the module says otherwise.

    Returns
    -------
    list of Group
        Every parameter that is to be learned is in one of them.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        A group names a parameter twice, or one that is not the module's.
    """
    free = {id(weight): name for name, weight in module.named_parameters() if weight.requires_grad}
    groups = []
    for given in module.parameter_groups() if isinstance(module, Grouped) else ():
        unknown = set(given) - {"params", "learning_rate_factor", "weight_decay"}
        params = [weight for weight in given.get("params", ()) if weight.requires_grad]
        if unknown or not all(id(weight) in free for weight in params):
            raise TrainingError(
                "A parameter group must have 'params' (parameters of the module, none of them in two groups) and at "
                f"will 'learning_rate_factor' and 'weight_decay'; found {', '.join(sorted(given))}"
                f"{'' if unknown else ' with a parameter of another group or module'}."
            )
        names = tuple(free.pop(id(weight)) for weight in params)
        rate = settings.learning_rate * given.get("learning_rate_factor", 1.0)
        groups.append(Group(names, rate, given.get("weight_decay", settings.weight_decay)))
    groups.append(Group(tuple(free.values()), settings.learning_rate, settings.weight_decay))
    groups = [group for group in groups if group.names]
    if not groups:
        raise TrainingError("The module has no parameter to learn.")
    return groups


def held_terms_of(module: nn.Module) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """Say how a module is judged.

    Parameters
    ----------
    module : Module
        The module.

    Returns
    -------
    callable
        Its ``held_terms``, or what stands for them.
    """
    if isinstance(module, HeldOut):
        return module.held_terms
    trainable = cast(Trainable, module)
    return lambda batch: trainable.loss_terms(batch, 1.0)


def total_of(terms: Mapping[str, Tensor]) -> Tensor:
    """Add loss terms up.

    Parameters
    ----------
    terms : mapping of str to Tensor
        Scalars by name.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        There are none, or they are no scalars.
    """
    values: Sequence[Tensor] = list(terms.values())
    if not values or any(value.dim() for value in values):
        found = ", ".join(f"{name} {tuple(value.shape)}" for name, value in terms.items()) or "nothing"
        raise TrainingError(f"A module's loss terms must be scalars by name; found {found}.")
    # Not sum(), which begins by adding to the number 0.
    return reduce(torch.add, values)
