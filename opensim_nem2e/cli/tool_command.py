"""A command for each tool, which runs it without a setup file."""

from __future__ import annotations

import argparse

from ..tools.tool_registry import ToolEntry, tool_class
from .assignment import add_flags, add_set_option, assign, flags_in_messages, input_word
from .reporting import report
from .run_command import spare_threads

_EXAMPLES = {
    "refine": (
        "refine cmc/walk1_states.sto --model subject01.osim --external-loads walk1_grf.xml --out refined",
        "refine cmc/walk1_states.sto --cycle-source whole_file --muscles soleus gasmed --set output_precision=12",
    ),
    "train": (
        "train trials.csv emg_channels.csv --name my_gait --validate leave_one_subject_out",
        "train trials.csv emg_channels.csv --set STDRNet.hidden_units=64",
    ),
    "cross-validate": ("cross-validate trials.csv emg_channels.csv --conditions One-Entire --out study",),
    "gait-events": (
        "gait-events --external-loads walk1_grf.xml --out events",
        "gait-events --markers walk1.trc --heel-markers R.Heel L.Heel",
    ),
    "emg-envelope": ("emg-envelope recordings/*.c3d --channels channels.csv --out envelopes",),
    "kinematics-to-activation": (
        "kinematics-to-activation walk1_ik.mot --model subject01.osim --external-loads walk1_grf.xml --out activations",
        "kinematics-to-activation walk1_ik.mot --model subject01.osim --mode kinematics --bundle kinematics",
    ),
    "kinematics-train": ("kinematics-train strides.csv --motions walk --name my_moments",),
    "mjca-study": ("mjca-study strides.csv --variants pi supervised --out study",),
    "nmm": (
        "nmm --model subject01.osim --coordinates-files walk1_ik.mot --external-loads-files walk1_grf.xml"
        " --emg-files walk1_emg.sto --emg-channels emg_channels.csv --out excitations",
    ),
    "pipeline": ("pipeline setup_scale.xml setup_ik.xml setup_cmc.xml --refine-setup setup_refine.xml",),
}


class ToolCommand:
    """The command of one tool.

    Parameters
    ----------
    entry : ToolEntry
        The tool.
    """

    ALIASES = ()

    def __init__(self, entry: ToolEntry):
        self.NAME = entry.verb
        self.entry = entry
        examples = _EXAMPLES.get(entry.verb, (f"{entry.verb} --out results",))
        self.__doc__ = (
            f"{entry.summary}\n\n"
            f"Runs {entry.name} without a setup file; every property has a flag.\n"
            f"'opensim-nem2e info {entry.name}' says all about them.\n"
            "The setup that was run is written beside the results, to be run again.\n"
            "\nExamples:\n" + "\n".join(f"  opensim-nem2e {example}" for example in examples)
        )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare a flag for each property.

        Parameters
        ----------
        parser : argparse.ArgumentParser
            The command's own parser.
        """
        tool = tool_class(self.entry.name)
        inputs = "".join(f" [{input_word(name)}]" for name in tool.main_inputs)
        parser.usage = f"opensim-nem2e {self.NAME}{inputs} [--PROPERTY VALUE ...] [--set NAME=VALUE ...]"
        add_flags(parser, tool)
        add_set_option(parser)

    def execute(self, options: argparse.Namespace) -> int:
        """Run the tool.

        Parameters
        ----------
        options : argparse.Namespace
            The parsed command line.

        Returns
        -------
        int
            0, or 1 if it failed.
        """
        spare_threads()
        tool = tool_class(self.entry.name)()
        with flags_in_messages(type(tool)):
            try:
                assign(tool, options)
                tool.run()
            except BrokenPipeError:
                raise
            except Exception as error:
                report(error)
                return 1
        return 0
