"""The options of torque check, redistribution and comparison with EMG, for the tools that offer them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..options import FilePath, Options, option

if TYPE_CHECKING:
    from ..estimates.mechanics import MechanicsSettings
    from .tool import Tool

#: What they may leave behind, after the tool's name.
MECHANICS_RESULTS = (
    *("_torques.sto", "_torques.csv", "_consistent_states.sto", "_consistent_activation.sto"),
    *("_consistent_controls.sto", "_tradeoff.csv", "_emg_errors.csv"),
)


# The defaults of redistribute are measured (benchmarks/redistribution.py --settings, two real trials). Others' weight:
# from 1 to 0.1 the refined muscles come 10 to 20 % nearer to the networks; at 0.01 only 10 to 15 % more, while others
# move twice as far, against each other. Reserve: from 30 to 3 Nm the torques' error falls about a hundredfold, the
# distance grows by 3 %. Filter: the others' second derivative falls by 50 to 90 %, the distances stay.
@dataclass(frozen=True)
class MechanicsOptions(Options):
    """What is done with the mechanics of a refined trial."""

    check_torques: bool = option(
        False,
        "Compare the joint torques that the motion needs (inverse dynamics) with those of OpenSim's and of the "
        "refined activations, by one method for both (muscles with rigid tendons)? Needs model_file and runs "
        "OpenSim. The muscles' paths are fitted once per model and motion, which takes seconds.",
    )
    redistribute: bool = option(
        False,
        "Also find the activations nearest to the refined ones that make the joint torques that the motion needs, and "
        "write them (name_consistent_states.sto, ..._activation.sto, ..._controls.sto)? Includes the "
        "torque check and needs what it needs.",
    )
    unrefined_muscle_weight: float = option(
        0.1,
        "For redistribute: what moving the activation of a muscle without a network costs, where that of a refined "
        "muscle costs 1. Smaller: refined muscles keep nearer to the networks' output, the others depart further from "
        "OpenSim's.",
        bounds="(0, Inf)",
    )
    unrefined_muscle_lowpass_frequency: float = option(
        6.0,
        "For redistribute: low-pass cut-off frequency for OpenSim's activations of muscles without a network before "
        "they are aimed at. CMC's tremble with its windows, and what they tremble the refined muscles would have to "
        "make up for. A negative value results in no filtering.",
        unit="Hz",
    )
    reserve_optimal_force: float = option(
        3.0,
        "For redistribute: the reserve torque at a joint that costs as much as a refined activation moved from 0 to "
        "1. Smaller: the torques are met more exactly.",
        bounds="(0, Inf)",
        unit="Nm",
    )
    reserve_bound: float = option(
        2.0,
        "For redistribute: largest reserve torque. Where the muscles are too weak to keep it, it is exceeded by the "
        "least there can be, and the log says where.",
        bounds="[0, Inf]",
        unit="Nm",
    )
    coordinates_file: FilePath = option(
        "",
        "Motion for check_torques and redistribute: the kinematics that CMC tracked (.mot or .sto). Empty: the "
        "coordinates in states_file.",
    )
    lowpass_cutoff_frequency_for_coordinates: float = option(
        6.0,
        "Low-pass cut-off frequency for filtering the coordinates in check_torques and redistribute. A negative value "
        "results in no filtering.",
        unit="Hz",
    )
    torque_coordinates: tuple[str, ...] = option(
        (),
        "Coordinates whose torques check_torques compares and redistribute makes consistent. Empty: all rotations "
        "that muscles turn and the motion tells.",
    )
    emg_file: FilePath = option(
        "",
        "Measured EMG envelopes of this trial (.sto, .mot or a table such as .csv), to compare OpenSim's, the refined "
        "and the consistent activations with. They are not used for the refinement.",
    )
    emg_channels_file: FilePath = option(
        "",
        "Table of EMG channels (.csv, as for STDRTrainTool) that says which muscles a channel of emg_file stands for. "
        "Empty: the channels have the muscles' names.",
    )
    emg_time_offset: float = option(
        0.0, "EMG(t + offset) fits activation(t): the time at which emg_file is read is later by this.", unit="s"
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
    if tool.get("check_torques") or tool.get("redistribute"):
        which = "<redistribute>" if tool.get("redistribute") else "<check_torques>"
        if not tool.get("model_file"):
            faults.append(f"{which} needs <model_file>, but it is empty.")
        if not (tool.get("coordinates_file") or tool.get("states_file")):
            faults.append(f"{which} needs a motion: <coordinates_file> must be given where there is no <states_file>.")
    if tool.get("emg_channels_file") and not tool.get("emg_file"):
        faults.append("<emg_channels_file> goes with <emg_file>, but that is empty.")
    return faults


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

    redistribution = None
    if tool.get("redistribute"):
        redistribution = RedistributionSettings(
            tool.get("unrefined_muscle_weight"),
            tool.get("reserve_optimal_force"),
            tool.get("reserve_bound"),
            tool.get("unrefined_muscle_lowpass_frequency"),
            tool.get("crossfade_duration"),
        )
    return MechanicsSettings(
        check_torques=tool.get("check_torques"),
        redistribution=redistribution,
        coordinates_file=tool.resolve("coordinates_file"),
        external_loads_file=tool.resolve("external_loads_file"),
        lowpass=tool.get("lowpass_cutoff_frequency_for_coordinates"),
        coordinates=tuple(tool.get("torque_coordinates")),
        emg_file=tool.resolve("emg_file"),
        emg_channels_file=tool.resolve("emg_channels_file"),
        emg_time_offset=tool.get("emg_time_offset"),
    )
