"""GaitEventsTool: heel strikes and toe-offs of a trial, as a table to be edited by hand and read by the other tools.

From ground reactions where there are any (:mod:`opensim_nem2e.signals.events`), else from marker paths or from the
motion of the model (:mod:`opensim_nem2e.signals.kinematic_events`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from ..errors import MissingFileError, NEM2EError
from ..log import counted, logger
from ..options import DirectoryPath, FilePath, Options, group, option
from .accessors import GaitEventsToolAccessors
from .tool import Tool, ToolRun

if TYPE_CHECKING:
    from ..signals.events import GaitEvents
    from ..storage.events_table import GaitEvent

#: What each method reads.
_NEEDS = {
    "external_loads": ("external_loads_file",),
    "markers": ("markers_file", "heel_markers", "toe_markers", "pelvis_markers"),
    "model": ("model_file", "coordinates_file"),
}


#: Strides (of both feet) from which on their median is known, and how long, in medians, one is in which a strike was
#: missed, or that none ends.
_ENOUGH_GAPS = 3
_MISSED, _EXTRA = 1.5, 0.6


@dataclass(frozen=True)
class ContactOptions(Options):
    """When a foot is on the ground, for every tool that finds steps in ground reactions."""

    contact_threshold: float = option(
        20.0, "Vertical ground reaction above which a foot is on the ground.", bounds="(0, 10000]", unit="N"
    )
    minimum_contact_duration: float = option(
        0.1, "Shorter contacts are not a step (debounce).", bounds="[0, 10]", unit="s"
    )
    minimum_swing_duration: float = option(
        0.1, "Shorter losses of contact do not end a step (debounce).", bounds="[0, 10]", unit="s"
    )
    release_threshold: float | None = option(
        None,
        "Vertical ground reaction below which contact ends. Empty: half of contact_threshold.",
        bounds="[0, 10000]",
        unit="N",
    )
    force_offset_removal: Literal["none", "constant", "drift"] = option(
        "none",
        "What a force plate reads while nobody is on it is subtracted to find steps (joint torques take the forces as "
        "they are). none: nothing is. constant: the median of all such stretches. drift: the line from each stretch to "
        "the next.",
    )
    foot_bodies: tuple[str, ...] = option(
        (), "Which limb a body is whose name does not tell, such as a prosthesis: 'foot_pros=l socket=l'."
    )

    def faults(self) -> list[str]:
        """Say what is wrong with the options together."""
        faults = []
        release, threshold = self.release_threshold, self.contact_threshold
        if release is not None and release > threshold:
            faults.append(
                f"<release_threshold> must be at most <contact_threshold>; found {release:g} and {threshold:g}."
            )
        for text in self.foot_bodies:
            body, _, side = text.partition("=")
            if not body or side not in ("r", "l"):
                faults.append(f"<foot_bodies> must be bodies with their sides, such as 'foot_pros=l'; found '{text}'.")
        return faults

    def settings(self) -> dict[str, Any]:
        """Return the options as arguments of the functions that find steps.

        Returns
        -------
        dict of str to object
            Keyword arguments of :func:`opensim_nem2e.signals.events.events_from_external_loads`.
        """
        return {
            "threshold": self.contact_threshold,
            "release": self.release_threshold,
            "minimum_contact": self.minimum_contact_duration,
            "minimum_swing": self.minimum_swing_duration,
            "force_offset_removal": self.force_offset_removal,
            "foot_bodies": dict(text.split("=") for text in self.foot_bodies),
        }


@dataclass(frozen=True)
class GaitEventsOptions(Options):
    """What GaitEventsTool reads and writes."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    method: str = option(
        "auto",
        "Where the events come from. external_loads: ground reactions. markers: paths of heels, toes and pelvis "
        "(Zeni et al. 2008). model: the same from the model's motion. auto: the first of these whose files are "
        "given.",
        choices=("auto", *_NEEDS),
    )
    external_loads_file: FilePath = option("", "XML file (.xml) with the ExternalLoads of the trial.")
    contact: ContactOptions = group(ContactOptions)
    markers_file: FilePath = option("", "Marker paths (.trc) of the trial; y is up, as in OpenSim.")
    heel_markers: tuple[str, ...] = option((), "Markers on the right and the left heel.", list_size=2)
    toe_markers: tuple[str, ...] = option((), "Markers on the right and the left forefoot.", list_size=2)
    pelvis_markers: tuple[str, ...] = option(
        (), "Markers on the pelvis, such as the sacrum's, or both PSIS; their middle is used.", list_size=(1, None)
    )
    model_file: FilePath = option("", "The model (.osim), for method model.")
    coordinates_file: FilePath = option("", "Its motion (.mot, .sto), from IK or RRA, for method model.")
    events_file: FilePath = option(
        "",
        "Name of the table (.csv) that is written. Empty: the tool's name (or 'gait') and '_events.csv' in "
        "results_directory.",
        written=True,
    )
    write_figures: bool = option(True, "Draw the contacts of both feet and the durations of their strides?")
    figure_format: Literal["png", "svg"] = option("png", "Format of the figure.")


class GaitEventsTool(GaitEventsToolAccessors, Tool[GaitEventsOptions]):
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
    results_name = "gait"

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
        return self.resolve("events_file") or self.results_folder / f"{self.name or self.results_name}_events.csv"

    def _writes_to(self) -> list[Path]:
        return [*super()._writes_to(), self._table_file().parent]

    def _extras(self) -> list[str]:
        figures = ["report"] if self.write_figures and self.is_set("write_figures") else []
        return [*(["opensim"] if self._method() == "model" else []), *figures]

    def _run(self, run: ToolRun) -> None:
        from ..storage.events_table import write_gait_events

        events = self._find()
        for side, strikes, leaves in (
            ("right", events.right, events.right_toe_offs),
            ("left", events.left, events.left_toe_offs),
        ):
            gaps = [later - earlier for earlier, later in pairwise(strikes.tolist())]
            spread = " to ".join(dict.fromkeys((f"{min(gaps):.3f}", f"{max(gaps):.3f}"))) if gaps else ""
            logger.info(
                "%s%s; %s.",
                counted(strikes.size, f"{side} heel strike"),
                f", {spread} s apart" if gaps else "",
                counted(leaves.size, "toe-off"),
            )
        self._warn_of_gaps(events)
        if max(events.right.size, events.left.size) < 2:
            logger.warning("There is no gait cycle: no foot strikes the ground twice.")
        path = self._table_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MissingFileError(f"The folder '{path.parent}' cannot be made: {error.strerror or error}.") from error
        table = events.table()
        _keep_edited(path, table)
        with run.files.own_names():
            write_gait_events(run.path(path), table)
            if self._draws_figures():
                from ..report.events_figure import draw_events

                figure = run.files.path(f"{path.stem}.{self.figure_format}")
                draw_events(events, figure, f"{run.name}: gait events ({self._method()})")
        logger.info("Wrote the table of gait events '%s'.", path)

    def _warn_of_gaps(self, events: GaitEvents) -> None:
        """Point out strikes that seem to be missing, or wrong: a table is there to be corrected.

        The refinement does not take such strides, by the same measure.
        """
        from ..signals.cycles import MAX_DEVIATION

        sides = {"right": events.right.tolist(), "left": events.left.tolist()}
        gaps = [later - earlier for times in sides.values() for earlier, later in pairwise(times)]
        if len(gaps) < _ENOUGH_GAPS:
            return
        usual = median(gaps)
        for side, times in sides.items():
            for earlier, later in pairwise(times):
                if abs(later - earlier - usual) <= MAX_DEVIATION * usual:
                    continue
                what = "is one of them wrong"
                if later - earlier > _MISSED * usual:
                    what = "was a strike missed"
                elif later - earlier < _EXTRA * usual:
                    what = "is one of them no strike"
                logger.warning(
                    "The %s heel strikes at %.3f and %.3f s are %.3f s apart, but strides usually last %.3f s: %s?",
                    *(side, earlier, later, later - earlier, usual, what),
                )

    def _find(self) -> GaitEvents:
        if self._method() == "external_loads":
            return self._from_forces()
        events = self._from_paths()
        for note in events.notes:
            logger.warning("%s%s", note[:1].upper() + note[1:], "" if note.endswith("?") else ".")
        return events

    def _from_forces(self) -> GaitEvents:
        from ..signals.events import events_from_external_loads

        logger.info("Method: external_loads.")
        return events_from_external_loads(str(self.resolve("external_loads_file")), **self.options().contact.settings())

    def _from_paths(self) -> GaitEvents:
        from ..signals.kinematic_events import events_from_markers, kinematic_events

        method = self._method()
        logger.info("Method: %s.", method)
        logger.info(
            "Heel strikes from paths are up to 0.04 s earlier than from forces in adults, and up to 0.06 s in "
            "children; toe-offs are right within 0.03 s in walking, and up to 0.15 s late in running."
        )
        if method == "markers":
            return events_from_markers(
                str(self.resolve("markers_file")), self.heel_markers, self.toe_markers, self.pelvis_markers
            )
        from ..musculoskeletal.opensim.feet import read_foot_paths

        paths = read_foot_paths(
            str(self.resolve("model_file")),
            str(self.resolve("coordinates_file")),
            foot_bodies=self.options().contact.settings()["foot_bodies"],
        )
        logger.info("Feet and pelvis: %s.", ", ".join(paths.bodies))
        return kinematic_events(paths.time, paths.heels, paths.toes, paths.pelvis, up=paths.up, source="model")


def _keep_edited(path: Path, table: Sequence[GaitEvent]) -> None:
    """Keep a copy of a table that holds other events than those found: users edit it."""
    from ..storage.atomic import atomic_path
    from ..storage.events_table import read_gait_events

    def known(events: Iterable[GaitEvent]) -> set[tuple[str, str, str]]:
        return {(f"{event.time:.4f}", event.event, event.side) for event in events}

    if not path.is_file():
        return
    with suppress(NEM2EError):
        if known(read_gait_events(path)) == known(table):
            return
    # A third run must not replace what was edited before the second.
    names = (f"{path.stem}_before{'' if number == 1 else f'_{number}'}.csv" for number in count(1))
    kept = next(file for file in map(path.with_name, names) if not file.exists())
    with atomic_path(kept) as temporary:
        shutil.copyfile(path, temporary)
    logger.warning("'%s' held other events, edited by hand or of another trial: they are kept in '%s'.", path, kept)
