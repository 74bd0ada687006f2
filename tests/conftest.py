"""Fixtures that find the optional real data.

The repository ships only data that it makes itself. Real recordings are looked for in the folder that the
environment variable ``OPENSIM_NEM2E_DATA`` names (default ``../shared/data`` beside the repository); tests that
need them skip, with the reason, where it is absent.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

pytest_plugins = ["forked_processes", "refine_fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of long tests, so that the short ones fill the time at the end of a parallel run."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking again and again at what stays: PyTorch and all other modules."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C reach the processes that tests start, and pytest-xdist hand out files in the order given above.

    A shell that starts the tests in the background has Ctrl-C ignored, and processes inherit that.
    """
    config.option.loadscopereorder = False
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# A busy machine takes longer now and then; that is no fault of what is tested. The same examples every time: the fuzzer
# (tests/fuzz/run.py) is there to look for new ones.
hypothesis.settings.register_profile("any_machine", deadline=None, derandomize=True)
hypothesis.settings.load_profile("any_machine")

# One thread each for the matrix libraries, also in the processes that tests start: on two cores that other work shares,
# two threads that wait for each other make tiny networks many times slower. Set before numpy or torch is imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# Every program that the tests start imports the package: compiled once, also where the environment says not to keep it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ROOT = Path(__file__).resolve().parent.parent


def real_data_folder() -> Path:
    """Return the folder of real recordings, whether it exists or not."""
    return Path(os.environ.get("OPENSIM_NEM2E_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real recordings, or skip."""
    folder = real_data_folder()
    if not (folder / "trials.csv").is_file():
        pytest.skip(f"no real recordings in '{folder}' (set OPENSIM_NEM2E_DATA)")
    return folder


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """Return the folder of damaged OpenSim files that lies beside the real recordings, or skip."""
    folder = real_data_folder().parent / "fixtures"
    if not (folder / "opensim46_headers").is_dir():
        pytest.skip(f"no damaged OpenSim files in '{folder}' (they lie beside OPENSIM_NEM2E_DATA)")
    return folder


@pytest.fixture
def chance() -> random.Random:
    """Return random numbers, other ones in every run. Their seed is printed; ``OPENSIM_NEM2E_SEED`` repeats them."""
    seed = int(os.environ.get("OPENSIM_NEM2E_SEED", random.SystemRandom().randrange(2**31)))
    print(f"OPENSIM_NEM2E_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of a session (pytest-xdist) have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def paths_cache(shared_folder: Path) -> Iterator[Path]:
    """Keep the muscle paths that tests fit in one folder of all workers of a session, not in the user's own cache."""
    folder = shared_folder / "paths"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENSIM_NEM2E_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def one_opensim_process() -> Iterator[None]:
    """Let tests share the process in which OpenSim is at hand.

    It is not used once the environment has changed, and pytest writes the name of every test into it.
    """
    from opensim_nem2e.musculoskeletal.opensim import kept

    surroundings = kept._surroundings

    def without_the_test() -> tuple[int, str, dict[str, str]]:
        process, program, environment = surroundings()
        return process, program, {key: value for key, value in environment.items() if key != "PYTEST_CURRENT_TEST"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "_surroundings", without_the_test)
        yield


@pytest.fixture(scope="session")
def refined_walking(shared_folder: Path, paths_cache: Path) -> Path:
    """Return a copy of example 01, not to be changed, refined by the README's own command, once for all workers."""
    filelock = pytest.importorskip("filelock")
    folder = shared_folder / "01_refine_walking"
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            example = ROOT / "examples" / "01_refine_walking"
            half = shared_folder / "half" / folder.name
            shutil.copytree(example, half, ignore=shutil.ignore_patterns("results", "__pycache__"))
            command = [sys.executable, "-m", "opensim_nem2e", "run", str(half / "setup_refine.xml")]
            done = subprocess.run(command, capture_output=True, text=True, cwd=half.parent)
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[-1] == (
                f"[info] Results are in '{half / 'results'}'. Open walking_report.html first."
            )
            half.rename(folder)
    return folder


#: Opens files with both of OpenSim's readers.
_OPEN_ALL = """
import json, sys
import opensim
opensim.Logger.setLevelString("off")
found = {}
for path in sys.argv[1:]:
    table = opensim.TimeSeriesTable(path)
    storage = opensim.Storage(path)
    columns = storage.getColumnLabels().getSize() - 1
    found[path] = [table.getNumRows(), table.getNumColumns(), storage.getSize(), columns]
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def open_with_opensim() -> Callable[[Iterable[Path]], dict[str, list[int]]]:
    """Return a function that opens files with OpenSim, in a process of its own: its C++ errors must not end the tests.

    For each path it gives the rows and columns that ``TimeSeriesTable`` finds, and those that ``Storage`` finds.
    """

    def open_all(paths: Iterable[Path]) -> dict[str, list[int]]:
        command = [sys.executable, "-c", _OPEN_ALL, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, list[int]] = json.loads(done.stdout.splitlines()[-1])
        return found

    return open_all


@pytest.fixture(scope="session")
def raw_emg() -> Callable[..., Any]:
    """Return a function that makes raw EMG of a known envelope: noise of 20 to 450 Hz, as loud as the envelope says."""
    import numpy as np
    from scipy import signal

    def make(shape: Any, rate: float, seed: int = 0) -> Any:
        rng = np.random.default_rng(seed)
        band = signal.butter(4, (20.0, min(450.0, 0.45 * rate)), "bandpass", fs=rate, output="sos")
        noise = signal.sosfilt(band, rng.normal(size=shape.size))
        return shape * noise / noise.std()

    return make


@pytest.fixture
def dask_scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a scheduler and two workers with one thread each, as a user would, and return the scheduler's address."""
    distributed = pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
    processes = []
    with (folder / "dask.log").open("w") as log:

        def start(*arguments: str) -> None:
            command = [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"]
            command += ["--scheduler-file", str(file)]
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder))

        try:
            start("scheduler", "--port", "0")
            for _ in range(2):
                start("worker", "--no-nanny", "--nthreads", "1")
            deadline = time.monotonic() + 60
            while not file.exists():
                assert time.monotonic() < deadline, (folder / "dask.log").read_text()
                time.sleep(0.05)
            with distributed.Client(scheduler_file=str(file)) as client:
                client.wait_for_workers(2, timeout=60)
                address = client.scheduler.address
            yield address
        finally:
            for process in processes:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Path]:
    """Return a function that writes the files of a cross-validation study without training (see study_maker.py)."""
    spec = importlib.util.spec_from_file_location("study_maker", ROOT / "tests" / "study_maker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[..., Path] = module.make_study
    return made


@pytest.fixture(scope="session")
def study_folder(make_study: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the files of a small study, not to be changed: three muscles and conditions, five subjects, two seeds."""
    return make_study(tmp_path_factory.mktemp("study"), muscles=("soleus", "tib", "rect"), people=5)
