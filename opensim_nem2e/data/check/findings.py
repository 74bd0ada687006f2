"""What the check says: findings with a severity and a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

#: From what cannot be used, over what gives wrong results, to what should be known.
SEVERITIES = ("error", "warning", "note")

#: What the log calls them.
LEVEL_OF = {"error": "error", "warning": "warn", "note": "info"}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Parameters
    ----------
    severity : {'error', 'warning', 'note'}
        error: it cannot be used. warning: results will be wrong or worse. note: to be known.
    code : str
        What kind of thing, one word for searching and filtering.
    where : str
        The file, or the trial and channel.
    what : str
        What was found, with its numbers.
    remedy : str
        What to do.
    """

    severity: str
    code: str
    where: str
    what: str
    remedy: str

    @property
    def line(self) -> str:
        """All of it on one line, with the log's word for the severity."""
        return f"[{LEVEL_OF[self.severity]}] {self.code}: {self.where}: {self.what} Remedy: {self.remedy}"


@dataclass
class Findings:
    """All findings of one examination; the same thing in many files is told once.

    Parameters
    ----------
    found : dict of tuple to list of Finding
        What was found so far, by what is told once.
    offsets : dict of int to float
        The time offsets of EMG that are proposed, by the row's line in the manifest (s).
    """

    found: dict[tuple[str, ...], list[Finding]] = field(default_factory=dict)
    offsets: dict[int, float] = field(default_factory=dict)

    def add(self, severity: str, code: str, where: str, what: str, remedy: str, *, same: str = "") -> None:
        """Add a finding.

        Parameters
        ----------
        severity, code, where, what, remedy : str
            As in :class:`Finding`; ``what`` loses its line breaks.
        same : str
            Findings of one severity and code that share this text are told as the first of them and their number. By
            default, ``where`` and ``what`` together.
        """
        finding = Finding(severity, code, where, " ".join(what.split()), remedy)
        key = (severity, code, same or f"{where}: {finding.what}")
        others = self.found.setdefault(key, [])
        if finding not in others:
            others.append(finding)

    def _told(self) -> list[Finding]:
        told = []
        for first, *others in self.found.values():
            more = f" (And {len(others)} more like this.)" if others else ""
            told.append(replace(first, what=first.what + more))
        return told

    def __iter__(self) -> Iterator[Finding]:
        """Give the findings, the most severe first, otherwise in the order in which they were made."""
        return iter(sorted(self._told(), key=lambda finding: SEVERITIES.index(finding.severity)))

    def __len__(self) -> int:
        """Count them."""
        return len(self.found)
