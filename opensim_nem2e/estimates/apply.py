"""Apply a method to the muscles of one trial: arrays in, an estimate out.

Which of the method's targets serves which muscle is decided by :func:`plan_targets`; :func:`estimate_trial` cuts the
cycles, runs the method (all cycles of both limbs at once) and puts the result back onto the trial's own time base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.discovery import listed
from ..errors import BundleError, CycleError, LabelError, did_you_mean
from ..log import counted, logger
from ..methods.base import Prediction, Predictor
from ..signals.cycle_sources import SIDES, log_coverage
from ..signals.cycles import Cycle, stitch, windows
from ..signals.gaps import gaps
from .estimate import CycleCurves, Estimate, MuscleEstimate

if TYPE_CHECKING:
    from ..data.simulation import SimulatedTrial
    from ..storage.muscles import StandardMuscle

Array = NDArray[np.float64]

_OTHER = {"r": "l", "l": "r"}

#: A method looks at a cycle at twenty times; of fewer rows than half of that little is its own.
_LEAST_ROWS = 10

#: So many muscles without a network are named on the console.
_MOST_NAMED = 6


@dataclass(frozen=True)
class Target:
    """One muscle of a trial, and which of a method's targets it is.

    Parameters
    ----------
    muscle : str
        The model's muscle name.
    standard_name : str
        The target's name.
    side : {'r', 'l'}
        The limb; its gait cycles are used.
    inputs : tuple of str
        The model's muscles that the estimate is made from, in the method's order. For the left limb, ipsi- and
        contralateral muscles have changed places: what was trained on one side serves the other.
    """

    muscle: str
    standard_name: str
    side: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class TargetPlan:
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


def plan_targets(
    predictor: Predictor, muscles: Mapping[str, StandardMuscle | None], requested: Sequence[str] = ()
) -> TargetPlan:
    """Decide which muscles a method can estimate.

    Parameters
    ----------
    predictor : Predictor
        The trained method.
    muscles : mapping of str to StandardMuscle or None
        The trial's muscles in file order, with the standard name and side each stands for (None: unknown).
    requested : sequence of str
        What the user asked for: model muscle names (``soleus_r``) or standard names (``soleus``, both limbs).
        Empty: all that the bundle can refine.

    Returns
    -------
    TargetPlan
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
        elif standard.name not in predictor.targets:
            reason = f"the bundle has no network for '{standard.name}' (it has {', '.join(predictor.targets)})"
        else:
            inputs, reason = _input_muscles(predictor, standard, muscle, by_standard)
            if not reason:
                targets.append(Target(muscle, standard.name, standard.side, inputs))
                continue
            left_alone[muscle] = reason
        if requested:
            left_alone[muscle] = reason
        elif muscle not in left_alone:
            without_network.append(muscle)
    if requested and left_alone:
        detail = "".join(f"\n  - {muscle}: {reason}" for muscle, reason in left_alone.items())
        raise BundleError(f"The bundle cannot refine every muscle that <muscles> asks for:{detail}")
    if not targets:
        detail = "".join(f"\n  - {muscle}: {reason}" for muscle, reason in left_alone.items())
        raise BundleError(
            "The bundle is for other muscles: it can refine none of this trial's. "
            f"Its networks are for {', '.join(predictor.targets)}; the trial has {listed(muscles)}. "
            f"If these are names of the same muscles, <muscle_names_file> can say so.{detail}"
        )
    return TargetPlan(tuple(targets), left_alone, tuple(without_network))


def estimate_trial(
    predictor: Predictor,
    trial: SimulatedTrial,
    plan: TargetPlan,
    cycles: Mapping[str, Sequence[Cycle]],
    *,
    crossfade: float,
    requested: Sequence[str] = (),
    interpolation: str = "pchip",
    tolerance: float | None = None,
    motion: str = "",
    age_group: str = "",
) -> Estimate:
    """Estimate the muscles of a trial, and say in the log which are and which are not.

    Parameters
    ----------
    predictor : Predictor
        The trained method.
    trial : SimulatedTrial
        The simulation, with activations (0..1) at increasing times, evenly spaced or not.
    plan : TargetPlan
        From :func:`plan_targets`.
    cycles : mapping of {'r', 'l'} to sequence of Cycle
        The gait cycles of each limb. Targets of a limb without cycles are left out of the result.
    crossfade : float
        Duration over which neighbouring cycles are led into each other (s), in what activations are made of.
    requested : sequence of str
        As for :func:`plan_targets`: a model muscle that is asked for by name must have a cycle.
    interpolation : {'pchip', 'linear'}
        How the method's samples are brought back onto the trial's times.
    tolerance : float, optional
        By how much a cycle may leave the data (s); the nearest row is held there.
    motion, age_group : str
        What the trial is and whose, where that is known (:meth:`opensim_nem2e.methods.base.Predictor.predict`).

    Returns
    -------
    Estimate
        In the order of the targets; the simulation's activation outside the cycles.

    Raises
    ------
    opensim_nem2e.errors.CycleError
        No target's limb has a cycle, or not that of a muscle that was asked for; or a cycle leaves the data.
    opensim_nem2e.errors.LabelError
        A value that is needed is missing.
    """
    cycles = _simulated(trial.time, cycles)
    _check_sides(plan, cycles, requested)
    targets = [target for target in plan.targets if cycles.get(target.side)]
    trial.require_finite(name for target in targets for name in (target.muscle, *target.inputs))
    log_coverage(trial.time, cycles)
    by_name: dict[str, list[Target]] = {}
    for target in targets:
        by_name.setdefault(target.standard_name, []).append(target)

    # Muscles share inputs (All-Entire: all of them), and those of a limb its cycles: each cycle is cut out once.
    cut: dict[tuple[str, str], Array] = {}
    for side in dict.fromkeys(target.side for target in targets):
        own_targets = [target for target in targets if target.side == side]
        names = list(dict.fromkeys(name for target in own_targets for name in (target.muscle, *target.inputs)))
        table = np.column_stack([trial.activations[name] for name in names])
        limb = windows(cycles[side], trial.time, table, predictor.cycle_samples, tolerance=tolerance)
        cut |= {(side, name): np.ascontiguousarray(limb[:, :, k]) for k, name in enumerate(names)}

    about = {name: value for name, value in (("motion", motion), ("age_group", age_group)) if value}
    predictions: dict[str, tuple[Prediction, slice]] = {}
    for name, members in by_name.items():
        x = np.concatenate(
            [np.stack([cut[target.side, name] for name in target.inputs], axis=-1) for target in members]
        )
        prediction = predictor.predict(name, x, **about)
        first = 0
        for target in members:
            part = slice(first, first + len(cycles[target.side]))
            first = part.stop
            predictions[target.muscle] = prediction, part

    _log_plan(plan, targets, {name: predictions[members[0].muscle][0] for name, members in by_name.items()})
    found: dict[str, MuscleEstimate] = {}
    for side in dict.fromkeys(target.side for target in targets):
        own = tuple(cycles[side])
        members = [target for target in targets if target.side == side]
        before = np.column_stack([trial.activations[target.muscle] for target in members])

        def on_rows(
            bound: str, blend: float = 0.0, members: list[Target] = members, before: Array = before, own: Any = own
        ) -> Any:
            """Bring the curves of all muscles of the limb onto the trial's rows together."""
            curves = []
            for target in members:
                prediction, part = predictions[target.muscle]
                values = getattr(prediction, bound)
                curves.append((prediction.values if values is None else values)[part])
            table = np.stack(curves, axis=-1)
            return stitch(trial.time, before, own, list(table), crossfade=blend, method=interpolation)

        values, covered = on_rows("values")
        # A single cycle that is not rolled meets no other curve.
        joined = on_rows("values", crossfade)[0] if len(own) > 1 or own[0].roll else None
        banded = any(predictions[target.muscle][0].low is not None for target in members)
        lows, highs = (on_rows(bound)[0] for bound in ("low", "high")) if banded else (values, values)
        for column, target in enumerate(members):
            prediction, part = predictions[target.muscle]
            estimate = np.ascontiguousarray(values[:, column])
            low = high = None
            if prediction.low is not None and prediction.high is not None:
                # The curves are interpolated one by one, which must not bring a band's edge across the estimate.
                low, high = np.minimum(lows[:, column], estimate), np.maximum(highs[:, column], estimate)
            name = target.standard_name
            muscle_of = dict(zip(predictor.inputs(name), target.inputs, strict=True))
            found[target.muscle] = MuscleEstimate(
                target.muscle,
                estimate,
                covered,
                standard_name=name,
                side=side,
                cycles=own,
                low=low,
                high=high,
                curves=CycleCurves(
                    cut[side, target.muscle],
                    prediction.values[part],
                    None if prediction.attention is None else prediction.attention[part],
                    tuple(muscle_of.get(step, step) for step in predictor.attention_steps(name)),
                ),
                joined=None if joined is None else np.ascontiguousarray(joined[:, column]),
                shape_source=next(iter(prediction.origins[part]), "network"),
                remark=next(filter(None, prediction.remarks[part]), ""),
            )
    in_order = {target.muscle: found[target.muscle] for target in targets}
    return Estimate(trial.time, predictor.quantity, in_order, predictor.provenance, motion=motion)


def attention_over_time(estimate: Estimate) -> tuple[Array, list[str], Array] | None:
    """Lay the attention weights of all cycles out over time.

    Parameters
    ----------
    estimate : Estimate
        From :func:`estimate_trial`.

    Returns
    -------
    time : numpy.ndarray, shape (rows,)
        The times of the method's output samples, of all cycles of both limbs (s).
    labels : list of str
        ``muscle/input``: the input is a step of the attention, a muscle or ``sample_01`` ...
    weights : numpy.ndarray, shape (rows, labels)
        Attention weights (0..1); 0 outside the muscle's cycles.
        Instead of the three None, where the method has no attention.
    """
    found = [(item, item.curves) for item in estimate if item.curves is not None and item.curves.attention is not None]
    if not found:
        return None
    grids = [np.linspace(c.start, c.end, curves.after.shape[1]) for item, curves in found for c in item.cycles]
    time = np.unique(np.concatenate(grids))
    labels: list[str] = []
    columns: list[Array] = []
    for item, curves in found:
        assert curves.attention is not None
        labels += [f"{item.muscle}/{step}" for step in curves.steps]
        nothing = np.zeros((time.size, len(curves.steps)))
        values, _ = stitch(time, nothing, item.cycles, list(curves.attention), crossfade=0.0, method="linear")
        columns.append(values)
    return time, labels, np.concatenate(columns, axis=1)


def _simulated(time: Array, cycles: Mapping[str, Sequence[Cycle]]) -> dict[str, list[Cycle]]:
    """Leave out cycles in which rows are missing, and refuse files that hold too few of them."""
    missing = gaps(time)
    kept: dict[str, list[Cycle]] = {side: [] for side in cycles}
    for side, found in cycles.items():
        for cycle in found:
            rows = int(((time >= cycle.start) & (time <= cycle.end)).sum())
            if rows < _LEAST_ROWS:
                raise CycleError(
                    f"A gait cycle must have {_LEAST_ROWS} rows or more in the simulation's file, but the "
                    f"{SIDES[side]} one of {cycle.start:.4f} to {cycle.end:.4f} s has {rows}."
                )
            inside = (missing[:, 1] > cycle.start) & (missing[:, 0] < cycle.end)
            if inside.any():
                begin, end = missing[inside][0]
                logger.warning(
                    "The %s gait cycle %.4f-%.4f s keeps OpenSim's values: rows are missing between %.4f and %.4f s.",
                    *(SIDES[side], cycle.start, cycle.end, begin, end),
                )
            else:
                kept[side].append(cycle)
    if any(cycles.values()) and not any(kept.values()):
        raise CycleError("Rows are missing in every gait cycle of the simulation's file.")
    return kept


def _check_sides(plan: TargetPlan, cycles: Mapping[str, Sequence[Cycle]], requested: Sequence[str]) -> None:
    """Say which muscles keep OpenSim's values because their limb has no complete cycle."""
    for side, word in SIDES.items():
        without = [target.muscle for target in plan.targets if target.side == side and not cycles.get(side)]
        if not without:
            continue
        text = (
            f"There is no complete {word} gait cycle; not refined: {', '.join(without)}. If the motion repeats "
            "itself, <roll_incomplete_cycles> can help."
        )
        # A standard name ("soleus") asks for both limbs as far as they have cycles.
        if set(without) & set(requested):
            raise CycleError(text)
        logger.warning("%s", text)
    if not any(cycles.get(target.side) for target in plan.targets):
        raise CycleError("No muscle that the bundle refines has a complete gait cycle of its own limb.")


def _log_plan(plan: TargetPlan, targets: Sequence[Target], predictions: Mapping[str, Prediction]) -> None:
    """Say what is refined, and which estimates are not the method's usual ones."""
    for target in targets:
        others = [name for name in target.inputs if name != target.muscle]
        more = f" from {len(target.inputs)} muscles" if others else ""
        logger.debug("%s is refined by the network '%s'%s.", target.muscle, target.standard_name, more)
    for muscle, reason in plan.left_alone.items():
        logger.warning("%s is not refined: %s.", muscle, reason)
    none_for = listed(plan.without_network, _MOST_NAMED)
    if len(plan.without_network) > _MOST_NAMED:
        logger.debug("No network is for %s.", ", ".join(plan.without_network))
    found: dict[str, list[str]] = {}
    for name, prediction in predictions.items():
        for remark in filter(None, dict.fromkeys(prediction.remarks)):
            found.setdefault(remark, []).append(name)
    chosen = "; ".join(f"{remark}: {', '.join(names)}" for remark, names in found.items())
    logger.info(
        "%s %s refined%s.%s",
        counted(len(targets), "muscle"),
        "is" if len(targets) == 1 else "are",
        f"; the bundle has no network for {none_for}" if none_for else "",
        f" Chosen on training subjects left out, {chosen}." if chosen else "",
    )


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
        raise LabelError("\n".join([*faults, f"The trial has {listed(muscles)}."]))
    return wanted


def _input_muscles(
    predictor: Predictor, standard: StandardMuscle, muscle: str, by_standard: Mapping[tuple[str, str], list[str]]
) -> tuple[tuple[str, ...], str]:
    """Return the model muscles that feed a target's network, or the reason why it cannot be fed."""
    found: list[str] = []
    missing: list[str] = []
    for entry in predictor.inputs(standard.name):
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
