"""What this package needs from an OpenSim model file, without OpenSim.

Opening a model with lxml takes about 20 ms and no import of ``opensim``. Files of OpenSim 2.x and 3.x (joints inside
bodies) and of 4.x are read; values that a file leaves out come from its ``<defaults>`` block or, failing that, are the
defaults of OpenSim 4.6's own classes.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from ..errors import ModelError, brief, locate
from ..log import Recorder, logger
from .safe_xml import MAX_BYTES, parse_xml, read_bytes


@dataclass(frozen=True)
class _MuscleClass:
    """Defaults and states of one class of muscles, as printed and named by OpenSim 4.6."""

    min_control: float
    min_activation: float | None
    activation_time_constant: float | None
    deactivation_time_constant: float | None
    states: tuple[str, ...] = ("activation", "fiber_length")
    fiber_damping: float | None = None
    #: Where the strain at one norm force is written, and its default.
    tendon_strain: tuple[str, float] | None = None
    passive_strain: tuple[str, float] | None = None
    activation_dynamics_smoothing: float | None = None
    #: Parameters of the force curves and their defaults, a curve's own ones as "curve/property". What OpenSim finds for
    #: itself where nothing is written is nan.
    curves: Mapping[str, float] = field(default_factory=dict, hash=False)


_THELEN_CURVES = {
    "KshapeActive": 0.45,
    "KshapePassive": 5.0,
    "FmaxMuscleStrain": 0.6,
    "Af": 0.25,
    "Flen": 1.4,
    "fv_linear_extrap_threshold": 0.95,
    "maximum_pennation_angle": math.acos(0.1),
}

_MILLARD_CURVES = {
    "ActiveForceLengthCurve/min_norm_active_fiber_length": 0.4441,
    "ActiveForceLengthCurve/transition_norm_fiber_length": 0.73,
    "ActiveForceLengthCurve/max_norm_active_fiber_length": 1.8123,
    "ActiveForceLengthCurve/shallow_ascending_slope": 0.8616,
    "ActiveForceLengthCurve/minimum_value": 0.1,
    "ForceVelocityCurve/concentric_slope_at_vmax": 0.0,
    "ForceVelocityCurve/concentric_slope_near_vmax": 0.25,
    "ForceVelocityCurve/isometric_slope": 5.0,
    "ForceVelocityCurve/eccentric_slope_at_vmax": 0.0,
    "ForceVelocityCurve/eccentric_slope_near_vmax": 0.15,
    "ForceVelocityCurve/max_eccentric_velocity_force_multiplier": 1.4,
    "ForceVelocityCurve/concentric_curviness": 0.6,
    "ForceVelocityCurve/eccentric_curviness": 0.9,
    "FiberForceLengthCurve/strain_at_zero_force": 0.0,
    "FiberForceLengthCurve/strain_at_one_norm_force": 0.7,
    "FiberForceLengthCurve/stiffness_at_low_force": math.nan,
    "FiberForceLengthCurve/stiffness_at_one_norm_force": math.nan,
    "FiberForceLengthCurve/curviness": math.nan,
    "TendonForceLengthCurve/stiffness_at_one_norm_force": math.nan,
    "TendonForceLengthCurve/norm_force_at_toe_end": math.nan,
    "TendonForceLengthCurve/curviness": math.nan,
    "maximum_pennation_angle": math.acos(0.1),
}

_MUSCLE_CLASSES = {
    "Thelen2003Muscle": _MuscleClass(
        *(0.01, 0.01, 0.015, 0.050),
        tendon_strain=("FmaxTendonStrain", 0.04),
        passive_strain=("FmaxMuscleStrain", 0.6),
        curves=_THELEN_CURVES,
    ),
    "Millard2012EquilibriumMuscle": _MuscleClass(
        *(0.01, 0.01, 0.010, 0.040),
        fiber_damping=0.1,
        tendon_strain=("TendonForceLengthCurve/strain_at_one_norm_force", 0.049),
        passive_strain=("FiberForceLengthCurve/strain_at_one_norm_force", 0.7),
        curves=_MILLARD_CURVES,
    ),
    "Millard2012AccelerationMuscle": _MuscleClass(
        0.0, 0.01, 0.010, 0.040, ("activation", "fiber_length", "fiber_velocity")
    ),
    "DeGrooteFregly2016Muscle": _MuscleClass(
        *(0.0, 0.0, 0.015, 0.060, ("activation", "normalized_tendon_force")),
        fiber_damping=0.0,
        tendon_strain=("tendon_strain_at_one_norm_force", 0.049),
        passive_strain=("passive_fiber_strain_at_one_norm_force", 0.6),
        activation_dynamics_smoothing=0.1,
    ),
    "RigidTendonMuscle": _MuscleClass(0.0, None, None, None, ()),
    "Thelen2003Muscle_Deprecated": _MuscleClass(0.0, None, 0.010, 0.040),
    "Schutte1993Muscle_Deprecated": _MuscleClass(0.0, None, None, None),
    "Delp1990Muscle_Deprecated": _MuscleClass(0.0, None, None, None, ("activation", "fiber_length", "fiber_velocity")),
}

#: Names that OpenSim itself replaces when it reads old files (``RegisterTypes_osimActuators.cpp``).
_RENAMED = {"Schutte1993Muscle": "Schutte1993Muscle_Deprecated", "Delp1990Muscle": "Delp1990Muscle_Deprecated"}

#: Files older than this let these classes have a lower control bound of 0, which OpenSim now raises as it reads them
#: (``updateFromXMLNode``; it is below their lowest activation).
_MIN_CONTROL_RAISED_BEFORE = 30513
_MIN_CONTROL_RAISED = {"Thelen2003Muscle": 0.01, "Millard2012EquilibriumMuscle": 0.01}

#: Up to this version, the pennation angle had another name, and a force was switched off by another property.
_PENNATION_ANGLE_UNTIL = 20301
_IS_DISABLED_UNTIL = 30508

#: A number as OpenSim reads it. ``float()`` would also take ``1_000`` and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf(?:inity)?|[+-]?nan", re.ASCII | re.IGNORECASE)

#: Infinity as Windows' run-time library wrote it. OpenSim reads as far as the number goes: 1.
_WINDOWS_INFINITY = re.compile(r"([+-]?1)\.#INF0*", re.ASCII)

#: What OpenSim refuses in a component's name (``Component::finalizeFromProperties``), and control characters.
_NOT_IN_NAMES = re.compile(r"[\\*+/\s\x00-\x1f\x7f-\x9f\ufffd]")

#: What a muscle's numbers must be, for a message, and the test.
_Rule = tuple[str, Callable[[float], bool]]
_FINITE: _Rule = ("a finite number", math.isfinite)
_POSITIVE: _Rule = ("a positive number", lambda value: 0.0 < value < math.inf)
_NOT_NEGATIVE: _Rule = ("a finite number that is not negative", lambda value: 0.0 <= value < math.inf)
_SHARE: _Rule = ("a number from 0 to below 1", lambda value: 0.0 <= value < 1.0)
_ACUTE: _Rule = ("an angle from 0 to below 1.5708 rad", lambda value: 0.0 <= value < math.pi / 2.0)
_NUMBER_AT_ALL: _Rule = ("a number", lambda value: not math.isnan(value))

#: How many impossible numbers of a model are named.
_MOST_FAULTS = 20

#: A muscle of some plugin: nothing is known of it but that OpenSim's muscles usually have these two states.
_UNKNOWN_MUSCLE = _MuscleClass(0.0, None, None, None)

#: Actuators that are no muscles, and the states they add.
_OTHER_ACTUATORS: dict[str, tuple[str, ...]] = {
    "CoordinateActuator": (),
    "ActivationCoordinateActuator": ("activation",),
    "TorqueActuator": (),
    "PointActuator": (),
    "PointToPointActuator": (),
    "PathActuator": (),
    "BodyActuator": (),
    "McKibbenActuator": (),
    "ClutchedPathSpring": ("stretch",),
}

#: Forces between a model and the ground that need no recording.
_CONTACTS = frozenset({"HuntCrossleyForce", "ElasticFoundationForce", "SmoothSphereHalfSpaceForce"})

#: How many coordinates a joint has when its file lists none; OpenSim then calls them ``_coord_<i>``.
_COORDINATES_OF_JOINTS = {
    "PinJoint": 1,
    "SliderJoint": 1,
    "ScrewJoint": 1,
    "UniversalJoint": 2,
    "BallJoint": 3,
    "GimbalJoint": 3,
    "EllipsoidJoint": 3,
    "PlanarJoint": 3,
    "FreeJoint": 6,
    "ScapulothoracicJoint": 4,
}


@dataclass(frozen=True)
class Coordinate:
    """A generalised coordinate.

    Parameters
    ----------
    name : str
        Its name, for example "knee_angle_r".
    joint : str
        The joint's name.
    path : str
        Its path in OpenSim 4.x, for example "/jointset/knee_r/knee_angle_r".
    limits : tuple of float or None
        The lowest and the highest value that the model states (rad or m); None where it states none.
    """

    name: str
    joint: str
    path: str
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class ActuatorInfo:
    """An actuator, muscle or not.

    Parameters
    ----------
    name, class_name, path : str
        Its name, OpenSim class, and path in OpenSim 4.x ("/forceset/soleus_r").
    min_control, max_control : float
        Bounds of its control, dimensionless.
    applies_force : bool
        False where the model switches it off: it then has states, but no force.
    """

    name: str
    class_name: str
    path: str
    min_control: float
    max_control: float
    applies_force: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class MuscleInfo(ActuatorInfo):
    """A muscle.

    Parameters
    ----------
    name, class_name, path : str
        As in :class:`ActuatorInfo`.
    min_control, max_control : float
        As in :class:`ActuatorInfo`.
    min_activation : float or None
        Lower bound of the activation, dimensionless; None where the class has none.
    activation_time_constant, deactivation_time_constant : float or None
        Seconds; None where the class has other activation dynamics (or none).
    max_isometric_force : float
        N.
    states : tuple of str
        Names of its state variables in OpenSim's order, for example ("activation", "fiber_length").
    optimal_fiber_length, tendon_slack_length : float
        m.
    pennation_angle_at_optimal : float
        Angle between fibers and tendon at the optimal fiber length, rad.
    max_contraction_velocity : float
        Optimal fiber lengths per second.
    fiber_damping : float or None
        Damping force of the fiber, in maximum isometric forces per normalised velocity; None where the class has none.
    tendon_strain_at_one_norm_force, passive_fiber_strain_at_one_norm_force : float or None
        Strain at which the tendon, or the passive fiber, carries the maximum isometric force; None where the class has
        no such parameter.
    active_force_width_scale : float
        Width of the active force-length curve, of DeGrooteFregly2016Muscle only.
    activation_dynamics_smoothing : float or None
        How sharply activation and deactivation are told apart, of DeGrooteFregly2016Muscle only.
    curve_parameters : mapping of str to float
        Parameters of the force curves of Thelen2003Muscle and Millard2012EquilibriumMuscle, by OpenSim's names
        ("Flen", "ForceVelocityCurve/isometric_slope"); nan where OpenSim finds a value for itself.
    applies_force : bool
        As in :class:`ActuatorInfo`.
    """

    min_activation: float | None
    activation_time_constant: float | None
    deactivation_time_constant: float | None
    max_isometric_force: float
    states: tuple[str, ...]
    optimal_fiber_length: float
    tendon_slack_length: float
    pennation_angle_at_optimal: float
    max_contraction_velocity: float
    fiber_damping: float | None
    tendon_strain_at_one_norm_force: float | None
    passive_fiber_strain_at_one_norm_force: float | None
    active_force_width_scale: float = 1.0
    activation_dynamics_smoothing: float | None = None
    curve_parameters: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class OsimModel:
    """The parts of a model that this package uses.

    Parameters
    ----------
    name : str
        The model's name.
    path : pathlib.Path
        The file.
    version : int
        The version of the file's format, for example 40500.
    mass : float
        Sum of the bodies' masses, kg.
    coordinates : tuple of Coordinate
        In the order of the model's joints.
    muscles : mapping of str to MuscleInfo
        By name, in the order of the file.
    actuators : tuple of ActuatorInfo
        All actuators, muscles included, in the order of the file.
    contacts : tuple of str
        Names of the forces by which the ground pushes back by itself (contact spheres and meshes).
    frames : tuple of str
        Names of the bodies and of the frames on them.
    """

    name: str
    path: Path
    version: int
    mass: float
    coordinates: tuple[Coordinate, ...]
    muscles: Mapping[str, MuscleInfo]
    actuators: tuple[ActuatorInfo, ...]
    contacts: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    _states: tuple[str, ...] = ()

    def state_labels(self) -> tuple[str, ...]:
        """Return the labels of the states in the order in which OpenSim 4.x writes them.

        Returns
        -------
        tuple of str
            For example "/jointset/knee_r/knee_angle_r/value", ".../speed", "/forceset/soleus_r/activation".
        """
        return self._states


def read_model(path: str | os.PathLike[str]) -> OsimModel:
    """Read an ``.osim`` file.

    Parameters
    ----------
    path : str or os.PathLike
        The model, as written by OpenSim 2.3 or later.

    Returns
    -------
    OsimModel
        Its coordinates, muscles, actuators and states.

    Raises
    ------
    opensim_nem2e.errors.MissingFileError
        The file is missing or cannot be read.
    opensim_nem2e.errors.ModelError
        The file is no OpenSim model, or holds a number or a name that cannot be: with the muscle, line, and what is
        allowed. All such numbers are named at once.
    """
    # A run asks for its model several times, and many runs of one process for the same.
    key = os.fspath(path), hashlib.sha256(read_bytes(path, "model", MAX_BYTES)).digest()
    known = _known.get(key)
    if known is not None:
        return known
    recorder = Recorder()
    with recorder.listening():
        found = _read_model(path)
    # What there is to be said of a model is said each time.
    if not recorder.warnings:
        if len(_known) >= _MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[key] = found
    return found


#: The models that were read last, by path and content.
_known: dict[tuple[str, bytes], OsimModel] = {}
_MOST_KNOWN = 4


def _read_model(path: str | os.PathLike[str]) -> OsimModel:
    root = parse_xml(path, error=ModelError, kind="model").getroot()
    model = root if root.tag == "Model" else root.find("Model")
    if model is None:
        raise ModelError(locate(f"An OpenSim model was expected, but its root element is <{root.tag}>.", path))
    version = _version(root.get("Version"), path)
    reader = _Reader(Path(path), model, version)
    coordinates = tuple(reader.coordinates())
    muscles: dict[str, MuscleInfo] = {}
    actuators: list[ActuatorInfo] = []
    free_states: list[str] = []
    force_states: list[str] = []
    for element, parent in reader.forces():
        found = reader.actuator(element, parent)
        if found is None:
            continue
        actuator, names = found
        actuators.append(actuator)
        (force_states if parent else free_states).extend(f"{actuator.path}/{name}" for name in names)
        if isinstance(actuator, MuscleInfo):
            if actuator.name in muscles:
                raise ModelError(
                    locate(f"The muscle '{actuator.name}' appears twice; names must differ.", path, element.sourceline)
                )
            muscles[actuator.name] = actuator
    mass = sum(reader.number(body, "mass", 0.0, _FINITE) for body in reader.bodies())
    reader.finish()
    joint_states = [f"{coordinate.path}/{state}" for coordinate in coordinates for state in ("value", "speed")]
    return OsimModel(
        name=_name(model),
        path=Path(path),
        version=version,
        mass=mass,
        coordinates=coordinates,
        muscles=muscles,
        actuators=tuple(actuators),
        contacts=tuple(
            _name(element)
            for element, _ in reader.forces()
            if _class_of(element) in _CONTACTS and reader.applies_force(element)
        ),
        frames=tuple(
            dict.fromkeys(
                _name(element)
                for element in model.iter("{*}*")
                if element.get("name") and (element.tag == "Body" or element.tag.endswith("Frame"))
            )
        ),
        # OpenSim's tree puts what stands in <components> before the model's sets.
        _states=(*free_states, *joint_states, *force_states),
    )


def _version(text: str | None, path: str | os.PathLike[str]) -> int:
    digits = (text or "0").strip()
    if not re.fullmatch(r"[0-9]{1,9}", digits):
        raise ModelError(
            locate(f"The Version must be a whole number of at most nine digits, but '{digits}' was found.", path, 1)
        )
    return int(digits)


class _Reader:
    """Walks the elements of one model."""

    def __init__(self, path: Path, model: etree._Element, version: int):
        self.path = path
        self.version = version
        self.model = model
        block = model.find("defaults")
        if block is None:
            parent = model.getparent()
            block = parent.find("defaults") if parent is not None else None
        self.defaults = {} if block is None else {_class_of(child): child for child in _elements(block)}
        self.faults: list[str] = []
        #: Lines of numbers that OpenSim reads as something else than was meant.
        self.misread: list[int] = []

    def finish(self) -> None:
        """Refuse a model with impossible numbers, and warn of misread ones."""
        if self.faults:
            more = len(self.faults) - _MOST_FAULTS
            also = f"\nand {more} more of the kind" if more > 0 else ""
            raise ModelError("\n".join(self.faults[:_MOST_FAULTS]) + also)
        if self.misread:
            logger.warning(
                "%s: %d numbers are written '1.#INF', which OpenSim reads as 1; so it is done here (first on line %d).",
                self.path,
                len(self.misread),
                self.misread[0],
            )

    def bodies(self) -> Iterator[etree._Element]:
        return _members(self.model, "BodySet")

    def coordinates(self) -> Iterator[Coordinate]:
        joints = self.model.find("JointSet")
        if joints is not None:
            for joint in _members(self.model, "JointSet"):
                yield from self._coordinates_of(joint, joint.findall("coordinates/Coordinate"))
            return
        # Before 4.0 a body held the joint that connects it to its parent.
        for body in self.bodies():
            holder = body.find("Joint")
            for joint in _elements(holder) if holder is not None else ():
                yield from self._coordinates_of(joint, joint.findall("CoordinateSet/objects/Coordinate"))

    def _coordinates_of(self, joint: etree._Element, found: list[etree._Element]) -> Iterator[Coordinate]:
        name = _name(joint)
        for element in found:
            self.refuse_name(element, "coordinate")
        named = [(_name(element), self.limits(element)) for element in found]
        if not named:
            count = _COORDINATES_OF_JOINTS.get(_class_of(joint), 0)
            named = [(f"_coord_{index}", None) for index in range(count)]
        for coordinate, limits in named:
            yield Coordinate(coordinate, name, f"/jointset/{name}/{coordinate}", limits)

    def refuse_name(self, element: etree._Element, what: str) -> None:
        """Refuse a name that OpenSim refuses, too."""
        name = _name(element)
        if _NOT_IN_NAMES.search(name):
            raise ModelError(
                locate(
                    f"The name of a {what} must hold no blanks, control characters or any of \\ * + /, but "
                    f"{brief(name, 60)!r} was found.",
                    self.path,
                    element.sourceline,
                )
            )

    def limits(self, element: etree._Element) -> tuple[float, float] | None:
        """Return the range of a coordinate; None where it is not two numbers in order."""
        found = self.text(element, "range")
        numbers = found[0].split() if found is not None else []
        if len(numbers) != 2 or not all(_NUMBER.fullmatch(text) for text in numbers):
            return None
        low, high = map(float, numbers)
        return (low, high) if low < high else None

    def forces(self) -> Iterator[tuple[etree._Element, str]]:
        """Give every force with the path of the set that it is in ("" for a free component)."""
        components = self.model.find("components")
        if components is not None:
            yield from ((element, "") for element in _elements(components))
        yield from ((element, "/forceset") for element in _members(self.model, "ForceSet"))

    def actuator(self, element: etree._Element, parent: str) -> tuple[ActuatorInfo, tuple[str, ...]] | None:
        """Read an actuator and the names of its states; None for a force that is none."""
        kind = _class_of(element)
        name = _name(element)
        path = f"{parent}/{name}"
        if kind in _OTHER_ACTUATORS:
            low, high = (0.0, 1.0) if kind == "ClutchedPathSpring" else (float("-inf"), float("inf"))
            bounds = [self.number(element, f"{end}_control", value) for end, value in (("min", low), ("max", high))]
            return ActuatorInfo(name, kind, path, *bounds, applies_force=self.applies_force(element)), _OTHER_ACTUATORS[
                kind
            ]
        if kind not in _MUSCLE_CLASSES and not kind.endswith("Muscle"):
            return None
        self.refuse_name(element, "muscle")
        default = _MUSCLE_CLASSES.get(kind, _UNKNOWN_MUSCLE)
        states = default.states
        if self.flag(element, "ignore_activation_dynamics"):
            states = tuple(state for state in states if state != "activation")
        # DeGrooteFregly2016Muscle's tendon is compliant unless its file says otherwise, as with the others.
        if self.flag(element, "ignore_tendon_compliance"):
            states = tuple(state for state in states if state == "activation")
        min_control = self.number(element, "min_control", default.min_control, _NOT_NEGATIVE)
        if self.version < _MIN_CONTROL_RAISED_BEFORE and min_control == 0.0:
            min_control = _MIN_CONTROL_RAISED.get(kind, min_control)
        max_control = self.number(element, "max_control", 1.0, _POSITIVE)
        if min_control >= max_control:
            self.fault(element, "max_control", f"above min_control ({min_control:g})", f"{max_control:g}")
        # Millard2012AccelerationMuscle keeps its time constants in a nested object.
        dynamics = element.find("MuscleFirstOrderActivationDynamicModel")
        source = element if dynamics is None else dynamics
        pennation = "pennation_angle_at_optimal"
        if self.version <= _PENNATION_ANGLE_UNTIL and self.text(element, pennation) is None:
            pennation = "pennation_angle"
        muscle = MuscleInfo(
            name=name,
            class_name=kind,
            path=path,
            min_control=min_control,
            max_control=max_control,
            applies_force=self.applies_force(element),
            min_activation=self.optional(source, "minimum_activation", default.min_activation, _SHARE),
            activation_time_constant=self.optional(
                source, "activation_time_constant", default.activation_time_constant, _POSITIVE
            ),
            deactivation_time_constant=self.optional(
                source, "deactivation_time_constant", default.deactivation_time_constant, _POSITIVE
            ),
            max_isometric_force=self.number(element, "max_isometric_force", 1000.0, _NOT_NEGATIVE),
            states=states,
            optimal_fiber_length=self.number(element, "optimal_fiber_length", 0.1, _POSITIVE),
            tendon_slack_length=self.number(element, "tendon_slack_length", 0.2, _NOT_NEGATIVE),
            pennation_angle_at_optimal=self.number(element, pennation, 0.0, _ACUTE),
            max_contraction_velocity=self.number(element, "max_contraction_velocity", 10.0, _POSITIVE),
            fiber_damping=self.optional(element, "fiber_damping", default.fiber_damping, _NOT_NEGATIVE),
            tendon_strain_at_one_norm_force=self.strain(element, default.tendon_strain),
            passive_fiber_strain_at_one_norm_force=self.strain(element, default.passive_strain),
            active_force_width_scale=self.number(element, "active_force_width_scale", 1.0, _POSITIVE),
            activation_dynamics_smoothing=self.optional(
                element, "activation_dynamics_smoothing", default.activation_dynamics_smoothing, _POSITIVE
            ),
            curve_parameters={key: self.nested(element, key, value) for key, value in default.curves.items()},
        )
        return muscle, states

    def text(self, element: etree._Element, key: str) -> tuple[str, int] | None:
        """Return a property's text and line, from the element or from the file's defaults for its class."""
        for holder in (element, self.defaults.get(_class_of(element))):
            found = None if holder is None else holder.find(key)
            if found is not None and (found.text or "").strip():
                return found.text.strip(), found.sourceline
        return None

    def number(self, element: etree._Element, key: str, default: float, rule: _Rule = _NUMBER_AT_ALL) -> float:
        found = self.text(element, key)
        if found is None:
            return default
        text, line = found
        allowed, fits = rule
        infinity = _WINDOWS_INFINITY.fullmatch(text)
        if infinity:
            self.misread.append(line)
            text = infinity[1]
        elif not _NUMBER.fullmatch(text):
            self.fault(element, key, "a number", text, line)
            return default
        value = float(text)
        if not fits(value):
            self.fault(element, key, allowed, text, line)
            return default
        return value

    def fault(self, element: etree._Element, key: str, allowed: str, found: str, line: int | None = None) -> None:
        self.faults.append(
            locate(
                f"<{key}> of '{_owner(element)}' must be {allowed}, but '{brief(found, 60)}' was found.",
                self.path,
                line or element.sourceline,
            )
        )

    def optional(self, element: etree._Element, key: str, default: float | None, rule: _Rule) -> float | None:
        """Read a number that only some classes have."""
        return None if default is None else self.number(element, key, default, rule)

    def strain(self, element: etree._Element, source: tuple[str, float] | None) -> float | None:
        """Read the strain of a curve at one norm force, which only some classes have."""
        return None if source is None else self.nested(element, *source, _POSITIVE)

    def nested(self, element: etree._Element, key: str, default: float, rule: _Rule = _NUMBER_AT_ALL) -> float:
        """Read a property of the muscle, or of an object "curve/property" inside it."""
        curve, _, inner = key.rpartition("/")
        if not curve:
            return self.number(element, inner, default, rule)
        for holder in (element, self.defaults.get(_class_of(element))):
            nested = None if holder is None else holder.find(curve)
            if nested is not None:
                return self.number(nested, inner, default, rule)
        return default

    def applies_force(self, element: etree._Element) -> bool:
        """Tell whether a force acts, in the words of any version."""
        if self.version <= _IS_DISABLED_UNTIL and self.text(element, "isDisabled") is not None:
            return not self.flag(element, "isDisabled")
        return self.flag(element, "appliesForce", True)

    def flag(self, element: etree._Element, key: str, default: bool = False) -> bool:
        """Read a truth value; what is none leaves the default, as in OpenSim."""
        found = self.text(element, key)
        return (
            default
            if found is None
            else {"true": True, "1": True, "false": False, "0": False}.get(found[0].lower(), default)
        )


def _name(element: etree._Element) -> str:
    """Return an object's name; OpenSim names what has none after its class."""
    return element.get("name") or str(element.tag).lower()


def _owner(element: etree._Element) -> str:
    """Return the name of the member of a set that an element is, or is a part of."""
    while (parent := element.getparent()) is not None and parent.tag not in ("objects", "components"):
        element = parent
    return _name(element)


def _class_of(element: etree._Element) -> str:
    tag: str = _RENAMED.get(element.tag, element.tag)
    return tag


def _elements(holder: etree._Element) -> Iterator[etree._Element]:
    """Give the child elements, comments left out."""
    children: Iterator[etree._Element] = holder.iterchildren(tag=etree.Element)
    return children


def _members(model: etree._Element, name: str) -> Iterator[etree._Element]:
    """Give the objects of a set."""
    objects = model.find(f"{name}/objects")
    if objects is not None:
        yield from _elements(objects)
