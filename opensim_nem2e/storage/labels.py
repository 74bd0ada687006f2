"""What the labels of a storage file mean, in every spelling that OpenSim has used.

=====================  =========================================================================
OpenSim 4.x states     ``/forceset/soleus_r/activation``, ``/jointset/knee_r/knee_angle_r/value``
OpenSim 3.x states     ``soleus_r.activation``, ``knee_angle_r``, ``knee_angle_r_u``
Moco states, controls  ``/forceset/soleus_r/activation``, ``/forceset/soleus_r``
CMC controls           ``soleus_r``, among reserves and residuals
ControlSet XML         ``soleus_r.excitation``
StaticOptimization     ``soleus_r``: these are activations
=====================  =========================================================================
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..errors import LabelError
from .muscles import MuscleNames

if TYPE_CHECKING:
    from .sto import TimeSeries

#: Names that end a path or follow a dot, and the kind of column they make.
_STATES = {
    "activation": "activation",
    "excitation": "excitation",
    "fiber_length": "fiber_length",
    "fiber_velocity": "fiber_velocity",
    "normalized_tendon_force": "normalized_tendon_force",
    "value": "value",
    "speed": "speed",
}


class StateLabel(NamedTuple):
    """What a label says.

    Parameters
    ----------
    kind : str
        "activation", "excitation", "fiber_length", "fiber_velocity", "normalized_tendon_force", "value", "speed", or
        "other" for a bare name or a path to a component.
    name : str
        The muscle's or coordinate's bare name.
    component : str
        The path of the component that the state belongs to, or its bare name where the label has no path.
    """

    kind: str
    name: str
    component: str


def parse_label(label: str) -> StateLabel:
    """Take a label apart.

    Parameters
    ----------
    label : str
        In any spelling of OpenSim's.

    Returns
    -------
    StateLabel
        Kind, bare name and component.
    """
    component, slash, last = label.rpartition("/")
    if slash:
        if last in _STATES and component:
            return StateLabel(_STATES[last], component.rpartition("/")[2], component)
        return StateLabel("other", last, label)
    name, dot, state = label.rpartition(".")
    if dot and name and state in _STATES:
        return StateLabel(_STATES[state], name, name)
    if label.endswith("_u") and len(label) > 2:
        return StateLabel("speed", label[:-2], label[:-2])
    return StateLabel("other", label, label)


def find_state_label(labels: Collection[str], wanted: str) -> str | None:
    """Find the column of a state, as OpenSim itself does.

    The order is that of OpenSim's ``TableUtilities::findStateLabelIndex``: the whole path, the path without its first
    parts, the last part alone, and then the spellings of OpenSim 3.

    Parameters
    ----------
    labels : collection of str
        The labels there are.
    wanted : str
        The state's path in OpenSim 4.x, for example "/jointset/knee_r/knee_angle_r/speed".

    Returns
    -------
    str or None
        The label, as it stands in the file.
    """
    known = set(labels)
    if wanted in known:
        return wanted
    parts = wanted.split("/")
    # Ends with the last part alone.
    spellings = ["/".join(parts[start:]) for start in range(1, len(parts))]
    if len(parts) > 1:
        name, state = parts[-2], parts[-1]
        if state == "value":
            spellings.append(name)
        elif state == "speed":
            spellings.append(f"{name}_u")
        else:
            spellings.append(f"{name}.{state}")
    return next((spelling for spelling in spellings if spelling in known), None)


def find_activation_columns(series: TimeSeries) -> dict[str, str]:
    """Find the activations in a states file.

    Parameters
    ----------
    series : TimeSeries
        States of OpenSim 3.x, 4.x or Moco.

    Returns
    -------
    dict of str to str
        Muscle's bare name to label, in the order of the file.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        Two different columns are the activation of one muscle.
    """
    return _unique(series, ((parse_label(label), label) for label in series.labels), {"activation"})


def find_excitation_columns(
    series: TimeSeries, muscles: Collection[str] | None = None, *, names: MuscleNames | None = None
) -> dict[str, str]:
    """Find the muscles' excitations in a controls file.

    Parameters
    ----------
    series : TimeSeries
        Controls of CMC (bare names), of Moco (paths), or of a ControlSet (``.excitation``).
    muscles : collection of str, optional
        The model's muscles. Without it, what the table of muscle names knows is a muscle; all else (reserves,
        residuals, torque actuators) is not.
    names : MuscleNames, optional
        The table; the shipped one by default.

    Returns
    -------
    dict of str to str
        Muscle's bare name to label, in the order of the file.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        Two different columns are the excitation of one muscle.
    """
    return _of_muscles(series, {"excitation", "other"}, muscles, names)


def find_so_activation_columns(
    series: TimeSeries, muscles: Collection[str] | None = None, *, names: MuscleNames | None = None
) -> dict[str, str]:
    """Find the activations in a file of StaticOptimization, which calls them by the muscles' bare names.

    Parameters
    ----------
    series : TimeSeries
        A ``_StaticOptimization_activation.sto``, or any file whose activations are bare names or states.
    muscles : collection of str, optional
        The model's muscles; see :func:`find_excitation_columns`.
    names : MuscleNames, optional
        The table; the shipped one by default.

    Returns
    -------
    dict of str to str
        Muscle's bare name to label, in the order of the file.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        Two different columns are the activation of one muscle.
    """
    return _of_muscles(series, {"activation", "other"}, muscles, names)


#: What numbers in a file may be beyond a bound: integration and solvers keep bounds to about a thousandth.
_BEYOND = 0.01

#: Activations in percent reach at least this.
_PERCENT_FROM = 2.0


def require_activations(
    series: TimeSeries,
    columns: Mapping[str, str],
    *,
    what: str = "activation",
    highest: Mapping[str, float] | None = None,
) -> None:
    """Refuse activations or excitations that cannot be: below 0, above 1, or in percent.

    Parameters
    ----------
    series : TimeSeries
        The file's columns.
    columns : mapping of str to str
        Muscle to label. Missing values (NaN) are passed over.
    what : str
        What the columns hold, for the message.
    highest : mapping of str to float, optional
        Muscles whose upper bound is above 1 by their model.

    Raises
    ------
    opensim_nem2e.errors.LabelError
        A value lies outside: with the muscle, the time, and what to do.
    """
    import numpy as np

    names = list(columns)
    values = series.data[:, [series.labels.index(columns[name]) for name in names]]
    top = np.array([max((highest or {}).get(name, 1.0), 1.0) for name in names])
    wrong = (values < -_BEYOND) | (values > top + _BEYOND)
    if not wrong.any():
        return
    row, column = (int(index[0]) for index in np.nonzero(wrong))
    found = f"{values[row, column]:g} at time {series.time[row]:.8g} s"
    several = int(wrong.any(axis=0).sum())
    also = f" ({several} muscles have such values)" if several > 1 else ""
    largest = float(np.nanmax(np.where(np.isfinite(values), values, np.nan)))
    remedy = "Is it the file of another quantity, or of another simulation?"
    if _PERCENT_FROM <= largest <= 100.0 * (1.0 + _BEYOND) * float(top.max()) and not (values < -_BEYOND).any():
        remedy = f"The largest is {largest:g}, so they seem to be in percent: divide these columns by 100."
    where = f"'{columns[names[column]]}' is {found}{also}"
    raise LabelError(f"Every {what} must lie between 0 and {top[column]:g}, but {where}. {remedy}", series.path)


def _of_muscles(
    series: TimeSeries, kinds: set[str], muscles: Collection[str] | None, names: MuscleNames | None
) -> dict[str, str]:
    if muscles is not None:
        allowed = set(muscles)
    else:
        table = names if names is not None else MuscleNames.load()
        allowed = {name for name in (parse_label(label).name for label in series.labels) if table.standard(name)}
    parsed = ((parse_label(label), label) for label in series.labels)
    return _unique(series, ((found, label) for found, label in parsed if found.name in allowed), kinds)


def _unique(series: TimeSeries, parsed: Iterable[tuple[StateLabel, str]], kinds: set[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for found, label in parsed:
        if found.kind not in kinds:
            continue
        # The same label twice is no matter until that column is needed: then the series refuses it.
        other = columns.setdefault(found.name, label)
        if other != label:
            raise LabelError(f"Two columns, '{other}' and '{label}', belong to the muscle '{found.name}'.", series.path)
    return columns
