"""Activation dynamics of OpenSim's muscles, forward and inverse, in numpy.

Two models, as OpenSim 4.6 computes them (the tests compare each with ``opensim``); ``a`` is the activation,
``e`` the excitation, ``z = 0.5 + 1.5 a``:

``first_order``
    Thelen2003Muscle and Millard2012EquilibriumMuscle (OpenSim ``MuscleFirstOrderActivationDynamicModel``; Winters 1995;
    Thelen 2003)::

        da/dt = (e - a) / (tau_act z)      if e > a
                (e - a) z / tau_deact      otherwise

    On the right-hand side ``a`` is clamped to ``minimum_activation..1``, the excitation is not clamped. The state
    itself can therefore drift below the minimum while ``e`` stays below it; the muscle uses the clamped value.

``degroote_fregly``
    DeGrooteFregly2016Muscle, where a hyperbolic tangent blends the two branches (De Groote et al. 2016), no clamping::

        da/dt = (e - a) [(1/2 + f) / (tau_act z) + (1/2 - f) z / tau_deact],   f = 1/2 tanh(b (e - a))

    ``b`` is the property ``activation_dynamics_smoothing`` (0.1 by default, which is nearly the mean of the branches).
    OpenSim 4.6 keeps the time constants of this muscle in static variables: the first such muscle of a *process*
    decides for all of them. Give every muscle the same ones to reproduce that.

References
----------
Thelen, D. G. (2003). Adjustment of muscle mechanics model parameters to simulate dynamic contractions in older adults.
J. Biomech. Eng. 125, 70-77.
De Groote, F., Kinney, A. L., Rao, A. V., Fregly, B. J. (2016). Evaluation of direct collocation optimal control problem
formulations for solving the muscle redundancy problem. Ann. Biomed. Eng. 44, 2922-2936.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ModelError
from ..signals.resample import checked_rows, interpolate

Array = NDArray[np.float64]

#: The activation dynamics that are known.
KINDS = ("first_order", "degroote_fregly")

#: Longest step of the forward integration (s): a twentieth of the fastest default time constant.
INTEGRATION_STEP = 5e-4

#: Longest step over which an excitation is sought (s). CMC writes rows down to 6e-8 s apart: a difference quotient over
#: such a step would be rounding noise. No muscle reacts within a millisecond.
CONTROL_STEP = 1e-3

#: The blended model's rate depends on the excitation that is sought, the more the larger ``smoothing`` is; what is left
#: after these rounds is made up for in the next step.
_BLENDED_ROUNDS = 3

#: Long signals are cut into blocks that are stepped through side by side. Each block starts early, from a guess, which
#: dies away with the muscle's deactivation, at no less than half of its time constant's rate. So many time constants
#: ahead the integration starts (what is left: 1e-9), and the search for an excitation, which corrects itself in every
#: step (4e-12).
_INTEGRATION_LEAD, _SEARCH_LEAD = 40.0, 15.0

#: So many numbers of an array are held at a time, and so many muscles of all blocks stepped through side by side: it
#: bounds the memory.
_HELD, _WIDEST = 250_000, 4096

#: Cells and order of the polynomials that :func:`reachable` tabulates, and the error up to which it does.
_CELLS, _ORDER, _TABLE_ERROR = 64, 5, 1e-10

#: What a mean taken from a running sum may be off by.
_ROUNDING = 1e-10


def _relative_rate(
    excitation: Array, activation: Array, tau_act: Array, tau_deact: Array, smoothing: Array | None
) -> Array:
    """Return da/dt divided by (e - a)."""
    z = 0.5 + 1.5 * activation
    rise = 1.0 / (tau_act * z)
    fall = z / tau_deact
    difference = excitation - activation
    if smoothing is None:
        return np.where(difference > 0.0, rise, fall)
    f = 0.5 * np.tanh(smoothing * difference)
    return (0.5 + f) * rise + (0.5 - f) * fall


@dataclass(frozen=True)
class _Dynamics:
    """Parameters of all muscles, one row: (muscles,)."""

    tau_act: Array
    tau_deact: Array
    low: Array  # the activation on the right-hand side is clamped to low..high
    high: Array
    blended: NDArray[np.bool_] | None  # None: no muscle is
    smoothing: Array
    clamping: bool = True  # False: no state can leave low..high, because neither its start nor an excitation does

    def clamp(self, activation: Array) -> Array:
        """Return the activation that the right-hand side sees."""
        return np.minimum(np.maximum(activation, self.low), self.high) if self.clamping else activation

    def rate(self, excitation: Array, activation: Array) -> Array:
        """Return da/dt divided by (e - a), 1/s; the activation is already clamped."""
        rate: Array = _relative_rate(excitation, activation, self.tau_act, self.tau_deact, None)
        if self.blended is not None:
            blend = _relative_rate(excitation, activation, self.tau_act, self.tau_deact, self.smoothing)
            rate = np.where(self.blended, blend, rate)
        return rate

    def rate_slope(self, excitation: Array, activation: Array) -> Array:
        """Return the derivative of :meth:`rate` with respect to the excitation."""
        z = 0.5 + 1.5 * activation
        sharpness = (
            0.5 * self.smoothing / np.cosh(np.minimum(self.smoothing * abs(excitation - activation), 300.0)) ** 2
        )
        blended = False if self.blended is None else self.blended
        return np.where(blended, sharpness * (1.0 / (self.tau_act * z) - z / self.tau_deact), 0.0)

    def middle_rate(self, state: Array, excitation: Array, step: float) -> Array:
        """Return the rate in the middle of a step with the excitation held."""
        a = self.clamp(state)
        part = np.minimum(0.5 * step * self.rate(excitation, a), 1.0)
        return self.rate(excitation, self.clamp(a + part * (excitation - a)))

    def advance(self, state: Array, excitation: Array, step: float | Array, rate: Array) -> Array:
        """Return the state after a step with the excitation and the rate held."""
        exponent = rate * step
        gain = -np.expm1(-exponent)
        if not self.clamping:
            return state + (excitation - state) * gain
        a = self.clamp(state)
        # Beyond the clamp the right-hand side no longer depends on the state: a straight line, not an exponential.
        return state + (excitation - a) * np.where(state == a, gain, exponent)

    def follow(self, now: Array, mean: Array, lateness: Array, step: float, start: Array, rates: Array) -> Array:
        """Integrate over steps, and return the state at their end.

        ``start`` is filled with the state at the start of each step, ``rates`` with the rate in its middle.
        """
        if self.clamping or self.blended is not None:
            for cell in range(len(mean)):
                start[cell] = now
                rates[cell] = self.middle_rate(now, mean[cell], step)
                now = self.advance(now, mean[cell] + rates[cell] * lateness[cell], step, rates[cell])
            return now
        # The same in z instead of a: a third of the operations.
        z, target, late = 0.5 + 1.5 * now, 0.5 + 1.5 * mean, (1.5 / step) * lateness
        rise, fall = -step / self.tau_act, -step / self.tau_deact
        half_rise, half_fall = -0.5 * rise, -0.5 * fall
        part, other = np.empty_like(z), np.empty_like(z)
        for e, to, begin, exponent in zip(target, late, start, rates, strict=True):
            begin[...] = z
            np.multiply(z, half_fall, out=part)
            np.divide(half_rise, z, out=part, where=e > z)
            np.minimum(part, 1.0, out=part)
            np.subtract(e, z, out=other)
            part *= other
            part += z
            np.multiply(part, fall, out=exponent)
            np.divide(rise, part, out=exponent, where=e > part)
            np.expm1(exponent, out=part)
            np.multiply(exponent, to, out=other)
            other += z
            other -= e
            part *= other
            z += part
        start -= 0.5
        start /= 1.5
        rates /= -step
        return np.asarray((z - 0.5) / 1.5)

    def seek(self, now: Array, goals: Array, step: float, low: Array, high: Array, found: Array) -> Array:
        """Aim at a goal in each step; ``found`` is filled with the excitations. Returns the state at the end."""
        if self.clamping or self.blended is not None:
            for cell, goal in enumerate(goals):
                found[cell], rate = _aim(self, now, goal, step, low, high)
                now = self.advance(now, found[cell], step, rate)
            return now
        z, least, most = (0.5 + 1.5 * values for values in (now, low, high))
        rise, fall = -step / self.tau_act, -step / self.tau_deact
        middle, gain = np.empty_like(z), np.empty_like(z)
        for goal, e in zip(0.5 + 1.5 * goals, found, strict=True):
            np.add(z, goal, out=middle)
            middle *= 0.5
            np.multiply(middle, fall, out=gain)
            np.divide(rise, middle, out=gain, where=goal > z)
            np.expm1(gain, out=gain)
            np.subtract(z, goal, out=e)
            e /= gain
            e += z
            np.maximum(e, least, out=e)
            np.minimum(e, most, out=e)
            np.subtract(z, e, out=middle)
            middle *= gain
            z += middle
        found -= 0.5
        found /= 1.5
        return np.asarray((z - 0.5) / 1.5)

    def held(self, now: Array, excitation: Array, step: float, steps: int) -> Array:
        """Return the state after so many steps with an excitation held, if nothing clamps or blends.

        Steps are shorter than the time constants.
        """
        z, e = 0.5 + 1.5 * now, 0.5 + 1.5 * excitation
        rise, fall = -step / self.tau_act, -step / self.tau_deact
        half_rise, half_fall = -0.5 * rise, -0.5 * fall
        # What nears a constant never passes it.
        rising = e > z
        part, middle, away = np.empty(z.shape), np.empty(z.shape), np.empty(z.shape)
        for _ in range(steps):
            np.subtract(e, z, out=away)
            np.multiply(z, half_fall, out=middle)
            np.divide(half_rise, z, out=part)
            np.copyto(middle, part, where=rising)
            middle *= away
            middle += z
            np.divide(rise, middle, out=part)
            middle *= fall
            np.copyto(middle, part, where=rising)
            np.expm1(middle, out=middle)
            middle *= away
            z -= middle
        return np.asarray(np.minimum(np.maximum((z - 0.5) / 1.5, self.low), self.high))

    def holds(self, table: Array) -> bool:
        """Tell whether a table (..., muscles) lies within the clamp."""
        return bool((table >= self.low).all() and (table <= self.high).all())

    def within(self, *tables: Array) -> _Dynamics:
        """Return the same without clamping if every table (rows, muscles) lies within the clamp."""
        return replace(self, clamping=not all(map(self.holds, tables)))


def activation_from_excitation(
    time: ArrayLike,
    excitation: ArrayLike,
    tau_act: ArrayLike,
    tau_deact: ArrayLike,
    initial: ArrayLike,
    kind: str | Sequence[str] = "first_order",
    *,
    min_activation: ArrayLike = 0.01,
    smoothing: ArrayLike = 0.1,
    max_step: float = INTEGRATION_STEP,
) -> Array:
    """Integrate the activation dynamics forward.

    Between rows the excitation is a straight line, as ForwardTool reads a controls file. The integration steps over a
    regular grid of its own, so rows that lie almost on top of each other cost nothing and rows far apart are no
    less exact. In each step the excitation is its exact mean and the time constant that of the step's middle; then the
    equation is linear and its solution an exponential. The scheme is of second order, cannot overshoot, and is stable
    at any step.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, strictly increasing, evenly spaced or not (s).
    excitation : array_like, shape (rows, muscles) or (rows,)
        Excitation, dimensionless.
    tau_act, tau_deact : array_like, shape (muscles,) or ()
        Activation and deactivation time constants (s).
    initial : array_like, shape (muscles,) or ()
        Activation at the first row.
    kind : str or sequence of str
        ``'first_order'`` or ``'degroote_fregly'``, for all muscles or one per muscle.
    min_activation : array_like, shape (muscles,) or ()
        The muscle's ``minimum_activation``; not used by ``degroote_fregly``.
    smoothing : array_like, shape (muscles,) or ()
        ``activation_dynamics_smoothing`` of ``degroote_fregly``.
    max_step : float
        Longest integration step (s).

    Returns
    -------
    numpy.ndarray, shape as ``excitation``
        Activation at every row, as the muscle uses it (at least ``min_activation`` and at most 1 for ``first_order``).

    Raises
    ------
    ModelError
        If a time constant is not positive, a kind is unknown, or an array has the wrong length.
    StorageError
        If time is not strictly increasing or does not match the excitation.
    """
    x, table = checked_rows(time, excitation)
    e = table.reshape(x.size, -1)
    muscles = _dynamics(e.shape[1], tau_act, tau_deact, kind, min_activation, smoothing)
    state = _per_muscle(initial, e.shape[1], "initial activation").copy()

    if x.size == 1:
        return muscles.clamp(state).reshape(table.shape)
    muscles = muscles.within(e, state)

    grid, step = _grid(x, max_step)
    cells = grid.size - 1
    rows_first, rows_second = _integrals(x, e)
    cell_of = np.clip(np.searchsorted(grid, x, side="right") - 1, 0, cells - 1)
    result = np.empty_like(e)
    for part in _cut(cells, e.shape[1], _INTEGRATION_LEAD * float(muscles.tau_deact.max()) / step):
        # The part's rows, in the order in which their steps come.
        rows = np.flatnonzero((cell_of >= part.first) & (cell_of < part.first + part.count * part.length))
        block, place = np.divmod(cell_of[rows] - part.first, part.length)
        place += part.lead
        order = np.argsort(place, kind="stable")
        rows, block, place = rows[order], block[order], place[order]
        now: Array | None = None
        for some, ends in part.slabs(cells, e.shape[1]):
            first, second = _integrals_at(grid[ends].ravel(), x, e, rows_first, rows_second)
            first, second = first.reshape(*ends.shape, -1), second.reshape(*ends.shape, -1)
            mean = np.diff(first, axis=0) / step
            # Where in its step the excitation lies: the integral of (e - mean) (t - middle), per step. An early
            # excitation has had time to decay, a late one has not; without this a jump inside a step costs three times
            # the error.
            lateness = (first[1:] + first[:-1]) / 2.0 - np.diff(second, axis=0) / step
            start = np.empty_like(mean)
            rates = np.empty_like(mean)
            now = mean[0].copy() if now is None else now
            if some.start == part.lead and part.first == 0:
                now[0] = state
            now = muscles.follow(now, mean, lateness, step, start, rates)

            # Each row continues the solution from the start of its step, with the mean excitation since then.
            here = slice(*np.searchsorted(place, [some.start, some.stop]))
            at = place[here] - some.start, block[here]
            own = rows[here]
            since = (x[own] - grid[cell_of[own]])[:, np.newaxis]
            so_far = np.divide(rows_first[own] - first[at], since, out=mean[at], where=since > 0.0)
            reached = muscles.advance(start[at], so_far, since, rates[at])
            result[own] = np.minimum(np.maximum(reached, muscles.low), muscles.high)
    return result.reshape(table.shape)


def held_excitation(
    duration: float,
    tau_act: ArrayLike,
    tau_deact: ArrayLike,
    kind: str | Sequence[str] = "first_order",
    *,
    min_activation: ArrayLike = 0.01,
    smoothing: ArrayLike = 0.1,
    max_step: float = INTEGRATION_STEP,
) -> Callable[[Array, Array], Array]:
    """Prepare :func:`activation_from_excitation` for excitations that are held over a time, which is the same for all.

    Parameters
    ----------
    duration : float
        The time (s).
    tau_act, tau_deact : array_like, shape (muscles,) or ()
        Activation and deactivation time constants (s).
    kind : str or sequence of str
        As for :func:`activation_from_excitation`, like all that follow.
    min_activation : array_like, shape (muscles,) or ()
        Lower bound.
    smoothing : array_like, shape (muscles,) or ()
        Of ``degroote_fregly``.
    max_step : float
        Longest integration step (s).

    Returns
    -------
    callable
        Gives the activations at the end from those at the start and the excitations, both (..., muscles).

    Raises
    ------
    ModelError
        As for :func:`activation_from_excitation`.
    """
    dynamics = _dynamics(np.size(tau_act), tau_act, tau_deact, kind, min_activation, smoothing)
    steps = max(1, int(np.ceil(duration / max_step)))
    step = duration / steps
    short = bool((dynamics.tau_act > step).all() and (dynamics.tau_deact > step).all())

    def after(activation: Array, excitation: Array) -> Array:
        if short and dynamics.blended is None and dynamics.holds(activation) and dynamics.holds(excitation):
            return dynamics.held(activation, excitation, step, steps)
        state = activation
        for _ in range(steps):
            state = dynamics.advance(state, excitation, step, dynamics.middle_rate(state, excitation, step))
        return dynamics.clamp(state)

    return after


def reachable(
    after: Callable[[Array, Array], Array], low_control: ArrayLike, high_control: ArrayLike, low: Array, high: Array
) -> Callable[[Array], tuple[Array, Array]]:
    """Prepare the bounds that muscles reach from any activation, with the least and with the greatest excitation held.

    They are smooth functions of the activation, and are tabulated (error below 1e-10), which makes a single row ten
    times as fast as ``after``. Where they are not, as where a muscle's excitation may be below its minimum activation,
    ``after`` itself is asked.

    Parameters
    ----------
    after : callable
        From :func:`held_excitation`.
    low_control, high_control : array_like, shape (muscles,)
        The least and the greatest excitations.
    low, high : numpy.ndarray, shape (muscles,)
        Bounds of the activations that are asked for.

    Returns
    -------
    callable
        Gives the lowest and the highest activations (..., muscles) at the end from those at the start.
    """
    bounds = np.stack([np.asarray(low_control, dtype=float), np.asarray(high_control, dtype=float)])

    def exact(activation: Array) -> tuple[Array, Array]:
        held = bounds.reshape(2, *[1] * (activation.ndim - 1), -1)
        lowest, highest = after(np.broadcast_to(activation, (2, *activation.shape)), held)
        return lowest, highest

    count, width = len(low), np.maximum(high - low, np.finfo(float).tiny) / _CELLS
    per_width = 1.0 / width
    cells, orders = np.arange(_CELLS)[:, np.newaxis, np.newaxis], np.arange(_ORDER + 1)
    nodes = 0.5 - 0.5 * np.cos(np.pi * (orders + 0.5) / (_ORDER + 1))
    values = np.stack(exact(low + (cells + nodes[:, np.newaxis]) * width))  # (2, cells, nodes, muscles)
    powers = np.linalg.inv(nodes[:, np.newaxis] ** orders)
    # Of the powers of the place in the cell, the highest first: (orders, 2, cells and muscles).
    table = np.einsum("pn,bcnm->pbcm", powers[::-1], values).reshape(_ORDER + 1, 2, -1)
    columns = np.arange(count)

    def tabulated(activation: Array) -> tuple[Array, Array]:
        place = (activation - low) * per_width
        cell = np.minimum(np.maximum(place, 0.0), _CELLS - 1.0).astype(np.intp)
        place -= cell
        first, *others = table.take(cell * count + columns, axis=2)
        for coefficients in others:
            first *= place
            first += coefficients
        return first[0], first[1]

    between = low + np.linspace(0.0, 1.0, 2 * _CELLS + 1)[:, np.newaxis] * (high - low)
    error = np.abs(np.stack(tabulated(between)) - np.stack(exact(between))).max(initial=0.0)
    return tabulated if error < _TABLE_ERROR else exact


def find_excitation(
    time: ArrayLike,
    activation: ArrayLike,
    tau_act: ArrayLike,
    tau_deact: ArrayLike,
    min_control: ArrayLike = 0.0,
    max_control: ArrayLike = 1.0,
    kind: str | Sequence[str] = "first_order",
    *,
    min_activation: ArrayLike = 0.01,
    smoothing: ArrayLike = 0.1,
) -> Array:
    """Find the excitation that makes a muscle follow an activation.

    Over a regular grid of 1 ms, the excitation of each step is the one that takes the activation reached so far to the
    one wanted at the step's end. It is clipped to the control bounds: a muscle cannot deactivate faster than its time
    constants let it. Once the bound no longer holds it back, it catches up as fast as the bounds allow. Each row then
    gets the mean over its surroundings, so the excitation is right when read as straight lines between rows, as
    ForwardTool reads a controls file.

    Parameters
    ----------
    time : array_like, shape (rows,)
        Time, strictly increasing, evenly spaced or not (s).
    activation : array_like, shape (rows, muscles) or (rows,)
        The activation to follow, dimensionless.
    tau_act, tau_deact : array_like, shape (muscles,) or ()
        Activation and deactivation time constants (s).
    min_control, max_control : array_like, shape (muscles,) or ()
        Bounds of the excitation (the actuator's ``min_control`` and ``max_control``).
    kind : str or sequence of str
        ``'first_order'`` or ``'degroote_fregly'``, for all muscles or one per muscle.
    min_activation : array_like, shape (muscles,) or ()
        The muscle's ``minimum_activation``; not used by ``degroote_fregly``.
    smoothing : array_like, shape (muscles,) or ()
        ``activation_dynamics_smoothing`` of ``degroote_fregly``.

    Returns
    -------
    numpy.ndarray, shape as ``activation``
        Excitation within its bounds.

    Raises
    ------
    ModelError
        If a time constant is not positive, the control bounds are in the wrong order, a kind is unknown, or an array
        has the wrong length.
    StorageError
        If time is not strictly increasing or does not match the activation.
    """
    x, table = checked_rows(time, activation)
    target = table.reshape(x.size, -1)
    count = target.shape[1]
    muscles = _dynamics(count, tau_act, tau_deact, kind, min_activation, smoothing)
    low = _per_muscle(min_control, count, "min_control")
    high = _per_muscle(max_control, count, "max_control")
    if not np.all(low < high):
        raise ModelError("min_control must be smaller than max_control for every muscle")

    if x.size == 1:
        return np.clip(muscles.clamp(target), low, high).reshape(table.shape)

    grid, step = _grid(x, CONTROL_STEP)
    bounded = muscles
    cells = grid.size - 1
    muscles = muscles.within(low, high)
    # A row gets the mean excitation of its surroundings, so that straight lines between rows have the same impulse.
    gaps = np.diff(x)
    reach = np.maximum(0.5 * np.maximum(np.append(gaps, 0.0), np.insert(gaps, 0, 0.0)), 0.5 * step)
    edges = np.maximum(x - reach, x[0]), np.minimum(x + reach, x[-1])
    cells_of = [np.clip(np.searchsorted(grid, edge, side="right") - 1, 0, cells - 1) for edge in edges]
    before, after = (np.empty_like(target) for _ in edges)
    total = np.zeros(count)
    for part in _cut(cells, count, _SEARCH_LEAD * float(muscles.tau_deact.max()) / step):
        impulse = np.empty((part.count * part.length + 1, count))
        held = impulse[1:].reshape(part.count, part.length, count)
        state: Array | None = None
        for some, ends in part.slabs(cells, count):
            goals = bounded.clamp(interpolate(x, target, grid[ends].ravel()).reshape(*ends.shape, count))
            state = goals[0].copy() if state is None else state
            if some.start == part.lead and part.first == 0:
                state[0] = goals[0, 0]
            found = np.empty((len(goals) - 1, part.count, count))
            state = muscles.seek(state, goals[1:], step, low, high, found)
            if some.start >= part.lead:
                place = slice(some.start - part.lead, some.stop - part.lead)
                held[:, place] = np.swapaxes(step * found, 0, 1)
        last = min(part.first + part.count * part.length, cells)
        impulse = impulse[: last - part.first + 1]
        impulse[0] = total
        np.cumsum(impulse, axis=0, out=impulse)
        total = impulse[-1].copy()
        for edge, cell_of, sums in zip(edges, cells_of, (before, after), strict=True):
            rows = np.flatnonzero((cell_of >= part.first) & (cell_of < last))
            sums[rows] = interpolate(grid[part.first : last + 1], impulse, edge[rows])
    mean = (after - before) / (edges[1] - edges[0])[:, np.newaxis]
    # Sums of many steps leave rounding in it: what sits on a bound shall sit there exactly, so that it can be counted.
    result = np.where(mean < low + _ROUNDING, low, np.where(mean > high - _ROUNDING, high, mean))
    return result.reshape(table.shape)


def _aim(muscles: _Dynamics, state: Array, goal: Array, step: float, low: Array, high: Array) -> tuple[Array, Array]:
    """Return the excitation, held for one step, that leads to the goal or as near as the bounds allow, and the rate."""
    a = muscles.clamp(state)
    middle = 0.5 * (a + goal)
    # e - a has the sign of goal - a, so the branch is known before the excitation is.
    excitation = goal
    rate = muscles.rate(excitation, middle)
    if muscles.blended is None:
        return np.minimum(np.maximum(a + (goal - a) / -np.expm1(-rate * step), low), high), rate
    for _ in range(_BLENDED_ROUNDS):
        # Newton's method; where the rate does not depend on the excitation, one round is exact.
        gain = -np.expm1(-rate * step)
        slope = gain + (excitation - a) * step * (1.0 - gain) * muscles.rate_slope(excitation, middle)
        missed = (excitation - a) * gain - (goal - a)
        excitation = np.minimum(np.maximum(excitation - missed / np.maximum(slope, 0.25 * gain), low), high)
        rate = muscles.rate(excitation, middle)
    return excitation, rate


def _grid(time: Array, max_step: float) -> tuple[Array, float]:
    """Return a regular grid over the rows' time and its step."""
    steps = max(1, int(np.ceil((time[-1] - time[0]) / max_step)))
    return np.linspace(time[0], time[-1], steps + 1), float((time[-1] - time[0]) / steps)


@dataclass(frozen=True)
class _Part:
    """Some blocks of cells, one after the other in time, that are stepped through side by side."""

    first: int  # cell
    count: int  # blocks
    length: int  # cells of a block
    lead: int  # cells that each block starts early

    def slabs(self, cells: int, muscles: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Go through the cells of all blocks, some at a time.

        Yields which, counted from where each block starts early, and their grid points (cells + 1, blocks), none beyond
        the grid's ends. Where the blocks themselves begin, so do the next cells.
        """
        starts = self.first + self.length * np.arange(self.count) - self.lead
        step = max(1, _HELD // (self.count * max(muscles, 1)))
        end = self.lead + self.length
        for first, stop in pairwise([*range(0, self.lead, step), *range(self.lead, end, step), end]):
            points = starts + np.arange(first, stop + 1)[:, np.newaxis]
            yield slice(first, stop), np.clip(points, 0, cells)


def _cut(cells: int, muscles: int, lead: float) -> Iterator[_Part]:
    """Cut a grid into parts of blocks; short ones stay whole."""
    early = int(np.ceil(lead))
    if cells <= 4 * early:
        yield _Part(0, 1, cells, 0)
        return
    # As long as the lead: then the most steps are saved for the memory.
    most = max(1, _WIDEST // max(muscles, 1))
    for first in range(0, cells, most * early):
        yield _Part(first, min(most, -(-(cells - first) // early)), early, early)


def _integrals(time: Array, values: Array) -> tuple[Array, Array]:
    """Return the first and second integral, from the first row to each row, of the straight lines between rows."""
    gaps = np.diff(time)[:, np.newaxis]
    first = np.zeros_like(values)
    np.cumsum(0.5 * gaps * (values[1:] + values[:-1]), axis=0, out=first[1:])
    second = np.zeros_like(values)
    np.cumsum(gaps * (first[:-1] + gaps * (2.0 * values[:-1] + values[1:]) / 6.0), axis=0, out=second[1:])
    return first, second


def _integrals_at(at: Array, time: Array, values: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Return both integrals between rows, from those at the rows."""
    left = np.clip(np.searchsorted(time, at, side="right") - 1, 0, time.size - 2)
    s = (at - time[left])[:, np.newaxis]
    start = values[left]
    rise = (values[left + 1] - start) / (time[left + 1] - time[left])[:, np.newaxis]
    return (
        first[left] + s * (start + s * rise / 2.0),
        second[left] + s * (first[left] + s * (start / 2.0 + s * rise / 6.0)),
    )


def _dynamics(
    count: int,
    tau_act: ArrayLike,
    tau_deact: ArrayLike,
    kind: str | Sequence[str],
    min_activation: ArrayLike,
    smoothing: ArrayLike,
) -> _Dynamics:
    kinds = [kind] * count if isinstance(kind, str) else list(kind)
    if len(kinds) != count:
        raise ModelError(f"kind must be one name or one per muscle ({count}), found {len(kinds)}")
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ModelError(f"activation dynamics must be one of {', '.join(KINDS)}, found '{unknown[0]}'")
    rise = _per_muscle(tau_act, count, "activation time constant")
    fall = _per_muscle(tau_deact, count, "deactivation time constant")
    if not (np.all(rise > 0.0) and np.all(fall > 0.0)):
        raise ModelError("activation and deactivation time constants must be positive (s)")
    blended = np.array([name == "degroote_fregly" for name in kinds], dtype=bool)
    low = np.where(blended, -np.inf, _per_muscle(min_activation, count, "minimum activation"))
    high = np.where(blended, np.inf, 1.0)
    some = blended if blended.any() else None
    return _Dynamics(rise, fall, low, high, some, _per_muscle(smoothing, count, "smoothing"))


def _per_muscle(value: ArrayLike, count: int, what: str) -> Array:
    array = np.asarray(value, dtype=float)
    if array.shape not in ((), (count,)):
        raise ModelError(f"{what} must be one number or one per muscle ({count}), found shape {array.shape}")
    return np.broadcast_to(array, (count,))
