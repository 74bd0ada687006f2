"""Splitting data by subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray


class _Rows(Protocol):
    @property
    def subjects(self: S) -> NDArray[np.str_]: ...

    def select(self: S, rows: NDArray[np.bool_]) -> S: ...


S = TypeVar("S", bound=_Rows)


class SplitBySubject:
    """What has rows of subjects (``subjects``) and can take some of them (``select``) can leave subjects out."""

    def leave_out(self: S, subjects: Iterable[str]) -> tuple[S, S]:
        """Split by subject.

        Parameters
        ----------
        subjects : iterable of str
            Who is left out.

        Returns
        -------
        rest, left_out : the same class
            Everyone else, and these subjects.
        """
        out = np.isin(self.subjects, list(subjects))
        return self.select(~out), self.select(out)

    def folds(self: S) -> Iterator[tuple[str, S, S]]:
        """Leave one subject out at a time.

        Yields
        ------
        subject : str
            Who is left out.
        rest, left_out : the same class
            Everyone else, and this subject.
        """
        for subject in dict.fromkeys(self.subjects.tolist()):
            out = self.subjects == subject
            yield subject, self.select(~out), self.select(out)
