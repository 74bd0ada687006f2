"""C3D files as laboratories have them, and damaged ones."""

from __future__ import annotations

import logging
import struct
import time

import numpy as np
import pytest
from c3d_maker import write_c3d

from opensim_nem2e.errors import LabelError, StorageError
from opensim_nem2e.storage import c3d
from opensim_nem2e.storage.emg_files import read_emg

pytest.importorskip("ezc3d")

WAVE = np.sin(2.0 * np.pi * 0.06 * np.arange(500))
TWO = {"sol": ("V", 1e-3 * WAVE), "ta": ("V", 2e-3 * WAVE)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return write_c3d(tmp_path_factory.mktemp("c3d") / "a.c3d", TWO).read_bytes()


def saved(tmp_path, content):
    path = tmp_path / "a.c3d"
    path.write_bytes(content)
    return path


def with_float_offsets(content: bytes, values: tuple[float, float]) -> bytes:
    """Write ``ANALOG:OFFSET`` as floats: four bytes more, taken from the filling behind the parameters."""
    at = content.index(b"\x06\x02OFFSET") + 8
    step, kind, dimensions, count = struct.unpack("<Hbbb", content[at : at + 5])
    assert (kind, dimensions, count) == (2, 1, 2)
    end = (content[0] - 1 + content[(content[0] - 1) * 512 + 2]) * 512
    assert content[end - 4 : end] == bytes(4)
    changed = struct.pack("<Hbbb2f", step + 4, 4, 1, 2, *values)
    return content[:at] + changed + content[at + 9 : end - 4] + content[end:]


def test_offsets_of_floats(tmp_path, whole):
    series = read_emg(saved(tmp_path, with_float_offsets(whole, (0.0, 0.0))))
    assert series.labels == ("sol", "ta")
    assert series.data == pytest.approx(np.column_stack([WAVE, 2.0 * WAVE]), abs=1e-6)
    # Whole numbers of the converter, as in the standard: (value - offset) * scale, with a scale of 1 V.
    shifted = read_emg(saved(tmp_path, with_float_offsets(whole, (1.0, 0.0))))
    plain = read_emg(saved(tmp_path, whole.replace(*_whole_offset(whole, 1))))
    assert shifted.data == pytest.approx(plain.data)


def _whole_offset(content: bytes, value: int) -> tuple[bytes, bytes]:
    at = content.index(b"\x06\x02OFFSET") + 8
    old = content[at : at + 9]
    return old, old[:5] + struct.pack("<2h", value, 0)


def test_without_units(tmp_path, whole, caplog):
    path = saved(tmp_path, whole.replace(b"\x05\x02UNITS", b"\x05\x02UNITZ"))
    with caplog.at_level(logging.INFO, logger="opensim_nem2e"):
        series = read_emg(path)
    assert series.labels == ("sol", "ta")
    assert series.column("ta") == pytest.approx(2e-3 * WAVE, abs=1e-9)
    assert (
        "its analog channels have no units; taken for mV: sol, ta. A <channels_file> says which are EMG." in caplog.text
    )
    assert read_emg(path, channels=["ta"]).labels == ("ta",)


def test_more_channels_than_a_parameter_holds(tmp_path):
    """The standard has LABELS2 and so on for the 256th channel and those behind it."""
    channels = {f"ch{k}": ("V" if k == 290 else "N", k * 1e-3 * WAVE) for k in range(300)}
    series = read_emg(write_c3d(tmp_path / "a.c3d", channels))
    assert len(channels) > 255
    assert series.labels == ("ch290",)
    assert series.data[:, 0] == pytest.approx(290.0 * WAVE, rel=1e-5, abs=1e-3)


def test_channels_that_are_not_used(tmp_path, caplog):
    channels = {**TWO, **{f"Voltage.not_used{k}": ("V", 0.0 * WAVE) for k in range(3)}, "Fz": ("N", WAVE)}
    path = write_c3d(tmp_path / "a.c3d", channels)
    with caplog.at_level(logging.INFO, logger="opensim_nem2e"):
        assert read_emg(path).labels == ("sol", "ta")
    assert "left out (not used): Voltage.not_used0, Voltage.not_used1, Voltage.not_used2" in caplog.text
    assert "left out (in N): Fz" in caplog.text
    # Who asks for a channel gets it, whatever its unit.
    assert read_emg(path, channels=["Fz"]).labels == ("Fz",)
    with pytest.raises(StorageError, match="None of the channels of <channels_file>"):
        read_emg(path, channels=["SOL"])
    again = path.read_bytes().replace(b"Voltage.not_used1", b"Voltage.not_used0")
    assert read_emg(saved(tmp_path, again)).labels == ("sol", "ta")
    with pytest.raises(LabelError, match=r"'Voltage.not_used0' appears 2 times"):
        read_emg(tmp_path / "a.c3d", channels=["Voltage.not_used0"])


def test_cut_files(tmp_path, whole):
    """Wherever a file is cut, it is said, at once."""
    end = whole[0] * 512
    for size in (0, 1, 511, 824, 1024, end + 100, len(whole) - 1500, len(whole) // 2):
        begin = time.monotonic()
        with pytest.raises(StorageError, match=r"cut|cannot be read as a C3D file"):
            read_emg(saved(tmp_path, whole[:size]))
        assert time.monotonic() - begin < 5.0
    with pytest.raises(StorageError, match=r"promises 50 frames of 96 bytes, but it holds \d+ of them"):
        read_emg(saved(tmp_path, whole[:-1500]))


def test_a_file_that_ezc3d_never_finishes(tmp_path, whole, monkeypatch):
    """ezc3d looks for ever for the end of a parameter that is not there; the size tells before it is asked."""
    monkeypatch.setattr(c3d, "_check_size", lambda content, path: None)
    monkeypatch.setattr(c3d, "_SECONDS", 1)
    cut = whole[: whole.index(b"\x02FORMAT") + 4]
    begin = time.monotonic()
    with pytest.raises(StorageError, match="the file is damaged"):
        read_emg(saved(tmp_path, cut))
    assert time.monotonic() - begin < 20.0


def test_memory_is_limited(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(c3d, "_MEMORY", 150 * 1024 * 1024)
    big = {f"ch{k}": ("V", np.tile(WAVE, 160)) for k in range(60)}
    monkeypatch.setattr(c3d, "_MEMORY_PER_BYTE", 0)
    with pytest.raises(StorageError, match="took more than 150 MB"):
        read_emg(write_c3d(tmp_path / "a.c3d", big))


def test_damaged_bytes_are_one_error_or_a_file(tmp_path, whole):
    """Whatever byte of the parameters is wrong, the process lives, and says what it found."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        changed = bytearray(whole)
        changed[int(rng.integers(516, whole[0] * 512))] = int(rng.integers(256))
        try:
            series = read_emg(saved(tmp_path, bytes(changed)))
        except StorageError:
            continue
        assert np.isfinite(series.data).all()
