"""Write files so that a reader, or a killed run, never sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import NEM2EError


def temporary_beside(path: str | os.PathLike[str]) -> Path:
    """Name a temporary file in the folder of ``path`` (same file system, so that a rename is atomic).

    Parameters
    ----------
    path : str or os.PathLike
        The final name.

    Returns
    -------
    pathlib.Path
        A name that does not exist yet, hidden, ending as ``path`` ends.
    """
    final = Path(path)
    return final.with_name(f".{final.stem}.{os.getpid()}-{secrets.token_hex(4)}.part{final.suffix}")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name that replaces ``path`` when the block ends without an error.

    Parameters
    ----------
    path : str or os.PathLike
        The final name. Its folder must exist.

    Yields
    ------
    pathlib.Path
        Where to write. After an error it is removed and ``path`` is as it was.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class ResultFiles:
    """All results of one run: either every file appears, or none.

    Used as a context manager. Files are written under temporary names in the results directory and renamed
    together when the block ends without an error. After an error the temporary files are removed, and the
    directory too if this run made it.

    Parameters
    ----------
    directory : str or os.PathLike
        The results directory; made, with its parents, when the block is entered.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The directory cannot be made or is a file.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        self.directory = Path(directory)
        self._made: list[Path] = []
        self._files: dict[Path, Path] = {}

    def __enter__(self) -> ResultFiles:
        missing = []
        folder = self.directory
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NEM2EError(
                f"The results directory '{self.directory}' cannot be made: {error.strerror or error}."
            ) from error
        self._made = missing
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
        """
        final = self.directory / name
        if final not in self._files:
            self._files[final] = temporary_beside(final)
        return self._files[final]

    @contextmanager
    def own_names(self) -> Iterator[None]:
        """Let errors speak of the results' own names, not of the temporary ones they are written under."""
        try:
            yield
        except OSError as error:
            what = f"The results in '{self.directory}' cannot be written: {error.strerror or error}."
            raise NEM2EError(what) from error
        except NEM2EError as error:
            text = str(error)
            for final, temporary in self._files.items():
                text = text.replace(str(temporary), str(final))
            if text == str(error):
                raise
            raise NEM2EError(text) from error

    @property
    def finals(self) -> list[Path]:
        """The final names, in the order in which they were asked for."""
        return list(self._files)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        done = False
        try:
            if kind is None:
                # Everything that can fail comes before the first rename.
                for final, temporary in self._files.items():
                    _flush_to_disk(temporary)
                    if final.is_dir():
                        raise NEM2EError(f"The result '{final}' cannot be written: a directory has this name.")
                for final, temporary in self._files.items():
                    temporary.replace(final)
                done = True
        finally:
            if not done:
                self._undo()

    def _undo(self) -> None:
        for temporary in self._files.values():
            temporary.unlink(missing_ok=True)
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:
                break


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
