"""The child process of :mod:`opensim_nem2e.musculoskeletal.opensim.kept`: OpenSim, waiting for jobs.

Run as a script: ``python -P _kept_process.py``. Jobs come as lines of JSON on standard input (``script``, whose
function ``main`` does the job, its ``arguments``, and the ``log`` file that gets what it prints), and their exit codes
go as lines to standard output. It ends with its input, or when nothing is asked of it for long. It imports nothing of
this package.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
from typing import Any

#: Without a job for so long the process ends (s): a notebook left open shall not hold OpenSim's memory.
IDLE = 60.0

#: Exit code of a job that raised an error, as of ``_tool_process``.
RAISED = 3


def serve() -> None:
    """Do jobs until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    # What OpenSim prints between jobs is nobody's.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    _print_to(nowhere)
    import opensim

    opensim.Logger.removeFileSink()
    scripts: dict[str, Any] = {}
    while True:
        idle = threading.Timer(IDLE, os._exit, [0])
        idle.daemon = True
        idle.start()
        line = sys.stdin.readline()
        idle.cancel()
        if not line:
            return
        # The caller must know whether a job that was never begun has to be given to another process.
        print("begun", file=answers, flush=True)
        job = json.loads(line)
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _print_to(log)
        os.close(log)
        status = 0
        try:
            if job["script"] not in scripts:
                spec = importlib.util.spec_from_file_location(f"job{len(scripts)}", job["script"])
                assert spec is not None
                assert spec.loader is not None
                scripts[job["script"]] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(scripts[job["script"]])
            scripts[job["script"]].main(job["arguments"])
        except Exception as error:  # whatever it is, the parent must learn of it
            print(f"[error] {error}", flush=True)
            status = RAISED
        _print_to(nowhere)
        # A job may have asked for less.
        opensim.Logger.setLevelString("info")
        print(status, file=answers, flush=True)


def _print_to(file: int) -> None:
    """Have all that is printed from now on, by OpenSim as well, go to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(file, stream)


if __name__ == "__main__":
    serve()
