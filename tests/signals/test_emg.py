"""Envelopes: known ones are recovered, and the filters do what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensim_nem2e.errors import StorageError
from opensim_nem2e.signals.emg import (
    EnvelopeFilter,
    butterworth,
    channels_with_hum,
    channels_with_spikes,
    envelope,
    even_grid,
    is_raw,
    looks_raw,
    reference_amplitude,
    refuse_raw,
    resample,
    sampling_rate,
    share_above,
    why_raw,
)
from opensim_nem2e.storage import read_storage

RATE = 1000.0
TIME = np.arange(0.0, 20.0, 1.0 / RATE)


def bursts(time: np.ndarray, centre: float = 0.4, period: float = 1.0) -> np.ndarray:
    """A smooth burst per stride, 0.02 to 1."""
    distance = (time / period - centre + 0.5) % 1.0 - 0.5
    return 0.02 + 0.98 * np.exp(-((distance / 0.12) ** 2))


def test_a_modulated_carrier_gives_its_modulation_back():
    # |sin| has the mean 2/pi; what else it has lies at 240 Hz and above.
    shape = 0.5 + 0.4 * np.sin(2.0 * np.pi * 1.0 * TIME)
    found = envelope((shape * np.sin(2.0 * np.pi * 120.0 * TIME))[:, None], RATE)[:, 0]
    inner = (TIME > 1.0) & (TIME < 19.0)
    # The filter itself takes 1 Hz down by less than 0.1 %: (1/6)^4 / 2.
    assert found[inner] * np.pi / 2.0 == pytest.approx(shape[inner], abs=2e-3)


@pytest.mark.parametrize("rectification", ["full_wave", "rms"])
def test_envelopes_are_recovered_from_modulated_noise(rectification, raw_emg):
    shape = bursts(TIME)
    found = envelope(raw_emg(shape, RATE)[:, None], RATE, EnvelopeFilter(rectification=rectification))[:, 0]
    mean = found[1000:19000].reshape(-1, 1000).mean(axis=0)
    true = shape[1000:2000] * (np.sqrt(2.0 / np.pi) if rectification == "full_wave" else 1.0)
    # The mean of 18 strides. The low-pass filter takes the top off a burst 0.2 s wide: what is left must be the
    # filtered shape, within the noise (0.09 per stride and sqrt(18) less in their mean).
    expected = butterworth(np.tile(true, 5)[:, None], RATE, 6.0, "lowpass", padding="even")[2000:3000, 0]
    assert np.corrcoef(mean, expected)[0, 1] > 0.995
    assert np.abs(mean - expected).max() < 0.08
    # No phase shift: the burst's middle is where it was, within the noise (5 ms).
    middle = np.sum(mean[200:600] ** 2 * np.arange(200, 600)) / np.sum(mean[200:600] ** 2)
    assert middle == pytest.approx(400.0, abs=8.0)
    assert (found >= 0.0).all()


def test_artefacts_and_hum_are_removed(raw_emg):
    shape = bursts(TIME)
    clean = raw_emg(shape, RATE)
    dirty = clean + 3.0 * np.sin(2 * np.pi * 2.0 * TIME) + 5.0
    kept = envelope(clean[:, None], RATE)
    assert envelope(dirty[:, None], RATE) == pytest.approx(kept, abs=0.03)
    # Without the high-pass filter the artefact is all there is.
    bare = envelope(dirty[:, None], RATE, EnvelopeFilter(high_pass=None))
    assert np.abs(bare - kept).max() > 1.0

    hum = clean + 2.0 * np.sin(2 * np.pi * 50.0 * TIME)
    rest = slice(800, 19000)
    assert envelope(hum[:, None], RATE)[rest].min() > 0.5
    notched = envelope(hum[:, None], RATE, EnvelopeFilter(notches=(50.0,)))
    assert notched[rest] == pytest.approx(kept[rest], abs=0.15)
    assert notched[rest].min() < 0.1
    # Neither end keeps a piece of it, whatever its phase.
    for phase in (0.3, 1.2, 2.5):
        hum = clean + 2.0 * np.sin(2 * np.pi * 50.0 * TIME + phase)
        notched = envelope(hum[:, None], RATE, EnvelopeFilter(notches=(50.0,)))
        for end in (slice(0, 400), slice(-400, None)):
            assert notched[end] == pytest.approx(kept[end], abs=0.15)


@pytest.mark.parametrize("kind", ["lowpass", "highpass"])
@pytest.mark.parametrize(("corner", "order"), [(6.0, 4), (20.0, 4), (30.0, 2), (200.0, 4), (60.0, 8)])
def test_the_corner_is_where_both_runs_lose_3_db(kind, corner, order):
    wave = np.sin(2.0 * np.pi * corner * TIME)[:, None]
    found = butterworth(wave, RATE, corner, kind, order)[5000:15000, 0]
    assert np.sqrt(2.0) * found.std() == pytest.approx(np.sqrt(0.5), abs=2e-3)
    # In phase with what came in.
    assert np.corrcoef(found, wave[5000:15000, 0])[0, 1] > 0.9999


def test_band_pass():
    waves = np.stack([np.sin(2.0 * np.pi * f * TIME) for f in (5.0, 100.0, 450.0)], axis=1)
    settings = EnvelopeFilter(high_pass=30.0, band_end=300.0)
    found = envelope(waves, RATE, settings)[5000:15000].mean(axis=0)
    assert found[1] == pytest.approx(2.0 / np.pi, abs=0.03)
    assert found[0] < 0.03
    assert found[2] < 0.06
    assert envelope(waves, RATE, EnvelopeFilter(high_pass=30.0))[5000:15000].mean(axis=0)[2] > 0.6


def test_what_cannot_be_filtered_is_named():
    with pytest.raises(StorageError, match=r"below half the sampling rate \(50 Hz\), found 60 Hz"):
        envelope(np.zeros((1000, 1)), 100.0, EnvelopeFilter(high_pass=60.0))
    with pytest.raises(StorageError, match=r"longer than 0\.1\d+ s"):
        envelope(np.zeros((100, 1)), RATE)
    gap = np.zeros((1000, 2))
    gap[7, 1] = np.nan
    with pytest.raises(StorageError, match="a gap in channel 1, row 7"):
        envelope(gap, RATE)


def test_rate():
    # Written with four digits, 2000 Hz is uneven in the last one.
    assert sampling_rate(np.round(np.arange(4000) / 2000.0, 4)) == pytest.approx(2000.0)
    gap = np.delete(np.arange(1000) / RATE, slice(500, 520))
    with pytest.raises(StorageError, match="must be evenly sampled"):
        sampling_rate(gap)
    with pytest.raises(StorageError, match="two rows or more"):
        sampling_rate([0.0])


def test_raw_is_told_from_envelopes(raw_emg):
    shape = bursts(TIME)
    raw = raw_emg(shape, RATE)
    # As strong a movement artefact as the EMG itself leaves half of the power.
    artefact = raw + raw.std() * np.sqrt(2.0) * np.sin(2.0 * np.pi * 3.0 * TIME)
    assert share_above(artefact[:, None], RATE)[0] == pytest.approx(0.5, abs=0.05)
    assert looks_raw(raw[:, None] + 10.0, RATE)
    assert looks_raw(artefact[:, None], RATE)
    found = envelope(raw[:, None], RATE, EnvelopeFilter(low_pass=15.0))
    assert share_above(found, RATE)[0] < 0.01
    assert not looks_raw(found, RATE)
    # Half of the channels decide, from both sides.
    assert looks_raw(np.column_stack([raw, raw, found, raw]), RATE)
    assert not looks_raw(np.column_stack([raw, found, found, found]), RATE)
    assert not looks_raw(np.zeros((1000, 1)), RATE)
    assert not looks_raw(found, 40.0)


def test_what_the_baseline_does_makes_no_envelope_of_raw_emg(raw_emg):
    """A drift or step far above the EMG, all above zero: its spectrum and its sign are an envelope's."""
    raw = 1e-4 * raw_emg(bursts(TIME), RATE)
    settling = 0.5 * np.exp(-TIME / 3.0)
    step = np.where(TIME.mean() < TIME, 0.05, 0.0)
    for baseline in (0.01 * TIME, step, settling, 1.65 + 0.01 * np.sin(2 * np.pi * 0.3 * TIME)):
        assert looks_raw((raw + baseline)[:, None], RATE)
        assert "power above 20 Hz" in why_raw((raw + baseline)[:, None], RATE, ["calf"])
        assert not looks_raw(envelope(raw[:, None], RATE) + baseline[:, None], RATE)


def test_every_published_envelope_is_one(shared_data):
    files = [*shared_data.glob("*/*emg.sto"), shared_data / "walk_3d_example/electromyography.sto"]
    assert len(files) > 20
    for file in files:
        series = read_storage(file)
        shares = share_above(np.nan_to_num(series.data), sampling_rate(series.time))
        assert shares.max() < 0.01


@given(
    start=st.floats(-5.0, 50.0),
    duration=st.floats(0.1, 3.0),
    rate=st.sampled_from([50.0, 100.0, 200.0, 148.148]),
)
def test_grids_of_all_trials_agree(start, duration, rate):
    time = np.linspace(start, start + duration, 500)
    grid = even_grid(time, rate)
    assert grid[0] >= time[0] - 1e-9
    assert grid[-1] <= time[-1] + 1e-9
    assert grid[0] - time[0] < 1.0 / rate + 1e-9
    assert time[-1] - grid[-1] < 1.0 / rate + 1e-9
    assert np.allclose(grid * rate, np.round(grid * rate), atol=1e-6)


def test_resampling_is_linear_between_rows():
    time, values = resample([0.0, 0.1, 0.2], [[0.0], [1.0], [0.0]], 40.0)
    assert time == pytest.approx(np.arange(9) * 0.025)
    assert values[:, 0] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_what_is_neither_raw_nor_an_envelope_is_refused():
    time = np.arange(0.0, 4.0, 0.001)
    slow = np.column_stack([np.sin(2.0 * np.pi * time), np.abs(np.sin(np.pi * time))])
    assert not is_raw(slow[:, 1:], 1000.0, ["calf"])
    with pytest.raises(StorageError, match=r"below zero \(shin\)"):
        is_raw(slow, 1000.0, ["shin", "calf"])
    noise = np.random.default_rng(0).normal(size=(time.size, 1))
    assert is_raw(noise, 1000.0, ["calf"])


def test_channels_with_hum_are_those_that_no_notch_removes():
    time = np.arange(0.0, 4.0, 0.001)
    noise = np.random.default_rng(1).normal(size=(time.size, 2))
    noise[:, 1] += 2.0 * np.sin(2.0 * np.pi * 50.0 * time)
    found = channels_with_hum(noise, 1000.0, ["calf", "shin"])
    assert {mains: list(channels) for mains, channels in found.items()} == {50.0: ["shin"]}
    assert found[50.0]["shin"] == pytest.approx(2.0 / 3.0, abs=0.05)
    assert channels_with_hum(noise, 1000.0, ["calf", "shin"], [50.5]) == {}


def test_reference_amplitude_is_of_all_recordings_together():
    pieces = [np.array([0.0, 1.0, 2.0]), np.array([3.0, 4.0])]
    assert reference_amplitude(pieces) == 4.0
    assert reference_amplitude(pieces, 50.0) == 2.0


@pytest.mark.parametrize("kind", ["lowpass", "highpass"])
@pytest.mark.parametrize("padding", ["odd", "even"])
def test_the_filter_for_short_signals_is_scipys(monkeypatch, kind, padding):
    values = np.random.default_rng(3).normal(size=(300, 4)).cumsum(axis=0)
    short = butterworth(values, 200.0, 6.0, kind, padding=padding)
    monkeypatch.setattr("opensim_nem2e.signals.emg._FEW_ROWS", 0)
    np.testing.assert_allclose(short, butterworth(values, 200.0, 6.0, kind, padding=padding), atol=1e-10)


def test_raw_emg_is_told_from_envelopes(raw_emg):
    """The one test of all who take envelopes: spectrum, the half below zero, and both for a single channel."""
    time = np.arange(4000) / 2000.0
    shape = 0.02 + 0.5 * (1.0 + np.sin(2.0 * np.pi * time))
    raw = np.column_stack([raw_emg(shape, 2000.0, seed) for seed in range(3)])
    smooth = envelope(raw, 2000.0)
    names = ("a", "b", "c")
    assert why_raw(smooth, 2000.0, names) == ""
    # A filter that swings below zero by a tenth is a filter.
    assert why_raw(smooth - 0.1 * smooth.max(), 2000.0, names) == ""
    assert "power above 20 Hz" in why_raw(1e-3 * raw, 2000.0, names)
    assert "power above 20 Hz" in why_raw(np.abs(raw), 2000.0, names)
    # Too slow for a spectrum, but as much below zero as above.
    assert "far below zero: a, b, c" in why_raw(raw[::100], 20.0, names)
    # One channel that was forgotten.
    mixed = np.column_stack([smooth[:, :2], raw[:, 2]])
    assert "'c' have power above 20 Hz and go far below zero" in why_raw(mixed, 2000.0, names)
    # A dead channel's noise above zero, gaps and empty channels are another matter.
    rng = np.random.default_rng(0)
    odd = np.column_stack([smooth, 1e-4 * (3.0 + rng.normal(size=time.size)), np.full(time.size, np.nan)])
    odd[10:20, 0] = np.nan
    assert why_raw(odd, 2000.0, (*names, "dead", "empty")) == ""
    with pytest.raises(StorageError, match=r"emg\.sto: This is raw EMG, .* Make envelopes of it with EMGEnvelopeTool"):
        refuse_raw(time, raw, names, "emg.sto")
    refuse_raw(time, smooth, names, "emg.sto")
    refuse_raw(time[:1], raw[:1], names, "emg.sto")


def test_samples_that_stand_far_out_are_found(raw_emg):
    time = np.arange(0.0, 4.0, 0.001)
    burst = np.exp(-(((time - 2.0) / 0.1) ** 2)) + 0.01
    table = np.column_stack([raw_emg(burst, 1000.0), raw_emg(burst, 1000.0), 0.0 * time])
    assert channels_with_spikes(time, table, "abc") == {}
    table[500, 1] = 60.0 * np.abs(table[:, 1]).max()
    (label,) = found = channels_with_spikes(time, table, "abc")
    assert label == "b"
    assert found["b"][0] > 60.0
    assert found["b"][1] == pytest.approx(0.5)
