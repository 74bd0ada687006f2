"""A periodic walking motion with ground reactions that obey Newton and Euler exactly.

The normative curves at the top are *approximate, rounded values* of the published mean curves of normal walking at
natural cadence (Winter 1991; such curves are also in Bovi et al. 2011), good to a few degrees or per cent. They are
not digitised data, and nobody's recording. No set of mean curves is dynamically consistent with another body, so
:func:`walking_motion` finds the motion nearest to them that

- is a smooth periodic function of time (a Fourier series; both legs equal, half a cycle apart),
- keeps the stance foot on the ground without slip: heel, flat foot, then the ball of the foot,
- needs a total ground reaction (from the accelerations of all segments) close to the normative one, acting at a
  normal centre of pressure, with joint moments close to the normative ones.

:func:`ground_reactions` then splits the needed total between the feet. In single support the stance foot takes all
of it; in double support the normative vertical forces give the shares. What is left of the moment balance shifts
the centre of pressure. So inverse dynamics leaves nothing to the pelvis, by construction, unless the centre of
pressure has to be clamped to the sole.

Only numpy and scipy are needed here.

References
----------
Winter DA (1991). The Biomechanics and Motor Control of Human Gait: Normal, Elderly and Pathological, 2nd ed.
    University of Waterloo Press.
Bovi G, Rabuffetti M, Mazzoleni P, Ferrarin M (2011). A multiple-task gait analysis approach. Gait & Posture
    33:6-13. doi:10.1016/j.gaitpost.2010.08.009
Sekiya N, Nagasaki H, Ito H, Furuna T (1996). The invariant relationship between step length and step rate during
    free walking. J Hum Mov Stud 30:241-257. (walk ratio)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares
from walking_body import GRAVITY, Body, Segment

#: The speed that the normative curves belong to, in m/s for the height `REFERENCE_HEIGHT` (m).
REFERENCE_SPEED = 1.3
REFERENCE_HEIGHT = 1.75

#: Number of harmonics of the leg's angles (about 7 Hz at natural cadence). Pelvis and trunk repeat every step,
#: so only their even harmonics exist.
HARMONICS = 8

#: Knots (per cent of the gait cycle from heel strike, value). Angles in degrees: hip flexion relative to the
#: pelvis, which is taken as upright; knee flexion; ankle dorsiflexion.
HIP = (
    (0, 22), (5, 21), (10, 18.5), (15, 15), (20, 11), (25, 7), (30, 3), (35, -1), (40, -5), (45, -9), (50, -11.5),
    (55, -11), (60, -6), (65, 2), (70, 10), (75, 17), (80, 21.5), (85, 24), (90, 24.5), (95, 23.5), (100, 22),
)  # fmt: skip
KNEE = (
    (0, 5), (5, 10), (10, 16), (15, 18.5), (20, 17.5), (25, 14.5), (30, 11), (35, 8), (40, 6), (45, 7), (50, 12),
    (55, 22), (60, 37), (65, 52), (70, 61), (72, 62), (75, 60), (80, 50), (85, 34), (90, 17), (95, 6), (100, 5),
)  # fmt: skip
ANKLE = (
    (0, 0), (5, -4), (7, -5), (10, -3.5), (15, 0.5), (20, 3.5), (25, 5.5), (30, 7), (35, 8.5), (40, 9.5), (45, 9.5),
    (50, 6), (55, -4), (60, -15), (62, -17), (65, -16), (70, -9), (75, -3), (80, 0), (85, 1), (90, 1), (95, 0.5),
    (100, 0),
)  # fmt: skip

#: Half-width, in per cent of the cycle, over which the corners of the ground reaction at heel strike and toe-off are
#: rounded.
ROUNDING = 2.5
#: From this per cent of the cycle on, the foot's place on the ground is that of the next step.
NEXT_STEP = 80.0
#: Ground reaction of one foot, in body weights: vertical and forward. Both end with the stance.
VERTICAL = (
    (0, 0), (2, 0.2), (4, 0.46), (6, 0.72), (8, 0.92), (12, 1.10), (15, 1.09), (20, 0.97), (25, 0.84), (30, 0.78),
    (35, 0.81), (40, 0.93), (45, 1.06), (48, 1.09), (51, 1.00), (54, 0.74), (57, 0.38), (60, 0.09), (62, 0),
)  # fmt: skip
FORWARD = (
    (0, 0), (3, -0.04), (5, -0.08), (8, -0.14), (11, -0.175), (14, -0.165), (20, -0.10), (25, -0.055), (30, -0.02),
    (34, 0.01), (40, 0.07), (45, 0.135), (50, 0.195), (53, 0.205), (56, 0.155), (59, 0.06), (62, 0),
)  # fmt: skip
#: Centre of pressure under that foot, as a fraction of the foot's length from the heel. In swing, where no force
#: acts, it travels back to the heel, so that the column is smooth.
PRESSURE = (
    (0, 0.06), (5, 0.15), (10, 0.26), (20, 0.40), (30, 0.52), (40, 0.64), (50, 0.73), (58, 0.79), (62, 0.80),
    (66, 0.80), (92, 0.06), (100, 0.06),
)  # fmt: skip

#: Internal joint moments, Nm per kg of body mass; positive: hip and knee extension, ankle plantarflexion.
HIP_MOMENT = (
    (0, 0.45), (4, 0.65), (10, 0.55), (15, 0.42), (20, 0.3), (25, 0.15), (30, 0), (35, -0.15), (40, -0.3), (45, -0.5),
    (50, -0.65), (53, -0.68), (58, -0.55), (65, -0.35), (70, -0.2), (75, -0.1), (80, 0), (85, 0.12), (90, 0.26),
    (95, 0.36), (100, 0.45),
)  # fmt: skip
KNEE_MOMENT = (
    (0, -0.25), (3, -0.1), (5, 0.02), (8, 0.3), (12, 0.52), (15, 0.56), (20, 0.42), (25, 0.22), (30, 0.05),
    (35, -0.08), (40, -0.17), (45, -0.18), (50, -0.05), (55, 0.1), (60, 0.15), (65, 0.09), (75, 0.0), (85, -0.14),
    (92, -0.27), (97, -0.28), (100, -0.25),
)  # fmt: skip
ANKLE_MOMENT = (
    (0, 0), (3, -0.06), (5, -0.08), (10, 0), (15, 0.2), (20, 0.4), (25, 0.56), (30, 0.75), (35, 1.0), (40, 1.27),
    (45, 1.5), (48, 1.55), (52, 1.25), (55, 0.83), (58, 0.38), (62, 0.03), (70, 0), (100, 0),
)  # fmt: skip

#: How far the solution may reasonably stray from each target: one standard deviation of the least-squares fit.
TOLERANCES = {
    "angle": np.deg2rad(3.0),
    "pelvis_angle": np.deg2rad(1.0),
    "torso_angle": np.deg2rad(1.0),
    "contact": 0.0015,  # m
    "clearance": 0.003,  # m
    "vertical": 0.03,  # body weights
    "forward": 0.03,  # body weights
    "pressure": 0.01,  # m
    "moment": 0.04,  # Nm/kg
    "roughness": 8.0,  # rad/s^2 of the highest harmonics
}

#: Coordinates in the order of all arrays here. Units: rad and m.
COORDINATES = (
    "pelvis_tilt",
    "pelvis_tx",
    "pelvis_ty",
    "lumbar_extension",
    "hip_flexion_r",
    "knee_angle_r",
    "ankle_angle_r",
    "hip_flexion_l",
    "knee_angle_l",
    "ankle_angle_l",
)


@dataclass(frozen=True)
class Variation:
    """How a walker differs from the normative curves (for virtual cohorts); all zero gives the norm.

    Parameters
    ----------
    seed : int
        Seed of the generator that draws everything below.
    angle_sd : float
        Standard deviation of a smooth random offset added to each normative angle curve, degrees.
    force_sd : float
        Relative standard deviation of the depth of the vertical force's double hump and of the forward force.
    moment_sd : float
        Standard deviation of a smooth random offset added to each normative joint moment, Nm/kg.
    cadence_sd : float
        Relative standard deviation of the walk ratio (step length over cadence).
    trunk_sd : float
        Standard deviation of the mean lean of the trunk, degrees.
    stride : Variation, optional
        How one stride departs from this walker's own style; it comes on top.
    """

    seed: int = 0
    angle_sd: float = 0.0
    force_sd: float = 0.0
    moment_sd: float = 0.0
    cadence_sd: float = 0.0
    trunk_sd: float = 0.0
    stride: Variation | None = None

    def draw(self, phase: np.ndarray) -> Departure:
        """Draw what this walker, and this stride of theirs, do differently.

        Parameters
        ----------
        phase : ndarray, shape (samples,)
            Phases of the right leg's gait cycle, 0..1.

        Returns
        -------
        Departure
            The departure from the norm; the same for the same seeds.
        """
        rng = np.random.default_rng(self.seed)

        def wander(sd: float) -> np.ndarray:
            # Three harmonics with falling amplitude; their variances add to sd^2.
            weights = np.array([1.0, 0.6, 0.36])
            weights *= sd / np.sqrt(np.sum(weights**2))
            a, b = rng.standard_normal((2, 3))
            k = np.arange(1, 4)[:, None]
            return weights @ (a[:, None] * np.cos(2 * np.pi * k * phase) + b[:, None] * np.sin(2 * np.pi * k * phase))

        # The order of the draws is part of the result.
        own = Departure(
            walk_ratio=self.cadence_sd * rng.standard_normal(),
            angles=np.array([wander(np.deg2rad(self.angle_sd)) for _ in range(3)]),
            hump=self.force_sd * rng.standard_normal(),
            drive=self.force_sd * rng.standard_normal(),
            moments=np.array([wander(self.moment_sd) for _ in range(3)]),
            lean=np.deg2rad(self.trunk_sd) * rng.standard_normal(),
        )
        return own if self.stride is None else own + self.stride.draw(phase)


@dataclass(frozen=True)
class Departure:
    """What a :class:`Variation` adds to the norm.

    Parameters
    ----------
    walk_ratio : float
        Logarithm of the factor on the walk ratio.
    angles : ndarray, shape (3, samples)
        Added to hip flexion, knee flexion and ankle dorsiflexion, rad.
    hump, drive : float
        Relative change of the vertical force's double hump and of the forward force.
    moments : ndarray, shape (3, samples)
        Added to the moments of hip, knee and ankle, Nm/kg.
    lean : float
        Mean lean of the trunk, rad.
    """

    walk_ratio: float
    angles: np.ndarray
    hump: float
    drive: float
    moments: np.ndarray
    lean: float

    def __add__(self, other: Departure) -> Departure:
        names = [field.name for field in fields(self)]
        return Departure(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True)
class Targets:
    """Normative curves of one walker, sampled at equal steps over the right leg's gait cycle, `(samples,)` each.

    Parameters
    ----------
    angles : ndarray, shape (3, samples)
        Hip flexion, knee flexion, ankle dorsiflexion, rad.
    vertical, forward : ndarray, shape (samples,)
        Ground reaction of one foot, body weights.
    pressure : ndarray, shape (samples,)
        Centre of pressure ahead of the heel, m.
    moments : ndarray, shape (3, samples)
        Hip extension, knee extension, ankle plantarflexion moment, Nm/kg.
    lean : float
        Mean lumbar extension, rad.
    period : float
        Duration of the gait cycle, s.
    """

    angles: np.ndarray
    vertical: np.ndarray
    forward: np.ndarray
    pressure: np.ndarray
    moments: np.ndarray
    lean: float
    period: float


def stride_period(speed: float, height: float, walk_ratio_factor: float = 1.0) -> float:
    """Duration of a gait cycle from the walk ratio.

    Free walking keeps step length / cadence near 0.0065 m min (Sekiya et al. 1996); dynamic similarity scales it with
    the square root of leg length cubed.

    Parameters
    ----------
    speed : float
        Walking speed, m/s.
    height : float
        Body height, m.
    walk_ratio_factor : float
        Factor on the walk ratio.

    Returns
    -------
    float
        The period, s.
    """
    walk_ratio = 0.0065 * 60.0 * walk_ratio_factor * (height / REFERENCE_HEIGHT) ** 1.5  # m s
    step_length = np.sqrt(walk_ratio * speed)
    return float(2.0 * step_length / speed)


def normative_targets(body: Body, speed: float, phase: np.ndarray, variation: Variation | None = None) -> Targets:
    """Normative curves for a body, a speed and a variation.

    Faster walking has longer steps, a deeper double hump and larger moments; the curves' departures from their means
    are scaled in proportion (linear in step length or speed; a rule of thumb, good for moderate changes).

    Parameters
    ----------
    body : Body
        The walker.
    speed : float
        Walking speed, m/s.
    phase : ndarray, shape (samples,)
        Phase of the right leg's gait cycle, 0..1. The second half of the samples must be the first half's phases plus
        0.5 (modulo 1): the left leg is the right one rolled by half the samples.
    variation : Variation, optional
        How this walker differs from the norm.

    Returns
    -------
    Targets
        The curves at `phase`.
    """
    departure = (variation or Variation()).draw(phase)
    half = len(phase) // 2
    cycle = np.arange(400) / 400

    walk_ratio_factor = float(np.exp(departure.walk_ratio))
    period = stride_period(speed, body.height, walk_ratio_factor)
    step = 0.5 * period * speed / body.height
    step_reference = 0.5 * stride_period(REFERENCE_SPEED, REFERENCE_HEIGHT) * REFERENCE_SPEED / REFERENCE_HEIGHT
    reach = step / step_reference
    pace = speed / (REFERENCE_SPEED * np.sqrt(body.height / REFERENCE_HEIGHT))

    angles = np.deg2rad([periodic_curve(knots, phase) for knots in (HIP, KNEE, ANKLE)])
    # The range of hip motion follows step length, knee flexion in loading follows speed.
    middle = np.deg2rad(periodic_curve(HIP, cycle).mean())
    angles[0] = middle + (angles[0] - middle) * reach
    loading = 0.5 * (1 + np.cos(np.pi * np.clip((phase - 0.15) / 0.15, -1, 1)))
    angles[1] += np.deg2rad(12.0) * (pace - 1.0) * loading
    angles = angles + departure.angles

    hump = max(0.1, pace * (1 + departure.hump))
    drive = max(0.1, pace * (1 + departure.drive))

    def vertical_at(phase: np.ndarray, other: np.ndarray) -> np.ndarray:
        # Scale the rise and fall of both feet's sum about one body weight; its mean over a cycle must be just that.
        total = stance_curve(VERTICAL, phase) + stance_curve(VERTICAL, other)
        mean = 2 * stance_curve(VERTICAL, cycle).mean()
        return stance_curve(VERTICAL, phase) / total * (1 + hump * (total / mean - 1))

    vertical = vertical_at(phase, np.roll(phase, half))
    # Braking and driving impulse must cancel.
    impulse = stance_curve(FORWARD, cycle)
    brake, push = -np.minimum(impulse, 0).sum(), np.maximum(impulse, 0).sum()
    forward = drive * stance_curve(FORWARD, phase)
    forward = np.where(forward < 0, forward * np.sqrt(push / brake), forward * np.sqrt(brake / push))

    pressure = PchipInterpolator(*np.array(PRESSURE, float).T)(100 * phase)
    moments = pace * np.array([periodic_curve(knots, phase) for knots in (HIP_MOMENT, KNEE_MOMENT, ANKLE_MOMENT)])
    moments = moments + departure.moments
    return Targets(angles, vertical, forward, pressure * body.foot_length, moments, float(departure.lean), period)


def periodic_curve(knots: tuple[tuple[float, float], ...], phase: np.ndarray) -> np.ndarray:
    """Evaluate knots that repeat every 100 per cent as a smooth periodic curve.

    Parameters
    ----------
    knots : tuple of (per cent, value)
        From 0 to 100 per cent of the cycle.
    phase : ndarray
        Phase of the gait cycle, 0..1.

    Returns
    -------
    ndarray
        The values at `phase`.
    """
    x, y = np.array(knots, float).T
    x, y = np.concatenate([x[:-1] - 100, x[:-1], x + 100]), np.concatenate([y[:-1], y[:-1], y])
    return PchipInterpolator(x, y)(100 * phase)


def stance_curve(knots: tuple[tuple[float, float], ...], phase: np.ndarray) -> np.ndarray:
    """Evaluate knots that end with the stance; exactly zero in swing.

    The corners at heel strike and toe-off are rounded (a raised cosine of `ROUNDING` per cent to either side), since
    a motion of eight harmonics cannot follow corners. So the force starts and ends up to `ROUNDING` per cent outside
    the knots.

    Parameters
    ----------
    knots : tuple of (per cent, value)
        From 0 per cent of the cycle to the end of the stance.
    phase : ndarray
        Phase of the gait cycle, 0..1.

    Returns
    -------
    ndarray
        The values at `phase`.
    """
    x, y = np.array(knots, float).T
    curve = PchipInterpolator(x, y)
    offsets = np.linspace(-1, 1, 42)[1:-1]
    weights = 1 + np.cos(np.pi * offsets)
    percent = np.mod(100 * phase[:, None] + ROUNDING * offsets, 100)
    inside = (percent > x[0]) & (percent < x[-1])
    values = np.where(inside, curve(np.clip(percent, x[0], x[-1])), 0.0)
    return values @ weights / weights.sum()


class Series:
    """Angles and pelvis positions of a gait cycle as Fourier series.

    Parameters
    ----------
    period : float
        Duration of the gait cycle, s.
    speed : float
        Walking speed, m/s.
    """

    def __init__(self, period: float, speed: float):
        self.period = period
        self.speed = speed
        every = np.arange(1, HARMONICS + 1)
        even = every[1::2]
        # pelvis_tilt, tx, ty, lumbar repeat every step; hip, knee, ankle every stride.
        self.orders = [even, even, even, even, every, every, every]
        self.sizes = [1 + 2 * len(orders) for orders in self.orders]
        self.size = sum(self.sizes)

    def basis(self, phase: np.ndarray, orders: np.ndarray, derivative: int) -> np.ndarray:
        """Basis functions or their time derivatives at `phase`, shape (samples, 1 + 2 orders), in 1/s^derivative."""
        rate = 2 * np.pi * orders / self.period
        angle = 2 * np.pi * orders * phase[:, None] + 0.5 * np.pi * derivative
        constant = np.full((len(phase), 1), 1.0 if derivative == 0 else 0.0)
        return np.hstack([constant, rate**derivative * np.cos(angle), rate**derivative * np.sin(angle)])

    def split(self, parameters: np.ndarray) -> list[np.ndarray]:
        """Coefficients of each of the seven curves."""
        return np.split(parameters, np.cumsum(self.sizes)[:-1])

    def evaluate(self, parameters: np.ndarray, phase: np.ndarray, derivative: int = 0) -> np.ndarray:
        """Evaluate tilt, tx, ty, lumbar, hip, knee, ankle of the right leg.

        Parameters
        ----------
        parameters : ndarray, shape (size,)
            All coefficients, rad and m.
        phase : ndarray, shape (samples,)
            Gait cycle phase since a right heel strike; any real number.
        derivative : {0, 1, 2}
            Order of the time derivative.

        Returns
        -------
        ndarray, shape (7, samples)
            Values, per s^derivative. `tx` advances with the walking speed.
        """
        out = np.array(
            [
                self.basis(phase, orders, derivative) @ part
                for orders, part in zip(self.orders, self.split(parameters), strict=True)
            ]
        )
        if derivative == 0:
            out[1] += self.speed * self.period * phase
        elif derivative == 1:
            out[1] += self.speed
        return out


def _rotate(angle: np.ndarray, point: tuple[float, float]) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * point[0] - s * point[1], s * point[0] + c * point[1]])


class _Arm:
    """A vector fixed in a turning segment: position (2, samples) and acceleration."""

    def __init__(self, state: tuple[np.ndarray, np.ndarray, np.ndarray], point: tuple[float, float]):
        angle, rate, acceleration = state
        self.position = _rotate(angle, point)
        self.acceleration = acceleration * np.array([-self.position[1], self.position[0]]) - rate**2 * self.position


@dataclass(frozen=True)
class Demand:
    """What a motion needs from the ground, and where its feet are; the pelvis is the origin of all positions.

    Parameters
    ----------
    force : ndarray, shape (2, samples)
        Needed total ground reaction (forward, up), N.
    moment : ndarray, shape (samples,)
        Its needed moment around z about the midpoint of the hips, Nm.
    heel, ball : ndarray, shape (2, samples)
        Contact points of the right foot, relative to the hips, m.
    joints : ndarray, shape (3, 2, samples)
        Right hip, knee and ankle, relative to the hips, m.
    distal_force : ndarray, shape (3, 2, samples)
        Sum of m (a - g) of everything below the right hip, knee, ankle, N.
    distal_moment : ndarray, shape (3, samples)
        The same's rate of angular momentum less gravity's moment, about that joint, Nm.
    """

    force: np.ndarray
    moment: np.ndarray
    heel: np.ndarray
    ball: np.ndarray
    joints: np.ndarray
    distal_force: np.ndarray
    distal_moment: np.ndarray


def demand(body: Body, q: np.ndarray, u: np.ndarray, a: np.ndarray) -> Demand:
    """Newton and Euler for the whole body, over one full cycle at equal steps.

    Parameters
    ----------
    body : Body
        The walker.
    q, u, a : ndarray, shape (7, samples)
        As from :meth:`Series.evaluate`, over a whole cycle; an even number of samples, so that the left leg is the
        right one rolled by half of them.

    Returns
    -------
    Demand
        Forces and moments.
    """
    tilt = (q[0], u[0], a[0])
    torso = (q[0] + q[3], u[0] + u[3], a[0] + a[3])
    thigh = (q[0] + q[4], u[0] + u[4], a[0] + a[4])
    shank = tuple(x - y for x, y in zip(thigh, (q[5], u[5], a[5]), strict=True))
    foot = tuple(x + y for x, y in zip(shank, (q[6], u[6], a[6]), strict=True))

    up = np.array([[0.0], [GRAVITY]])
    hip_acceleration = a[1:3]
    to_knee, to_ankle = _Arm(thigh, (0, -body.thigh_length)), _Arm(shank, (0, -body.shank_length))
    to_lumbar = _Arm(tilt, (0, body.lumbar_height))
    knee, knee_acceleration = to_knee.position, to_knee.acceleration  # relative to the hips
    ankle, ankle_acceleration = knee + to_ankle.position, knee_acceleration + to_ankle.acceleration

    def load(segment: Segment, state: tuple, origin: np.ndarray, acceleration: np.ndarray):
        # m (a - g), where it acts, and I alpha; without the hips' acceleration, which the caller adds.
        arm = _Arm(state, segment.center)
        force = segment.mass * (acceleration + arm.acceleration + up + hip_acceleration)
        return force, origin + arm.position, segment.inertia * state[2]

    zero = np.zeros_like(knee)
    trunk = [
        load(body.pelvis, tilt, zero, zero),
        load(body.torso, torso, to_lumbar.position, to_lumbar.acceleration),
    ]
    leg = [
        load(body.thigh, thigh, zero, zero),
        load(body.shank, shank, knee, knee_acceleration),
        load(body.foot, foot, ankle, ankle_acceleration),
    ]
    half = q.shape[1] // 2
    # The left leg repeats the right one half a cycle later; pelvis motion repeats every step, so its share in the
    # leg's accelerations rolls along correctly.
    force = sum(f for f, _, _ in trunk) + sum(f + np.roll(f, half, axis=1) for f, _, _ in leg)
    turn = [_cross(p, f) + spin for f, p, spin in leg]
    moment = sum(_cross(p, f) + spin for f, p, spin in trunk) + sum(m + np.roll(m, half) for m in turn)

    joints = np.array([zero, knee, ankle])
    distal_force = np.array([sum(f for f, _, _ in leg[j:]) for j in range(3)])
    distal_moment = np.array([sum(_cross(p - joints[j], f) + spin for f, p, spin in leg[j:]) for j in range(3)])
    return Demand(
        force=force,
        moment=moment,
        heel=ankle + _rotate(foot[0], body.heel),
        ball=ankle + _rotate(foot[0], body.ball),
        joints=joints,
        distal_force=distal_force,
        distal_moment=distal_moment,
    )


def _cross(r: np.ndarray, f: np.ndarray) -> np.ndarray:
    return r[0] * f[1] - r[1] * f[0]


@dataclass(frozen=True)
class Reactions:
    """Ground reaction of the right foot over a cycle (the left foot's is the same, half a cycle later).

    Parameters
    ----------
    force : ndarray, shape (2, samples)
        Forward and vertical force, N.
    pressure : ndarray, shape (samples,)
        Centre of pressure ahead of the heel's place on the ground, m (meaningless in swing).
    shift : ndarray, shape (samples,)
        By how much the moment balance moved the centre of pressure from its normative place, m.
    residual : ndarray, shape (samples,)
        Moment around z that the clamped centres of pressure of both feet cannot deliver, Nm.
    """

    force: np.ndarray
    pressure: np.ndarray
    shift: np.ndarray
    residual: np.ndarray


def share(body: Body, targets: Targets, need: Demand, tx: np.ndarray, ty: np.ndarray, clamp: bool) -> Reactions:
    """Split the needed total ground reaction between the feet.

    Parameters
    ----------
    body : Body
        The walker.
    targets : Targets
        Normative curves at the same samples.
    need : Demand
        What the motion needs.
    tx, ty : ndarray, shape (samples,)
        Hips relative to the right foot's place of heel contact (from `NEXT_STEP` on, the next one), m.
    clamp : bool
        Keep the centre of pressure within the sole.

    Returns
    -------
    Reactions
        The right foot's share.
    """
    half = len(tx) // 2
    weight = body.mass * GRAVITY
    both_y = targets.vertical + np.roll(targets.vertical, half)
    both_x = targets.forward + np.roll(targets.forward, half)
    part = targets.vertical / both_y
    force = np.array(
        [
            weight * targets.forward + part * (need.force[0] - weight * both_x),
            part * need.force[1],
        ]
    )
    # Moment about the hips of a force at ground level: lever (pressure - tx, -ty).
    lever = targets.pressure - tx
    right = lever * force[1] + ty * force[0]
    missing = need.moment - right - np.roll(right, half)
    shift = missing / need.force[1]
    pressure = targets.pressure + shift
    residual = np.zeros_like(shift)
    if clamp:
        low, high = 0.02 * body.foot_length, 0.85 * body.foot_length
        clamped = np.clip(pressure, low, high)
        lost = (pressure - clamped) * force[1]
        residual = lost + np.roll(lost, half)
        pressure = clamped
    return Reactions(force, pressure, shift, residual)


def joint_moments(need: Demand, foot: Reactions, tx: np.ndarray, ty: np.ndarray) -> np.ndarray:
    """Hip, knee and ankle moments of the right leg by Newton and Euler, from the ground up.

    Parameters
    ----------
    need : Demand
        What the motion needs.
    foot : Reactions
        The right foot's ground reaction.
    tx, ty : ndarray, shape (samples,)
        As in :func:`share`.

    Returns
    -------
    ndarray, shape (3, samples)
        Hip extension, knee extension, ankle plantarflexion, Nm.
    """
    point = np.array([foot.pressure - tx, -ty])
    proximal = np.array(
        [need.distal_moment[j] - _cross(point - need.joints[j], foot.force) for j in range(3)]
    )  # moment of the proximal on the distal part, about +z
    return proximal * np.array([[-1.0], [1.0], [-1.0]])


@dataclass(frozen=True)
class Walk:
    """A walking motion and its ground reactions, both analytic functions of time.

    Parameters
    ----------
    body : Body
        The walker.
    speed : float
        Walking speed, m/s.
    variation : Variation
        How the walker differs from the norm.
    period : float
        Duration of the gait cycle, s.
    parameters : ndarray
        The Fourier coefficients found.
    """

    body: Body
    speed: float
    variation: Variation
    period: float
    parameters: np.ndarray

    @cached_property
    def series(self) -> Series:
        """The Fourier series."""
        return Series(self.period, self.speed)

    def coordinates(self, time: np.ndarray, derivative: int = 0, first_heel_strike: float = 0.0) -> np.ndarray:
        """Generalised coordinates in the order of `COORDINATES`.

        Parameters
        ----------
        time : ndarray, shape (rows,)
            Times, s.
        derivative : {0, 1, 2}
            Order of the time derivative.
        first_heel_strike : float
            Time of a right heel strike, s; the heel then stands at x = 0.

        Returns
        -------
        ndarray, shape (rows, 10)
            rad and m, per s^derivative.
        """
        phase = (np.asarray(time, float) - first_heel_strike) / self.period
        right = self.series.evaluate(self.parameters, phase, derivative)
        left = self.series.evaluate(self.parameters, phase + 0.5, derivative)
        return np.vstack([right, left[4:]]).T

    def at(self, phase: np.ndarray) -> tuple[Targets, Demand, Reactions, np.ndarray, np.ndarray]:
        """Everything about the right leg at some phases of its gait cycle.

        Parameters
        ----------
        phase : ndarray, shape (samples,)
            Phases of the right leg, 0..1; the second half must be the first half's plus 0.5, modulo 1.

        Returns
        -------
        tuple
            Targets, what the motion needs, the right foot's reactions (clamped to the sole), and the hips' position
            `(samples,)` ahead of the heel's place on the ground and above the ground, m.
        """
        targets = normative_targets(self.body, self.speed, phase, self.variation)
        q, u, a = (self.series.evaluate(self.parameters, phase, d) for d in range(3))
        need = demand(self.body, q, u, a)
        tx = q[1] - self.speed * self.period * (100 * phase > NEXT_STEP)
        return targets, need, share(self.body, targets, need, tx, q[2], clamp=True), tx, q[2]


def walking_motion(body: Body, speed: float = 1.25, variation: Variation | None = None, samples: int = 120) -> Walk:
    """Find the walking motion nearest to the normative curves that physics allows.

    Parameters
    ----------
    body : Body
        The walker.
    speed : float
        Walking speed, m/s (0.5 to 2.2).
    variation : Variation, optional
        How this walker differs from the norm.
    samples : int
        Even number of samples over the cycle at which the conditions are imposed.

    Returns
    -------
    Walk
        The motion.

    Raises
    ------
    ValueError
        If the speed is out of range.
    """
    if not 0.5 <= speed <= 2.2:
        raise ValueError(f"speed must be 0.5..2.2 m/s; found {speed:g}")
    variation = variation or Variation()
    phase = np.arange(samples) / samples
    targets = normative_targets(body, speed, phase, variation)
    series = Series(targets.period, speed)
    percent = 100 * phase
    half = samples // 2
    weight = body.mass * GRAVITY
    tol = TOLERANCES
    bases = [[series.basis(phase, orders, d) for d in range(3)] for orders in series.orders]
    advance = speed * targets.period * phase

    def ramp(start: float, end: float) -> np.ndarray:
        return np.clip((percent - start) / (end - start), 0, 1)

    heel_on = np.where(percent < 40, 1 - ramp(30, 40), 0.0)
    ball_on = np.where(percent < 61, ramp(7, 12) * (1 - ramp(57, 61)), 0.0)
    swing = ((percent > 68) & (percent < 94)).astype(float)
    stride_weight = 1 / np.sqrt(samples)
    stride, next_step = speed * targets.period, percent > NEXT_STEP
    # Harmonics 6 and up carry no information of the curves, only ringing.
    rough = np.concatenate(
        [
            np.concatenate([[0], np.tile(np.where(o >= 6, (2 * np.pi * o / targets.period) ** 2, 0), 2)])
            for o in series.orders
        ]
    )
    contact_shape = np.array([body.ball[0] - body.heel[0], 0.0])

    def evaluate(parameters: np.ndarray):
        parts = series.split(parameters)
        q, u, a = (np.array([basis[d] @ part for basis, part in zip(bases, parts, strict=True)]) for d in range(3))
        q[1] += advance
        u[1] += speed
        return q, u, a

    def residuals(parameters: np.ndarray) -> np.ndarray:
        q, u, a = evaluate(parameters)
        need = demand(body, q, u, a)
        foot = share(body, targets, need, q[1] - stride * next_step, q[2], clamp=False)
        moments = joint_moments(need, foot, q[1] - stride * next_step, q[2]) / body.mass
        hips = q[1:3]
        heel, ball = hips + need.heel, hips + need.ball
        both_y = targets.vertical + np.roll(targets.vertical, half)
        both_x = targets.forward + np.roll(targets.forward, half)
        blocks = [
            (q[4:7] - targets.angles) / tol["angle"],
            q[0] / tol["pelvis_angle"],
            (q[3] - targets.lean) / tol["torso_angle"],
            heel_on * heel / tol["contact"],
            ball_on * (ball - contact_shape[:, None]) / tol["contact"],
            swing * np.minimum(0, np.minimum(heel[1], ball[1]) - 0.012) / tol["clearance"],
            (need.force[1] / weight - both_y) / tol["vertical"],
            (need.force[0] / weight - both_x) / tol["forward"],
            foot.shift / tol["pressure"],
            (moments - targets.moments) / tol["moment"],
        ]
        return np.concatenate(
            [np.ravel(block) * stride_weight for block in blocks] + [rough * parameters / tol["roughness"]]
        )

    start = np.zeros(series.size)
    parts = series.split(start)
    for part, basis, angle in zip(parts[4:], bases[4:], targets.angles, strict=True):
        part[:] = np.linalg.lstsq(basis[0], angle, rcond=None)[0]
    parts[2][0] = 0.985 * (body.thigh_length + body.shank_length + body.ankle_height)
    parts[1][0] = -0.25 * speed * targets.period
    start = np.concatenate(parts)
    fit = least_squares(residuals, start, method="trf", x_scale="jac", max_nfev=60, ftol=1e-8, xtol=1e-10)
    return Walk(body, speed, variation, targets.period, fit.x)


@dataclass(frozen=True)
class GroundReactions:
    """Ground reactions of both feet over time, in the ground frame (x forward, y up, z right).

    Parameters
    ----------
    time : ndarray, shape (rows,)
        Times, s.
    force : ndarray, shape (2, rows, 3)
        Force on the right and the left foot, N.
    point : ndarray, shape (2, rows, 3)
        Centre of pressure of each, m; it moves on smoothly to the next step while the force is zero.
    residual : ndarray, shape (rows,)
        Moment around z that had to be left to the pelvis because the centre of pressure must stay in the sole, Nm.
    """

    time: np.ndarray
    force: np.ndarray
    point: np.ndarray
    residual: np.ndarray


def ground_reactions(walk: Walk, time: np.ndarray, first_heel_strike: float = 0.0) -> GroundReactions:
    """Ground reactions that the motion needs, exactly, at any times.

    Parameters
    ----------
    walk : Walk
        The motion.
    time : ndarray, shape (rows,)
        Times, s.
    first_heel_strike : float
        Time of the right heel strike at x = 0, s.

    Returns
    -------
    GroundReactions
        Forces, centres of pressure, and what is left to the pelvis.
    """
    rows = len(time)
    absolute = (np.asarray(time, float) - first_heel_strike) / walk.period
    both = np.concatenate([absolute, absolute + 0.5])
    _, _, foot, _, _ = walk.at(np.mod(both, 1.0))
    # The left leg's phase is half a cycle ahead of the right one's, its places on the ground half a stride behind.
    stride = walk.speed * walk.period
    side_offset = np.repeat([0.0, -0.5], rows)
    step = np.floor(both) + side_offset
    # In swing, from toe-off to `NEXT_STEP`, the idle centre of pressure is carried on to the next place.
    percent = 100 * np.mod(both, 1.0)
    carried = np.clip((percent - 66.0) / (92.0 - 66.0), 0, 1)
    step = step + carried**2 * (3 - 2 * carried)
    point = np.zeros((2 * rows, 3))
    point[:, 0] = foot.pressure + stride * step
    force = np.zeros((2 * rows, 3))
    force[:, :2] = foot.force.T
    return GroundReactions(
        np.asarray(time, float), force.reshape(2, rows, 3), point.reshape(2, rows, 3), foot.residual[:rows]
    )
