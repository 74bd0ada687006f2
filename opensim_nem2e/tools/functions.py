"""The tools as functions: what is needed goes in as keywords, and what came of it is returned."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Unpack, cast

from ..errors import SetupError

if TYPE_CHECKING:
    from .accessors import STDRCrossValidateToolKeywords, STDRRefineToolKeywords, STDRTrainToolKeywords
    from .results import RefineResult, StudyResult, TrainResult
    from .tool import Tool

    StrPath = str | os.PathLike[str]
    #: opensim.Model, opensim.TimeSeriesTable: OpenSim's package has no types.
    OpenSimModel: TypeAlias = Any
    OpenSimTable: TypeAlias = Any
    T = TypeVar("T", bound=Tool[Any])

#: By tool: the options that its function takes as arguments of its own, under shorter names.
FUNCTION_ARGUMENTS: dict[str, dict[str, str]] = {
    "STDRRefineTool": {
        "states_file": "states",
        "model_file": "model",
        "external_loads_file": "external_loads",
        "controls_file": "controls",
        "activations_file": "activations",
        "emg_file": "emg",
        "bundle_file": "bundle",
        "muscles": "muscles",
        "results_directory": "out",
    },
    "STDRTrainTool": {
        "trials_file": "manifest",
        "emg_channels_file": "emg_channels",
        "muscles": "muscles",
        "results_directory": "out",
    },
}
FUNCTION_ARGUMENTS["STDRCrossValidateTool"] = FUNCTION_ARGUMENTS["STDRTrainTool"]


def refine(
    states: StrPath | OpenSimTable | None = None,
    *,
    model: StrPath | OpenSimModel | None = None,
    external_loads: StrPath | None = None,
    controls: StrPath | OpenSimTable | None = None,
    activations: StrPath | OpenSimTable | None = None,
    emg: StrPath | OpenSimTable | None = None,
    bundle: StrPath = "gait",
    muscles: str | Iterable[str] = (),
    out: StrPath = ".",
    name: str | None = None,
    **options: Unpack[STDRRefineToolKeywords],
) -> RefineResult:
    """Refine the muscle activations of a simulation: :class:`~opensim_nem2e.STDRRefineTool` as a function.

    Parameters
    ----------
    states : path or opensim.TimeSeriesTable, optional
        States (``_states.sto``) of CMC. This, ``controls`` or ``activations`` must be given.
    model : path or opensim.Model, optional
        The model: it supplies the muscles' names, bounds and time constants. A model object is taken as it is now.
    external_loads : path, optional
        ExternalLoads (``.xml``), in whose ground reactions the gait cycles are found. Without it, say by
        ``events_file``, ``right_heel_strikes`` or ``cycle_source`` where the cycles are.
    controls : path or opensim.TimeSeriesTable, optional
        Controls of CMC; found by themselves if they lie beside the states.
    activations : path or opensim.TimeSeriesTable, optional
        Activations of StaticOptimization, or a Moco solution.
    emg : path or opensim.TimeSeriesTable, optional
        Measured EMG envelopes of the trial, to compare with.
    bundle : path
        A network bundle, or the name of one that ships with the package.
    muscles : sequence of str
        Muscles to refine; empty: all for which the bundle has a network.
    out : path
        The results directory.
    name : str, optional
        What the results' names begin with; by default the states' name and ``_refined``.
    **options : object
        Any other property of the tool: ``opensim-nem2e info STDRRefineTool`` lists them.

    Returns
    -------
    RefineResult
        Activations, EMG, cycles and torques as tables of pandas, the files, figures and the report.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        What went wrong, in words for the user.

    Examples
    --------
    >>> result = refine("cmc/walk1_states.sto", model="subject01.osim", external_loads="grf.xml")  # doctest: +SKIP
    >>> result.activations["soleus_r"].max()  # doctest: +SKIP
    >>> result.plot("soleus_r")  # doctest: +SKIP
    """
    from .stdr_refine import STDRRefineTool

    given = {
        "states": states,
        "model": model,
        "external_loads": external_loads,
        "controls": controls,
        "activations": activations,
        "emg": emg,
        "bundle": bundle,
        "muscles": muscles,
        "out": out,
    }
    tool = _filled(STDRRefineTool, name, given, options)
    _run(tool)
    return tool.result


def train(
    manifest: StrPath,
    emg_channels: StrPath,
    *,
    muscles: str | Iterable[str] = (),
    out: StrPath = ".",
    name: str | None = None,
    **options: Unpack[STDRTrainToolKeywords],
) -> TrainResult:
    """Train networks on simulated activations and measured EMG: :class:`~opensim_nem2e.STDRTrainTool` as a function.

    Parameters
    ----------
    manifest : path
        The manifest of the gait cycles (``trials.csv``).
    emg_channels : path
        The table of the EMG channels (``emg_channels.csv``).
    muscles : sequence of str
        Standard names of the muscles; empty: all that have EMG.
    out : path
        The results directory.
    name : str, optional
        The bundle's name, ``network`` by default.
    **options : object
        Any other property of the tool; those of a method as ``hidden_units=64`` or by ``STDRTrainTool.set_group``.

    Returns
    -------
    TrainResult
        The bundle, its validation and the training's history.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        What went wrong, in words for the user.
    """
    from .stdr_train import STDRTrainTool

    given = {"manifest": manifest, "emg_channels": emg_channels, "muscles": muscles, "out": out}
    tool = _filled(STDRTrainTool, name, given, options)
    _run(tool)
    return tool.result


def cross_validate(
    manifest: StrPath,
    emg_channels: StrPath,
    *,
    muscles: str | Iterable[str] = (),
    out: StrPath = ".",
    name: str | None = None,
    **options: Unpack[STDRCrossValidateToolKeywords],
) -> StudyResult:
    """Find out whether networks help on subjects they have not seen: STDRCrossValidateTool as a function.

    Parameters
    ----------
    manifest : path
        The manifest of the gait cycles (``trials.csv``).
    emg_channels : path
        The table of the EMG channels (``emg_channels.csv``).
    muscles : sequence of str
        Standard names of the muscles; empty: all that have EMG.
    out : path
        The results directory.
    name : str, optional
        What the results' names begin with, ``study`` by default.
    **options : object
        Any other property of the tool: ``opensim-nem2e info STDRCrossValidateTool`` lists them.

    Returns
    -------
    StudyResult
        The tables, the verdicts in words and the report.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        What went wrong, in words for the user.
    """
    from .stdr_cross_validate import STDRCrossValidateTool

    given = {"manifest": manifest, "emg_channels": emg_channels, "muscles": muscles, "out": out}
    tool = _filled(STDRCrossValidateTool, name, given, options)
    _run(tool)
    return tool.result


def _run(tool: Tool[Any]) -> None:
    """Run a tool; messages call its properties what the function calls its arguments."""
    from ..log import properties_called
    from ..options import layout_of

    words = {name: name for name in layout_of(tool.declaration).table}
    with properties_called({**words, **FUNCTION_ARGUMENTS[tool.tool_name], tool.tool_name: "name"}):
        tool.run()


def _filled(kind: type[T], name: str | None, given: dict[str, Any], options: Any) -> T:
    """Make a tool with a function's arguments; all that is wrong with them is told at once."""
    tool = kind()
    faults: list[str] = []
    long = {short: option for option, short in FUNCTION_ARGUMENTS[kind.tool_name].items()}
    values = {long[short]: value for short, value in given.items() if value is not None}
    for option, value in {**values, **cast(dict[str, Any], options)}.items():
        try:
            tool.set(option, value)
        except SetupError as error:
            faults += error.faults
    if name is not None:
        try:
            tool.name = name
        except SetupError as error:
            faults += error.faults
    if faults:
        raise SetupError(faults)
    return tool
