"""The people of the virtual cohort: body, strength, style of walking and speeds, drawn at random from a seed.

What varies, and how much (standard deviations between people):

- height 0.09 m, body mass index 2.5 kg/m^2;
- the strength of every single muscle by 25 %, and between the two legs of a person by 15 %. Muscles that share a joint
  share its moment in proportion to their strength, so this gives each person an own way of sharing effort, as people
  have ("muscle activation signatures": Aeles et al. 2021, doi:10.1098/rsif.2020.0770);
- the style of walking (`STYLE`): joint angles, joint moments, ground reactions, cadence and trunk lean depart from the
  norm; and in the same way, but less, each stride from the person's own style (`STRIDE`).

Everybody walks slowly, comfortably and fast, at speeds that are dynamically similar: in proportion to the square root
of body height.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from walking_body import Body
from walking_model import MUSCLES
from walking_motion import REFERENCE_HEIGHT, Variation

#: Speeds of a person of `REFERENCE_HEIGHT`, m/s.
SPEEDS = {"slow": 0.9, "comfortable": 1.2, "fast": 1.45}
#: Departures of a person from the norm, and of a stride from the person's own style (see `Variation`).
STYLE = {"angle_sd": 4.0, "force_sd": 0.10, "moment_sd": 0.15, "cadence_sd": 0.05, "trunk_sd": 2.0}
STRIDE = {"angle_sd": 1.0, "force_sd": 0.04, "moment_sd": 0.04, "cadence_sd": 0.02, "trunk_sd": 0.5}
#: Standard deviation of the logarithm of a muscle's strength: between people, and between the legs of one.
STRENGTH_SD, LEG_SD = 0.25, 0.15
#: Factor on the strength of everybody's muscles, so that the weakest person can walk fast; and another on the hip
#: flexors, which in the planar model stand for sartorius and tensor fasciae latae, too.
STRENGTH, HIP_FLEXORS = 1.8, 1.5


@dataclass(frozen=True)
class Stride:
    """One stride of a person.

    Parameters
    ----------
    speed_name : str
        One of `SPEEDS`.
    number : int
        Counted from 1 at each speed.
    speed : float
        Walking speed, m/s.
    variation : Variation
        Style of the person and departure of this stride.
    """

    speed_name: str
    number: int
    speed: float
    variation: Variation


@dataclass(frozen=True)
class Subject:
    """A virtual person.

    Parameters
    ----------
    name : str
        Such as ``v01``.
    body : Body
        Mass and height.
    strength : dict of str to float
        Factor on the strength of each muscle, by its name with side.
    strides : tuple of Stride
        What is simulated.
    """

    name: str
    body: Body
    strength: dict[str, float]
    strides: tuple[Stride, ...]


def draw_subject(seed: int, number: int, strides: int) -> Subject:
    """Draw one person; others of the cohort do not change this one.

    Parameters
    ----------
    seed : int
        Seed of the cohort.
    number : int
        Number of the person, from 1.
    strides : int
        Strides at each speed.

    Returns
    -------
    Subject
        The person.
    """
    rng = np.random.default_rng([seed, number])
    height = float(np.clip(rng.normal(1.73, 0.09), 1.5, 1.95))
    mass = float(np.clip(rng.normal(23.5, 2.5), 18.5, 30.0)) * height**2
    strength = {}
    for muscle in MUSCLES:
        common = STRENGTH * (HIP_FLEXORS if muscle.name == "iliopsoas" else 1.0)
        own = STRENGTH_SD * rng.standard_normal()
        for side in "rl":
            strength[f"{muscle.name}_{side}"] = common * float(np.exp(own + LEG_SD * rng.standard_normal()))
    style = int(rng.integers(2**31))
    own_strides = tuple(_strides(seed, number, strides, height, style))
    return Subject(f"v{number:02d}", Body(mass, height), strength, own_strides)


def _strides(seed: int, subject: int, count: int, height: float, style: int) -> Iterator[Stride]:
    for index, (name, speed) in enumerate(SPEEDS.items()):
        for number in range(1, count + 1):
            departure = int(np.random.default_rng([seed, subject, index, number]).integers(2**31))
            variation = Variation(style, **STYLE, stride=Variation(departure, **STRIDE))
            yield Stride(name, number, speed * float(np.sqrt(height / REFERENCE_HEIGHT)), variation)
