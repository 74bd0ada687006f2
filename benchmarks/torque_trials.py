"""Trials whose joint torques are known, as a user would set them up: what several benchmarks share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recordings import DATA

from opensim_nem2e.musculoskeletal.dynamics import Motion, analyse_motion
from opensim_nem2e.storage import read_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"
PIPELINES, CEINMS, WALK3D = (DATA / name for name in ("opensim_pipelines", "ceinms_lower_limb", "walk_3d_example"))


def set_up(**values: Any) -> STDRRefineTool:
    """Make a tool with the given properties; paths may be paths."""
    return STDRRefineTool(**{name: str(value) if isinstance(value, Path) else value for name, value in values.items()})


def example() -> STDRRefineTool:
    """Set the shipped example up."""
    return set_up(
        model_file=EXAMPLE / "walker.osim",
        states_file=EXAMPLE / "cmc" / "walking_states.sto",
        external_loads_file=EXAMPLE / "external_loads.xml",
        coordinates_file=EXAMPLE / "walking_coordinates.mot",
        lowpass_cutoff_frequency_for_coordinates=-1.0,
    )


def walk_3d() -> STDRRefineTool:
    """Set walk_3d_example up: one cycle from right mid-stance to right mid-stance."""
    return set_up(
        model_file=WALK3D / "subject_walk_scaled.osim",
        states_file=WALK3D / "activations_cmc" / "walk_stride01_states.sto",
        external_loads_file=WALK3D / "grf_walk.xml",
        coordinates_file=WALK3D / "coordinates.sto",
        cycle_source="whole_file",
        whole_file_heel_strike=1.4112,
        emg_file=WALK3D / "electromyography.sto",
        emg_channels_file=DATA / "emg_channels.csv",
        emg_time_offset=-0.035,
    )


def ceinms(stride: str) -> Callable[[], STDRRefineTool]:
    """Return what sets a stride of ceinms_lower_limb, walking at 1.25 m/s, up."""

    def make() -> STDRRefineTool:
        return set_up(
            model_file=CEINMS / "gait2392_58kg_strength2.osim",
            states_file=CEINMS / "activations_cmc" / f"walk45_{stride}_states.sto",
            external_loads_file=CEINMS / "walk45_external_loads.xml",
            coordinates_file=CEINMS / "walk45_ik.mot",
            roll_incomplete_cycles=True,
            emg_file=CEINMS / "walk45_emg.sto",
            emg_channels_file=DATA / "emg_channels.csv",
            emg_time_offset=-0.13,
        )

    return make


def gait10() -> STDRRefineTool:
    """Set Gait10dof18musc up."""
    walk = PIPELINES / "Gait10dof18musc"
    return set_up(
        model_file=walk / "subject01.osim",
        states_file=PIPELINES / "reference_cmc" / "gait10dof18musc_walk_states.sto",
        external_loads_file=walk / "ExperimentalData" / "subject01_walk_grf.xml",
        coordinates_file=walk / "OutputReference" / "RRA" / "subject_adjusted_Kinematics_q.sto",
        roll_incomplete_cycles=True,
    )


TRIALS = {
    "example": example,
    "gait10dof18musc": gait10,
    "walk_3d_example": walk_3d,
    "ceinms_walk45_stride02": ceinms("stride02"),
    "ceinms_walk45_stride08": ceinms("stride08"),
}


def motion_of(tool: STDRRefineTool, start: float, end: float) -> Motion:
    """Analyse a trial's motion."""
    model, kinematics = tool.resolve("model_file"), tool.resolve("coordinates_file")
    return analyse_motion(
        model,
        read_storage(kinematics, model=model),
        tool.resolve("external_loads_file"),
        lowpass=tool.lowpass_cutoff_frequency_for_coordinates,
        start=start,
        end=end,
    )
