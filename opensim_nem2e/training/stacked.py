"""Train many networks of the same shape at once, on one processor or one graphics card.

What is computed for a network is what :mod:`opensim_nem2e.training.engine` computes: the same first weights, the same
windows in the same order, the same gradients and Adam, up to rounding. Only the products run over all networks
together (:mod:`opensim_nem2e.networks.stacked_net`). Networks may differ in their data, in the number of their windows,
in their seeds and in when they stop: each has its own epochs, and when it is finished its place goes to the next.

On a graphics card a step is hundreds of short computations, and starting them would take longer than they do. So it is
recorded once as a CUDA graph and replayed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import TrainingError
from ..networks.stacked_net import Pass, StackedNet
from ..networks.stdr_net import STDRNet
from .engine import adam_step, check_data
from .progress import Progress
from .settings import Epoch, State, Task, Trained, TrainingSettings

# Numbers that a pass keeps per window, encoder or decoder step, and hidden unit; counted in stacked_net.
_PASS_NUMBERS = 26
# Rows of weights: the weights, their gradients, Adam's two, and the best so far.
_ROWS = 5
_MEMORY_SHARE = 0.8
_WARM_UPS = 3


@dataclass
class _Member:
    """A network in its place."""

    key: Hashable
    task: Task
    progress: Progress


class _Recording:
    """Work on fixed memory, recorded on the graphics card and replayed.

    The work must give the same result however often it is done, wait for nothing, and draw nothing at random. What a
    library sets up when it is first used belongs to a stream and must not be recorded: so the work is done a few times
    before, on the very stream that records.
    """

    def __init__(self, work: Callable[[], None], device: torch.device):
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream(device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            work()

    def __call__(self) -> None:
        self.graph.replay()


def shape_of(task: Task) -> Hashable:
    """Say what networks must have in common to be trained together.

    Parameters
    ----------
    task : Task
        A training.

    Returns
    -------
    hashable
        Equal for trainings that differ only in their data, seeds, and when they stop.
    """
    settings = dataclasses.replace(task.settings, seed=0, epochs=0, patience=0, threads=1)
    return task.variant, task.x.shape[1:], settings


def places_on(device: torch.device | str, task: Task, count: int) -> int:
    """Choose how many networks are trained at once.

    Parameters
    ----------
    device : torch.device or str
        Where.
    task : Task
        One of them.
    count : int
        How many there are.

    Returns
    -------
    int
        At least 1, at most ``count``, and on a graphics card as many as its free memory holds.
    """
    if torch.device(device).type != "cuda":
        return count
    _, samples, inputs = task.x.shape
    settings = task.settings
    weights = StackedNet(task.variant, inputs, samples, settings.hidden, settings.score, device="meta").flat.shape[1]
    steps = samples + (inputs if task.variant == "spatial" else samples)
    held = 0 if task.held is None else len(task.held[0])
    windows = min(settings.batch_size, len(task.x)) + held
    numbers = _ROWS * weights + _PASS_NUMBERS * windows * steps * settings.hidden
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(count, int(_MEMORY_SHARE * free / (4 * numbers))))


class Stack:
    """Places for networks of one shape.

    Parameters
    ----------
    like : Task
        A training of the shape (:func:`shape_of`).
    places : int
        For how many networks.
    device : torch.device or str
        Where they are computed.
    dtype : torch.dtype
        Of all numbers; networks are trained in float32, tests compare in float64.
    on_epoch : callable, optional
        Told the key and the epoch of every network as it ends one.
    """

    def __init__(
        self,
        like: Task,
        places: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        on_epoch: Callable[[Any, Epoch], None] | None = None,
    ):
        self.shape = shape_of(like)
        self.settings: TrainingSettings = like.settings
        self.device = torch.device(device)
        self.on_epoch = on_epoch
        self._samples, self._inputs = like.x.shape[1:]
        self.net = StackedNet(
            like.variant, self._inputs, self._samples, self.settings.hidden, self.settings.score, places, dtype, device
        )
        self._members: list[_Member | None] = [None] * places
        self._means, self._squares = torch.zeros_like(self.net.flat), torch.zeros_like(self.net.flat)
        self._adam_steps = torch.zeros(places, device=self.device)
        self._best: torch.Tensor | None = None
        self._totals = torch.zeros(places, dtype=torch.float64, device=self.device)
        self._counts = torch.ones_like(self._totals)
        self._x = self.net.flat.new_zeros((places, 0, self._samples, self._inputs))
        self._y = self.net.flat.new_zeros((places, 0, self._samples))
        self._batch = 0
        self._runs: dict[bool, tuple[Pass, Callable[[], None]]] = {}
        self._held: Pass | None = None

    @property
    def keys(self) -> list[Any]:
        """The networks under way."""
        return [member.key for member in self._members if member is not None]

    @property
    def has_room(self) -> bool:
        """Whether there is a free place."""
        return None in self._members

    def add(self, key: Hashable, task: Task, state: State | None = None) -> None:
        """Give a network a place.

        Parameters
        ----------
        key : hashable
            What it is called.
        task : Task
            Its training, of the shape of this stack.
        state : State, optional
            Where its training was left, by this engine or the other.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            There are no data, shapes do not match, or values are not finite.
        """
        check_data(task)
        place = self._members.index(None)
        progress = Progress(task.settings, len(task.x))
        weights = self.net.split(self.net.flat[place])
        if state is None:
            for name, first in self._first_weights(task).items():
                weights[name].copy_(first)
            self._means[place] = 0
            self._squares[place] = 0
            self._adam_steps[place] = 0
            self._totals[place] = 0
        else:
            progress.restore(state)
            for part, rows in (("weights", self.net.flat), ("mean", self._means), ("square", self._squares)):
                for name, value in self.net.split(rows[place]).items():
                    value.copy_(torch.from_numpy(np.array(state.arrays[f"{part}.{name}"])))
            self._adam_steps[place] = float(next(v for n, v in state.arrays.items() if n.startswith("adam_steps.")))
            self._totals[place] = state.numbers["total"]
            for name, best in state.arrays.items():
                if name.startswith("best."):
                    self.net.split(self._best_rows()[place])[name[5:]].copy_(torch.from_numpy(np.array(best)))
        self._take_data(place, task)
        self._members[place] = _Member(key, task, progress)

    def advance(self) -> dict[Any, Trained | TrainingError]:
        """Do one step of every network.

        Returns
        -------
        dict of hashable to Trained or TrainingError
            Those that are finished with it, or whose training diverged. They have left their places.
        """
        # A network may have been taken up right at the end of an epoch.
        finished = self._end_epochs()
        if any(member is not None for member in self._members):
            self._step()
            finished |= self._end_epochs()
        return finished

    def state(self, key: Hashable) -> State:
        """Copy what the rest of a network's training depends on.

        Parameters
        ----------
        key : hashable
            Which.

        Returns
        -------
        State
            Also for :func:`opensim_nem2e.training.engine.train`.
        """
        place, member = next(
            (place, member) for place, member in enumerate(self._members) if member is not None and member.key == key
        )
        arrays: dict[str, NDArray[Any]] = {}
        for part, rows in (("weights", self.net.flat), ("mean", self._means), ("square", self._squares)):
            arrays |= self._arrays(rows[place], f"{part}.")
        steps = self._adam_steps[place].cpu().numpy()
        arrays |= {f"adam_steps.{name}": steps.copy() for name in self.net.weights}
        if member.progress.best_epoch:
            arrays |= self._arrays(self._best_rows()[place], "best.")
        return member.progress.state(arrays, float(self._totals[place]))

    def _first_weights(self, task: Task) -> Mapping[str, torch.Tensor]:
        if task.initial is not None:
            return {name: torch.from_numpy(np.array(value)) for name, value in task.initial.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.settings.seed)
            net = STDRNet(task.variant, self._inputs, self._samples, self.settings.hidden, self.settings.score)
        return net.state_dict()

    def _arrays(self, row: torch.Tensor, prefix: str = "") -> dict[str, NDArray[Any]]:
        return {f"{prefix}{name}": value.numpy().copy() for name, value in self.net.split(row.cpu()).items()}

    def _best_rows(self) -> torch.Tensor:
        if self._best is None:
            self._best = torch.zeros_like(self.net.flat)
        return self._best

    def _take_data(self, place: int, task: Task) -> None:
        count = len(task.x)
        if count > self._x.shape[1]:
            more = count - self._x.shape[1]
            self._x = torch.nn.functional.pad(self._x, (0, 0, 0, 0, 0, more))
            self._y = torch.nn.functional.pad(self._y, (0, 0, 0, more))
        self._x[place, :count] = torch.from_numpy(np.ascontiguousarray(task.x)).to(self._x)
        self._y[place, :count] = torch.from_numpy(np.ascontiguousarray(task.y)).to(self._y)
        if min(self.settings.batch_size, count) > self._batch:
            self._batch = min(self.settings.batch_size, count)
            self._runs.clear()
        if task.held is not None:
            x, y = (torch.from_numpy(np.ascontiguousarray(values)) for values in task.held)
            if self._held is None or len(x) > self._held.batch:
                before, self._held = self._held, Pass(self.net, len(x), learns=False, free=True)
                if before is not None:
                    for name in ("x", "target", "share"):
                        getattr(self._held, name)[:, : before.batch] = getattr(before, name)
            self._held.fill(place, x.to(self._x), y.to(self._y))
        elif self._held is not None:
            self._held.share[place] = 0

    def _run(self, free: bool) -> tuple[Pass, Callable[[], None]]:
        """Return the pass for steps of which some, or none, run free, and what computes its gradients."""
        if free not in self._runs:
            made = Pass(self.net, self._batch, free=free)

            def work() -> None:
                made.forward()
                made.backward()

            self._runs[free] = made, (_Recording(work, self.device) if self.device.type == "cuda" else work)
        return self._runs[free]

    def _step(self) -> None:
        places = [place for place, member in enumerate(self._members) if member is not None]
        rows = torch.zeros(len(self._members), self._batch, dtype=torch.long)
        share = torch.zeros(len(self._members), self._batch, 1)
        forced, counts = torch.ones(len(self._members), 1), torch.zeros(len(self._members), dtype=torch.float64)
        for place in places:
            member = self._members[place]
            assert member is not None
            step = member.progress.step()
            count = step.rows.numel()
            rows[place, :count] = step.rows
            share[place, :count] = 1 / count
            counts[place] = count
            forced[place] = float(step.forced)
        rows += torch.arange(len(self._members))[:, None] * self._x.shape[1]
        run, compute = self._run(free=not bool(forced.all()))
        where = rows.to(self.device)
        run.x.copy_(self._x.flatten(0, 1)[where])
        run.target.copy_(self._y.flatten(0, 1)[where])
        run.share.copy_(share)
        run.forced.copy_(forced)
        compute()
        self._totals.addcmul_(run.loss.double(), counts.to(self.device))
        gradients = self.net.gradient
        if self.settings.gradient_clip:
            norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
            gradients.mul_((self.settings.gradient_clip / (norms + 1e-6)).clamp(max=1))
        tensors = (self.net.flat, gradients, self._means, self._squares, self._adam_steps)
        weights, their_gradients, means, squares, steps = ([rows[place] for place in places] for rows in tensors)
        adam_step(weights, their_gradients, means, squares, steps, self.settings)

    def _end_epochs(self) -> dict[Any, Trained | TrainingError]:
        ended = [
            (place, member)
            for place, member in enumerate(self._members)
            if member is not None and member.progress.epoch_is_complete
        ]
        if not ended:
            return {}
        totals = self._totals.tolist()
        held: list[float] = []
        if self._held is not None and any(member.task.held is not None for _, member in ended):
            self._held.forward()
            held = self._held.loss.tolist()
        finished: dict[Any, Trained | TrainingError] = {}
        for place, member in ended:
            try:
                is_best = member.progress.end_epoch(totals[place], None if member.task.held is None else held[place])
            except TrainingError as error:
                finished[member.key] = error
                self._members[place] = None
                continue
            self._totals[place] = 0
            if is_best:
                self._best_rows()[place] = self.net.flat[place]
            if self.on_epoch is not None:
                self.on_epoch(member.key, member.progress.history[-1])
            if member.progress.is_over:
                finished[member.key] = self._leave(place, member)
        return finished

    def _leave(self, place: int, member: _Member) -> Trained:
        history, best = tuple(member.progress.history), member.progress.best_epoch
        self._members[place] = None
        weights = self._arrays((self._best_rows() if best else self.net.flat)[place])
        return Trained(weights, history, best or len(history))


def train_stacked(
    tasks: Sequence[Task],
    device: torch.device | str = "cpu",
    places: int | None = None,
    on_epoch: Callable[[int, Epoch], None] | None = None,
) -> list[Trained]:
    """Train networks of the same shape together, without checkpoints.

    Parameters
    ----------
    tasks : sequence of Task
        The trainings.
    device : torch.device or str
        Where.
    places : int, optional
        How many at once; by default as many as there are and fit.
    on_epoch : callable, optional
        Told the number of the task and the epoch that ended.

    Returns
    -------
    list of Trained
        The networks, in the order of the tasks.

    Raises
    ------
    opensim_nem2e.errors.TrainingError
        Shapes differ, data are missing or not finite, or a training diverged.
    """
    if len({shape_of(task) for task in tasks}) != 1:
        raise TrainingError("Networks that are trained together must have the same shape and settings.")
    stack = Stack(tasks[0], places or places_on(device, tasks[0], len(tasks)), device, on_epoch=on_epoch)
    waiting = list(enumerate(tasks))[::-1]
    found: dict[int, Trained] = {}
    while len(found) < len(tasks):
        while waiting and stack.has_room:
            stack.add(*waiting.pop())
        for key, result in stack.advance().items():
            if isinstance(result, TrainingError):
                raise result
            found[key] = result
    return [found[k] for k in range(len(tasks))]
