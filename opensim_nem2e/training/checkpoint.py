"""The folder of one network under way: what it is trained on and how, its checkpoints, and the finished network.

A folder belongs to one combination of data and settings: its name is the combination's key, and it lies in the folder
of the network's name in the checkpoint directory (:class:`CheckpointStore`). It holds ``setup.json`` and
``data.safetensors`` (all that a process needs to train the network), ``step_*.safetensors`` (the last two checkpoints)
and, at the end, ``trained.safetensors`` in their place. Files are safetensors and JSON, never pickle; each replaces its
forerunner as a whole, and carries a checksum of everything in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import lock_descriptor
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..errors import NEM2EError, TrainingError
from ..storage.atomic import atomic_path
from ..storage.json_files import read_json
from .task import State, Task, Trained, epochs_of, losses_of

#: The one key of the safetensors metadata that holds our JSON text.
METADATA_KEY = "opensim_nem2e_checkpoint"

_KEPT = 2
_LOCK_POLL = 0.25
_LOCK_SILENCE = 2.0


class DamagedFileError(TrainingError):
    """A file of a network under way is not what was written."""


def write_checked(path: Path, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
    """Write arrays and numbers with their checksum; the file appears whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        The file (.safetensors); replaced if it exists.
    arrays : mapping of str to ndarray
        Any number of arrays.
    numbers : mapping of str to object
        What JSON can hold.
    """
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    text = json.dumps(dict(numbers), sort_keys=True)
    header = json.dumps({"numbers": text, "checksum": _checksum(ordered, text)})
    with atomic_path(path) as temporary:
        # Not save_file: it makes files that only their owner can read.
        temporary.write_bytes(save(ordered, metadata={METADATA_KEY: header}))


def read_checked(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_checked` wrote.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    arrays : dict of str to ndarray
        The arrays.
    numbers : dict of str to object
        The numbers.

    Raises
    ------
    DamagedFileError
        The file is truncated, of another kind, or a single bit of its content is not as written.
    """
    try:
        # Read rather than mapped: a mapped file that loses its end kills the process.
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][METADATA_KEY])
        text = header["numbers"]
        arrays = load(content)
        if header["checksum"] != _checksum(dict(sorted(arrays.items())), text):
            raise DamagedFileError(f"The file '{path}' is damaged: its content does not fit its checksum.")
        return arrays, json.loads(text)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedFileError(f"The file '{path}' cannot be read: {error}.") from error


def _checksum(arrays: Mapping[str, NDArray[Any]], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in arrays.items():
        digest.update(f"\n{name} {array.shape} {array.dtype}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class NetworkFolder:
    """The folder of one network under way.

    Parameters
    ----------
    path : str or os.PathLike
        The folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    @classmethod
    def of(cls, store: Path, name: str, task: Task) -> NetworkFolder:
        """Find the folder of a training.

        Parameters
        ----------
        store : pathlib.Path
            The checkpoint directory.
        name : str
            The network's name, fit for a folder.
        task : Task
            What it is trained on and how: other data or settings have another folder.

        Returns
        -------
        NetworkFolder
            The folder, which need not exist yet.
        """
        text = json.dumps(task.description(), sort_keys=True)
        return cls(store / name / hashlib.sha256(text.encode()).hexdigest()[:16])

    def prepare(self, task: Task) -> None:
        """Make the folder, and put into it all that a process needs to train the network, unless it is there.

        Parameters
        ----------
        task : Task
            The training that the folder is for.
        """
        try:
            if self.task().description() == task.description():
                return
        except DamagedFileError:
            # Missing, or to be mended.
            pass
        self.path.mkdir(parents=True, exist_ok=True)
        write_checked(self.path / "data.safetensors", task.arrays(), {})
        with atomic_path(self._setup) as temporary:
            temporary.write_text(json.dumps(task.description(), indent=1), encoding="utf-8")

    @property
    def _setup(self) -> Path:
        return self.path / "setup.json"

    @property
    def _trained(self) -> Path:
        return self.path / "trained.safetensors"

    def task(self) -> Task:
        """Read what :meth:`prepare` wrote.

        Returns
        -------
        Task
            The training that the folder is for.

        Raises
        ------
        DamagedFileError
            A file is missing or damaged.
        """
        arrays, _ = read_checked(self.path / "data.safetensors")
        try:
            module, settings = Task.described(_description(self._setup))
            return Task.of(module, settings, arrays)
        except (ValueError, KeyError, TypeError, AttributeError, TrainingError) as error:
            raise DamagedFileError(f"The file '{self._setup}' cannot be read: {error}.") from error

    def differences(self) -> list[str]:
        """Say how checkpoints of the same network that other data or settings made differ from this folder's.

        Returns
        -------
        list of str
            One text per such checkpoint, such as ``epochs 700, now 500; other data``.
        """
        try:
            own = _flat(self._setup)
        except DamagedFileError:
            return []
        found = []
        for setup in sorted(self.path.parent.glob("*/setup.json")):
            if setup == self._setup:
                continue
            try:
                other = _flat(setup)
            except DamagedFileError:
                continue
            parts = [
                "other data" if name == "data" else f"{name} {other.get(name)}, now {value}"
                for name, value in own.items()
                if other.get(name) != value
            ]
            found.append("; ".join(parts))
        return found

    def save(self, state: State) -> None:
        """Write a checkpoint, and remove all but the last two.

        Parameters
        ----------
        state : State
            The training after some step.
        """
        write_checked(self.path / f"step_{state.numbers['steps']:012d}.safetensors", state.arrays, state.numbers)
        for old in self._checkpoints()[_KEPT:]:
            old.unlink(missing_ok=True)

    def load(self, note: Callable[[str], None] = lambda text: None) -> State | None:
        """Read the last checkpoint that is whole.

        Parameters
        ----------
        note : callable, optional
            Told, in words for the user, of every checkpoint that is damaged; it is removed.

        Returns
        -------
        State or None
            Where to go on; None to begin.
        """
        for path in self._checkpoints():
            try:
                return State(*read_checked(path))
            except DamagedFileError as error:
                note(f"{error} The checkpoint before it is used, or training starts anew.")
                path.unlink(missing_ok=True)
        return None

    def finish(self, trained: Trained) -> None:
        """Write the finished network, and remove the checkpoints, which are no longer needed.

        Parameters
        ----------
        trained : Trained
            The network.
        """
        arrays = {f"weights.{name}": value for name, value in trained.weights.items()}
        arrays |= losses_of(trained.history)
        write_checked(self._trained, arrays, {"best_epoch": trained.best_epoch})
        for path in self._checkpoints():
            path.unlink(missing_ok=True)

    def trained(self) -> Trained | None:
        """Read the finished network.

        Returns
        -------
        Trained or None
            The network; None if it is not finished.

        Raises
        ------
        DamagedFileError
            The file is damaged; it is removed.
        """
        if not self._trained.exists():
            return None
        try:
            arrays, numbers = read_checked(self._trained)
        except DamagedFileError:
            self._trained.unlink(missing_ok=True)
            raise
        weights = {name[8:]: value for name, value in arrays.items() if name.startswith("weights.")}
        return Trained(weights, tuple(epochs_of(arrays)), numbers["best_epoch"])

    @property
    def is_ours(self) -> bool:
        """Whether nothing lies in the folder but what this module writes."""
        files = _FILES.fullmatch
        return bool(_KEY.fullmatch(self.path.name)) and all(files(path.name) for path in self.path.iterdir())

    def remove(self) -> None:
        """Remove the folder, and the network's folder around it unless other data or settings have one there."""
        if self.path.is_dir():
            for path in self.path.iterdir():
                path.unlink(missing_ok=True)
        for folder in (self.path, self.path.parent):
            try:
                folder.rmdir()
            except OSError:
                break

    @contextmanager
    def locked(self, give_up: Callable[[], bool], note: Callable[[str], None] = lambda text: None) -> Iterator[bool]:
        """Keep other processes from training the same network; the lock ends with the process, however it ends.

        What a killed process left half written is removed.

        Parameters
        ----------
        give_up : callable
            Asked while another process has the lock; true ends the wait.
        note : callable, optional
            Told, in words for the user, when the wait begins to be noticed.

        Yields
        ------
        bool
            Whether this process has the lock.
        """
        with (self.path / "lock").open("a+b") as stream:
            polls = 0
            while not (held := _try_lock(stream.fileno()) is not False) and not give_up():
                time.sleep(_LOCK_POLL)
                polls += 1
                # What a killed run left behind is gone sooner.
                if polls * _LOCK_POLL == _LOCK_SILENCE:
                    note("Another process is training this network; its result is waited for.")
            if held:
                for name in ("step_*", "trained"):
                    for path in self.path.glob(f".{name}.*.part*"):
                        path.unlink(missing_ok=True)
            yield held

    def _checkpoints(self) -> list[Path]:
        """Name the checkpoints, the last one first."""
        return sorted(self.path.glob("step_*.safetensors"), reverse=True)


class CheckpointStore:
    """The checkpoint directory: the folders of networks, and who is at work on them.

    A run has a lock file in the directory for as long as it goes on; the lock ends with the process, however it ends.
    So the run that ends last can tell that nobody needs the folders any more.

    Parameters
    ----------
    path : pathlib.Path
        The directory; made when a run enters it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._own: BinaryIO | None = None

    def enter(self) -> None:
        """Say that a run is at work here. Nothing is removed by others until it leaves."""
        with self._alone():
            self._own = (self.path / f"run_{secrets.token_hex(8)}.lock").open("xb")
            _try_lock(self._own.fileno())

    def leave(self) -> None:
        """Say that the run has ended, and keep all folders."""
        if self._own is not None:
            self._own.close()
            Path(self._own.name).unlink(missing_ok=True)
            self._own = None

    def tidy(self, used: Sequence[NetworkFolder]) -> tuple[list[NetworkFolder], bool]:
        """Say that the run has ended and its folders are not needed; remove what nobody needs.

        While another run is at work in the directory nothing is removed: it may use the same folders, and it tidies
        when it ends. Otherwise all folders of networks are removed, those of other data or settings, which no run of
        this tool fits any more, included. Files that are not of this package are left, with the folders around them.

        Parameters
        ----------
        used : sequence of NetworkFolder
            The folders of the run that ends.

        Returns
        -------
        others : list of NetworkFolder
            Folders that were removed though the run did not use them.
        tidied : bool
            Whether no other run was at work.
        """
        with self._alone():
            self.leave()
            if self._others():
                return [], False
            paths = {folder.path for folder in used}
            found = [NetworkFolder(path) for path in sorted(self.path.glob("*/*")) if path.is_dir()]
            others = [folder for folder in found if folder.path not in paths and folder.is_ours]
            for folder in (*used, *others):
                folder.remove()
            (self.path / _GATE).unlink(missing_ok=True)
        try:
            self.path.rmdir()
        except OSError:
            # There is something else in it, or a run has just entered.
            pass
        return others, True

    def _others(self) -> bool:
        """Tell whether another run is at work; what killed runs left is removed."""
        for path in self.path.glob("run_*.lock"):
            with path.open("ab") as stream:
                # None: on a file system without locks nobody can say; then nothing is removed.
                if not _try_lock(stream.fileno()):
                    return True
            path.unlink(missing_ok=True)
        return False

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other runs from entering and from tidying for a moment."""
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                opened = (self.path / _GATE).open("ab")
            except FileNotFoundError:
                # A run that leaves has just removed the directory.
                continue
            except FileExistsError:
                # It did so between two looks of mkdir's; or this is a file.
                if self.path.is_file():
                    raise
                continue
            with opened as stream:
                while _try_lock(stream.fileno()) is False:
                    time.sleep(_GATE_POLL)
                # Who had the lock before may have removed the file.
                if _is_same_file(stream, self.path / _GATE):
                    yield
                    return


#: Locked while a run enters or tidies the checkpoint directory.
_GATE = "store.lock"
_GATE_POLL = 0.02
_KEY = re.compile(r"[0-9a-f]{16}")
_FILES = re.compile(r"setup\.json|data\.safetensors|trained\.safetensors|step_\d+\.safetensors|lock|\..*\.part.*")


def _is_same_file(stream: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool | None:
    """Lock an open file for this process; False: another has it, None: the file system has no locks."""
    try:
        return lock_descriptor(descriptor, blocking=False)
    except PermissionError:
        return False
    except OSError:
        return None


def _flat(setup: Path) -> dict[str, Any]:
    """Read a description, the module's arguments beside the settings."""
    description = _description(setup)
    arguments = description.pop("arguments", {})
    return description | (arguments if isinstance(arguments, dict) else {})


def _description(setup: Path) -> dict[str, Any]:
    try:
        return read_json(setup, "description of a training")
    except NEM2EError as error:
        raise DamagedFileError(f"The file '{setup}' cannot be read: {error}") from error
