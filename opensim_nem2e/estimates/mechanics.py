"""What STDRRefineTool does with the mechanics of a refined trial: torque check, redistribution, measured EMG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..log import logger
from ..tools.properties import Property

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..storage.atomic import ResultFiles
    from ..storage.osim import OsimModel
    from ..tools.tool import Tool
    from .consistency import EmgError
    from .measured_emg import MeasuredEMG
    from .torque_consistent import Consistent
    from .torques import TorqueCheck
    from .write import NewActivations, Refinement

    Array = NDArray[np.float64]

#: What they may leave behind, after the tool's name.
MECHANICS_RESULTS = (
    *("_torques.sto", "_torques.csv", "_consistent_states.sto", "_consistent_activation.sto"),
    *("_consistent_controls.sto", "_tradeoff.csv", "_emg_errors.csv", "_report.html"),
)

# The defaults of redistribute are measured (benchmarks/redistribution.py --settings, two real trials). Others' weight:
# from 1 to 0.1 the refined muscles come 10 to 20 % nearer to the networks; at 0.01 only 10 to 15 % more, while others
# move twice as far, against each other. Reserve: from 30 to 3 Nm the torques' error falls about a hundredfold, the
# distance grows by 3 %. Filter: the others' second derivative falls by 50 to 90 %, the distances stay.
MECHANICS_PROPERTIES = (
    Property(
        "check_torques",
        "bool",
        False,
        "Compare the joint torques that the motion needs (inverse dynamics) with those of OpenSim's and of the "
        "refined activations, by one method for both (muscles with rigid tendons)? Needs model_file and runs "
        "OpenSim. The muscles' paths are fitted once per model and motion, which takes seconds.",
    ),
    Property(
        "redistribute",
        "bool",
        False,
        "Also find the activations nearest to the refined ones that make the joint torques that the motion needs, and "
        "write them (name_consistent_states.sto, ..._activation.sto, ..._controls.sto) with a report? Includes the "
        "torque check and needs what it needs.",
    ),
    Property(
        "unrefined_muscle_weight",
        "double",
        0.1,
        "For redistribute: what moving the activation of a muscle without a network costs, where that of a refined "
        "muscle costs 1. Smaller: refined muscles keep nearer to the networks' output, the others depart further from "
        "OpenSim's.",
        bounds="(0, Inf)",
    ),
    Property(
        "unrefined_muscle_lowpass_frequency",
        "double",
        6.0,
        "For redistribute: low-pass cut-off frequency for OpenSim's activations of muscles without a network before "
        "they are aimed at. CMC's tremble with its windows, and what they tremble the refined muscles would have to "
        "make up for. A negative value results in no filtering.",
        unit="Hz",
    ),
    Property(
        "reserve_optimal_force",
        "double",
        3.0,
        "For redistribute: the reserve torque at a joint that costs as much as a refined activation moved from 0 to "
        "1. Smaller: the torques are met more exactly.",
        bounds="(0, Inf)",
        unit="Nm",
    ),
    Property(
        "reserve_bound",
        "double",
        2.0,
        "For redistribute: largest reserve torque. Where the muscles are too weak to keep it, it is exceeded by the "
        "least there can be, and the log says where.",
        bounds="[0, Inf]",
        unit="Nm",
    ),
    Property(
        "coordinates_file",
        "file",
        "",
        "Motion for check_torques and redistribute: the kinematics that CMC tracked (.mot or .sto). Empty: the "
        "coordinates in states_file.",
    ),
    Property(
        "lowpass_cutoff_frequency_for_coordinates",
        "double",
        6.0,
        "Low-pass cut-off frequency for filtering the coordinates in check_torques and redistribute. A negative value "
        "results in no filtering.",
        unit="Hz",
    ),
    Property(
        "torque_coordinates",
        "strings",
        (),
        "Coordinates whose torques check_torques compares and redistribute makes consistent. Empty: all rotations "
        "that muscles turn and the motion tells.",
    ),
    Property(
        "emg_file",
        "file",
        "",
        "Measured EMG envelopes of this trial (.sto or .mot), to compare OpenSim's, the refined and the consistent "
        "activations with. They are not used for the refinement.",
    ),
    Property(
        "emg_channels_file",
        "file",
        "",
        "Table of EMG channels (.csv, as for STDRTrainTool) that says which muscles a channel of emg_file stands for. "
        "Empty: the channels have the muscles' names.",
    ),
    Property(
        "emg_time_offset",
        "double",
        0.0,
        "EMG(t + offset) fits activation(t): the time at which emg_file is read is later by this.",
        unit="s",
    ),
)


def mechanics_faults(tool: Tool) -> list[str]:
    """Check the properties.

    Parameters
    ----------
    tool : Tool
        A tool with :data:`MECHANICS_PROPERTIES`.

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


@dataclass(frozen=True)
class Mechanics:
    """What was found out about a refined trial.

    Parameters
    ----------
    refinement : Refinement
        The refined trial.
    check : TorqueCheck or None
        Torques, if asked for.
    consistent : Consistent or None
        Activations consistent with them, if asked for.
    emg : MeasuredEMG or None
        Measured EMG, if given.
    emg_errors : sequence of EmgError
        How far activations are from it.
    """

    refinement: Refinement
    check: TorqueCheck | None
    consistent: Consistent | None
    emg: MeasuredEMG | None
    emg_errors: Sequence[EmgError]

    def write(self, files: ResultFiles, figure_format: str, precision: int) -> None:
        """Write all of it, and say it in the log.

        Parameters
        ----------
        files : ResultFiles
            Where to.
        figure_format : {'png', 'svg'}
            Format of the figures.
        precision : int
            Decimals.
        """
        from ..storage.tables import write_rows
        from .consistency import EmgError, TradeOff, emg_table

        name = self.refinement.name
        check = self.check
        if self.consistent is not None:
            reached = self.refinement.write_activations(files, self.consistent.new, "consistent_")
            check = self.consistent.led(self.refinement, reached)
            write_rows(files.path(f"{name}_tradeoff.csv"), TradeOff, self.consistent.curve)
        if check is not None:
            check.write(files, name, figure_format, precision)
        if self.emg_errors:
            write_rows(files.path(f"{name}_emg_errors.csv"), EmgError, self.emg_errors)
            logger.info("Errors against measured EMG (each channel divided by its maximum over the cycles):")
            for line in emg_table(self.emg_errors):
                logger.info("%s", line)
        if self.consistent is not None:
            from ..report.redistribution_files import write_consistency_report

            assert check is not None
            write_consistency_report(files, self, check, figure_format)


def examine_mechanics(tool: Tool, refinement: Refinement, model: OsimModel | None) -> Mechanics:
    """Check the torques of a refined trial, redistribute its activations and compare them with EMG, as asked.

    Parameters
    ----------
    tool : Tool
        A tool with :data:`MECHANICS_PROPERTIES`.
    refinement : Refinement
        The refined trial.
    model : OsimModel or None
        Its model; :func:`mechanics_faults` has seen to it that there is one where it is needed.

    Returns
    -------
    Mechanics
        What was found.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A file cannot be used, or OpenSim failed.
    """
    emg_file = tool.resolve("emg_file")
    emg = None
    if emg_file is not None:
        from .measured_emg import read_measured_emg

        channels, offset = tool.resolve("emg_channels_file"), tool.get("emg_time_offset")
        emg = read_measured_emg(emg_file, channels, offset, refinement.trial.activations)
    check: TorqueCheck | None = None
    consistent: Consistent | None = None
    if tool.get("check_torques") or tool.get("redistribute"):
        from .torques import check_torques, joint_terms

        assert model is not None
        terms = joint_terms(
            refinement.trial,
            model,
            tool.resolve("coordinates_file"),
            tool.resolve("external_loads_file"),
            tool.get("lowpass_cutoff_frequency_for_coordinates"),
            tool.get("torque_coordinates"),
        )
        if tool.get("redistribute"):
            from .torque_consistent import RedistributionSettings, make_consistent

            if tool.get("torque_coordinates"):
                logger.warning(
                    "<torque_coordinates>: only the torques of these are made consistent. Their muscles may turn other "
                    "joints, whose torques then change, too."
                )
            settings = RedistributionSettings(
                tool.get("unrefined_muscle_weight"),
                tool.get("reserve_optimal_force"),
                tool.get("reserve_bound"),
                tool.get("unrefined_muscle_lowpass_frequency"),
                tool.get("crossfade_duration"),
            )
            consistent = make_consistent(refinement, terms, settings, emg)
            check = consistent.check
        else:
            check = check_torques(refinement, terms)
    errors = [] if emg is None else _compare(emg, refinement, consistent)
    return Mechanics(refinement, check, consistent, emg, errors)


def _compare(emg: MeasuredEMG, refinement: Refinement, consistent: Consistent | None) -> list[EmgError]:
    """Compare all activations with the EMG, in the cycles in which something was changed."""
    trial, new = refinement.trial, refinement.new
    cycles = dict(new.cycles)
    # What a result does not change it holds as OpenSim gave it.
    curves = {"opensim": trial.activations, "refined": {**trial.activations, **_plain(new)}}
    if consistent is not None:
        cycles = {**consistent.new.cycles, **cycles}
        curves["consistent"] = {**trial.activations, **_plain(consistent.new)}
    left = [name for name in emg.channels if not cycles.get(name)]
    if left:
        logger.info("Not compared with EMG, as nothing refined them: %s.", ", ".join(left))
    return emg.errors({kind: (trial.time, values) for kind, values in curves.items()}, cycles, float("inf"))


def _plain(new: NewActivations) -> dict[str, Array]:
    return {name: values.data for name, values in new.values.items()}
