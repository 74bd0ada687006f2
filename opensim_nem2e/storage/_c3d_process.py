"""The process that :mod:`opensim_nem2e.storage.c3d` reads a C3D file in: bytes in, arrays out."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

NOT_INSTALLED, NOT_READABLE, TOO_LARGE = 3, 4, 5


def main() -> int:
    """Read standard input and write arrays to standard output.

    Returns
    -------
    int
        0, or what went wrong; then the last line of standard error says it.
    """
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    output = os.fdopen(os.dup(1), "wb")
    # What a library prints must not get among the arrays.
    os.dup2(2, 1)
    try:
        import ezc3d
    except ImportError:
        return NOT_INSTALLED
    # Windows has none of these; the parent's patience is the limit there.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.c3d"
            path.write_bytes(sys.stdin.buffer.read())
            arrays = _arrays(ezc3d.c3d(str(path)))
    except MemoryError:
        return TOO_LARGE
    except Exception as error:  # whatever a damaged file makes ezc3d raise
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        return TOO_LARGE if "bad_alloc" in str(error) else NOT_READABLE
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    output.write(buffer.getvalue())
    output.close()
    return 0


def _arrays(file: Any) -> dict[str, Any]:
    analog = file["parameters"].get("ANALOG", {})
    plates = file["parameters"].get("FORCE_PLATFORM", {})
    points = file["header"]["points"]
    data = np.asarray(file["data"]["analogs"], dtype=float)
    return {
        "data": data[0] if data.ndim == 3 else np.zeros((0, 0)),
        "labels": np.array(_texts(analog, "LABELS"), dtype=str),
        "units": np.array(_texts(analog, "UNITS"), dtype=str),
        "plates": np.array([int(number) - 1 for number in np.ravel(_value(plates, "CHANNEL"))], dtype=int),
        "rate": float(np.ravel(_value(analog, "RATE") if len(_value(analog, "RATE")) else [0.0])[0]),
        "first_frame": int(points["first_frame"]),
        "frame_rate": float(points["frame_rate"]),
    }


def _texts(group: Any, name: str) -> list[str]:
    """Return a parameter of texts; C3D keeps more than 255 of them in others, called LABELS2, LABELS3, ..."""
    found = [str(text).strip() for text in _value(group, name)]
    number = 2
    while f"{name}{number}" in group:
        found += [str(text).strip() for text in _value(group, f"{name}{number}")]
        number += 1
    return found


def _value(group: Any, name: str) -> Any:
    return group[name]["value"] if name in group else []


if __name__ == "__main__":
    sys.exit(main())
