"""Texts made fit for the names of files."""

from __future__ import annotations

import hashlib
import re


def file_name(text: str) -> str:
    """Make a text fit for a file's name, and keep texts that differ apart.

    Parameters
    ----------
    text : str
        Such as a subject's name.

    Returns
    -------
    str
        Letters, digits, points, hyphens and underscores.
    """
    plain = re.sub(r"[^A-Za-z0-9.-]", "_", text)[:60]
    # Some file systems take 'Ann' and 'ann' for the same.
    if plain == text == text.lower():
        return plain
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"
