"""Run the tool that a setup file describes.

Several setup files are run one after the other. One that fails is reported, and the others are still run; the
exit status is then 1. Relative paths in a setup file are relative to that file's folder. --set gives a property another
value for this run; a path in it is relative to the working directory.

Examples:
  opensim-nem2e run setup_refine.xml
  opensim-nem2e run subject*/setup_refine.xml
  opensim-nem2e run setup_refine.xml --set muscles=soleus --set results_directory=soleus_only
  opensim-nem2e run setup_pipeline.xml --jobs 4
  opensim-nem2e run setup_train.xml --scheduler tcp://10.0.0.1:8786
  opensim-nem2e run setup_train.xml --scheduler tls://10.0.0.1:8786
  opensim-nem2e run-tool setup_refine.xml -o debug
"""

from __future__ import annotations

import argparse
import os

from ..errors import SetupError
from ..log import logger
from ..tools.tool_registry import load_tool
from .assignment import add_set_option, assign
from .reporting import report

NAME = "run"
ALIASES = ("run-tool",)


def spare_threads() -> None:
    """Have one thread for numpy's matrix library, before numpy is imported.

    It would start one per core for networks this small: that makes a refinement slower, and many times slower while a
    neighbour uses the cores.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("setup_files", metavar="SETUP", nargs="+", help="a setup file (.xml)")
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        help="how many networks are trained, or steps of a pipeline run, at once; replaces the setup file's <jobs>",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="have the work done by the workers of this Dask scheduler, or of a 'local' one; replaces the setup file's "
        "<scheduler>. Whoever reaches a tcp:// scheduler can run programs as you: its network must be trusted; tls:// "
        "needs the certificates that Dask's configuration names (distributed.comm.tls)",
    )
    add_set_option(parser)


def execute(options: argparse.Namespace) -> int:
    """Run every setup file.

    Parameters
    ----------
    options : argparse.Namespace
        The parsed command line.

    Returns
    -------
    int
        0, or 1 if any of them failed.
    """
    spare_threads()
    failed = []
    for setup_file in options.setup_files:
        try:
            tool = load_tool(setup_file)
            for name in ("jobs", "scheduler"):
                value = getattr(options, name)
                if value is None:
                    continue
                if all(prop.name != name for prop in tool.properties):
                    raise SetupError(
                        [f"--{name} is for tools with the property <{name}>; {tool.tool_name} has none."], setup_file
                    )
                tool.set(name, value)
            assign(tool, options)
            tool.run()
        except Exception as error:
            report(error)
            failed.append(setup_file)
    if failed and len(options.setup_files) > 1:
        logger.error("%d of %d setup files failed: %s.", len(failed), len(options.setup_files), ", ".join(failed))
    return 1 if failed else 0
