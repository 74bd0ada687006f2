"""Trials whose joint torques are known, as a user would set them up: what several benchmarks share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recordings import DATA

from opensim_nem2e.musculoskeletal.dynamics import Motion, analyse_motion
from opensim_nem2e.storage import read_storage
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "01_refine_walking"
PIPELINES, CEINMS, WALK3D = (DATA / name for name in ("opensim_pipelines", "ceinms_lower_limb", "walk_3d_example"))


def example() -> STDRRefineTool:
    """Set the shipped example up."""
    tool = STDRRefineTool()
    tool.setModelFilename(EXAMPLE / "walker.osim")
    tool.setStatesFileName(EXAMPLE / "cmc" / "walking_states.sto")
    tool.setExternalLoadsFileName(EXAMPLE / "external_loads.xml")
    tool.coordinates_file = str(EXAMPLE / "walking_coordinates.mot")
    tool.lowpass_cutoff_frequency_for_coordinates = -1.0
    return tool


def walk_3d() -> STDRRefineTool:
    """Set walk_3d_example up: one cycle from right mid-stance to right mid-stance."""
    tool = STDRRefineTool()
    tool.setModelFilename(WALK3D / "subject_walk_scaled.osim")
    tool.setStatesFileName(WALK3D / "activations_cmc" / "walk_stride01_states.sto")
    tool.setExternalLoadsFileName(WALK3D / "grf_walk.xml")
    tool.coordinates_file = str(WALK3D / "coordinates.sto")
    tool.cycle_source = "whole_file"
    tool.whole_file_heel_strike = 1.4112
    tool.emg_file = str(WALK3D / "electromyography.sto")
    tool.emg_channels_file = str(DATA / "emg_channels.csv")
    tool.emg_time_offset = -0.035
    return tool


def ceinms(stride: str) -> Callable[[], STDRRefineTool]:
    """Return what sets a stride of ceinms_lower_limb, walking at 1.25 m/s, up."""

    def make() -> STDRRefineTool:
        tool = STDRRefineTool()
        tool.setModelFilename(CEINMS / "gait2392_58kg_strength2.osim")
        tool.setStatesFileName(CEINMS / "activations_cmc" / f"walk45_{stride}_states.sto")
        tool.setExternalLoadsFileName(CEINMS / "walk45_external_loads.xml")
        tool.coordinates_file = str(CEINMS / "walk45_ik.mot")
        tool.roll_incomplete_cycles = True
        tool.emg_file = str(CEINMS / "walk45_emg.sto")
        tool.emg_channels_file = str(DATA / "emg_channels.csv")
        tool.emg_time_offset = -0.13
        return tool

    return make


def gait10() -> STDRRefineTool:
    """Set Gait10dof18musc up."""
    walk = PIPELINES / "Gait10dof18musc"
    tool = STDRRefineTool()
    tool.setModelFilename(walk / "subject01.osim")
    tool.setStatesFileName(PIPELINES / "reference_cmc" / "gait10dof18musc_walk_states.sto")
    tool.setExternalLoadsFileName(walk / "ExperimentalData" / "subject01_walk_grf.xml")
    tool.coordinates_file = str(walk / "OutputReference" / "RRA" / "subject_adjusted_Kinematics_q.sto")
    tool.roll_incomplete_cycles = True
    return tool


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
