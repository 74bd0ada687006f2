"""Hill-type muscles for many muscles and frames at once: OpenSim's ``DeGrooteFregly2016Muscle``, or its own classes'.

With a rigid tendon a muscle may have the curves of its own class (:mod:`.force_curves`); everything else here is
``DeGrooteFregly2016Muscle``. The variant is that of OpenSim 4.6 (``OpenSim/Actuators/DeGrooteFregly2016Muscle.h``),
which departs from the paper (De Groote et al. 2016) in that the active force-length curve passes through (1, 1), the
force-velocity curve through (-1, 0) and (0, 1), the passive curve is 0 at a normalised fiber length of 0.2 and the
tendon is described by its strain at one norm force. With the normalised fiber length l, the normalised fiber velocity v
(1 is the maximum velocity), the normalised tendon length t, and the strains e0 (passive fiber) and s (tendon) at one
norm force::

    active   fa(l) = sum over i of b1i exp(-1/2 ((l - b2i) / (b3i + b4i l))^2)
             b1 = 0.8150671134243542, 0.433004984392647, 0.1      b2 = 1.055033428970575, 0.716775413397760, 1.0
             b3 = 0.162384573599574, -0.029947116970696, sqrt(1/8)  b4 = 0.063303448465465, 0.200356847296188, 0.0
    velocity fv(v) = d1 asinh(d2 v + d3) + d4
             d = -0.3211346127989808, -8.149, -0.374, 0.8825327733249912
    passive  fp(l) = (exp(4 (l - 1) / e0) - c) / (exp(4) - c),   c = exp(4 (0.2 - 1) / e0)
    tendon   ft(t) = 0.2 exp(kT (t - 1)) - 0.2,   kT = log(1.2 / 0.2) / s

    fiber force = F0 [a fa(l) fv(v) + fp(l) + damping v]

The fiber keeps its width, so cos(alpha) = (length along the tendon) / (fiber length).

With a rigid tendon (:meth:`HillMuscles.rigid_terms`) the tendon has its slack length, and the force is linear in the
activation. Where tendon and fiber carry the same force, :mod:`.elastic_tendons` finds the fiber.

The same formulas serve numpy arrays and torch tensors (batched, differentiable).

References
----------
De Groote, F., Kinney, A. L., Rao, A. V., Fregly, B. J. (2016). Evaluation of direct collocation optimal control problem
formulations for solving the muscle redundancy problem. Ann. Biomed. Eng. 44, 2922-2936.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..errors import ModelError, did_you_mean
from .arrays import AnyArray, like, namespace
from .force_curves import CURVES_OF_CLASS, SLIPS_OF_CLASS, ForceCurves, shortest_lengths

if TYPE_CHECKING:
    import torch

    from ..storage.osim import MuscleInfo, OsimModel

#: Whose force curves a rigid tendon's fiber has.
CurveChoice = Literal["degroote_fregly", "own", "static_optimization"]

_B1 = (0.8150671134243542, 0.433004984392647, 0.1)
_B2 = (1.055033428970575, 0.716775413397760, 1.0)
_B3 = (0.162384573599574, -0.029947116970696, 0.5 * 0.5**0.5)
_B4 = (0.063303448465465, 0.200356847296188, 0.0)
_D1, _D2, _D3, _D4 = -0.3211346127989808, -8.149, -0.374, 0.8825327733249912
_C1, _C2, _C3 = 0.2, 1.0, 0.2
_K_PASSIVE = 4.0

#: Normalised fiber lengths for which OpenSim says the curves hold; the passive force is 0 at the lower one.
NORM_FIBER_LENGTHS = (0.2, 1.8)


def active_force_length(norm_length: AnyArray, width_scale: float | AnyArray = 1.0) -> AnyArray:
    """Evaluate the active force-length curve.

    Parameters
    ----------
    norm_length : numpy.ndarray or torch.Tensor
        Fiber length / optimal fiber length.
    width_scale : float or array, optional
        OpenSim's ``active_force_width_scale``: 2 makes the curve twice as wide.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        The multiplier, of the same shape.
    """
    xp = namespace(norm_length)
    length: Any = (norm_length - 1.0) / width_scale + 1.0
    total: Any = 0.0
    for b1, b2, b3, b4 in zip(_B1, _B2, _B3, _B4, strict=True):
        total = total + b1 * xp.exp(-0.5 * ((length - b2) / (b3 + b4 * length)) ** 2)
    return total


def force_velocity(norm_velocity: AnyArray) -> AnyArray:
    """Evaluate the force-velocity curve.

    Parameters
    ----------
    norm_velocity : numpy.ndarray or torch.Tensor
        Fiber velocity / maximum contraction velocity; negative when the fiber shortens.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        The multiplier: 0 at -1, 1 at 0.
    """
    return _D1 * namespace(norm_velocity).asinh(_D2 * norm_velocity + _D3) + _D4


def passive_force_length(norm_length: AnyArray, strain: float | AnyArray = 0.6) -> AnyArray:
    """Evaluate the passive force-length curve.

    Parameters
    ----------
    norm_length : numpy.ndarray or torch.Tensor
        Fiber length / optimal fiber length.
    strain : float or array, optional
        ``passive_fiber_strain_at_one_norm_force``.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        The multiplier: 0 at 0.2 (negative below), 1 at ``1 + strain``.
    """
    xp = namespace(norm_length, strain)
    offset = xp.exp(like(_K_PASSIVE * (NORM_FIBER_LENGTHS[0] - 1.0) / strain, norm_length))
    return (xp.exp(_K_PASSIVE * (norm_length - 1.0) / strain) - offset) / (np.exp(_K_PASSIVE) - offset)


def tendon_force_length(norm_length: AnyArray, strain: float | AnyArray = 0.049) -> AnyArray:
    """Evaluate the tendon's force-length curve.

    Parameters
    ----------
    norm_length : numpy.ndarray or torch.Tensor
        Tendon length / tendon slack length.
    strain : float or array, optional
        ``tendon_strain_at_one_norm_force``.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        Force in maximum isometric forces.
    """
    return _C1 * namespace(norm_length).exp(_tendon_stiffness(strain) * (norm_length - _C2)) - _C3


def _tendon_stiffness(strain: Any) -> Any:
    return float(np.log((1.0 + _C3) / _C1)) / (1.0 + strain - _C2)


def _own_curves(muscles: Sequence[MuscleInfo], slips: bool) -> ForceCurves | None:
    """Return the curves of muscles' own classes; None where these are the ones above."""
    classes = [muscle.class_name for muscle in muscles]
    if not (slips or set(classes) & CURVES_OF_CLASS.keys()):
        return None
    parts = []
    for name in dict.fromkeys(classes):
        columns = np.flatnonzero([other == name for other in classes])
        make = CURVES_OF_CLASS.get(name, _DeGrooteFregly.of)
        parts.append((columns, make([muscles[column] for column in columns.tolist()])))
    pennated = np.array([SLIPS_OF_CLASS.get(name, -1.0) for name in classes]) if slips else None
    return ForceCurves(tuple(parts), shortest_lengths(muscles), pennated)


@dataclass(frozen=True, eq=False)
class _DeGrooteFregly:
    """The curves of DeGrooteFregly2016Muscle among those of other classes."""

    passive_strain: Any
    active_width_scale: Any
    tendon_strain: Any

    @classmethod
    def of(cls, muscles: Sequence[MuscleInfo]) -> _DeGrooteFregly:
        return cls(
            np.array([muscle.passive_fiber_strain_at_one_norm_force for muscle in muscles]),
            np.array([muscle.active_force_width_scale for muscle in muscles]),
            np.array([muscle.tendon_strain_at_one_norm_force for muscle in muscles]),
        )

    def active_force_length(self, norm_length: AnyArray) -> AnyArray:
        return active_force_length(norm_length, like(self.active_width_scale, norm_length))

    def force_velocity(self, norm_velocity: AnyArray, activation: AnyArray) -> AnyArray:
        return force_velocity(norm_velocity)

    def passive_force_length(self, norm_length: AnyArray) -> AnyArray:
        return passive_force_length(norm_length, like(self.passive_strain, norm_length))

    def tendon_force_length(self, norm_length: AnyArray) -> AnyArray:
        return tendon_force_length(norm_length, like(self.tendon_strain, norm_length))


@dataclass(frozen=True, eq=False)
class HillMuscles:
    """Parameters of muscles; every array is ``(muscles,)``, numpy or torch (then they can be learned).

    Parameters
    ----------
    names : tuple of str
        The muscles.
    max_isometric_force : array
        F0, N.
    optimal_fiber_length, tendon_slack_length : array
        m.
    pennation_angle_at_optimal : array
        rad.
    max_contraction_velocity : array
        Optimal fiber lengths per second.
    fiber_damping : array
        Damping force in F0 per normalised velocity.
    tendon_strain, passive_strain : array
        Strains at one norm force.
    active_width_scale : array
        ``active_force_width_scale``.
    curves : ForceCurves, optional
        The curves of the muscles' own classes, for what concerns the rigid tendon, :meth:`fiber_terms` and
        :meth:`tendon_force`; None: those above. Then strains and width have no part in these forces.
    """

    #: The fields that are arrays.
    PARAMETERS: ClassVar[tuple[str, ...]] = (
        *("max_isometric_force", "optimal_fiber_length", "tendon_slack_length", "pennation_angle_at_optimal"),
        *("max_contraction_velocity", "fiber_damping", "tendon_strain", "passive_strain", "active_width_scale"),
    )

    names: tuple[str, ...]
    max_isometric_force: Any
    optimal_fiber_length: Any
    tendon_slack_length: Any
    pennation_angle_at_optimal: Any
    max_contraction_velocity: Any
    fiber_damping: Any
    tendon_strain: Any
    passive_strain: Any
    active_width_scale: Any
    curves: ForceCurves | None = None

    @classmethod
    def from_model(
        cls, model: OsimModel, names: Iterable[str] | None = None, curves: CurveChoice = "degroote_fregly"
    ) -> HillMuscles:
        """Take the parameters from a model, whatever its muscles' class.

        They are mapped as OpenSim's ``DeGrooteFregly2016Muscle.replaceMuscles`` maps them. What the classes have in
        common keeps its value (F0, optimal fiber length, tendon slack length, pennation, maximum velocity), and so do
        the strains at one norm force (Thelen2003Muscle: FmaxTendonStrain and FmaxMuscleStrain; Millard2012: those of
        the tendon and fiber force-length curves). What differs:

        - The shapes of all curves. Thelen's active curve is a Gaussian (KshapeActive), Millard's a spline, and neither
          carries passive force below the optimal length, where this muscle has a little.
        - Thelen's force-velocity curve depends on the activation (Af, Flen), and that muscle has no fiber damping: it
          is 0 here.
        - With a rigid tendon the fiber is longer than with an elastic one by the tendon's stretch.

        Parameters
        ----------
        model : OsimModel
            The model.
        names : iterable of str, optional
            The muscles wanted; by default all that the model lets act (``appliesForce``), in its order. One that is
            switched off gets a maximum isometric force of 0.
        curves : {'degroote_fregly', 'own', 'static_optimization'}, optional
            Whose force curves a rigid tendon's fiber has: those of DeGrooteFregly2016Muscle for all muscles, those of
            each muscle's own class, or these with the active force exactly as OpenSim's StaticOptimization computes it
            (:meth:`.ForceCurves.active_cosine`).

        Returns
        -------
        HillMuscles
            numpy arrays.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The model has no such muscle, or a muscle is of a class without these parameters.
        """
        acting = (name for name, muscle in model.muscles.items() if muscle.applies_force)
        wanted = tuple(acting if names is None else names)
        for name in wanted:
            if name not in model.muscles:
                raise ModelError(f"{model.path}: there is no muscle '{name}'.{did_you_mean(name, model.muscles)}")
        found = [model.muscles[name] for name in wanted]
        foreign = [muscle for muscle in found if muscle.tendon_strain_at_one_norm_force is None]
        if foreign:
            raise ModelError(
                f"{model.path}: muscles must be Thelen2003Muscle, Millard2012EquilibriumMuscle or "
                f"DeGrooteFregly2016Muscle, but '{foreign[0].name}' is a {foreign[0].class_name}."
            )

        def column(values: Iterable[float | None]) -> np.ndarray:
            return np.array([0.0 if value is None else value for value in values])

        def of(attribute: str) -> np.ndarray:
            return column(getattr(muscle, attribute) for muscle in found)

        return cls(
            names=wanted,
            max_isometric_force=column(muscle.max_isometric_force if muscle.applies_force else 0.0 for muscle in found),
            optimal_fiber_length=of("optimal_fiber_length"),
            tendon_slack_length=of("tendon_slack_length"),
            pennation_angle_at_optimal=of("pennation_angle_at_optimal"),
            max_contraction_velocity=of("max_contraction_velocity"),
            fiber_damping=of("fiber_damping"),
            tendon_strain=of("tendon_strain_at_one_norm_force"),
            passive_strain=of("passive_fiber_strain_at_one_norm_force"),
            active_width_scale=of("active_force_width_scale"),
            curves=None if curves == "degroote_fregly" else _own_curves(found, curves == "static_optimization"),
        )

    def to_torch(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> HillMuscles:
        """Return the same muscles with torch tensors.

        Parameters
        ----------
        dtype : torch.dtype, optional
            Double precision by default.
        device : torch.device or str, optional
            The CPU by default.

        Returns
        -------
        HillMuscles
            Tensors.
        """
        import torch

        arrays: dict[str, Any] = {
            name: torch.as_tensor(getattr(self, name), dtype=dtype or torch.float64, device=device)
            for name in self.PARAMETERS
        }
        return replace(self, **arrays)

    @property
    def fiber_width(self) -> AnyArray:
        """Width of the fibers, which stays constant (m); (muscles,)."""
        angle = self.pennation_angle_at_optimal
        return self.optimal_fiber_length * namespace(angle).sin(angle)

    # --- rigid tendon ------------------------------------------------------------------------------------------

    def rigid_terms(self, length: AnyArray, velocity: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Return what the force along a rigid tendon is made of: ``force = active * activation + passive``.

        Parameters
        ----------
        length : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Muscle-tendon length (m).
        velocity : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Its rate of change (m/s).

        Returns
        -------
        active, passive : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Force per unit of activation, and passive force with the fiber's damping (N). Where the muscle is shorter
            than its tendon (``length < tendon_slack_length``) the model does not hold: OpenSim's own muscle then
            pushes, and so does this one; Thelen2003Muscle and Millard2012EquilibriumMuscle are slack there.
            The force of Thelen2003Muscle is not linear in the activation: its ``active`` is that of full activation,
            which is what StaticOptimization multiplies.
        """
        return self._rigid(length, velocity, 1.0)

    def rigid_active(self, length: AnyArray, velocity: AnyArray) -> AnyArray:
        """Return the active force along a rigid tendon per unit of activation.

        Parameters
        ----------
        length, velocity : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Of the muscle-tendon unit (m, m/s).

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            The first half of :meth:`rigid_terms` (N), without the cost of the other.
        """
        along = length - self.tendon_slack_length
        norm_length, cosine = self._fiber(along)
        return self._active(along, norm_length, self._norm_velocity(velocity, cosine), cosine, 1.0)

    def rigid_force(self, activation: AnyArray, length: AnyArray, velocity: AnyArray) -> AnyArray:
        """Return the force along a rigid tendon.

        Parameters
        ----------
        activation : numpy.ndarray or torch.Tensor, shape (..., muscles)
            0..1.
        length, velocity : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Of the muscle-tendon unit (m, m/s).

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            N.
        """
        active, passive = self._rigid(length, velocity, activation)
        return active * activation + passive

    def _rigid(self, length: Any, velocity: Any, activation: Any) -> tuple[Any, Any]:
        """Return force per unit of activation, at this activation, and passive force."""
        return self.fiber_terms(length - self.tendon_slack_length, velocity, activation)

    def fiber_terms(self, along: AnyArray, velocity: AnyArray, activation: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Return what the force of fibers along the tendon is made of: ``force = active * activation + passive``.

        Parameters
        ----------
        along, velocity : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Length of the fiber along the tendon (m) and its rate of change (m/s).
        activation : numpy.ndarray or torch.Tensor, shape (..., muscles), or float
            0..1; the force per unit of Thelen2003Muscle depends on it.

        Returns
        -------
        active, passive : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Force per unit of activation, and passive force with the fiber's damping (N).
        """
        norm_length, cosine = self._fiber(along)
        norm_velocity = self._norm_velocity(velocity, cosine)
        active = self._active(along, norm_length, norm_velocity, cosine, activation)
        if self.curves is None:
            passive = passive_force_length(norm_length, self.passive_strain)
        else:
            passive = self.curves.passive_force_length(norm_length)
        passive = self.max_isometric_force * cosine * (passive + self.fiber_damping * norm_velocity)
        return active, passive if self.curves is None else self._where_it_pulls(along, passive)

    def _active(self, along: Any, norm_length: Any, norm_velocity: Any, cosine: Any, activation: Any) -> Any:
        """Return force per unit of activation."""
        curves = self.curves
        if curves is None:
            active = active_force_length(norm_length, self.active_width_scale) * force_velocity(norm_velocity)
            return self.max_isometric_force * cosine * active
        active = curves.active_force_length(norm_length) * curves.force_velocity(norm_velocity, activation)
        cosine = curves.active_cosine(norm_length, cosine, self.fiber_width)
        return self._where_it_pulls(along, self.max_isometric_force * cosine * active)

    def _where_it_pulls(self, along: Any, force: Any) -> Any:
        """Return no force where a muscle of a class that goes slack is shorter than its tendon."""
        assert self.curves is not None
        pulls = (along > 0.0) | (like(self.curves.shortest, along) < 0.0)
        return namespace(along).where(pulls, force, 0.0 * force)

    def tendon_force(self, length: AnyArray) -> AnyArray:
        """Return the force of tendons.

        Parameters
        ----------
        length : numpy.ndarray or torch.Tensor, shape (..., muscles)
            Of the tendon (m).

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            N, by the curves that the fibers have.
        """
        norm_length = length / self.tendon_slack_length
        if self.curves is None:
            return self.max_isometric_force * tendon_force_length(norm_length, self.tendon_strain)
        return self.max_isometric_force * self.curves.tendon_force_length(norm_length)

    # --- geometry ----------------------------------------------------------------------------------------------

    def _fiber(self, along: Any) -> tuple[Any, Any]:
        """Return the normalised fiber length and the cosine of the pennation, from the length along the tendon."""
        fiber = namespace(along).sqrt(along**2 + like(self.fiber_width, along) ** 2)
        return fiber / self.optimal_fiber_length, along / fiber

    def _norm_velocity(self, along: Any, cosine: Any) -> Any:
        return along * cosine / (self.max_contraction_velocity * self.optimal_fiber_length)
