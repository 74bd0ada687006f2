"""'EMG' of the virtual cohort: the simulated activations, distorted in a known way, with the noise of a measurement.

=================  ====================================================================================================
case               what the EMG is
=================  ====================================================================================================
none               the simulated activation itself
delay              OpenSim's activation follows the EMG by 75 ms (as found in running by Hamner and Delp 2013,
                   doi:10.1016/j.jbiomech.2012.11.024), a little more or less in each person (`DELAY_SD`)
redistribution     most of every muscle's effort belongs to its synergists, in fixed shares (`SYNERGISTS`, `SHARES`)
both               the redistribution, then the delay
=================  ====================================================================================================

In every case the EMG is measured with the same kind of noise (`noisy`).
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd

from opensim_nem2e.data.manifest import CHANNEL_COLUMNS, TRIAL_COLUMNS
from opensim_nem2e.storage import TimeSeries, write_storage

#: Name of the cohort in the manifests.
DATASET = "virtual_cohort"

CASES = ("none", "delay", "redistribution", "both")

#: How far OpenSim's activation is behind the EMG, s: mean over people and standard deviation between them.
DELAY, DELAY_SD = 0.075, 0.008
#: Muscles that share a joint and have EMG. Within such a group effort is moved, not made: the sum of the activations
#: stays the same at every instant.
SYNERGISTS = (
    ("soleus", "gasmed", "gaslat"),
    ("recfem", "vaslat", "vasmed"),
    ("glmax1", "bflh", "semimem"),
)
#: EMG of a muscle, as shares of the simulated activations of its group: its own, the next one's, the one after's.
#: Every muscle's effort is handed on in the same shares.
SHARES = (0.3, 0.5, 0.2)
#: EMG channels: model muscle without side, and its standard name. The tibialis anterior has no synergist.
CHANNELS = {
    "soleus": "soleus",
    "gasmed": "gasmed",
    "gaslat": "gaslat",
    "recfem": "rect",
    "vaslat": "vaslat",
    "vasmed": "vasmed",
    "glmax1": "glmax1",
    "bflh": "bi",
    "semimem": "sem",
    "tibant": "tib",
}
#: Noise of an EMG envelope: relative standard deviation of its slow fluctuation, the highest frequency of that (Hz),
#: and standard deviation of what is there without any activity.
FLUCTUATION, FLUCTUATION_HZ, BASELINE = 0.10, 6.0, 0.005


def mixing(names: list[str]) -> np.ndarray:
    """Weights of the redistribution.

    Parameters
    ----------
    names : list of str
        Muscles without side.

    Returns
    -------
    ndarray, shape (muscles, muscles)
        EMG of a muscle (row) from the activations of all (columns). Rows and columns add to one.
    """
    matrix = np.eye(len(names))
    for group in SYNERGISTS:
        rows = [names.index(name) for name in group]
        matrix[np.ix_(rows, rows)] = sum(share * np.roll(np.eye(3), k, axis=1) for k, share in enumerate(SHARES))
    return matrix


def delay_of(subject: str, seed: int) -> float:
    """How far a person's activations are behind their EMG.

    Parameters
    ----------
    subject : str
        The person.
    seed : int
        Seed of the EMG.

    Returns
    -------
    float
        The delay, s.
    """
    return DELAY + DELAY_SD * float(np.random.default_rng([seed, crc32(subject.encode())]).standard_normal())


def distort(activation: np.ndarray, names: list[str], case: str, delay_percent: float) -> np.ndarray:
    """Turn the activations of a gait cycle into noise-free EMG.

    Parameters
    ----------
    activation : ndarray, shape (101, muscles)
        At every per cent of the cycle.
    names : list of str
        The muscles, without side.
    case : {'none', 'delay', 'redistribution', 'both'}
        The distortion.
    delay_percent : float
        The delay, per cent of the cycle.

    Returns
    -------
    ndarray, shape (101, muscles)
        The EMG, in the unit of the activation.
    """
    emg = activation
    if case in ("redistribution", "both"):
        emg = emg @ mixing(names).T
    if case in ("delay", "both"):
        percent = np.arange(101)
        # The gait is periodic: what a cycle needs of the next one is its own beginning.
        emg = np.stack([np.interp(percent + delay_percent, percent, column, period=100) for column in emg.T], axis=1)
    return emg


def noisy(emg: np.ndarray, period: float, rng: np.random.Generator) -> np.ndarray:
    """Measure EMG: the envelope fluctuates slowly, and is never quite silent.

    Parameters
    ----------
    emg : ndarray, shape (101, channels)
        Noise-free EMG.
    period : float
        Duration of the gait cycle, s.
    rng : numpy.random.Generator
        Where the noise comes from.

    Returns
    -------
    ndarray, shape (101, channels)
        What is measured; not negative.
    """
    orders = np.arange(1, int(FLUCTUATION_HZ * period) + 1)
    angle = 2 * np.pi * np.arange(101)[:, None] / 100 * orders
    waves = np.hstack([np.cos(angle), np.sin(angle)]) / np.sqrt(len(orders))
    slow = waves @ rng.standard_normal((2 * len(orders), emg.shape[1]))
    silent = np.abs(rng.standard_normal(emg.shape))
    return np.maximum(emg * (1 + FLUCTUATION * slow), 0.0) + BASELINE * silent


def write_cases(table: pd.DataFrame, folder: Path, seed: int = 1) -> None:
    """Write activations, EMG and manifests of all cases.

    Parameters
    ----------
    table : pandas.DataFrame
        The cohort (see `make_cohort.py`).
    folder : Path
        Where to write: ``activations/`` for all cases, and one folder per case with ``trials.csv`` and
        ``emg_channels.csv``.
    seed : int
        Seed of noise and delays.
    """
    columns = {side: [name for name in table.columns if name.endswith(f"_{side}")] for side in "rl"}
    names = [name.removesuffix("_r") for name in columns["r"]]
    channels = [names.index(name) for name in CHANNELS]
    labels = tuple(columns[side][index] for side in "rl" for index in channels)
    muscles = columns["r"] + columns["l"]
    (folder / "activations").mkdir(parents=True, exist_ok=True)
    for case in CASES:
        (folder / case / "emg").mkdir(parents=True, exist_ok=True)
    trials = []
    for (subject, pace, stride), cycle in table.groupby(["subject", "pace", "stride"], sort=False):
        name, period = f"{subject}_{pace}{stride}", float(cycle["period_s"].iloc[0])
        time = period * cycle["percent"].to_numpy() / 100
        activation_file = f"activations/{name}_StaticOptimization_activation.sto"
        write_storage(folder / activation_file, TimeSeries(time, tuple(muscles), cycle[muscles].to_numpy(), name))
        delay_percent = 100 * delay_of(subject, seed) / period
        for case in CASES:
            # The same noise in all cases: their results differ by the distortion only.
            rng = np.random.default_rng([seed, crc32(name.encode())])
            legs = [distort(cycle[columns[side]].to_numpy(), names, case, delay_percent)[:, channels] for side in "rl"]
            emg = noisy(np.hstack(legs), period, rng)
            write_storage(folder / case / "emg" / f"{name}_emg.sto", TimeSeries(time, labels, emg, f"{name}_emg"))
        for side in "rl":
            trials.append(
                {
                    "dataset": DATASET,
                    "subject": subject,
                    "trial": pace,
                    "stride": stride,
                    "motion": "walk",
                    "speed_m_s": cycle["speed_m_s"].iloc[0],
                    "side": side,
                    "activation_file": f"../{activation_file}",
                    "activation_source": "so",
                    "emg_file": f"emg/{name}_emg.sto",
                    "t_start": 0.0,
                    "t_end": period,
                    # The left foot strikes half a cycle later; the left leg's cycle is put together from both halves.
                    "heel_strike_t": period / 2 if side == "l" else None,
                }
            )
    rows = [
        (DATASET, f"{muscle}_{side}", f"{muscle}_{side}", standard)
        for side in "rl"
        for muscle, standard in CHANNELS.items()
    ]
    for case in CASES:
        pd.DataFrame(trials).reindex(columns=TRIAL_COLUMNS).to_csv(folder / case / "trials.csv", index=False)
        pd.DataFrame(rows, columns=CHANNEL_COLUMNS).to_csv(folder / case / "emg_channels.csv", index=False)
