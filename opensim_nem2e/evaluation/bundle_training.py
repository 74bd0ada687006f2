"""All networks of a training: those of the bundle, and those that show what is gained for people they have not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from ..data.gait_cycles import TargetData
from ..methods.bundle import Network
from ..methods.stdr.fit_linear import LinearFit
from ..methods.stdr.method import (
    Plan,
    Recipe,
    SubjectErrors,
    count_weights,
    fit_linear_parts,
    plan_target,
    subject_errors,
)
from ..storage.file_names import file_name
from ..training.jobs import Job
from ..training.task import Task, Trained


@dataclass
class Study:
    """The networks to train, and what has come of them.

    Parameters
    ----------
    train_sets : mapping of str to TargetData
        What the bundle's networks are trained on, by target muscle.
    held_out : mapping of str to TargetData
        Cycles of people that no network is trained on; may be empty ones.
    recipe : Recipe
        How networks are trained.
    leave_one_out : bool
        Train networks without each subject in turn, too, where there are at least two.
    """

    train_sets: Mapping[str, TargetData]
    held_out: Mapping[str, TargetData]
    recipe: Recipe
    leave_one_out: bool = False
    jobs: list[Job] = field(init=False, default_factory=list)
    #: The largest number of epochs of a network; known once the study was checked.
    most_epochs: int = field(init=False, default=0)
    _linear: dict[str | None, Mapping[str, LinearFit]] = field(init=False, default_factory=dict)
    _networks: dict[str, Network] = field(init=False, default_factory=dict)
    _trained: dict[str, Trained] = field(init=False, default_factory=dict)
    _held_out_errors: dict[str, list[SubjectErrors]] = field(init=False, default_factory=dict)
    _left_out_errors: dict[str, list[SubjectErrors]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for target, data in self.train_sets.items():
            self.jobs.append(Job(target, partial(self._task, data), partial(self._keep, target, data)))
            subjects = list(dict.fromkeys(data.subjects.tolist())) if self.leave_one_out else []
            for subject in subjects if len(subjects) > 1 else []:
                name = f"{file_name(target)}_without_{file_name(subject)}"
                task, done = partial(self._task, data, subject), partial(self._judge, name, data, subject)
                self.jobs.append(Job(name, task, done))

    def check(self) -> None:
        """Prepare every training once, so that what is wrong with one is known before the first.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            See :func:`opensim_nem2e.methods.stdr.method.plan_target`.
        """
        for job in self.jobs:
            self.most_epochs = max(self.most_epochs, job.task().most_epochs)

    @property
    def weights(self) -> int:
        """Weights of the largest network."""
        return max(count_weights(self.recipe, len(data.inputs)) for data in self.train_sets.values())

    @property
    def networks(self) -> dict[str, Network]:
        """The finished networks of the bundle, in the order of the targets."""
        return {target: self._networks[target] for target in self.train_sets if target in self._networks}

    @property
    def trained(self) -> dict[str, Trained]:
        """Their loss histories, in the same order."""
        return {target: self._trained[target] for target in self.train_sets if target in self._trained}

    @property
    def errors(self) -> dict[str, list[SubjectErrors]]:
        """Errors on unseen people by method, in the order of targets and subjects."""
        methods = {"leave_one_subject_out": self._left_out_errors, "held_out": self._held_out_errors}
        return {
            method: [item for job in self.jobs for item in found.get(job.name, ())] for method, found in methods.items()
        }

    def _plan(self, data: TargetData, left_out: str | None = None) -> Plan:
        """Prepare the network of a target from its cycles without the subject that is left out."""
        if left_out not in self._linear:
            # What networks correct is fitted once for all targets, which share a part of it.
            without = [] if left_out is None else [left_out]
            sets = {target: other.leave_out(without)[0] for target, other in self.train_sets.items()}
            self._linear[left_out] = fit_linear_parts(sets, self.recipe)
        return plan_target(data, self.recipe, self._linear[left_out].get(data.target))

    def _task(self, data: TargetData, left_out: str | None = None) -> Task:
        if left_out is not None:
            data, _ = data.leave_out([left_out])
        return self._plan(data, left_out).task

    def _keep(self, target: str, data: TargetData, trained: Trained) -> None:
        network = self._plan(data).network(trained)
        self._networks[target], self._trained[target] = network, trained
        if self.held_out[target].trials:
            self._held_out_errors[target] = subject_errors(data, self.held_out[target], network, self.recipe)

    def _judge(self, name: str, data: TargetData, left_out: str, trained: Trained) -> None:
        train, test = data.leave_out([left_out])
        network = self._plan(train, left_out).network(trained)
        self._left_out_errors[name] = subject_errors(train, test, network, self.recipe)
