"""The tools by name, without importing them.

``info`` and "did you mean" need the names and one-line summaries only; a tool's module is imported when the tool
itself is asked for.
"""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SetupError, did_you_mean
from .properties import read_document

if TYPE_CHECKING:
    from .tool import Tool

#: Tools that a setup file of OpenSim itself may hold: worth a better answer than "unknown".
OPENSIM_TOOLS = frozenset(
    {
        "AnalyzeTool",
        "CMCTool",
        "ForwardTool",
        "InverseDynamicsTool",
        "InverseKinematicsTool",
        "MocoInverse",
        "MocoStudy",
        "MocoTrack",
        "RRATool",
        "ScaleTool",
    }
)


@dataclass(frozen=True)
class ToolEntry:
    """Where a tool is defined and what it does.

    Parameters
    ----------
    name : str
        The class name, which is also the element's name in a setup file.
    module : str
        The module that defines it.
    summary : str
        One line for ``opensim-nem2e info``.
    """

    name: str
    module: str
    summary: str

    @property
    def verb(self) -> str:
        """The command that runs it without a setup file: ``refine`` for STDRRefineTool."""
        own = re.sub("^(STDR|NEM2E)|Tool$", "", self.name)
        return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", own).lower()


_TOOLS: dict[str, ToolEntry] = {}


def register(name: str, module: str, summary: str) -> None:
    """Make a tool known to the command line and to setup files.

    Parameters
    ----------
    name : str
        The class name.
    module : str
        The module that defines it, imported on first use.
    summary : str
        One line on what the tool does.
    """
    _TOOLS[name] = ToolEntry(name, module, summary)


register(
    "EMGEnvelopeTool",
    "opensim_nem2e.tools.emg_envelope",
    "Turn recordings of EMG (.sto, .mot, .csv, .c3d) into normalised envelopes.",
)
register(
    "STDRCrossValidateTool",
    "opensim_nem2e.tools.stdr_cross_validate",
    "Find out by cross-validation whether STDR-Net beats OpenSim and cheap baselines on subjects it has not seen.",
)
register(
    "GaitEventsTool",
    "opensim_nem2e.tools.gait_events",
    "Find heel strikes and toe-offs in ground reactions, marker paths or a model's motion, and write them as a table.",
)
register(
    "KinematicsToActivationTool",
    "opensim_nem2e.tools.kinematics_to_activation",
    "Find muscle activations and forces from a motion: static optimisation of all frames at once.",
)
register(
    "KinematicsTrainTool",
    "opensim_nem2e.tools.kinematics_train",
    "Train a network that estimates joint moments from kinematics, on inverse dynamics alone.",
)
register(
    "MJCAStudyTool",
    "opensim_nem2e.tools.mjca_study_tool",
    "Repeat the study of the PI-MJCA-BiGRU paper: networks, ablations, tables and figures from one manifest.",
)
register(
    "NEM2EPipelineTool",
    "opensim_nem2e.tools.nem2e_pipeline",
    "Run setup files from Scale and IK over CMC to the refinement, for one trial or a whole study.",
)
register(
    "NMMTool",
    "opensim_nem2e.tools.nmm_tool",
    "Estimate the excitations of all muscles, deep ones included, from a few EMG channels and mechanics.",
)
register(
    "STDRRefineTool",
    "opensim_nem2e.tools.stdr_refine",
    "Refine the muscle activations of a CMC, StaticOptimization or Moco result with an EMG-trained network.",
)
register(
    "STDRTrainTool",
    "opensim_nem2e.tools.stdr_train",
    "Train STDR-Net on simulated activations and measured EMG, and write a network file.",
)


def tools() -> tuple[ToolEntry, ...]:
    """Return every known tool, in alphabetical order.

    Returns
    -------
    tuple of ToolEntry
        Names, modules and summaries; nothing is imported.
    """
    return tuple(_TOOLS[name] for name in sorted(_TOOLS))


def unknown_tool(name: str) -> str:
    """Say that a tool is not known, and which ones are.

    Parameters
    ----------
    name : str
        What was found.

    Returns
    -------
    str
        The message.
    """
    known = ", ".join(entry.name for entry in tools())
    if name in OPENSIM_TOOLS:
        hint = " It is one of OpenSim's own tools: run it with opensim-cmd or OpenSim's Python package."
    else:
        hint = did_you_mean(name, _TOOLS)
    return f"The tool must be one of {known}, but '{name}' was found.{hint}"


def tool_class(name: str) -> type[Tool[Any]]:
    """Import a tool.

    Parameters
    ----------
    name : str
        The class name.

    Returns
    -------
    type
        The subclass of :class:`opensim_nem2e.tools.tool.Tool`.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        There is no such tool.
    """
    if name not in _TOOLS:
        raise SetupError(unknown_tool(name))
    found: type[Tool[Any]] = getattr(importlib.import_module(_TOOLS[name].module), name)
    return found


def load_tool(setup_file: str | os.PathLike[str]) -> Tool[Any]:
    """Make the tool that a setup file describes.

    Parameters
    ----------
    setup_file : str or os.PathLike
        The setup file.

    Returns
    -------
    Tool
        An instance of the right subclass, ready to run.

    Raises
    ------
    opensim_nem2e.errors.SetupError
        The file's faults, all of them.
    opensim_nem2e.errors.MissingFileError
        There is no such file.
    """
    document = read_document(setup_file)
    if document.tool is None:
        raise SetupError(document.faults, document.path)
    name = str(document.tool.tag)
    if name not in _TOOLS:
        fault = f"line {document.tool.sourceline}: {unknown_tool(name)}"
        raise SetupError([*document.faults, fault], document.path)
    tool = tool_class(name)()
    tool._read(document)
    return tool
