"""What the report says of a tool's run: the files it read, and the settings that are not the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..report.estimate_report import RunRecord
    from .tool import Tool, ToolRun


def run_record(tool: Tool[Any], run: ToolRun) -> RunRecord:
    """Collect what the report says of a run.

    Parameters
    ----------
    tool : Tool
        The tool.
    run : ToolRun
        Its run, with what it settled on and has been warned of so far.

    Returns
    -------
    RunRecord
        For :func:`opensim_nem2e.report.estimate_report.write_report`.
    """
    from ..report.estimate_report import RunRecord

    inputs, settings = [], []
    for prop in tool.properties:
        value = run.resolved.get(prop.name, tool.get(prop.name))
        if prop.type == "file":
            path = run.directory / value if prop.name in run.resolved else tool.resolve(prop.name)
            if path is not None:
                inputs.append((prop.name, path))
        elif prop.type != "directory" and value != prop.default:
            settings.append((prop.name, _words(value)))
    return RunRecord(inputs, settings, tuple(run.warnings))


def _words(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(map(_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
