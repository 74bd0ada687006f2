"""What can be seen of a training while it goes on: progress over all networks, and a history of each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO

from ..log import logger
from ..storage.atomic import atomic_path
from .jobs import Row, row_of
from .task import Trained

#: Of so many networks each is named on the console when it is done; of more, in the log file.
_MOST_TOLD = 20

#: Without a progress bar, a line says so often how far it is (s).
LINE_EVERY = 30.0


class Watch:
    """Shows progress, and writes a history of every network. A context manager.

    ``<network>.jsonl`` grows while the network is trained, one line per epoch: ``epoch``, ``loss``,
    ``validation_loss`` (null: none), ``seconds`` since its training began or went on (null where that is not known),
    and ``terms``, the loss terms by name.

    Parameters
    ----------
    names : sequence of str
        All networks.
    epochs : int
        The largest number of epochs of each.
    directory : pathlib.Path
        For the histories; made if need be.
    bar : {'auto', 'always', 'never'}
        Whether there is a progress bar (auto: if the console is a terminal). Without one there is a line in the log
        twice a minute.
    tensorboard : pathlib.Path, optional
        Where TensorBoard's event files go, in a folder per network. Without the package a warning says what to install.
    """

    def __init__(
        self,
        names: Sequence[str],
        epochs: int,
        directory: Path,
        bar: Literal["auto", "always", "never"] = "auto",
        tensorboard: Path | None = None,
    ):
        from tqdm import tqdm

        self.names = names
        self.most_epochs = epochs
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self._counts: dict[str, int] = {}
        self._finished: set[str] = set()
        self._latest: dict[str, Row] = {}
        self._files: dict[str, TextIO] = {}
        self._tensorboard = tensorboard
        self._writer_class = None if tensorboard is None else _summary_writer()
        self._writers: dict[str, Any] = {}
        self._done_here = 0
        self._begun = self._line = time.monotonic()
        disable = {"auto": None, "always": False, "never": True}[bar]
        self._bar = tqdm(total=len(names) * epochs, unit="epoch", disable=disable, dynamic_ncols=True, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        for name in list(self._files):
            self._close(name)

    def started(self, name: str, history: Sequence[Row]) -> None:
        """Begin a network's history, or go on with it after some epochs.

        Parameters
        ----------
        name : str
            The network.
        history : sequence of tuple
            Epochs that were done before: number, loss, validation loss, None, loss terms.
        """
        self._close(name)
        self._rewrite(name, history)
        self._files[name] = self._path(name).open("a", encoding="utf-8")
        if self._writer_class is not None:
            assert self._tensorboard is not None
            # What a killed run wrote beyond its last checkpoint is left out.
            self._writers[name] = self._writer_class(str(self._tensorboard / name), purge_step=len(history) + 1)
        self._counts[name] = len(history)
        if history:
            self._latest[name] = history[-1]
        self._show()

    def epochs(self, name: str, rows: Sequence[Row]) -> None:
        """Add epochs to a network's history.

        Parameters
        ----------
        name : str
            The network.
        rows : sequence of tuple
            Number, loss, validation loss, seconds, loss terms.
        """
        if name in self._files:
            self._files[name].write("".join(_line(row) for row in rows))
            self._files[name].flush()
        if name in self._writers:
            for number, loss, held, _, terms in rows:
                self._writers[name].add_scalar("loss", loss, number)
                if held is not None:
                    self._writers[name].add_scalar("validation_loss", held, number)
                # A single one is the loss.
                for term, value in terms.items() if len(terms) > 1 else ():
                    self._writers[name].add_scalar(f"terms/{term}", value, number)
        self._counts[name] = rows[-1][0]
        self._latest[name] = rows[-1]
        self._done_here += len(rows)
        self._show()

    def finished(self, name: str, trained: Trained) -> None:
        """Close a network's history.

        Parameters
        ----------
        name : str
            The network.
        trained : Trained
            What came of it.
        """
        self._close(name)
        # Epochs that early stopping saved are as good as done.
        self._counts[name] = self.most_epochs
        self._finished.add(name)
        if len(self._latest) > 1:
            self._latest.pop(name, None)
        self._show()
        best = trained.history[trained.best_epoch - 1]
        # Of a study with hundreds of networks the progress line says enough.
        tell = self.say if len(self.names) <= _MOST_TOLD else logger.debug
        tell(
            "%s (%d of %d networks): loss %.5f after %d epochs.",
            name,
            len(self._finished),
            len(self.names),
            best.loss,
            trained.best_epoch,
        )

    def reused(self, name: str, trained: Trained) -> None:
        """Count a network that was finished before this run.

        Parameters
        ----------
        name : str
            The network.
        trained : Trained
            What came of it.
        """
        self._rewrite(name, [row_of(epoch) for epoch in trained.history])
        self._counts[name] = self.most_epochs
        self._finished.add(name)
        self._show()

    def tick(self) -> None:
        """Keep the shown times up to date while no epoch ends."""
        self._show()

    def say(self, text: str, *values: Any) -> None:
        """Log a message without tearing the progress bar.

        Parameters
        ----------
        text : str
            The message.
        *values : object
            Put into the message.
        """
        self._bar.clear()
        logger.info(text, *values)

    def _show(self) -> None:
        done = sum(self._counts.values())
        if not self._bar.disable:
            # Only what is trained here counts for the rate, and so for the remaining time.
            self._bar.initial = done - self._done_here
            self._bar.set_description_str(f"{len(self._finished)}/{len(self.names)} networks", refresh=False)
            self._bar.set_postfix_str(self._losses(), refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._line < LINE_EVERY or not self._done_here:
            return
        self._line = now
        rate = self._done_here / (now - self._begun)
        total = len(self.names) * self.most_epochs
        logger.info(
            "%d of %d networks, %.0f %% of the epochs: %s, %.3g epochs/s, about %s left.",
            len(self._finished),
            len(self.names),
            100 * done / total,
            self._losses(),
            rate,
            _duration((total - done) / rate),
        )

    def _losses(self) -> str:
        """Average the last losses of the networks under way."""
        if not self._latest:
            return ""
        text = f"loss {sum(row[1] for row in self._latest.values()) / len(self._latest):.5f}"
        held = [row[2] for row in self._latest.values() if row[2] is not None]
        return f"{text}, validation loss {sum(held) / len(held):.5f}" if held else text

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.jsonl"

    def _rewrite(self, name: str, history: Sequence[Row]) -> None:
        """Leave these epochs in the file: it may be behind the checkpoint, or ahead of it."""
        path = self._path(name)
        known = {(row.get("epoch"), row.get("loss")): row.get("seconds") for row in _read_lines(path)}
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
            for number, loss, held, _, terms in history:
                stream.write(_line((number, loss, held, known.get((number, loss)), terms)))

    def _close(self, name: str) -> None:
        for opened in (self._files, self._writers):
            if name in opened:
                opened.pop(name).close()


def _summary_writer() -> Any:
    """Import TensorBoard's writer, which takes PyTorch with it, only where it is wanted."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        logger.warning(
            "<tensorboard_directory> is given, but TensorBoard cannot be used (%s): there will be no event files. "
            "'pip install tensorboard' installs it. The .jsonl histories hold the same numbers.",
            error,
        )
        return None
    return SummaryWriter


def _line(row: Row) -> str:
    return json.dumps(dict(zip(("epoch", "loss", "validation_loss", "seconds", "terms"), row, strict=True))) + "\n"


def _read_lines(path: Path) -> list[Mapping[str, Any]]:
    """Read what is whole of a history; a killed run may have left half a line."""
    rows: list[Mapping[str, Any]] = []
    try:
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            row = json.loads(text)
            if isinstance(row, dict):
                rows.append(row)
    except (OSError, ValueError):
        pass
    return rows


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"
