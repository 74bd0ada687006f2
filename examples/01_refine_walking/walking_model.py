"""The walker as an OpenSim model: planar, 10 degrees of freedom, 12 muscles per leg, built from published numbers.

Skeleton: :mod:`walking_body` (Winter 2009). Joints are planar: pelvis to ground (tilt, forward, up), lumbar, hips,
knees, ankles. Coordinates have the names and signs of Rajagopal et al. (2016): hip flexion, knee *flexion* and ankle
dorsiflexion are positive. The foot is one rigid segment, `calcn_r`/`calcn_l`.

Muscles: peak isometric force, optimal fiber length and pennation are those of Rajagopal et al. (2016). Where a planar
model needs only one of several close neighbours, they are lumped (see `MUSCLES`): forces added, fiber lengths and
pennation averaged with the forces as weights, rounded. Between body sizes, muscle volume scales with mass times height
(Handsfield et al. 2014) and fibers scale with height.

Paths are this project's own: a few points in the sagittal plane per muscle, placed so that moment arms in walking have
the usual sizes (compare Arnold et al. 2010): 4 to 5.5 cm for the Achilles tendon at the ankle, 4 to 5 cm for the
quadriceps and 2 to 5 cm for hamstrings and gastrocnemius at the knee, 2.5 to 8 cm at the hip. Tendon slack length
follows from the path: with the body upright the fibers have the stated fraction of their optimal length, chosen so
that walking uses mostly the ascending limb and the plateau, as Arnold and Delp (2011) found, and passive forces stay
small.

References
----------
Rajagopal A et al. (2016). Full-body musculoskeletal model for muscle-driven simulation of human gait. IEEE Trans
    Biomed Eng 63:2068-2079. doi:10.1109/TBME.2016.2586891
Handsfield GG et al. (2014). Relationships of 35 lower limb muscles to height and body mass quantified using MRI. J
    Biomech 47:631-638. doi:10.1016/j.jbiomech.2013.12.002
Arnold EM et al. (2010). A model of the lower limb for analysis of human movement. Ann Biomed Eng 38:269-279.
    doi:10.1007/s10439-009-9852-5
Arnold EM, Delp SL (2011). Fibre operating lengths of human lower limb muscles during walking. Phil Trans R Soc B
    366:1530-1539. doi:10.1098/rstb.2010.0345
Arnold EM, Hamner SR, Seth A, Millard M, Delp SL (2013). How muscle fiber lengths and velocities affect muscle force
    generation as humans walk and run at different speeds. J Exp Biol 216:2150-2160. doi:10.1242/jeb.075697
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import opensim as osim
from walking_body import GRAVITY, Body

#: Height (m) and mass (kg) of the person that the generic model of Rajagopal et al. (2016) stands for.
GENERIC_HEIGHT = 1.70
GENERIC_MASS = 75.3


@dataclass(frozen=True)
class Muscle:
    """One muscle-tendon unit of the generic adult.

    Parameters
    ----------
    name : str
        Name without the side.
    force : float
        Peak isometric force, N.
    fiber : float
        Optimal fiber length, m.
    pennation : float
        Pennation angle at optimal fiber length, degrees.
    upright : float
        Fiber length in upright standing, in optimal fiber lengths.
    path : tuple of (segment, x, y)
        Points in the segment's frame in thousandths of body height; 'thigh_end' and 'shank_end' measure from the knee
        and the ankle in the thigh's and the shank's axes.
    """

    name: str
    force: float
    fiber: float
    pennation: float
    upright: float
    path: tuple[tuple[str, float, float], ...]


_PATELLA = ("shank", 24.0, 12.0)
_TUBEROSITY = ("shank", 19.0, -32.0)
_FRONT_OF_KNEE = ("thigh_end", 20.0, 74.0)
_ACHILLES = ("foot", -28.0, -17.0)
_ISCHIUM = ("pelvis", -30.0, -33.0)
_BACK_OF_KNEE = ("shank", -15.0, -25.0)

#: The muscles of one leg. Lumped with their neighbours: glmax1 (the three gluteus maximus compartments), iliopsoas
#: (iliacus, psoas), semimem (semimembranosus, semitendinosus), vasmed (vastus medialis, vastus intermedius), tibant
#: (tibialis anterior, extensor digitorum and hallucis longus).
MUSCLES = (
    Muscle("glmax1", 3338, 0.157, 21.3, 0.95, (("pelvis", -57, 29), ("thigh", -11, -68))),
    Muscle("iliopsoas", 2448, 0.113, 13.8, 0.95, (("pelvis", -6, 66), ("pelvis", 25, 4), ("thigh", -3, -36))),
    Muscle("recfem", 2192, 0.076, 12.4, 0.68, (("pelvis", 18, 17), _FRONT_OF_KNEE, _PATELLA, _TUBEROSITY)),
    Muscle("bflh", 1313, 0.098, 10.1, 0.95, (_ISCHIUM, _BACK_OF_KNEE, ("shank", -13, -42))),
    Muscle("semimem", 2792, 0.095, 14.8, 0.95, (_ISCHIUM, _BACK_OF_KNEE, ("shank", -12, -40))),
    Muscle("bfsh", 557, 0.110, 15.1, 0.85, (("thigh_end", -3, 115), _BACK_OF_KNEE, ("shank", -13, -42))),
    Muscle("vaslat", 5149, 0.099, 14.5, 0.63, (("thigh_end", 17, 125), _FRONT_OF_KNEE, _PATELLA, _TUBEROSITY)),
    Muscle("vasmed", 4445, 0.098, 16.7, 0.63, (("thigh_end", 13, 115), _FRONT_OF_KNEE, _PATELLA, _TUBEROSITY)),
    Muscle("gasmed", 3116, 0.051, 9.5, 1.05, (("thigh_end", -12, 9), ("shank", -20, -60), _ACHILLES)),
    Muscle("gaslat", 1575, 0.059, 12.0, 1.05, (("thigh_end", -12, 7), ("shank", -20, -60), _ACHILLES)),
    Muscle("soleus", 6195, 0.044, 21.9, 0.85, (("shank", -7, -80), _ACHILLES)),
    Muscle("tibant", 2116, 0.069, 10.9, 0.90, (("shank", 10, -90), ("shank_end", 19, 17), ("foot", 50, -17))),
)

#: Muscles of the Achilles tendon, which stretches more than others at peak isometric force: 10 % (Arnold et al. 2013).
ACHILLES = ("gasmed", "gaslat", "soleus")
ACHILLES_STRAIN = 0.10

#: Viscous damping of hips, knees and ankles, Nm s/rad: passive tissue that no muscle stands for.
JOINT_DAMPING = 0.2

#: Segment of :class:`Body` -> OpenSim body (limbs get their side).
BODIES = {"pelvis": "pelvis", "thigh": "femur", "shank": "tibia", "foot": "calcn"}


def build_model(body: Body, name: str = "walker") -> osim.Model:
    """Build the OpenSim model.

    Parameters
    ----------
    body : Body
        Mass (kg) and height (m) of the walker.
    name : str
        Name of the model.

    Returns
    -------
    opensim.Model
        The model, connections finalised.
    """
    model = osim.Model()
    model.setName(name)
    model.setGravity(osim.Vec3(0, -GRAVITY, 0))
    model.set_credits("Built by walking_model.py of opensim_nem2e from published parameters; see its sources there.")

    bodies = {"ground": model.getGround()}

    def add_body(body_name: str, segment, depth: float) -> None:
        # The model never leaves its plane: the other two moments of inertia only have to be physically possible.
        inertia = osim.Inertia(depth * segment.inertia, depth * segment.inertia, segment.inertia)
        part = osim.Body(body_name, segment.mass, osim.Vec3(*segment.center, 0), inertia)
        model.addBody(part)
        bodies[body_name] = part

    add_body("pelvis", body.pelvis, 1.0)
    add_body("torso", body.torso, 0.9)
    base = osim.PlanarJoint("ground_pelvis", bodies["ground"], bodies["pelvis"])
    _name_coordinates(base, [("pelvis_tilt", -90, 90), ("pelvis_tx", -10, 100), ("pelvis_ty", -1, 3)])
    base.upd_coordinates(2).setDefaultValue(body.thigh_length + body.shank_length + body.ankle_height)
    model.addJoint(base)
    _add_pin(
        model, "back", bodies["pelvis"], (0, body.lumbar_height, 0), bodies["torso"], "lumbar_extension", (-90, 90)
    )
    for side, z in (("r", body.hip_half_width), ("l", -body.hip_half_width)):
        for segment in ("thigh", "shank", "foot"):
            add_body(f"{BODIES[segment]}_{side}", getattr(body, segment), 0.9)
        femur, tibia, foot = (bodies[f"{part}_{side}"] for part in ("femur", "tibia", "calcn"))
        _add_pin(model, f"hip_{side}", bodies["pelvis"], (0, 0, z), femur, f"hip_flexion_{side}", (-60, 120))
        _add_pin(
            model, f"knee_{side}", femur, (0, -body.thigh_length, 0), tibia, f"knee_angle_{side}", (-20, 150), True
        )
        _add_pin(model, f"ankle_{side}", tibia, (0, -body.shank_length, 0), foot, f"ankle_angle_{side}", (-60, 60))
        for muscle in MUSCLES:
            _add_muscle(model, body, muscle, side, bodies)
        for joint in ("hip_flexion", "knee_angle", "ankle_angle"):
            damper = osim.SpringGeneralizedForce(f"{joint}_{side}")
            damper.setName(f"damping_{joint}_{side}")
            damper.setStiffness(0)
            damper.setRestLength(0)
            damper.setViscosity(JOINT_DAMPING)
            model.addForce(damper)
    _draw(body, bodies)
    model.finalizeConnections()
    _set_tendons(model, body)
    model.finalizeConnections()
    return model


def _name_coordinates(joint: osim.Joint, rows: list[tuple[str, float, float]]) -> None:
    for index, (name, low, high) in enumerate(rows):
        coordinate = joint.upd_coordinates(index)
        coordinate.setName(name)
        translation = name in ("pelvis_tx", "pelvis_ty")
        coordinate.setRangeMin(low if translation else np.deg2rad(low))
        coordinate.setRangeMax(high if translation else np.deg2rad(high))


def _add_pin(
    model: osim.Model,
    name: str,
    parent: osim.PhysicalFrame,
    place: tuple[float, float, float],
    child: osim.Body,
    coordinate: str,
    limits: tuple[float, float],
    flexion: bool = False,
) -> None:
    # Turning both joint frames by half a turn about x makes the angle positive towards -z, i.e. in knee flexion.
    turn = osim.Vec3(np.pi if flexion else 0.0, 0, 0)
    joint = osim.PinJoint(name, parent, osim.Vec3(*place), turn, child, osim.Vec3(0), turn)
    _name_coordinates(joint, [(coordinate, *limits)])
    model.addJoint(joint)


def _point(body: Body, segment: str, x: float, y: float) -> tuple[str, osim.Vec3]:
    scale = 1e-3 * body.height
    down = {"thigh_end": body.thigh_length, "shank_end": body.shank_length}.get(segment, 0.0)
    return segment.removesuffix("_end"), osim.Vec3(x * scale, y * scale - down, 0)


def _add_muscle(model: osim.Model, body: Body, muscle: Muscle, side: str, bodies: dict) -> None:
    fiber = muscle.fiber * body.height / GENERIC_HEIGHT
    # Force is proportional to volume over fiber length.
    volume = (47.05 * body.mass * body.height + 1289.6) / (47.05 * GENERIC_MASS * GENERIC_HEIGHT + 1289.6)
    unit = osim.Millard2012EquilibriumMuscle(
        f"{muscle.name}_{side}",
        muscle.force * volume * muscle.fiber / fiber,
        fiber,
        1.0,  # set once the path's length is known
        np.deg2rad(muscle.pennation),
    )
    # OpenSim's default of 0.1 makes a lengthening soleus push like a brake when the foot rises in early swing.
    unit.set_fiber_damping(0.01)
    unit.upd_ActiveForceLengthCurve().setMinValue(0.0)  # what a damped muscle needs; OpenSim would set it with a remark
    if muscle.name in ACHILLES:
        unit.upd_TendonForceLengthCurve().set_strain_at_one_norm_force(ACHILLES_STRAIN)
    # OpenSim's CMC raises any lower bound to this value.
    unit.setMinControl(0.02)
    unit.setMaxControl(1.0)
    for index, (segment, x, y) in enumerate(muscle.path):
        where, place = _point(body, segment, x, y)
        frame = bodies["pelvis"] if where == "pelvis" else bodies[f"{BODIES[where]}_{side}"]
        if where == "pelvis":
            place.set(2, body.hip_half_width * (1 if side == "r" else -1))
        unit.addNewPathPoint(f"{muscle.name}_{side}-P{index + 1}", frame, place)
    model.addForce(unit)


def _set_tendons(model: osim.Model, body: Body) -> None:
    state = model.initSystem()
    for muscle in MUSCLES:
        for side in "rl":
            unit = osim.Millard2012EquilibriumMuscle.safeDownCast(model.getMuscles().get(f"{muscle.name}_{side}"))
            fiber = muscle.upright * unit.get_optimal_fiber_length()
            # Constant thickness of the muscle belly sets the pennation at any other fiber length.
            sine = np.sin(unit.get_pennation_angle_at_optimal()) / muscle.upright
            slack = unit.getGeometryPath().getLength(state) - fiber * np.sqrt(1 - sine**2)
            if slack <= 0:
                raise ValueError(f"{muscle.name}: the path is shorter than the fibers")
            unit.set_tendon_slack_length(slack)


def _draw(body: Body, bodies: dict) -> None:
    # Simple shapes, so that the GUI and the visualiser show a walker without any mesh files.
    def attach(frame, shape: osim.Geometry, place: tuple[float, float, float]) -> None:
        shape.setColor(osim.Vec3(0.88, 0.84, 0.76))
        offset = osim.PhysicalOffsetFrame(frame, osim.Transform(osim.Vec3(*place)))
        offset.setName(f"{frame.getName()}_drawing")
        offset.attachGeometry(shape)
        frame.addComponent(offset)

    h = body.height
    attach(bodies["pelvis"], osim.Ellipsoid(0.05 * h, 0.045 * h, 0.08 * h), (0, 0.03 * h, 0))
    attach(bodies["torso"], osim.Ellipsoid(0.06 * h, 0.19 * h, 0.10 * h), (0, 0.20 * h, 0))
    for side in "rl":
        for part, length, radius in (("femur", body.thigh_length, 0.03), ("tibia", body.shank_length, 0.022)):
            attach(bodies[f"{part}_{side}"], osim.Cylinder(radius * h, 0.5 * length), (0, -0.5 * length, 0))
        middle = 0.5 * (body.heel[0] + 0.8 * body.foot_length)
        attach(
            bodies[f"calcn_{side}"],
            osim.Brick(osim.Vec3(0.5 * body.foot_length, 0.25 * body.ankle_height, 0.02 * h)),
            (middle, -0.75 * body.ankle_height, 0),
        )
