"""Write files so that neither a reader nor a killed run ever leaves, or sees, half of one or half of a set.

A single file is written under a hidden name beside it and renamed. A set is written into a hidden folder; when all of
it is there, a *switch* is noted in that folder (one rename, which decides), then the files are renamed one by one. Who
next writes to the directory, or reads the set with this package, completes a switch that a kill has interrupted, and
removes what runs left that were killed before theirs.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ..errors import NEM2EError
from ..log import logger
from .claims import CLAIM, Claim, locked, remove_abandoned
from .file_names import file_name, shown

#: Inside the hidden folder of a set: which of its files is to become which.
_SWITCH = "switch.json"
#: In another directory that the set has files for: where that folder is.
_POINTER = ".switch"
#: Held while files of a set are renamed in a directory.
_GATE = ".results.lock"
_PURPOSE = "results"
_LONGEST_STEM = 60

_written: ContextVar[list[Path] | None] = ContextVar("written", default=None)


@contextmanager
def written_files() -> Iterator[list[Path]]:
    """Note which files this thread writes through this module while the block runs.

    Yields
    ------
    list of pathlib.Path
        Their final names, each when it has got it; absolute.
    """
    files: list[Path] = []
    token = _written.set(files)
    try:
        yield files
    finally:
        _written.reset(token)


@contextmanager
def no_results() -> Iterator[None]:
    """Leave out of :func:`written_files` what is written while the block runs: scratch files and caches."""
    token = _written.set(None)
    try:
        yield
    finally:
        _written.reset(token)


def _note(paths: Iterable[Path]) -> None:
    files = _written.get()
    if files is not None:
        # What lies in a hidden folder has yet to get its name.
        named = (path for path in paths if not CLAIM.fullmatch(path.parent.name))
        files.extend(Path(os.path.abspath(path)) for path in named)  # noqa: PTH100 - resolve() would follow links


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name that replaces ``path`` when the block ends without an error.

    What a killed run left of an earlier attempt at ``path`` is removed.

    Parameters
    ----------
    path : str or os.PathLike
        The final name. Its folder must exist.

    Yields
    ------
    pathlib.Path
        Where to write: hidden, in the same folder, ending as ``path`` ends. After an error it is removed and ``path``
        is as it was.

    Raises
    ------
    OSError
        The file cannot be written; it names ``path``, not the hidden one.
    """
    final = Path(path)
    if len(os.fsencode(final.name)) > _longest_name(final.parent):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), os.fspath(final))
    stem = final.stem if len(os.fsencode(final.stem)) <= _LONGEST_STEM else file_name(final.stem)
    suffix = final.suffix if len(os.fsencode(final.suffix)) <= _LONGEST_STEM else ""
    remove_abandoned(final.parent, f"{stem}.new")
    try:
        claim = Claim(final.parent, f"{stem}.new")
    except OSError as error:
        raise _of(error, final) from None
    temporary = claim.path(suffix if suffix not in ("", ".lock") else ".new")
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(final)
        _note([final])
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == os.fspath(temporary):
            raise _of(error, final) from None
        raise
    finally:
        claim.release()


def _of(error: OSError, path: Path) -> OSError:
    """Make the error one of another path."""
    return type(error)(error.errno, error.strerror, os.fspath(path))


def _longest_name(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, AttributeError, ValueError):
        return 255


def require_writable(directory: str | os.PathLike[str]) -> None:
    """Make sure, before anything is computed, that results can be written; remove what killed runs left there.

    Parameters
    ----------
    directory : str or os.PathLike
        The results directory. What of it does not exist is made, to see whether it can be, and removed again.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        It cannot be made, is a file, or nothing can be written there; the message names the directory.
    """
    folder = Path(directory)
    made = _make(folder)
    try:
        remove_leftovers(folder)
        claim = Claim(folder, _PURPOSE)
        try:
            # Some full disks still make empty files.
            claim.path(".probe").write_bytes(bytes(4096))
        finally:
            claim.release()
    except OSError as error:
        raise NEM2EError(f"The directory '{folder}' cannot be written: {error.strerror or error}.") from error
    finally:
        _unmake(made)


def _make(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that were made, the innermost first."""
    made, missing = [], folder
    try:
        while not missing.exists():
            made.append(missing)
            missing = missing.parent
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _unmake(path for path in made if path.is_dir())
        raise NEM2EError(f"The directory '{folder}' cannot be made: {error.strerror or error}.") from error
    return made


def _unmake(made: Iterable[Path]) -> None:
    for folder in made:
        try:
            folder.rmdir()
        except OSError:
            break


class ResultFiles:
    """All results of one run: either every file appears, or none, whenever the run is killed.

    Used as a context manager. Files are written into a hidden folder in the results directory and renamed together when
    the block ends without an error. After an error the folder is removed, and the directory too if this run made it.
    What killed runs left in the directory is removed first.

    Parameters
    ----------
    directory : str or os.PathLike
        The results directory; made, with its parents, when the block is entered.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The directory cannot be made or written, or is a file.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        self.directory = Path(directory)
        self._made: list[Path] = []
        self._files: dict[Path, Path] = {}
        self._claim: Claim | None = None

    def __enter__(self) -> ResultFiles:
        self._made = _make(self.directory)
        try:
            complete_switches(self.directory)
            remove_abandoned(self.directory, _PURPOSE)
            self._claim = Claim(self.directory, _PURPOSE)
            self._claim.path().mkdir()
        except OSError as error:
            self._undo()
            raise NEM2EError(
                f"The directory '{self.directory}' cannot be written: {error.strerror or error}."
            ) from error
        return self

    def path(self, name: str) -> Path:
        """Name the temporary file that becomes ``name``.

        Parameters
        ----------
        name : str
            The file's final name inside the results directory.

        Returns
        -------
        pathlib.Path
            Where to write it now.

        Raises
        ------
        opensim_nem2e.errors.NEM2EError
            The name leads out of the results directory, or is longer than the file system allows.
        """
        if self._claim is None:
            raise RuntimeError("ResultFiles must be entered first.")
        _require_plain(name, self.directory)
        final = self.directory / name
        return self._files.setdefault(final, self._claim.path() / name)

    @contextmanager
    def own_names(self) -> Iterator[None]:
        """Turn an error of the system into one of this package that names the results directory."""
        try:
            yield
        except OSError as error:
            what = f"The results in '{self.directory}' cannot be written: {error.strerror or error}."
            raise NEM2EError(what) from error

    @property
    def finals(self) -> list[Path]:
        """The final names, in the order in which they were asked for."""
        return list(self._files)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self._claim is not None
        if error is not None:
            self._use_final_names(error)
        done = False
        try:
            if kind is None:
                switch(self._claim.path(), {temporary: final for final, temporary in self._files.items()})
                done = True
        finally:
            if not done:
                self._undo()
            else:
                self._claim.release()

    def _use_final_names(self, error: BaseException) -> None:
        """Let an error speak of the results' own names, not of the hidden ones they are written under."""
        assert self._claim is not None
        hidden = f"{os.sep}{self._claim.path().name}"
        if isinstance(error, OSError) and isinstance(error.filename, str):
            error.filename = error.filename.replace(hidden, "")
        elif isinstance(error, NEM2EError):
            error.args = tuple(part.replace(hidden, "") if isinstance(part, str) else part for part in error.args)

    def _undo(self) -> None:
        if self._claim is not None:
            release(self._claim)
        _unmake(self._made)


def _require_plain(name: str, directory: Path) -> None:
    if not name or name in (".", "..") or any(sign in "/\\\0" for sign in name):
        raise NEM2EError(f"A result in '{directory}' must have a plain file name, but {shown(name)} was found.")
    longest = _longest_name(directory)
    if len(os.fsencode(name)) > longest:
        raise NEM2EError(
            f"The name of a result in '{directory}' is too long: at most {longest} bytes are allowed, but "
            f"{len(os.fsencode(name))} were found ({shown(name)})."
        )


# --- switches ---------------------------------------------------------------------------------------------------------


def switch(folder: Path, moves: Mapping[Path, Path]) -> None:
    """Give the files of a set their final names: all of them, or, before the decision is noted, none.

    Parameters
    ----------
    folder : pathlib.Path
        ``path("")`` of a :class:`opensim_nem2e.storage.claims.Claim`: a folder in which the files lie.
    moves : mapping of pathlib.Path to pathlib.Path
        Where each file lies now, and its final name; on the same file system, in folders that exist.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        A directory has the final name of a file.
    OSError
        A file is missing or cannot be renamed. When it was the first one, nothing has changed.
    """
    if not moves:
        return
    for source, final in moves.items():
        # Everything that can fail comes before the decision.
        _flush_to_disk(source)
        if final.is_dir():
            raise NEM2EError(f"The result '{final}' cannot be written: a directory has this name.")
    directories = sorted({final.parent for final in moves.values()})
    note = [[source.relative_to(folder).as_posix(), _seen(final, folder.parent)] for source, final in moves.items()]
    with ExitStack() as gates:
        # In one order, so that two runs cannot wait for each other.
        for directory in directories:
            gates.enter_context(locked(directory / _GATE))
        for directory in directories:
            _complete(directory)
        decided = folder / _SWITCH
        with (folder / f"{_SWITCH}.new").open("w", encoding="utf-8") as stream:
            json.dump(note, stream)
            stream.flush()
            os.fsync(stream.fileno())
        (folder / f"{_SWITCH}.new").replace(decided)
        pointers = [
            directory / f"{folder.name}{_POINTER}" for directory in directories if not _same(directory, folder.parent)
        ]
        for pointer in pointers:
            pointer.write_text(_seen(folder, pointer.parent), encoding="utf-8")
        try:
            for source, final in moves.items():
                source.replace(final)
        except BaseException:
            # Interrupted, or a file is held open by another program: the others get their names all the same.
            for source, final in moves.items():
                if source.exists():
                    with suppress(OSError):
                        source.replace(final)
            raise
        finally:
            if _is_settled(folder):
                for pointer in pointers:
                    pointer.unlink(missing_ok=True)
                decided.unlink()
        _note(moves.values())


def release(claim: Claim) -> None:
    """Let a claim go: remove what is hidden, unless its switch was decided and is not yet complete.

    Parameters
    ----------
    claim : opensim_nem2e.storage.claims.Claim
        The claim of the hidden folder given to :func:`switch`.
    """
    claim.release(keep=not _is_settled(claim.path()))


def complete_switches(directory: str | os.PathLike[str]) -> None:
    """Complete the switches to which a kill has put an end in the middle: call it before a set is read.

    Parameters
    ----------
    directory : str or os.PathLike
        The directory in which the set lies. Only files in it get their names.
    """
    folder = Path(directory)
    # The gate may have been left by a run that was killed when all was done.
    if not _interrupted(folder) and not (folder / _GATE).exists():
        return
    try:
        with locked(folder / _GATE):
            _complete(folder)
    except OSError as error:
        logger.warning(
            "'%s' holds the results of a run that was killed while it renamed them, and they cannot be put in place: "
            "%s. They may be of two runs.",
            folder,
            error.strerror or error,
        )


def remove_leftovers(directory: str | os.PathLike[str]) -> None:
    """Complete what killed runs have decided in a directory, and remove what else they left there.

    Parameters
    ----------
    directory : str or os.PathLike
        The directory; it need not exist. What living processes are at is not touched.
    """
    complete_switches(directory)
    remove_abandoned(Path(directory), None, _is_settled)


def complete_switch(folder: Path, directories: Iterable[Path]) -> bool:
    """Complete an abandoned switch of files that are to go to several directories.

    Parameters
    ----------
    folder : pathlib.Path
        The hidden folder.
    directories : iterable of pathlib.Path
        Where files of it may go; others that its note names are not made.

    Returns
    -------
    bool
        True: nothing is to be renamed any more, so that the folder may be removed.
    """
    for directory in directories:
        if directory.is_dir() and (folder / _SWITCH).is_file():
            with locked(directory / _GATE):
                _finish(folder, directory)
                (directory / f"{folder.name}{_POINTER}").unlink(missing_ok=True)
    return _is_settled(folder)


def _interrupted(directory: Path) -> list[Path]:
    """Name the hidden folders with a switch that concerns a directory; pointers to none are left out."""
    found = []
    try:
        entries = [path.name for path in directory.iterdir() if path.name.startswith(".")]
    except OSError:
        return []
    for entry in sorted(entries):
        if CLAIM.fullmatch(entry):
            folder = directory / entry
        elif entry.endswith(_POINTER) and CLAIM.fullmatch(entry.removesuffix(_POINTER)):
            try:
                # A pipe of this name would be waited for.
                if not (directory / entry).is_file():
                    continue
                folder = directory / (directory / entry).read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
            if folder.name != entry.removesuffix(_POINTER):
                continue
        else:
            continue
        if (folder / _SWITCH).is_file():
            found.append(folder)
    return found


def _complete(directory: Path) -> None:
    """Complete what concerns a directory whose gate this process holds: no living process is at it."""
    for folder in _interrupted(directory):
        _finish(folder, directory)
        if _same(folder.parent, directory) and _is_settled(folder):
            (folder / _SWITCH).unlink(missing_ok=True)
    for path in list(directory.iterdir()):
        if path.suffix == _POINTER and CLAIM.fullmatch(path.stem):
            path.unlink(missing_ok=True)


def _finish(folder: Path, directory: Path) -> None:
    for source, final in _moves(folder):
        if _same(final.parent, directory) and source.is_file() and not final.is_dir():
            source.replace(final)


def _is_settled(folder: Path) -> bool:
    """Tell whether no file of a hidden folder is still to get its name."""
    if not folder.is_dir():
        return True
    return not any(source.is_file() for source, _ in _moves(folder))


def _moves(folder: Path) -> list[tuple[Path, Path]]:
    """Read the note of a switch; what is no such note decides nothing, and nothing leaves by it but the own files."""
    try:
        note: Any = json.loads((folder / _SWITCH).read_text(encoding="utf-8"))
        own = folder.parent.resolve() / folder.name
        return [
            (folder / source, Path(os.path.normpath(folder.parent / final)))
            for source, final in note
            if (folder / source).parent.resolve().is_relative_to(own)
        ]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


def _seen(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        # Another drive of Windows.
        return path.absolute().as_posix()


def _same(one: Path, other: Path) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100 - of the names, not of what links lead to


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
