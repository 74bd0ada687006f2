"""Which joint torques activations make: Hill muscles with rigid tendons, pulling along paths.

Judging activations by the torques they make has a trap. A muscle with an elastic tendon carries the force that its
tendon's stretch says; with the fiber lengths of the results file kept, another activation changes that force by exactly
nothing, and every check passes. Here all activations of a trial are judged by one method that does not use those
lengths: muscles with a rigid tendon (:mod:`opensim_nem2e.musculoskeletal.hill`), whose force is linear in the
activation. It is not the muscle that CMC simulated. So its torque for CMC's own activations differs from inverse
dynamics, too, and what a refinement changed is the difference between the refined and CMC's activations, both by this
method.

One model serves numpy arrays and, differentiably in the activations, the motion and the muscles' parameters, torch
tensors. What differs between a spatial model and a planar leg is where the paths come from and which inverse dynamics
tell what a motion needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, did_you_mean
from ..storage.osim import read_model
from .arrays import AnyArray, alike, namespace
from .dynamics import Dynamics, JointMotion, Motion, OpenSimDynamics, PlanarDynamics
from .hill import CurveChoice, HillMuscles
from .paths import MOMENT_ARM_THRESHOLD, coordinate_ranges, fit_paths
from .planar_leg import PlanarLeg

Array = NDArray[np.float64]


class Paths(Protocol):
    """Muscle-tendon lengths and moment arms over coordinates, such as :class:`.paths.MusclePaths`."""

    @property
    def muscles(self) -> tuple[str, ...]:
        """The muscles."""

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The coordinates that any of them depends on."""

    def evaluate(self, q: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Return lengths and moment arms.

        Parameters
        ----------
        q : numpy.ndarray or torch.Tensor, shape (..., coordinates)
            The coordinates (rad or m).

        Returns
        -------
        lengths : numpy.ndarray or torch.Tensor, shape (..., muscles)
            m.
        moment_arms : numpy.ndarray or torch.Tensor, shape (..., muscles, coordinates)
            m; positive where the muscle's pull raises the coordinate.
        """

    def velocities(self, moment_arms: AnyArray, qdot: AnyArray) -> AnyArray:
        """Return the muscle-tendon velocities.

        Parameters
        ----------
        moment_arms : numpy.ndarray or torch.Tensor, shape (..., muscles, coordinates)
            From :meth:`evaluate`.
        qdot : numpy.ndarray or torch.Tensor, shape (..., coordinates)
            Speeds (rad/s or m/s).

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., muscles)
            m/s, positive when lengthening.
        """

    def outside(self, q: AnyArray) -> AnyArray:
        """Tell where coordinates leave the range in which the paths hold.

        Parameters
        ----------
        q : numpy.ndarray or torch.Tensor, shape (..., coordinates)
            The coordinates (rad or m).

        Returns
        -------
        numpy.ndarray or torch.Tensor of bool, shape (..., coordinates)
            True outside.
        """


@dataclass(frozen=True, eq=False)
class MuscleTorques:
    """What the torques of muscles with rigid tendons are made of: linear in the activations, row by row.

    ``torque = moment_arms^T (active * activation + passive)``.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    muscles, coordinates : tuple of str
        The muscles, and the coordinates looked at.
    active : numpy.ndarray or torch.Tensor, shape (..., rows, muscles)
        Force along the tendon per unit of activation (N): it holds the force-length and force-velocity curves.
    passive : numpy.ndarray or torch.Tensor, shape (..., rows, muscles)
        Force along the tendon without activation (N).
    moment_arms : numpy.ndarray or torch.Tensor, shape (..., rows, muscles, coordinates)
        m.
    outside : numpy.ndarray or torch.Tensor of bool, shape (..., rows)
        Rows in which a coordinate leaves the range of the paths; their numbers mean nothing.
    """

    time: Array
    muscles: tuple[str, ...]
    coordinates: tuple[str, ...]
    active: AnyArray
    passive: AnyArray
    moment_arms: AnyArray
    outside: AnyArray

    def of(self, coordinates: Sequence[str]) -> Self:
        """Return what belongs to some coordinates.

        Parameters
        ----------
        coordinates : sequence of str
            Some of :attr:`coordinates`.

        Returns
        -------
        MuscleTorques
            In the order asked for.
        """
        columns = [self.coordinates.index(name) for name in coordinates]
        return replace(self, coordinates=tuple(coordinates), moment_arms=self.moment_arms[..., columns])

    @property
    def actuates(self) -> NDArray[np.bool_]:
        """Which muscle actuates which coordinate anywhere in the motion; (muscles, coordinates)."""
        arms = namespace(self.moment_arms).abs(self.moment_arms) > MOMENT_ARM_THRESHOLD
        return np.asarray(arms.reshape(-1, *arms.shape[-2:]).any(0))

    @property
    def gain(self) -> AnyArray:
        """Torque per unit of each activation (Nm); (..., rows, coordinates, muscles)."""
        return (self.moment_arms * self.active[..., None]).swapaxes(-1, -2)

    @property
    def passive_torque(self) -> AnyArray:
        """Torque without activation (Nm); (..., rows, coordinates)."""
        return _joint_torques(self.moment_arms, self.passive)

    def torques(self, activations: AnyArray) -> AnyArray:
        """Return the torques that activations make.

        Parameters
        ----------
        activations : numpy.ndarray or torch.Tensor, shape (..., rows, muscles)
            0..1, at :attr:`time`.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
            Nm.
        """
        activations, active, passive, arms = alike(activations, self.active, self.passive, self.moment_arms)
        return _joint_torques(arms, active * activations + passive)


def _joint_torques(moment_arms: Any, forces: Any) -> Any:
    return namespace(forces).einsum("...mc,...m->...c", moment_arms, forces)


@dataclass(frozen=True, eq=False)
class TorqueTerms(MuscleTorques):
    """The same, and what the motion needs: what a check or a redistribution of activations works with.

    Parameters
    ----------
    time : numpy.ndarray, shape (rows,)
        s.
    muscles, coordinates : tuple of str
        The muscles, and the coordinates looked at.
    active, passive, moment_arms, outside : numpy.ndarray or torch.Tensor
        As in :class:`MuscleTorques`.
    inverse_dynamics : numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
        The torque that the motion needs (Nm).
    """

    inverse_dynamics: AnyArray
    #: Which tendons the muscles have.
    tendons: ClassVar[str] = "rigid"

    def of(self, coordinates: Sequence[str]) -> Self:
        """Return what belongs to some coordinates.

        Parameters
        ----------
        coordinates : sequence of str
            Some of :attr:`coordinates`.

        Returns
        -------
        TorqueTerms
            In the order asked for.
        """
        columns = [self.coordinates.index(name) for name in coordinates]
        return replace(super().of(coordinates), inverse_dynamics=self.inverse_dynamics[..., columns])


@dataclass(frozen=True, eq=False)
class TorqueModel:
    """Muscles with rigid tendons, their paths, and the dynamics of the body that they move.

    Parameters
    ----------
    hill : HillMuscles
        The muscles' parameters, numpy arrays or (some of them) tensors that can be learned.
    paths : Paths
        Lengths and moment arms of the same muscles, in the same order.
    coordinates : tuple of str
        The coordinates looked at.
    dynamics : Dynamics
        What tells which torques a motion needs.

    Raises
    ------
    opensim_nem2e.errors.ModelError
        Muscles and paths do not fit, or no muscle depends on a coordinate.
    """

    hill: HillMuscles
    paths: Paths
    coordinates: tuple[str, ...]
    dynamics: Dynamics

    def __post_init__(self) -> None:
        """Check what was given."""
        if self.hill.names != self.paths.muscles:
            raise ModelError(
                f"The paths must be those of the muscles {', '.join(self.hill.names)}; found those of "
                f"{', '.join(self.paths.muscles)}."
            )
        for name in self.coordinates:
            if name not in self.paths.coordinates:
                raise ModelError(
                    f"Torques of the coordinate '{name}' cannot be computed: no muscle turns it."
                    f"{did_you_mean(name, self.paths.coordinates)}"
                )

    @classmethod
    def of_model(
        cls,
        model_file: str | os.PathLike[str],
        motion: Motion,
        *,
        muscles: Iterable[str] | None = None,
        coordinates: Sequence[str] = (),
        cache_directory: str | os.PathLike[str] | None = None,
        curves: CurveChoice = "degroote_fregly",
    ) -> TorqueModel:
        """Take muscles and fitted paths from an OpenSim model.

        Parameters
        ----------
        model_file : str or os.PathLike
            The model.
        motion : Motion
            A motion from :func:`.dynamics.analyse_motion`; it says over which ranges paths are fitted.
        muscles : iterable of str, optional
            The muscles; all of the model by default.
        coordinates : sequence of str, optional
            The coordinates; by default all rotations that a muscle turns, that the motion tells and that are not
            locked.
        cache_directory : str or os.PathLike, optional
            Where the fitted paths are kept (:func:`opensim_nem2e.musculoskeletal.paths.fit_paths`).
        curves : {'degroote_fregly', 'own', 'static_optimization'}, optional
            Whose force curves the muscles have (:meth:`.HillMuscles.from_model`).

        Returns
        -------
        TorqueModel
            In numpy; its external loads are ExternalLoads files.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            A muscle or coordinate is not the model's, or no muscle turns it.
        opensim_nem2e.errors.OpenSimRunError
            OpenSim could not fit the paths.
        """
        hill = HillMuscles.from_model(read_model(model_file), muscles, curves)
        ranges = coordinate_ranges(motion.coordinates, motion.q, motion.rotational, motion.limits)
        about = (motion.coordinates, motion.q)
        paths = fit_paths(model_file, ranges, motion=about, cache_directory=cache_directory).of(hill.names)
        for name in coordinates:
            if name not in paths.coordinates:
                why = "no muscle turns it" if name in motion.coordinates else "there is none of that name"
                hint = did_you_mean(name, paths.coordinates)
                raise ModelError(f"Torques of the coordinate '{name}' cannot be computed: {why}.{hint}")
        each = zip(motion.coordinates, motion.rotational, motion.movable, motion.given, strict=True)
        free = {name for name, turns, moves, told in each if turns and moves and told}
        chosen = tuple(coordinates) or tuple(name for name in paths.coordinates if name in free)
        return cls(hill, paths, chosen, OpenSimDynamics(Path(model_file)))

    @classmethod
    def of_planar_leg(
        cls,
        leg: PlanarLeg,
        hill: HillMuscles,
        paths: Paths,
        joints: Sequence[str],
        directions: Sequence[float] | None = None,
    ) -> TorqueModel:
        """Let muscles move a planar leg.

        Parameters
        ----------
        leg : PlanarLeg
            The leg.
        hill : HillMuscles
            Its muscles.
        paths : Paths
            Their paths over the leg's joints; those fitted to a spatial model serve, other coordinates held.
        joints : sequence of str
            What the joints are called, from the hip on.
        directions : sequence of float, optional
            As in :class:`.dynamics.PlanarDynamics`; 1 for all joints by default.

        Returns
        -------
        TorqueModel
            Its external loads are a :class:`.dynamics.GroundReaction`.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            Names and segments do not fit, or no muscle actuates a joint.
        """
        signs = tuple(directions) if directions is not None else (1.0,) * len(joints)
        if not len(leg.masses) == len(joints) == len(signs):
            raise ModelError(
                f"A planar leg of {len(leg.masses)} segments needs as many joints and directions; found {len(joints)} "
                f"and {len(signs)}."
            )
        return cls(hill, paths, tuple(joints), PlanarDynamics(leg, tuple(joints), signs))

    @property
    def muscles(self) -> tuple[str, ...]:
        """The muscles."""
        return self.hill.names

    @property
    def max_isometric_forces(self) -> AnyArray:
        """The muscles' maximal forces (N); (muscles,)."""
        return self.hill.max_isometric_force

    def evaluate(self, motion: JointMotion) -> MuscleTorques:
        """Evaluate the muscles over a motion.

        Parameters
        ----------
        motion : JointMotion
            With all coordinates of the paths.

        Returns
        -------
        MuscleTorques
            Tensors if the motion's values or a parameter of the muscles is one.

        Raises
        ------
        opensim_nem2e.errors.ModelError
            The motion lacks a coordinate.
        """
        columns = motion.columns(self.paths.coordinates)
        parameters = [getattr(self.hill, name) for name in HillMuscles.PARAMETERS]
        q, qdot, *values = alike(motion.q[..., columns], motion.qdot[..., columns], *parameters)
        hill = replace(self.hill, **dict(zip(HillMuscles.PARAMETERS, values, strict=True)))
        lengths, arms = self.paths.evaluate(q)
        active, passive = hill.rigid_terms(lengths, self.paths.velocities(arms, qdot))
        return MuscleTorques(
            time=motion.time,
            muscles=hill.names,
            coordinates=self.coordinates,
            active=active,
            passive=passive,
            moment_arms=arms[..., [self.paths.coordinates.index(name) for name in self.coordinates]],
            outside=self.paths.outside(q).any(-1),
        )

    def torques(self, activations: AnyArray, motion: JointMotion) -> AnyArray:
        """Return the torques that activations make.

        Parameters
        ----------
        activations : numpy.ndarray or torch.Tensor, shape (..., rows, muscles)
            0..1, at the motion's rows.
        motion : JointMotion
            The motion.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
            Nm.
        """
        return self.evaluate(motion).torques(activations)

    def gains(self, motion: JointMotion) -> tuple[AnyArray, AnyArray]:
        """Return the linear map from activations to torques: ``torque = gain @ activation + passive``.

        Parameters
        ----------
        motion : JointMotion
            The motion.

        Returns
        -------
        gain : numpy.ndarray or torch.Tensor, shape (..., rows, coordinates, muscles)
            Torque per unit of each activation (Nm).
        passive : numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
            Torque without activation (Nm).
        """
        made = self.evaluate(motion)
        return made.gain, made.passive_torque

    def required(self, motion: JointMotion, loads: Any = None) -> AnyArray:
        """Return the torques that a motion needs, by inverse dynamics.

        Parameters
        ----------
        motion : JointMotion
            The motion, as the dynamics take it.
        loads : Any, optional
            What touches the body, as the dynamics take it; None: nothing.

        Returns
        -------
        numpy.ndarray or torch.Tensor, shape (..., rows, coordinates)
            Nm (N for translations).

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The motion lacks something, or OpenSim failed.
        """
        return self.dynamics.required(motion, loads, self.coordinates)

    def terms(self, motion: JointMotion, loads: Any = None) -> TorqueTerms:
        """Evaluate the muscles over a motion, and what it needs.

        Parameters
        ----------
        motion : JointMotion
            The motion.
        loads : Any, optional
            As for :meth:`required`.

        Returns
        -------
        TorqueTerms
            At the motion's rows.
        """
        return TorqueTerms(**vars(self.evaluate(motion)), inverse_dynamics=self.required(motion, loads))
