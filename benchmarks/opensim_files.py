"""Count which of OpenSim's files this package reads, among those that OpenSim itself loads.

    python benchmarks/opensim_files.py FOLDER [FOLDER ...]

Every ``.osim`` file, and every ``.xml`` file that holds a tool's setup, external loads or controls, below the folders
is given to OpenSim and to this package. What OpenSim loads and this package refuses is listed with its reason; the exit
status is 1 if there is any. Files that OpenSim cannot load are counted, too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.log import logger
from opensim_nem2e.musculoskeletal.opensim.processes import TOOLS
from opensim_nem2e.storage import read_controls_xml, read_external_loads, read_model
from opensim_nem2e.storage.opensim_setup import read_opensim_setup
from opensim_nem2e.storage.safe_xml import parse_xml

#: Opens files, one line of the standard input each ("class<tab>path"), with the constructor of OpenSim's class, each in
#: a process of its own: some files end the process.
_LOADS = """
import os, signal, sys
import opensim
opensim.Logger.setLevelString("off")
for line in sys.stdin:
    name, path = line.rstrip("\\n").split("\\t")
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os.chdir(os.path.dirname(path))
        try:
            # Tools and loads are built without what they name.
            arguments = (path,) if name in ("Model", "ControlSet", "ScaleTool") else (path, False)
            if name == "ExternalLoads":
                arguments = (path, True)
            getattr(opensim, name)(*arguments)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("yes" if status == 0 else "no", flush=True)
"""


def class_of(path: Path) -> str:
    """Return the class of OpenSim's object in a file, or an empty string for other files."""
    if path.suffix.lower() == ".osim":
        return "Model"
    try:
        root = parse_xml(path).getroot()
    except NEM2EError:
        # Whatever it is, OpenSim must refuse it, too.
        return "ExternalLoads"
    known = ("ExternalLoads", "ControlSet", *TOOLS)
    return next((str(element.tag) for element in (root, *root) if element.tag in known), "")


def read(name: str, path: Path) -> None:
    """Read a file as this package does."""
    readers: dict[str, Callable[[Path], object]] = {
        "Model": read_model,
        "ExternalLoads": read_external_loads,
        "ControlSet": read_controls_xml,
    }
    if name in readers:
        readers[name](path)
    else:
        read_opensim_setup(path, TOOLS)


def opens(files: Sequence[tuple[str, Path]]) -> list[bool]:
    """Tell which files OpenSim loads."""
    lines = "".join(f"{name}\t{path}\n" for name, path in files)
    done = subprocess.run([sys.executable, "-c", _LOADS], input=lines, capture_output=True, text=True, check=True)
    answers = [line == "yes" for line in done.stdout.splitlines() if line in ("yes", "no")]
    if len(answers) != len(files):
        raise SystemExit(f"OpenSim answered for {len(answers)} of {len(files)} files:\n{done.stderr[-2000:]}")
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="+", type=Path)
    folders = parser.parse_args(arguments).folder
    logger.setLevel("ERROR")
    paths = sorted(
        path.resolve() for folder in folders for path in folder.rglob("*") if path.suffix.lower() in (".osim", ".xml")
    )
    files = [(name, path) for path in paths if (name := class_of(path))]
    loaded: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    refused = []
    for (name, path), yes in zip(files, opens(files), strict=True):
        if not yes:
            loaded["not loaded by OpenSim"] += 1
            continue
        loaded[name] += 1
        try:
            read(name, path)
            taken[name] += 1
        except NEM2EError as error:
            refused.append(str(error))
    for name, count in sorted(loaded.items()):
        print(f"{name}: {count}" + (f", of which {taken[name]} are read" if name in taken or name[0].isupper() else ""))
    for reason in refused:
        print(f"refused: {reason}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
