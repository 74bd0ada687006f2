"""GaitEventsTool: heel strikes and toe-offs of a trial, as a table that people can edit and the other tools read.

From ground reactions where there are any (:mod:`opensim_nem2e.signals.events`), else from marker paths or from the
motion of the model (:mod:`opensim_nem2e.signals.kinematic_events`).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MissingFileError
from ..log import logger
from .properties import Property
from .tool import Tool

if TYPE_CHECKING:
    from ..signals.events import GaitEvents

#: What each method reads.
_NEEDS = {
    "external_loads": ("external_loads_file",),
    "markers": ("markers_file", "heel_markers", "toe_markers", "pelvis_markers"),
    "model": ("model_file", "coordinates_file"),
}


#: When a foot is on the ground, for every tool that finds steps in ground reactions.
CONTACT_PROPERTIES = (
    Property(
        "contact_threshold",
        "double",
        20.0,
        "Vertical ground reaction above which a foot is on the ground.",
        bounds="(0, Inf)",
        unit="N",
    ),
    Property(
        "minimum_contact_duration",
        "double",
        0.1,
        "Shorter contacts are not a step (debounce).",
        bounds="[0, Inf)",
        unit="s",
    ),
    Property(
        "minimum_swing_duration",
        "double",
        0.1,
        "Shorter losses of contact do not end a step (debounce).",
        bounds="[0, Inf)",
        unit="s",
    ),
)


class GaitEventsTool(Tool):
    """Find the heel strikes and toe-offs of a trial.

    Parameters
    ----------
    setup_file : str or os.PathLike, optional
        The setup file to read. Without it all properties have their defaults.

    Examples
    --------
    >>> tool = GaitEventsTool()
    >>> tool.setName("subject01_walk1")
    >>> tool.setExternalLoadsFileName("subject01_walk1_grf.xml")
    >>> tool.run()  # doctest: +SKIP
    True
    """

    tool_name = "GaitEventsTool"
    properties = (
        Property("results_directory", "directory", "./", "Directory used for writing results."),
        Property(
            "method",
            "string",
            "auto",
            "Where the events come from. external_loads: ground reactions. markers: paths of heels, toes and pelvis "
            "(Zeni et al. 2008). model: the same from the model's motion. auto: the first of these whose files are "
            "given.",
            choices=("auto", *_NEEDS),
        ),
        Property("external_loads_file", "file", "", "XML file (.xml) with the ExternalLoads of the trial."),
        *CONTACT_PROPERTIES,
        Property("markers_file", "file", "", "Marker paths (.trc) of the trial; y is up, as in OpenSim."),
        Property("heel_markers", "strings", (), "Markers on the right and the left heel.", list_size=2),
        Property("toe_markers", "strings", (), "Markers on the right and the left forefoot.", list_size=2),
        Property(
            "pelvis_markers",
            "strings",
            (),
            "Markers on the pelvis, such as the sacrum's, or both PSIS; their middle is used.",
            list_size=(1, None),
        ),
        Property("model_file", "file", "", "The model (.osim), for method model."),
        Property("coordinates_file", "file", "", "Its motion (.mot, .sto), from IK or RRA, for method model."),
        Property(
            "events_file",
            "file",
            "",
            "Name of the table (.csv) that is written. Empty: the tool's name (or 'gait') and '_events.csv' in "
            "results_directory.",
        ),
    )

    def _check(self) -> list[str]:
        method = self._method()
        if method is None:
            return [
                "There is nothing to find events in: one of <external_loads_file>, <markers_file> with the names of "
                "its markers, or <model_file> with <coordinates_file> must be given."
            ]
        faults = [f"<{name}> must be given for <method> {method}." for name in _NEEDS[method] if not self.get(name)]
        path = self._table_file()
        if path.suffix.lower() != ".csv":
            faults.append(f"<events_file> must end in '.csv', but '{path.name}' was found.")
        return faults

    def _method(self) -> str | None:
        given: str = self.method
        if given != "auto":
            return given
        return next((method for method, needed in _NEEDS.items() if self.get(needed[0])), None)

    def _table_file(self) -> Path:
        directory = self.resolve("results_directory") or self.base_directory
        return self.resolve("events_file") or directory / f"{self.name or 'gait'}_events.csv"

    def _writes_to(self) -> list[Path]:
        return [self._table_file().parent]

    def _run(self) -> None:
        from ..storage.events_table import write_gait_events

        self._announce()
        events = self._find()
        for side, strikes, leaves in (
            ("right", events.right, events.right_toe_offs),
            ("left", events.left, events.left_toe_offs),
        ):
            gaps = [later - earlier for earlier, later in pairwise(strikes.tolist())]
            spread = f", {min(gaps):.3f} to {max(gaps):.3f} s apart" if gaps else ""
            logger.info("%d %s heel strikes%s; %d toe-offs.", strikes.size, side, spread, leaves.size)
        if max(events.right.size, events.left.size) < 2:
            logger.warning("There is no gait cycle: no foot strikes the ground twice.")
        path = self._table_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MissingFileError(f"The folder '{path.parent}' cannot be made: {error.strerror or error}.") from error
        write_gait_events(path, events.table())
        logger.info("Wrote the table of gait events '%s'.", path)

    def _find(self) -> GaitEvents:
        from ..signals.events import events_from_external_loads
        from ..signals.kinematic_events import kinematic_events

        method = self._method()
        logger.info("Method: %s.", method)
        if method == "external_loads":
            return events_from_external_loads(
                str(self.resolve("external_loads_file")),
                threshold=self.contact_threshold,
                minimum_contact=self.minimum_contact_duration,
                minimum_swing=self.minimum_swing_duration,
            )
        logger.info(
            "Heel strikes from paths are up to 0.04 s earlier than from forces; toe-offs are right within 0.03 s in "
            "walking, and up to 0.15 s late in running."
        )
        if method == "markers":
            import numpy as np

            from ..storage.trc import read_trc

            markers = read_trc(str(self.resolve("markers_file")))
            heels, toes = (
                dict(zip(("r", "l"), map(markers.position, names), strict=True))
                for names in (self.heel_markers, self.toe_markers)
            )
            pelvis = np.mean([markers.position(name) for name in self.pelvis_markers], axis=0)
            return kinematic_events(markers.time, heels, toes, pelvis)
        from ..musculoskeletal.opensim.feet import read_foot_paths

        paths = read_foot_paths(str(self.resolve("model_file")), str(self.resolve("coordinates_file")))
        logger.info("Feet and pelvis: %s.", ", ".join(paths.bodies))
        return kinematic_events(paths.time, paths.heels, paths.toes, paths.pelvis, up=paths.up, source="model")
