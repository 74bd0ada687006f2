"""The child process of :func:`opensim_nem2e.musculoskeletal.opensim.processes.run_opensim_tool`.

Run as a script: ``python -P _tool_process.py TOOL SETUP FOLDER``. It imports nothing of this package, so that it works
wherever the parent runs. Importing it has no effect; the parent reads the exit codes from it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

#: Exit codes, apart from 0 and from those that the operating system gives for a crash.
RAISED = 3
RETURNED_FALSE = 4


def run(tool_class: str, setup: str, folder: str) -> int:
    """Run one tool.

    Parameters
    ----------
    tool_class : str
        Name of the class in ``opensim``.
    setup : str
        Absolute path of the setup file.
    folder : str
        Working directory of the run.

    Returns
    -------
    int
        The exit code.
    """
    die_with_parent()
    import opensim

    # OpenSim has opened its log file in the directory where the process started; all it says is on stdout, too.
    opensim.Logger.removeFileSink()
    os.chdir(folder)
    try:
        tool = getattr(opensim, tool_class)(setup)
        done = tool.run()
        if tool_class == "ScaleTool":
            # False also where its MarkerPlacer is not to be applied, though nothing failed.
            done = done or not tool.getMarkerPlacer().getApply()
    except Exception as error:  # whatever it is, the parent must learn of it
        print(f"[error] {error}", flush=True)
        return RAISED
    finally:
        os.chdir(folder)
    code = 0 if done else RETURNED_FALSE
    if tool_class in ("CMCTool", "RRATool") and not keep_header_whole(tool, Path(setup).parent):
        # Leaving without the libraries' own exit handlers keeps the flush from happening at all.
        sys.stdout.flush()
        os._exit(code)
    return code


def die_with_parent() -> None:
    """Have the system end this process when the one that waits for it was killed (Linux only).

    Elsewhere an abandoned run goes on to its end; its results have a folder of their own and do no harm.
    """
    if sys.platform == "linux":
        import ctypes
        import signal

        # PR_SET_PDEATHSIG of prctl(2). It concerns deaths from now on, so look whether it was too late.
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(RAISED)


def keep_header_whole(tool: Any, folder: Path) -> bool:
    """Put a copy in the place of the states file that CMC or RRA wrote.

    OpenSim 4.6 still holds the file open, with the stale beginning of a header in its buffer, and flushes it over the
    finished file when the process exits. After the swap the flush goes to a file that has no name any more.

    Parameters
    ----------
    tool : opensim.CMCTool or opensim.RRATool
        The tool that has run.
    folder : pathlib.Path
        The setup file's folder.

    Returns
    -------
    bool
        False if the file could not be swapped: Windows does not replace a file that is open.
    """
    states = folder / tool.getResultsDir() / f"{tool.getName()}_states.sto"
    if not states.is_file():
        return True
    copy = states.with_name(f".{states.name}.{os.getpid()}")
    shutil.copyfile(states, copy)
    try:
        copy.replace(states)
    except OSError:
        copy.unlink()
        return False
    return True


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:4]))
