"""Read the analog channels of C3D files, in a process of its own.

C3D files are read by ezc3d (Michaud & Begon 2021, J. Open Source Softw. 6, 2911), which applies the file's scales and
offsets and puts the sub-frames of each video frame in line. A damaged file can make it run for ever, or end its process
without a word; a process of its own turns both into an error. What the file promises is compared with its size first.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError, MissingFileError, StorageError
from ..log import logger
from .emg_tables import check_channels, millivolts, start_of_cut
from .safe_xml import read_bytes
from .sto import TimeSeries

C3dStart = Literal["zero", "first_frame"]

#: The largest file that is read.
MAX_BYTES = 1024 * 1024 * 1024

#: What the process may take: computing time and memory, and more of them for each MB of the file. ezc3d reads 10 MB a
#: second, and takes 20 bytes per byte; Python and numpy take 130 MB.
_SECONDS, _SECONDS_PER_MB = 3, 1.0
_MEMORY, _MEMORY_PER_BYTE = 400 * 1024 * 1024, 60

#: On a machine that is busy, computing time passes slowly.
_PATIENCE = 20.0

_BLOCK = 512

#: What a channel that nothing was connected to is called.
_UNUSED = ("not_used", "not used", "unused", "notused")


def read_c3d(path: Path, start: C3dStart = "zero", channels: Collection[str] | None = None) -> TimeSeries:
    """Read the EMG of a C3D file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    start : {'zero', 'first_frame'}
        The time of its first sample.
    channels : collection of str, optional
        Channels that are EMG whatever their unit and number; all others are left out.

    Returns
    -------
    TimeSeries
        Voltages in mV. Channels of force plates, in other units, or not used, are left out.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        It is no C3D file, cut, or holds no EMG.
    """
    content = read_bytes(path, "C3D file", MAX_BYTES)
    _check_size(content, path)
    found = _read_apart(_with_whole_offsets(content), path)
    labels: list[str] = found["labels"].tolist()
    data: NDArray[np.float64] = found["data"]
    if not labels or not data.size:
        raise StorageError("The C3D file has no analog channels.", path)
    if len(labels) < len(data):
        labels += [f"channel {k + 1}" for k in range(len(labels), len(data))]
    units = found["units"].tolist()
    units += [""] * (len(labels) - len(units))
    factors = _emg_channels(labels[: len(data)], units, set(found["plates"].tolist()), channels, path)
    rate, frame_rate = float(found["rate"]), float(found["frame_rate"])
    if not rate > 0.0:
        raise StorageError(f"The rate of the analog channels must be positive; found {rate:g} Hz.", path)
    first = int(found["first_frame"])
    begin = start_of_cut(path, first + 1, first / frame_rate if frame_rate > 0.0 else 0.0, start) if first else 0.0
    values = np.column_stack([data[index] * factor for index, factor in factors.items()])
    if not np.isfinite(values).all():
        column = int(np.argmin(np.isfinite(values).all(axis=0)))
        raise StorageError(f"The channel '{labels[list(factors)[column]]}' must hold finite numbers.", path)
    return TimeSeries(
        time=np.arange(data.shape[1]) / rate + begin,
        labels=tuple(labels[index] for index in factors),
        data=values,
        path=path,
    )


def _emg_channels(
    labels: Sequence[str],
    units: Sequence[str],
    plates: set[int],
    channels: Collection[str] | None,
    path: Path,
) -> dict[int, float]:
    """Return the channels that are EMG with their factors to mV, and say which are not."""
    check_channels(channels, labels, path)
    factors: dict[int, float] = {}
    left_out: dict[str, list[str]] = {}
    no_units = not any(units)
    for index, label in enumerate(labels):
        unit = units[index]
        factor = millivolts(unit)
        if channels is not None:
            if label in channels:
                factors[index] = 1.0 if factor is None else factor
            else:
                left_out.setdefault("not among the channels asked for", []).append(label)
            continue
        if index in plates:
            left_out.setdefault("of force plates", []).append(label)
        elif any(word in label.lower() for word in _UNUSED):
            left_out.setdefault("not used", []).append(label)
        elif factor is None and not (no_units and label):
            left_out.setdefault(f"in {unit}" if unit else "without unit", []).append(label)
        else:
            factors[index] = 1.0 if factor is None else factor
    for reason, names in left_out.items():
        logger.info("%s: analog channels left out (%s): %s.", path, reason, ", ".join(names)[:1000])
    if not factors:
        listed = ", ".join(f"{label} ({unit or 'no unit'})" for label, unit in zip(labels, units, strict=False))
        raise StorageError(
            "An analog channel in V, mV or uV that is no force plate's is needed; found "
            f"{listed[:1000]}. A <channels_file> can name the channels that are EMG.",
            path,
        )
    if no_units and channels is None:
        logger.warning(
            "%s: its analog channels have no units; taken for mV: %s. A <channels_file> says which are EMG.",
            path,
            ", ".join(labels[index] for index in factors)[:1000],
        )
    names = [labels[index] for index in factors]
    for label in dict.fromkeys(names):
        if names.count(label) > 1:
            raise LabelError(f"The analog channel '{label}' appears {names.count(label)} times: rename them.", path)
    return factors


def _check_size(content: bytes, path: Path) -> None:
    """Compare what the header promises with the file's size."""
    if len(content) < 2 * _BLOCK or content[1] != 0x50 or not 1 < content[0] <= len(content) // _BLOCK:
        raise StorageError(
            "It cannot be read as a C3D file: it must begin with a header of 512 bytes, whose second is 80, and hold "
            f"the block of parameters that the first names; found {len(content)} bytes, beginning with "
            f"{content[:2].hex(' ')}.",
            path,
        )
    begin = (content[0] - 1) * _BLOCK
    blocks, processor = content[begin + 2 : begin + 4]
    if begin + blocks * _BLOCK > len(content):
        raise StorageError(
            f"The C3D file is cut: its parameters end at byte {begin + blocks * _BLOCK}, but it has {len(content)} "
            "bytes. Copy it again.",
            path,
        )
    order = ">" if processor == 86 else "<"
    points, analog, first, last = struct.unpack(f"{order}4H", content[2:10])
    start = struct.unpack(f"{order}H", content[16:18])[0]
    whole = processor != 85 and struct.unpack(f"{order}f", content[12:16])[0] > 0.0
    # Longer recordings keep the number of frames elsewhere.
    frames = last - first + 1
    if last == 0xFFFF or frames < 1 or start < 1 or processor not in (84, 86):
        return
    frame = (4 * points + analog) * (2 if whole else 4)
    there = len(content) - (start - 1) * _BLOCK
    # Some programs do not write the last block to its end.
    if frame and there < frames * frame - _BLOCK:
        raise StorageError(
            f"The C3D file is cut: its header promises {frames} frames of {frame} bytes, but it holds "
            f"{max(there, 0) // frame} of them ({len(content)} bytes). Copy it again.",
            path,
        )


def _with_whole_offsets(content: bytes) -> bytes:
    """Turn ``ANALOG:OFFSET`` of floats, which some programs write and ezc3d refuses, into whole numbers.

    Both take the place of the floats: as many numbers of two bytes, then a description of blanks that fills the rest.
    """
    begin = (content[0] - 1) * _BLOCK
    if content[begin + 3] != 84:
        return content
    end = min(begin + content[begin + 2] * _BLOCK, len(content)) if content[begin + 2] else len(content)
    groups: dict[int, bytes] = {}
    offsets: list[tuple[int, int, int]] = []
    position = begin + 4
    while position + 4 < end:
        count, group = struct.unpack("<bb", content[position : position + 2])
        count = abs(count)
        if not count or not group:
            break
        name = content[position + 2 : position + 2 + count].upper()
        link = position + 2 + count
        step = struct.unpack("<H", content[link : link + 2])[0] if link + 2 <= end else 0
        if group < 0:
            groups[-group] = name
        elif name == b"OFFSET":
            offsets.append((group, link, link + step))
        if step < 2:
            break
        position = link + step
    for group, link, behind in offsets:
        if groups.get(group) == b"ANALOG" and link + 4 <= len(content) and content[link + 2] == 4:
            return _offset_rewritten(content, link, behind)
    return content


def _offset_rewritten(content: bytes, link: int, behind: int) -> bytes:
    dimensions = content[link + 3]
    sizes = content[link + 4 : link + 4 + dimensions]
    at = link + 4 + dimensions
    count = int(np.prod(list(sizes))) if dimensions else 1
    if at + 4 * count + 1 > len(content) or behind < at + 4 * count:
        return content
    values = np.frombuffer(content, "<f4", count, at)
    whole = np.rint(values)
    if (
        not np.isfinite(values).all()
        or np.abs(whole).max(initial=0.0) > 32767
        or np.abs(values - whole).max(initial=0.0) > 1e-3
    ):
        return content
    filling = max(behind - (at + 2 * count) - 1, 0)
    changed = bytearray(content)
    changed[link + 2] = 2
    changed[at : at + 2 * count] = whole.astype("<i2").tobytes()
    changed[at + 2 * count] = min(filling, 255)
    changed[at + 2 * count + 1 : behind] = b" " * filling
    return bytes(changed)


def _read_apart(content: bytes, path: Path) -> Mapping[str, Any]:
    """Read a file in a process of its own, within limits of time and memory."""
    megabytes = len(content) / 1e6
    seconds = int(_SECONDS + _SECONDS_PER_MB * megabytes)
    memory = int(_MEMORY + _MEMORY_PER_BYTE * len(content))
    # What the process was loaded from must be found again, wherever it was imported from.
    places = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "opensim_nem2e.storage._c3d_process", str(seconds), str(memory)]
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=_PATIENCE * seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise StorageError(_stopped(f"{_PATIENCE * seconds:g} s"), path) from None
    except OSError as error:
        raise MissingFileError(f"{path}: no process could be started to read it: {error.strerror}.") from None
    if done.returncode == 0:
        return dict(np.load(io.BytesIO(done.stdout), allow_pickle=False))
    told = done.stderr.decode("utf-8", "replace").strip().splitlines()
    reason = told[-1][:300] if told else ""
    if done.returncode == 3:
        raise StorageError(
            'C3D files are read by ezc3d, which is not installed: pip install "opensim-nem2e[c3d]".', path
        )
    if done.returncode == 4:
        raise StorageError(f"It cannot be read as a C3D file: {reason}.", path)
    if done.returncode == 5 or "MemoryError" in reason or "bad_alloc" in reason:
        raise StorageError(f"It cannot be read as a C3D file: reading it took more than {memory >> 20} MB.", path)
    if done.returncode == -24:  # SIGXCPU
        raise StorageError(_stopped(f"{seconds} s of computing"), path)
    raise StorageError(
        f"It cannot be read as a C3D file: ezc3d ended with status {done.returncode}; the file is damaged.", path
    )


def _stopped(limit: str) -> str:
    return f"It cannot be read as a C3D file: reading was stopped after {limit}; the file is damaged."
