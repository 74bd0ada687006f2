"""How well an OpenSim tool did its work: how far it is from the recording, and how much no muscle did.

Seen in the files that the tool itself writes. What is acceptable: Hicks et al. (2015, doi:10.1115/1.4029304), and
:mod:`opensim_nem2e.data.check.simulation_checks`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import NEM2EError
from ...storage import parse_label, read_storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: How actuators are called that stand for what muscles or the ground do not do.
RESERVE_NAME = re.compile(r"reserve|_res$|^res_", re.IGNORECASE)
RESIDUAL_FORCE_NAME = re.compile(
    r"(^|_)F[XYZ]$|(residual|reserve|res).*pelvis_t[xyz]|pelvis_t[xyz].*(residual|reserve|res)"
)
RESIDUAL_MOMENT_NAME = re.compile(
    r"(^|_)M[XYZ]$|(residual|reserve|res).*pelvis_(tilt|list|rot)|pelvis_(tilt|list|rot).*(residual|reserve|res)"
)

#: A simulation of CMC starts with muscles in a state that does not fit the motion; reserves help out until they do (s).
START_UP = 0.1

#: The farthest that a marker of a good inverse kinematics is from the recorded one (m).
MARKER_LIMIT = 0.04

_TRANSLATION = re.compile(r"_t[xyz]$")
_PELVIS_FORCE = re.compile(r"^pelvis_t[xyz]_force$")
_MARKER = re.compile(r"marker error: RMS = \S+, max = (\S+) \(([^)]*)\)")


@dataclass(frozen=True)
class Peak:
    """The largest absolute value among the columns of a file.

    Parameters
    ----------
    value : float
        It.
    unit : str
        Its unit.
    name : str
        The column's, or the marker's, name.
    """

    value: float
    unit: str
    name: str

    def __str__(self) -> str:
        return f"{self.value:.3g} {self.unit} ({self.name})" if self.name else f"{self.value:.3g} {self.unit}"


@dataclass(frozen=True)
class RunQuality:
    """Of one run of a tool; None where the tool has no such thing.

    Parameters
    ----------
    tracking : Peak, optional
        Largest distance from what is tracked: a marker (m) of Scale, in the pose that it places, and IK; an angle
        (deg), or else a position (m), of RRA and CMC.
    reserve : Peak, optional
        Largest moment of a reserve actuator (Nm; for a translation, N), of CMC after its first 0.1 s, unless it is
        shorter than three times that; RRA has nothing but such, and none is shown.
    residual : Peak, optional
        Largest residual force at the pelvis (N).
    """

    tracking: Peak | None = None
    reserve: Peak | None = None
    residual: Peak | None = None

    @property
    def doubts(self) -> list[str]:
        """What is worth a look before the results are used, in sentences."""
        found = self.tracking
        # Angles are told in degrees, markers have the name of no coordinate.
        if found is None or found.unit != "m" or _TRANSLATION.search(found.name) or found.value <= MARKER_LIMIT:
            return []
        return [
            f"marker {found.name} is up to {found.value:.3g} m from where it was recorded; {MARKER_LIMIT:g} m is the "
            "most that is usual. Is it at the right place of the model, and the right one in the recording?"
        ]


def judge_run(tool: str, outputs: Sequence[Path], log: str = "") -> RunQuality:
    """Look into the results of a tool.

    Parameters
    ----------
    tool : str
        Its class.
    outputs : sequence of pathlib.Path
        The files that it wrote.
    log : str
        What it printed; ScaleTool and InverseKinematicsTool say there how far markers are.

    Returns
    -------
    RunQuality
        What could be seen. A file that is not there, or cannot be read, shows nothing.
    """
    if tool in ("ScaleTool", "InverseKinematicsTool"):
        markers = [Peak(float(size), "m", name) for size, name in _MARKER.findall(log)]
        # Scale prints what it sees before and after it adjusts the pose.
        shown = markers if tool == "InverseKinematicsTool" else markers[-1:]
        return RunQuality(tracking=max(shown, key=lambda peak: peak.value, default=None))
    if tool == "InverseDynamicsTool":
        forces = _columns(outputs, ".sto")
        return RunQuality(residual=_peak({n: v for n, v in forces.items() if _PELVIS_FORCE.search(n)}, "N"))
    if tool not in ("CMCTool", "RRATool", "AnalyzeTool"):
        return RunQuality()
    start_up = START_UP if tool == "CMCTool" else 0.0
    # That of StaticOptimization bears the analysis's own name.
    forces = _columns(outputs, "_Actuation_force.sto", start_up) or _columns(outputs, "_force.sto")
    residuals = {name: values for name, values in forces.items() if RESIDUAL_FORCE_NAME.search(name)}
    reserves = {
        name: values
        for name, values in forces.items()
        # In RRA they stand for the muscles.
        if tool != "RRATool"
        and RESERVE_NAME.search(name)
        and name not in residuals
        and not RESIDUAL_MOMENT_NAME.search(name)
    }
    return RunQuality(_tracking(_columns(outputs, "_pErr.sto")), _peak(reserves, "Nm"), _peak(residuals, "N"))


def _tracking(errors: dict[str, NDArray[np.float64]]) -> Peak | None:
    import numpy as np

    # An angle if there is one: positions of the pelvis are what RRA is meant to change.
    angles = {name: np.degrees(values) for name, values in errors.items() if not _TRANSLATION.search(name)}
    return _peak(angles, "deg") or _peak(errors, "m")


def _columns(outputs: Sequence[Path], ending: str, start_up: float = 0.0) -> dict[str, NDArray[np.float64]]:
    path = next((path for path in outputs if path.name.endswith(ending)), None)
    if path is None:
        return {}
    try:
        series = read_storage(path)
    except NEM2EError:
        return {}
    time = series.time
    rows = time >= (time[0] + start_up if time[-1] - time[0] > 3.0 * start_up else time[0])
    return {parse_label(label).name: series.data[rows, k] for k, label in enumerate(series.labels)}


def _peak(columns: dict[str, NDArray[np.float64]], unit: str) -> Peak | None:
    import numpy as np

    sizes = {name: float(np.nanmax(np.abs(values))) for name, values in columns.items() if np.isfinite(values).any()}
    if not sizes:
        return None
    name = max(sizes, key=lambda name: sizes[name])
    return Peak(sizes[name], unit, name)
