"""Locks that end with their process, and hidden files that belong to a process while it lives.

What a killed process leaves cannot be told from what a living one is at by its name, age or process number (which
another machine of a cluster may have given, too). So each has a lock file, and the system ends the lock with the
process, however that ends. Where a file system has no locks, nothing is taken for abandoned.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_POLL = 0.02
_TOKEN = "[0-9a-f]{16}"


class Lock:
    """A file that is locked by this process until it is let go.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    stream : file object
        It, open and locked.
    sure : bool
        False where the file system has no locks, so that others may have it, too.
    """

    def __init__(self, path: Path, stream: BinaryIO, sure: bool):
        self.path = path
        self.sure = sure
        self._stream = stream

    def release(self) -> None:
        """Let go, and remove the file."""
        # Before the lock ends, so that nobody can have it by then; Windows wants it the other way round.
        with suppress(OSError):
            self.path.unlink()
        self._stream.close()
        if os.name == "nt":
            with suppress(OSError):
                self.path.unlink()


def try_lock(path: Path) -> Lock | None:
    """Lock a file, which is made for it.

    Parameters
    ----------
    path : pathlib.Path
        The file, of which nothing but the lock is used.

    Returns
    -------
    Lock or None
        None: another process, or another part of this one, has it.

    Raises
    ------
    OSError
        The file cannot be made.
    """
    while True:
        stream = path.open("ab")
        try:
            held = _lock(stream.fileno())
            if held is False:
                stream.close()
                return None
            # Who had the lock before has removed the file: then this lock is on a file without a name.
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                return Lock(path, stream, held is True)
        except FileNotFoundError:
            pass
        except BaseException:
            stream.close()
            raise
        stream.close()


@contextmanager
def locked(
    path: Path, give_up: Callable[[], bool] = lambda: False, waiting: Callable[[], None] = lambda: None
) -> Iterator[bool]:
    """Hold a lock while the block runs; wait while another process has it.

    Parameters
    ----------
    path : pathlib.Path
        The file that is locked; it is there only while somebody has the lock.
    give_up : callable
        Asked while the lock is waited for; true ends the wait.
    waiting : callable
        Called once, when it must be waited for.

    Yields
    ------
    bool
        Whether this process has the lock.
    """
    lock = try_lock(path)
    if lock is None:
        waiting()
    while lock is None and not give_up():
        time.sleep(_POLL)
        lock = try_lock(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


#: A claim's name.
CLAIM = re.compile(rf"\..+\.{_TOKEN}\.part", re.DOTALL)

#: The name of a claim's file, and what follows a purpose in it.
_OF_ANY = re.compile(rf"({CLAIM.pattern})(\..*)?", re.DOTALL)
_REST = re.compile(rf"(\.{_TOKEN}\.part)(\..*)?", re.DOTALL)


class Claim:
    """Hidden names in a folder that belong to this process: ``.PURPOSE.TOKEN.part`` and what begins like this.

    Parameters
    ----------
    folder : pathlib.Path
        The folder, which exists.
    purpose : str
        What the names are for; fit for a file's name.

    Raises
    ------
    OSError
        The folder cannot be written.
    """

    def __init__(self, folder: Path, purpose: str):
        lock = None
        while lock is None:
            # A process that tidies up may take the lock file for abandoned before it is locked.
            self._stem = folder / f".{purpose}.{secrets.token_hex(8)}.part"
            lock = try_lock(self.path(".lock"))
        self._lock = lock

    def path(self, ending: str = "") -> Path:
        """Name a file or folder.

        Parameters
        ----------
        ending : str
            What the name ends with.

        Returns
        -------
        pathlib.Path
            It; nobody else makes it, or removes it while this process lives.
        """
        return self._stem.with_name(self._stem.name + ending)

    def release(self, keep: bool = False) -> None:
        """Let go, and remove everything of these names.

        Parameters
        ----------
        keep : bool
            Leave all for the next process that looks for what was abandoned.
        """
        if keep:
            self._lock.release()
        else:
            _remove(self._stem, self._lock)


def remove_abandoned(folder: Path, purpose: str | None, finish: Callable[[Path], bool] = lambda stem: True) -> None:
    """Remove what processes that live no more have left.

    Parameters
    ----------
    folder : pathlib.Path
        The folder; what cannot be removed from it stays.
    purpose : str or None
        As given to :class:`Claim`; None: any.
    finish : callable
        Given ``path("")`` of each claim whose process was ended before it let go; false: it is to stay.
    """
    name, begin = (_OF_ANY, "") if purpose is None else (_REST, f".{purpose}")
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return
    matches = (name.fullmatch(text, len(begin)) for text in names if text.startswith(begin))
    found = {begin + match[1] for match in matches if match}
    for stem in sorted(found):
        try:
            lock = try_lock(folder / f"{stem}.lock")
        except OSError:
            # What cannot be written cannot be tidied up, either.
            return
        if lock is None:
            continue
        removable = False
        try:
            removable = lock.sure and finish(folder / stem)
        finally:
            if removable:
                _remove(folder / stem, lock)
            else:
                lock.release()


def _remove(stem: Path, lock: Lock) -> None:
    """Remove what bears the name; the lock last, so that a process that is killed here leaves an abandoned claim."""
    with suppress(OSError):
        for path in list(stem.parent.iterdir()):
            if not path.name.startswith(stem.name) or path == lock.path:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
    lock.release()


def _lock(descriptor: int) -> bool | None:
    """Lock an open file; False: another has it, None: the file system has no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True
