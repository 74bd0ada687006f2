"""The walker's segments: lengths, masses and inertias of a planar body, from its mass and height.

Segment lengths are fractions of body height (Drillis and Contini 1966, as drawn in Winter 2009, figure 4.1);
segment masses, mass centres and radii of gyration are Winter's (2009, table 4.1, after Dempster 1955).

The same numbers serve the OpenSim model (:mod:`walking_model`) and the motion (:mod:`walking_motion`), which
therefore agree to rounding error.

Axes: x forward, y up, z to the right. Every segment frame is parallel to the ground's when the body stands upright.

References
----------
Drillis R, Contini R (1966). Body segment parameters. Report 1163-03, Office of Vocational Rehabilitation, New York.
Winter DA (2009). Biomechanics and Motor Control of Human Movement, 4th ed. Wiley. doi:10.1002/9780470549148
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Gravity, m/s^2 (OpenSim's default).
GRAVITY = 9.80665


@dataclass(frozen=True)
class Segment:
    """One rigid segment.

    Parameters
    ----------
    mass : float
        Mass, kg.
    center : tuple of float
        Mass centre (x, y) in the segment's frame, m.
    inertia : float
        Moment of inertia about the mass centre, around z, kg m^2.
    """

    mass: float
    center: tuple[float, float]
    inertia: float


@dataclass(frozen=True)
class Body:
    """A planar walker: head-arms-trunk, pelvis, two thighs, shanks and feet.

    Parameters
    ----------
    mass : float
        Body mass, kg.
    height : float
        Body height, m.
    """

    mass: float = 70.0
    height: float = 1.75

    def __post_init__(self) -> None:
        if not (20.0 <= self.mass <= 200.0 and 1.0 <= self.height <= 2.3):
            raise ValueError(
                f"mass must be 20..200 kg and height 1.0..2.3 m; found mass={self.mass:g}, height={self.height:g}"
            )

    @property
    def thigh_length(self) -> float:
        """Hip to knee, m."""
        return 0.245 * self.height

    @property
    def shank_length(self) -> float:
        """Knee to ankle, m."""
        return 0.246 * self.height

    @property
    def ankle_height(self) -> float:
        """Ankle above the sole, m."""
        return 0.039 * self.height

    @property
    def foot_length(self) -> float:
        """Heel to toe tip, m."""
        return 0.152 * self.height

    @property
    def heel(self) -> tuple[float, float]:
        """Heel contact point (x, y) in the foot's frame, whose origin is the ankle, m."""
        return (-0.20 * self.foot_length, -self.ankle_height)

    @property
    def ball(self) -> tuple[float, float]:
        """Ball of the foot (metatarsal heads) in the foot's frame, m."""
        return (0.52 * self.foot_length, -self.ankle_height)

    @property
    def hip_half_width(self) -> float:
        """Distance of each hip from the midline, m (drawing only: the model is planar)."""
        return 0.05 * self.height

    @property
    def lumbar_height(self) -> float:
        """Lumbar joint above the hips, m."""
        return 0.057 * self.height

    @property
    def thigh(self) -> Segment:
        """The thigh; frame at the hip."""
        return self._limb(0.100, self.thigh_length, 0.433, 0.323)

    @property
    def shank(self) -> Segment:
        """The shank; frame at the knee."""
        return self._limb(0.0465, self.shank_length, 0.433, 0.302)

    @property
    def foot(self) -> Segment:
        """The foot; frame at the ankle. Winter's foot runs from the ankle to the second metatarsal head."""
        x, y = self.ball
        mass = 0.0145 * self.mass
        return Segment(mass, (0.5 * x, 0.5 * y), mass * (0.475 * float(np.hypot(x, y))) ** 2)

    @property
    def pelvis(self) -> Segment:
        """The pelvis; frame midway between the hips. A solid of 0.06 body heights' radius of gyration."""
        mass = 0.142 * self.mass
        return Segment(mass, (0.0, 0.04 * self.height), mass * (0.06 * self.height) ** 2)

    @property
    def torso(self) -> Segment:
        """Head, arms and trunk above the lumbar joint: Winter's HAT (which includes the pelvis) less the pelvis."""
        whole = 0.678 * self.mass
        length = 0.288 * self.height  # greater trochanter to shoulder
        y_whole = 0.626 * length
        i_whole = whole * (0.496 * length) ** 2
        pelvis = self.pelvis
        mass = whole - pelvis.mass
        y = (whole * y_whole - pelvis.mass * pelvis.center[1]) / mass
        inertia = i_whole - pelvis.inertia - pelvis.mass * (pelvis.center[1] - y_whole) ** 2 - mass * (y - y_whole) ** 2
        return Segment(mass, (0.0, y - self.lumbar_height), inertia)

    def _limb(self, mass_fraction: float, length: float, center: float, gyration: float) -> Segment:
        mass = mass_fraction * self.mass
        return Segment(mass, (0.0, -center * length), mass * (gyration * length) ** 2)
