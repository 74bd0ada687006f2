"""The options of amplitude, torque check, redistribution and comparison with EMG, for the tools that offer them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..extras import missing_packages
from ..log import logger
from ..options import FilePath, Options, option

if TYPE_CHECKING:
    from ..estimates.mechanics import MechanicsSettings
    from .tool import Tool

#: The labels of a storage file lie within so many bytes.
_HEAD = 65_536

#: What they may leave behind, after the tool's name.
MECHANICS_RESULTS = (
    *("_gains.csv", "_torques.sto", "_torques.csv", "_consistent_states.sto", "_consistent_activation.sto"),
    *("_consistent_controls.sto", "_tradeoff.csv", "_emg_errors.csv"),
)


# The defaults are measured (benchmarks/amplitude.py, benchmarks/redistribution.py --settings). Reserve: from 30 to 3 Nm
# the torques' error falls about a hundredfold, the distance grows by 3 %. Filter: the others' second derivative falls
# by 50 to 90 %, the distances stay.
@dataclass(frozen=True)
class MechanicsOptions(Options):
    """What is done with the mechanics of a refined trial."""

    amplitude: Literal["auto", "torques", "simulation", "emg"] = option(
        "auto",
        "EMG tells the shape of a muscle's activity, not its strength: where the refined activations get theirs from. "
        "torques: gains of the networks' shapes and activations of the other muscles are sought that make the joint "
        "torques of the motion (needs model_file, runs OpenSim); states and controls are then torque-consistent. "
        "simulation: each muscle's shape is as strong as the simulation and what is typical in gait let expect. emg: "
        "the networks' output, EMG relative to its maximum, is taken for the activation, as in the NEM2E paper. auto: "
        "torques if model_file, a motion and external_loads_file are given, else simulation.",
    )
    check_torques: bool = option(
        False,
        "Compare the joint torques that the motion needs (inverse dynamics) with those of OpenSim's and of the "
        "refined activations, by one method for both (see tendons)? Needs model_file and runs "
        "OpenSim. The muscles' paths are fitted once per model and motion, which takes seconds.",
    )
    redistribute: bool = option(
        False,
        "Also write the activations that make the joint torques that the motion needs, whatever the amplitude of the "
        "others (name_consistent_states.sto, ..._activation.sto, ..._controls.sto)? Includes the torque check and "
        "needs what it needs. With amplitude torques they are those of name_states.sto.",
    )
    gain: Literal["free", "1"] = option(
        "free",
        "For torque-consistent activations: free: each refined muscle's shape has a gain that is sought, so that "
        "torques decide on amplitudes. 1: the refined activations are taken as they are, and those nearest to them are "
        "sought.",
    )
    unrefined_muscle_weight: float = option(
        0.1,
        "For torque-consistent activations: what moving the activations of the muscles without a network costs, where "
        "moving those of the refined muscles, of middling strength, costs 1 (with gain 1: of each muscle, not of all "
        "together). Smaller: refined muscles keep nearer to the networks' output, the others depart further "
        "from OpenSim's.",
        bounds="[1e-06, 1000000]",
    )
    unrefined_muscle_lowpass_frequency: float = option(
        6.0,
        "For torque-consistent activations: low-pass cut-off frequency for OpenSim's activations of muscles without a "
        "network before they are aimed at. CMC's tremble with its windows, and what they tremble the refined muscles "
        "would have to make up for. A negative value results in no filtering.",
        bounds="[-1000, 0) or [0.01, 1000]",
        unit="Hz",
    )
    reserve_optimal_force: float = option(
        3.0,
        "For torque-consistent activations: the reserve torque at a joint that costs as much as a refined activation "
        "moved from 0 to 1. Smaller: the torques are met more exactly.",
        bounds="[1e-06, 1000000]",
        unit="Nm",
    )
    reserve_bound: float = option(
        2.0,
        "For torque-consistent activations: largest reserve torque. Where the muscles are too weak to keep it, it is "
        "exceeded by the least there can be, and the log says where.",
        bounds="[0, Inf]",
        unit="Nm",
    )
    coordinates_file: FilePath = option(
        "",
        "Motion for joint torques: the kinematics that CMC tracked (.mot or .sto). Empty: the "
        "coordinates in states_file, or in the Moco solution.",
    )
    lowpass_cutoff_frequency_for_coordinates: float = option(
        6.0,
        "Low-pass cut-off frequency for filtering the coordinates before joint torques are computed. A negative value "
        "results in no filtering.",
        bounds="[-1000, 0) or [0.01, 1000]",
        unit="Hz",
    )
    torque_coordinates: tuple[str, ...] = option(
        (),
        "Coordinates whose torques are compared and made consistent. Empty: all rotations that muscles turn and the "
        "motion tells.",
    )
    tendons: Literal["auto", "rigid", "elastic"] = option(
        "auto",
        "Tendons of the muscles that make the joint torques. auto: elastic where the simulation had fiber lengths of "
        "its own (CMC), else rigid (static optimisation). rigid: all tendons are. elastic: those are that the model "
        "has so, and ForwardTool stays as near to the motion with the refined controls as with CMC's; takes seconds "
        "more per stride.",
    )
    emg_file: FilePath = option(
        "",
        "Measured EMG envelopes of this trial (.sto, .mot or a table such as .csv), to compare OpenSim's, the refined "
        "and the consistent activations with. They are not used for the refinement unless use_emg says so.",
    )
    emg_channels_file: FilePath = option(
        "",
        "Table (.csv with the columns emg_column and muscles, separated by ';'; that of STDRTrainTool will do) of the "
        "muscles that a channel of emg_file stands for. Empty: the channels have the muscles' names.",
    )
    use_emg: bool = option(
        False,
        "Take the shapes of muscles from emg_file where it has them? Other muscles keep the networks' shapes, half and "
        "half with the EMG of measured muscles of their group (hamstrings, plantarflexors, ...).",
    )
    emg_maxima_file: FilePath = option(
        "",
        "Table (.csv with the columns label and maximum) of the channels' envelopes in maximal voluntary contractions, "
        "in the unit of emg_file: for use_emg, the gains of these muscles are then known.",
    )
    emg_time_offset: float = option(
        0.0,
        "EMG(t + offset) fits activation(t): the time at which emg_file is read is later by this.",
        bounds="[-1000000, 1000000]",
        unit="s",
    )


def mechanics_faults(tool: Tool[Any]) -> list[str]:
    """Check the properties.

    Parameters
    ----------
    tool : Tool
        A tool with :class:`MechanicsOptions`.

    Returns
    -------
    list of str
        What is wrong with them.
    """
    faults = []
    asking = [name for name in ("redistribute", "check_torques") if tool.get(name)]
    if asking or tool.get("amplitude") == "torques":
        which = f"<{asking[0]}>" if asking else "<amplitude> torques"
        if not tool.get("model_file"):
            faults.append(f"{which} needs <model_file>, but it is empty.")
        if not _tells_motion(tool):
            faults.append(f"{which} needs a motion: <coordinates_file> must be given where there is no <states_file>.")
    for name in ("emg_channels_file", "use_emg"):
        if tool.get(name) and not tool.get("emg_file"):
            faults.append(f"<{name}> goes with <emg_file>, but that is empty.")
    if tool.get("emg_maxima_file") and not tool.get("use_emg"):
        faults.append("<emg_maxima_file> goes with <use_emg>, but that is false.")
    return faults


def _tells_motion(tool: Tool[Any]) -> bool:
    """Tell whether one of the files holds the motion; a Moco solution does, beside the activations."""
    if tool.get("coordinates_file") or tool.get("states_file"):
        return True
    solution = tool.resolve("activations_file")
    if solution is None or not solution.is_file():
        return False
    with solution.open("rb") as stream:
        return re.search(rb"/value\s", stream.read(_HEAD)) is not None


def mechanics_settings(tool: Tool[Any]) -> MechanicsSettings:
    """Take the properties' values.

    Parameters
    ----------
    tool : Tool
        A tool with :class:`MechanicsOptions`.

    Returns
    -------
    MechanicsSettings
        What is asked for; files are absolute.
    """
    from ..estimates.mechanics import MechanicsSettings
    from ..estimates.torque_consistent import RedistributionSettings

    needed = {
        "<model_file>": tool.get("model_file"),
        "<coordinates_file> (the motion)": _tells_motion(tool),
        "<external_loads_file>": tool.get("external_loads_file"),
    }
    lacking = [name for name, given in needed.items() if not given]
    known = not lacking
    if known and tool.get("amplitude") == "auto" and missing_packages("opensim"):
        known = False
        logger.warning(
            "OpenSim is not installed, so joint torques cannot decide on amplitudes, and the simulation does: "
            'pip install "opensim-nem2e[opensim]".'
        )
    return MechanicsSettings(
        check_torques=tool.get("check_torques"),
        redistribution=RedistributionSettings(
            tool.get("unrefined_muscle_weight"),
            tool.get("reserve_optimal_force"),
            tool.get("reserve_bound"),
            tool.get("unrefined_muscle_lowpass_frequency"),
            tool.get("crossfade_duration"),
            tool.get("gain") == "free",
        ),
        redistribute=tool.get("redistribute"),
        amplitude=tool.get("amplitude"),
        torques_known=known,
        lacking=tuple(lacking),
        crossfade=tool.get("crossfade_duration"),
        coordinates_file=tool.resolve("coordinates_file"),
        external_loads_file=tool.resolve("external_loads_file"),
        lowpass=tool.get("lowpass_cutoff_frequency_for_coordinates"),
        coordinates=tuple(tool.get("torque_coordinates")),
        tendons=tool.get("tendons"),
    )
