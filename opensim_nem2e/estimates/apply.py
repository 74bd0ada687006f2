"""Apply a bundle to the muscles of one trial: arrays in, arrays out.

Which network serves which muscle is decided by :func:`plan_targets`; :func:`refine_trial` cuts the cycles, runs
the networks (all cycles of both limbs at once) and puts the result back onto the trial's own time base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, LabelError, did_you_mean
from ..methods.bundle import Bundle
from ..methods.stdr.conditions import join_cycle
from ..signals.cycles import Cycle, stitch
from ..storage.muscles import StandardMuscle

Array = NDArray[np.float64]

_OTHER = {"r": "l", "l": "r"}


@dataclass(frozen=True)
class Target:
    """One muscle of a trial and the network that refines it.

    Parameters
    ----------
    muscle : str
        The model's muscle name.
    standard_name : str
        The network's name.
    side : {'r', 'l'}
        The limb; its gait cycles are used.
    inputs : tuple of str
        The model's muscles that feed the network, in its order. For the left limb, ipsi- and contralateral
        muscles have changed places: a network trained on one side serves the other.
    """

    muscle: str
    standard_name: str
    side: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Which muscles of a trial can be refined, and why the others cannot.

    Parameters
    ----------
    targets : tuple of Target
        In the order of the trial's muscles.
    left_alone : dict of str to str
        Muscles that a bundle's network is meant for but that cannot be refined, with the reason.
    without_network : tuple of str
        Muscles for which the bundle has no network.
    """

    targets: tuple[Target, ...]
    left_alone: Mapping[str, str]
    without_network: tuple[str, ...] = ()


@dataclass(frozen=True)
class RefinedMuscle:
    """The refined curve of one muscle.

    Parameters
    ----------
    target : Target
        What was refined, and by which network.
    cycles : tuple of Cycle
        The cycles of the limb.
    estimate : numpy.ndarray, shape (rows,)
        The network's estimate of the normalised EMG on the trial's time base, not clipped; OpenSim's value
        outside the cycles.
    refined : numpy.ndarray of bool, shape (rows,)
        The rows that belong to a cycle.
    before, after : numpy.ndarray, shape (cycles, samples)
        The network's input for this muscle and its output, per cycle.
    attention : numpy.ndarray
        Attention weights as :meth:`opensim_nem2e.methods.bundle.Bundle.refine` returns them.
    """

    target: Target
    cycles: tuple[Cycle, ...]
    estimate: Array
    refined: NDArray[np.bool_]
    before: Array
    after: Array
    attention: Array


def plan_targets(bundle: Bundle, muscles: Mapping[str, StandardMuscle | None], requested: Sequence[str] = ()) -> Plan:
    """Decide which muscles a bundle refines.

    Parameters
    ----------
    bundle : Bundle
        The networks.
    muscles : mapping of str to StandardMuscle or None
        The trial's muscles in file order, with the standard name and side each stands for (None: unknown).
    requested : sequence of str
        What the user asked for: model muscle names (``soleus_r``) or standard names (``soleus``, both limbs).
        Empty: all that the bundle can refine.

    Returns
    -------
    Plan
        The muscles to refine.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        A requested name is no muscle of the trial.
    opensim_nem2e.errors.BundleError
        Nothing can be refined, or a requested muscle cannot.
    """
    wanted = _requested_muscles(muscles, requested)
    by_standard: dict[tuple[str, str], list[str]] = {}
    for muscle, standard in muscles.items():
        if standard is not None and standard.side in _OTHER:
            by_standard.setdefault((standard.name, standard.side), []).append(muscle)

    targets: list[Target] = []
    left_alone: dict[str, str] = {}
    without_network: list[str] = []
    for muscle, standard in muscles.items():
        if muscle not in wanted:
            continue
        reason = ""
        if standard is None:
            reason = "its name is not in the muscle name table (see <muscle_names_file>)"
        elif standard.side not in _OTHER:
            reason = "it belongs to neither the right nor the left limb"
        elif standard.name not in bundle.targets:
            reason = f"the bundle has no network for '{standard.name}' (it has {', '.join(bundle.targets)})"
        else:
            inputs, reason = _input_muscles(bundle, standard, muscle, by_standard)
            if not reason:
                targets.append(Target(muscle, standard.name, standard.side, inputs))
                continue
            left_alone[muscle] = reason
        if requested:
            left_alone[muscle] = reason
        elif muscle not in left_alone:
            without_network.append(muscle)
    if requested and left_alone:
        listed = "\n".join(f"  - {muscle}: {reason}" for muscle, reason in left_alone.items())
        raise BundleError(f"The bundle cannot refine every muscle that <muscles> asks for:\n{listed}")
    if not targets:
        detail = "".join(f"\n  - {muscle}: {reason}" for muscle, reason in left_alone.items())
        raise BundleError(
            "The bundle is for other muscles: it can refine none of this trial's. "
            f"Its networks are for {', '.join(bundle.targets)}; the trial has {_listing(muscles)}.{detail}"
        )
    return Plan(tuple(targets), left_alone, tuple(without_network))


def refine_trial(
    bundle: Bundle,
    time: Array,
    activations: Mapping[str, Array],
    targets: Sequence[Target],
    cycles: Mapping[str, Sequence[Cycle]],
    *,
    crossfade: float,
    interpolation: str = "pchip",
    tolerance: float | None = None,
) -> list[RefinedMuscle]:
    """Refine the muscles of a trial.

    Parameters
    ----------
    bundle : Bundle
        The networks.
    time : numpy.ndarray, shape (rows,)
        Time (s), strictly increasing, evenly spaced or not.
    activations : mapping of str to numpy.ndarray, shape (rows,)
        OpenSim's activations (0..1) of all input muscles, by model muscle name.
    targets : sequence of Target
        From :func:`plan_targets`.
    cycles : mapping of {'r', 'l'} to sequence of Cycle
        The gait cycles of each limb. Targets of a limb without cycles are left out of the result.
    crossfade : float
        Duration over which neighbouring cycles are blended (s).
    interpolation : {'pchip', 'linear'}
        How the network's samples are brought back onto ``time``.
    tolerance : float, optional
        By how much a cycle may leave the data (s); the nearest row is held there.

    Returns
    -------
    list of RefinedMuscle
        In the order of the targets.

    Raises
    ------
    opensim_nem2e.errors.CycleError
        A cycle leaves the data.
    """
    by_network: dict[str, list[Target]] = {}
    for target in targets:
        if cycles.get(target.side):
            by_network.setdefault(target.standard_name, []).append(target)

    # Muscles share inputs (All-Entire: all of them), and those of a limb its cycles: each cycle is cut out once.
    windows: dict[tuple[str, Cycle], Array] = {}
    for side in dict.fromkeys(target.side for members in by_network.values() for target in members):
        own_targets = [target for members in by_network.values() for target in members if target.side == side]
        names = list(dict.fromkeys(name for target in own_targets for name in (target.muscle, *target.inputs)))
        table = np.column_stack([activations[name] for name in names])
        for cycle in cycles[side]:
            window = cycle.window(time, table, bundle.cycle_samples, tolerance=tolerance)
            windows.update({(name, cycle): window[:, k] for k, name in enumerate(names)})

    outputs: dict[str, tuple[Target, Array, Array]] = {}
    for network, members in by_network.items():
        jobs = [(target, cycle) for target in members for cycle in cycles[target.side]]
        x = np.stack([np.column_stack([windows[name, cycle] for name in target.inputs]) for target, cycle in jobs])
        y, attention = bundle.refine(network, x)
        first = 0
        for target in members:
            part = slice(first, first + len(cycles[target.side]))
            first = part.stop
            outputs[target.muscle] = target, y[part], attention[part]

    results: dict[str, RefinedMuscle] = {}
    for side in dict.fromkeys(target.side for target, _, _ in outputs.values()):
        own = tuple(cycles[side])
        of_side = [output for output in outputs.values() if output[0].side == side]
        before = np.column_stack([activations[target.muscle] for target, _, _ in of_side])
        curves = np.concatenate([y.reshape(*y.shape[:2], 1) for _, y, _ in of_side], axis=-1)
        values, mask = stitch(time, before, own, list(curves), crossfade=crossfade, method=interpolation)
        for column, (target, y, attention) in enumerate(of_side):
            given = np.stack([windows[target.muscle, cycle] for cycle in own])
            estimate = np.ascontiguousarray(values[:, column])
            results[target.muscle] = RefinedMuscle(target, own, estimate, mask, given, y, attention)
    return [results[target.muscle] for target in targets if target.muscle in results]


def attention_over_time(bundle: Bundle, refined: Sequence[RefinedMuscle]) -> tuple[Array, list[str], Array]:
    """Lay the attention weights of all cycles out over time.

    Parameters
    ----------
    bundle : Bundle
        The networks.
    refined : sequence of RefinedMuscle
        From :func:`refine_trial`.

    Returns
    -------
    time : numpy.ndarray, shape (rows,)
        The times of the networks' output samples, of all cycles of both limbs (s).
    labels : list of str
        ``muscle/input``: the input is a muscle (All-Entire), ``sample_01`` ... of the cycle (One-Entire), or
        of the quarter (One-Quarter).
    weights : numpy.ndarray, shape (rows, labels)
        Attention weights (0..1); 0 outside the muscle's cycles.
    """
    time = np.unique(
        np.concatenate([np.linspace(c.start, c.end, bundle.cycle_samples) for item in refined for c in item.cycles])
    )
    labels: list[str] = []
    columns: list[Array] = []
    for item in refined:
        # One-Quarter: the rows of a cycle's four windows follow each other.
        windows = item.attention.reshape(-1, *item.attention.shape[-2:])
        weights = join_cycle(windows, bundle.condition)
        steps = weights.shape[-1]
        if bundle.condition == "All-Entire":
            labels += [f"{item.target.muscle}/{name}" for name in item.target.inputs]
        else:
            labels += [f"{item.target.muscle}/sample_{step + 1:02d}" for step in range(steps)]
        values, _ = stitch(
            time, np.zeros((time.size, steps)), item.cycles, list(weights), crossfade=0.0, method="linear"
        )
        columns.append(values)
    return time, labels, np.concatenate(columns, axis=1)


def _requested_muscles(muscles: Mapping[str, StandardMuscle | None], requested: Sequence[str]) -> set[str]:
    if not requested:
        return set(muscles)
    standard_names = {standard.name for standard in muscles.values() if standard is not None}
    wanted: set[str] = set()
    faults = []
    for name in requested:
        if name in muscles:
            wanted.add(name)
        elif name in standard_names:
            wanted |= {muscle for muscle, standard in muscles.items() if standard is not None and standard.name == name}
        else:
            hint = did_you_mean(name, [*muscles, *standard_names])
            faults.append(f"<muscles> names '{name}', which is no muscle of this trial.{hint}")
    if faults:
        raise LabelError("\n".join([*faults, f"The trial has {_listing(muscles)}."]))
    return wanted


def _input_muscles(
    bundle: Bundle, standard: StandardMuscle, muscle: str, by_standard: Mapping[tuple[str, str], list[str]]
) -> tuple[tuple[str, ...], str]:
    """Return the model muscles that feed a target's network, or the reason why it cannot be fed."""
    found: list[str] = []
    missing: list[str] = []
    for entry in bundle.inputs(standard.name):
        relation, _, name = entry.partition(":")
        side = standard.side if relation == "ipsi" else _OTHER[standard.side]
        candidates = by_standard.get((name, side), [])
        if (name, side) == (standard.name, standard.side):
            # The muscle itself, even where a second muscle of the model carries the same standard name.
            candidates = [muscle]
        if not candidates:
            missing.append(f"{name} ({'right' if side == 'r' else 'left'})")
        elif len(candidates) > 1:
            return (), f"{' and '.join(candidates)} both stand for its input '{name}': map one by <muscle_names_file>"
        else:
            found.append(candidates[0])
    if missing:
        return (), f"its network also needs {', '.join(missing)}, which the trial does not have"
    return tuple(found), ""


def _listing(muscles: Mapping[str, StandardMuscle | None], most: int = 12) -> str:
    names = list(muscles)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
