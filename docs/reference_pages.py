"""Write the reference pages: the tools' properties, from the program's own declarations, and the API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from opensim_nem2e.cli.info_command import properties_of
from opensim_nem2e.options import Element
from opensim_nem2e.tools.tool_registry import tool_class, tools

if TYPE_CHECKING:
    from sphinx.application import Sphinx


#: What scripts and other packages build on; a module's own first line says what it is.
MODULES = (
    "opensim_nem2e.storage.sto",
    "opensim_nem2e.storage.osim",
    "opensim_nem2e.storage.emg_files",
    "opensim_nem2e.storage.external_loads",
    "opensim_nem2e.storage.muscles",
    "opensim_nem2e.signals.emg",
    "opensim_nem2e.signals.events",
    "opensim_nem2e.signals.cycles",
    "opensim_nem2e.signals.compare",
    "opensim_nem2e.data.manifest",
    "opensim_nem2e.data.samples",
    "opensim_nem2e.data.gait_cycles",
    "opensim_nem2e.data.sliding_windows",
    "opensim_nem2e.data.simulation",
    "opensim_nem2e.musculoskeletal.hill",
    "opensim_nem2e.musculoskeletal.activation",
    "opensim_nem2e.musculoskeletal.paths",
    "opensim_nem2e.musculoskeletal.torque_model",
    "opensim_nem2e.musculoskeletal.redistribution",
    "opensim_nem2e.methods.base",
    "opensim_nem2e.methods.registry",
    "opensim_nem2e.methods.bundle",
    "opensim_nem2e.methods.baselines",
    "opensim_nem2e.training.trainer",
    "opensim_nem2e.training.trainable",
    "opensim_nem2e.estimates.estimate",
    "opensim_nem2e.estimates.apply",
    "opensim_nem2e.estimates.torques",
    "opensim_nem2e.evaluation.cross_validate",
    "opensim_nem2e.evaluation.statistics",
    "opensim_nem2e.evaluation.study",
    "opensim_nem2e.errors",
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Have the pages written before anything is read."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "reference"))
    return {"parallel_read_safe": True}


def write_pages(folder: Path) -> None:
    """Write a page per tool and per module, and their indexes; leave pages alone that have not changed."""
    tool_pages, module_pages = folder / "tools", folder / "api"
    tool_pages.mkdir(parents=True, exist_ok=True)
    module_pages.mkdir(parents=True, exist_ok=True)
    index = ["# Properties of the tools", "", "What `opensim-nem2e info TOOL` says, tool by tool.", ""]
    index += ["```{toctree}", ":maxdepth: 1", ""]
    for entry in tools():
        _write(tool_pages / f"{entry.name}.md", _page(entry.name, entry.summary))
        index.append(entry.name)
    _write(tool_pages / "index.md", "\n".join([*index, "```", ""]))
    index = ["# API", "", "Modules that scripts and other packages build on.", "", "```{toctree}", ":maxdepth: 1", ""]
    for module in MODULES:
        title = module.removeprefix("opensim_nem2e.")
        page = [title, "=" * len(title), "", f".. automodule:: {module}", "   :members:", ""]
        _write(module_pages / f"{module}.rst", "\n".join(page))
        index.append(module)
    _write(module_pages / "index.md", "\n".join([*index, "```", ""]))


def _page(name: str, summary: str) -> str:
    lines = [f"# {name}", "", summary, ""]
    for row_name, row in properties_of(tool_class(name)).items():
        if isinstance(row, Element):
            lines += [f"## Element `<{row_name}>`", "", _plain(row.full_comment), ""]
            continue
        required = ", required" if row.required else ""
        default = row.show(row.default)
        level = "###" if "." in row_name else "##"
        lines += [f"{level} `{row_name}`", "", _plain(row.full_comment), ""]
        lines += [
            f"*Type:* {row.type}{required}. *Default:* `{default}`" if default else f"*Type:* {row.type}{required}",
            "",
        ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Keep what Markdown would take for markup."""
    return "".join(f"\\{letter}" if letter in "\\`*_<>[]{}#|" else letter for letter in text)


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
