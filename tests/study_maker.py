"""Makes the files of a cross-validation study without training: curves with known distortions, judged for real.

EMG is a burst per muscle that differs between subjects and cycles. OpenSim's curve is the same burst, too late and too
broad. The methods undo part of that; the mean profile is really the mean of the other subjects, so it is honest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from opensim_nem2e.evaluation.statistics import (
    compare_conditions,
    muscle_statistics,
    shortcut_statistics,
    subject_means,
)
from opensim_nem2e.methods.registry import find_method, method_style
from opensim_nem2e.signals.compare import (
    best_lags,
    burst_errors,
    correlations,
    cycle_errors,
    determinations,
    gain_errors,
    peak_errors,
    shift_cycles,
)

MUSCLES = (
    *("soleus", "gasmed", "gaslat", "tib", "rect", "vaslat", "vasmed", "bi", "sem", "semit"),
    *("glmax1", "glmax2", "glmax3", "glmed1", "glmed2", "glmed3"),
)
CONDITIONS = ("One-Quarter", "One-Entire", "All-Entire")
CYCLES = 3
SPEEDS = (1.0, 1.4)

#: How much of OpenSim's distortion a network takes away.
SKILL = {"One-Quarter": 0.15, "One-Entire": 0.45, "All-Entire": 0.6}


def make_study(
    folder: Path,
    name: str = "walking",
    muscles: Sequence[str] = MUSCLES[:5],
    conditions: Sequence[str] = CONDITIONS,
    people: int = 6,
    seeds: Sequence[int] = (0, 1),
) -> Path:
    """Write all files of a study; return its folder."""
    random = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"subject {k + 1}" for k in range(people)]
    rows = [(person, speed, k) for person in names for speed in SPEEDS for k in range(CYCLES)]
    cycles, curves, checks = [], [], []
    for place, muscle in enumerate(muscles):
        emg, opensim = _emg_and_opensim(random, place / max(len(muscles), 1), names, rows)
        who = np.array([person for person, _, _ in rows])
        mean = np.stack([emg[who != person].mean(axis=0) for person in who])
        for condition in conditions:
            for seed in seeds:
                better = {person: random.normal(0, 0.2) for person in names}
                skill = SKILL[condition] - 0.5 * (place % 3 == 2) + np.array([[better[person]] for person in who])
                found = {
                    "opensim": opensim,
                    "stdr_net": (1 - skill) * opensim + skill * emg + random.normal(0, 0.02, emg.shape),
                    "mean": mean,
                    "shift": shift_cycles(opensim, -0.06),
                    "ridge": 0.45 * opensim + 0.55 * mean,
                }
                head = pd.DataFrame(
                    {
                        "seed": seed,
                        "condition": condition,
                        "muscle": muscle,
                        "held_out": who,
                        "subject": who,
                        "dataset": np.where(np.isin(who, names[: people // 2]), "lab_a", "lab_b"),
                        "trial": [f"walk_{speed}" for _, speed, _ in rows],
                        "stride": [str(k) for _, _, k in rows],
                    }
                )
                duration = np.array([1.45 - 0.3 * speed for _, speed, _ in rows])
                for method, y in {"emg": emg, **found}.items():
                    curves.append(head.assign(method=method, **{f"y{k:02d}": y[:, k] for k in range(20)}))
                    if method == "emg":
                        continue
                    r, lag = best_lags(y, emg)
                    peaks = peak_errors(y, emg)
                    onsets, offsets = burst_errors(y, emg)
                    cycles.append(
                        head.assign(
                            motion="walk",
                            speed_m_s=[speed for _, speed, _ in rows],
                            side="r",
                            duration_s=duration,
                            method=method,
                            E=cycle_errors(y, emg),
                            E_gain=gain_errors(y, emg, who),
                            r=correlations(y, emg),
                            r_squared=correlations(y, emg) ** 2,
                            determination=determinations(y, emg),
                            peak_error_percent=100 * peaks,
                            peak_error_ms=1e3 * peaks * duration,
                            onset_error_ms=1e3 * onsets * duration,
                            offset_error_ms=1e3 * offsets * duration,
                            best_lag_r=r,
                            best_lag_percent=100 * lag,
                        )
                    )
                error = cycle_errors(found["stdr_net"], emg)
                worse = 1.5 + 0.2 * random.random(len(error))
                checks.append(
                    head.assign(
                        method="stdr_net", E=error, E_changed=worse * error, E_opensim=cycle_errors(opensim, emg)
                    )
                )
    table = pd.concat(cycles, ignore_index=True)
    subjects = subject_means(table)
    tables = {
        "cycles": table,
        "curves": pd.concat(curves, ignore_index=True),
        "losses": _losses(random, conditions, muscles, seeds, names),
        "statistics": muscle_statistics(subjects, table, ["stdr_net"]),
        "conditions": compare_conditions(subjects, "stdr_net"),
        "subjects": subjects,
    }
    for what, content in tables.items():
        content.to_csv(folder / f"{name}_{what}.csv", index=False, float_format="%.9g")
    np.savez(folder / f"{name}_attention.npz", **_attention(random, conditions, muscles))
    shortcut = shortcut_statistics(pd.concat(checks, ignore_index=True)).to_dict("records")
    study = _description(name, muscles, conditions, names, seeds, shortcut)
    (folder / f"{name}_study.json").write_text(json.dumps(study, indent=1), encoding="utf-8")
    return folder


def _emg_and_opensim(random, where, names, rows):
    phase = np.linspace(0, 1, 20)

    def burst(centre, width):
        away = (phase - centre + 0.5) % 1.0 - 0.5
        return np.exp(-0.5 * (away / width) ** 2)

    centres = {person: 0.1 + 0.8 * where + random.normal(0, 0.05) for person in names}
    emg, opensim = [], []
    for person, speed, _ in rows:
        centre = centres[person] + random.normal(0, 0.01)
        emg.append(0.05 + (0.6 + 0.2 * speed) * burst(centre, 0.07) + 0.01 * random.random(20))
        opensim.append(0.02 + 0.55 * speed * burst(centre + 0.06, 0.10) + 0.1 * burst(centre + 0.4, 0.05))
    return np.array(emg), np.array(opensim)


def _losses(random, conditions, muscles, seeds, names):
    tables = []
    for condition in conditions:
        for muscle in muscles:
            for seed in seeds:
                for person in names:
                    epochs = np.arange(1, 60 + random.integers(0, 20))
                    loss = 0.05 * np.exp(-epochs / 15) + 0.004 + 0.0005 * random.random(len(epochs))
                    tables.append(
                        pd.DataFrame(
                            {
                                "seed": seed,
                                "condition": condition,
                                "muscle": muscle,
                                "held_out": person,
                                "method": "stdr_net",
                                "epoch": epochs,
                                "loss": loss,
                                "validation_loss": 1.4 * loss + 0.01,
                            }
                        )
                    )
    return pd.concat(tables, ignore_index=True)


def _attention(random, conditions, muscles):
    arrays = {}
    inputs = [f"{side}:{muscle}" for muscle in MUSCLES for side in ("ipsi", "contra")]
    out, back = np.meshgrid(np.arange(20), np.arange(20), indexing="ij")
    for condition in conditions:
        for muscle in muscles:
            if condition == "All-Entire":
                scores = random.normal(0, 0.6, (1, len(inputs))) + np.cumsum(
                    random.normal(0, 0.25, (20, len(inputs))), axis=0
                )
                scores[:, inputs.index(f"ipsi:{muscle}")] += 1.5
                arrays[f"{condition}/{muscle}/inputs"] = np.array(inputs)
            else:
                scores = -0.5 * ((back - out - 1.5) / 3.0) ** 2
                arrays[f"{condition}/{muscle}/inputs"] = np.array([f"ipsi:{muscle}"])
            weights = np.exp(scores)
            arrays[f"{condition}/{muscle}"] = weights / weights.sum(axis=1, keepdims=True)
    return arrays


def _description(name, muscles, conditions, names, seeds, shortcut):
    data = {
        "datasets": ["lab_a", "lab_b"],
        "subjects": names,
        "motions": ["walk"],
        "activation_sources": ["cmc"],
        "cycles": {muscle: len(names) * len(SPEEDS) * CYCLES for muscle in muscles},
        "subjects_per_muscle": {muscle: len(names) for muscle in muscles},
        "notes": ["lab_a: 12 negative EMG values were set to zero."],
    }
    return {
        "tool": "STDRCrossValidateTool",
        "name": name,
        "seconds": 5025.4,
        "settings": {
            "results_directory": "results",
            "trials_file": "trials.csv",
            "conditions": list(conditions),
            "muscles": list(muscles),
            "preset": "fast",
            "epochs": 80,
            "hidden_units": 64,
            "batch_size": 16,
            "learning_rate": 0.001,
            "score_function": "general",
            "window_samples": 20,
            "emg_normalization": "subject_max",
            "use_emg_time_offset": True,
            "early_stopping_patience": 0,
            "seeds": list(seeds),
        },
        "conditions": list(conditions),
        "muscles": list(muscles),
        "subjects": names,
        "seeds": list(seeds),
        "splitting": {
            "name": "leave_one_subject_out",
            "meaning": "All cycles of one subject are left out at a time.",
            "judged": "on subjects they have not seen",
            "easier": False,
            "emg_scale": "EMG is divided by the maximum of its channel over the subject's own cycles.",
        },
        "judged": ["stdr_net"],
        "methods": {
            "opensim": "OpenSim",
            "stdr_net": "STDR-Net",
            "mean": "mean training EMG profile",
            "shift": "time shift learned on the training cycles",
            "ridge": "ridge regression on the same input",
        },
        "styles": {key: method_style(key) for key in ("opensim", "stdr_net", "mean", "shift", "ridge")},
        "citations": {"stdr_net": find_method("stdr_net").citation},
        "networks": len(conditions) * len(muscles) * len(seeds) * len(names),
        "data": {
            "description": "Healthy adults walking on a treadmill.",
            "licence": "CC-BY 4.0",
            "attribution": "Laboratories A & B <https://example.org>",
            "conditions": dict.fromkeys(conditions, data),
        },
        "band_coverage": {
            condition: {
                "stdr_net": {
                    "subjects": [
                        {"name": "s1", "subjects": 1, "coverage": 0.96, "width": 0.4},
                        {"name": "s2", "subjects": 1, "coverage": 0.86, "width": 0.5},
                    ]
                }
            }
            for condition in conditions
        },
        "shortcut_check": {
            "meaning": "The trained networks are given inputs of randomly changed frequency and phase.",
            "draws_per_cycle": 8,
            "frequency_factors": [0.5, 2.0],
            "phases": [0.0, 1.0],
            "muscles": shortcut,
            "folds": [],
        },
        "leak_check": "Before training, everything that is learned in a fold was computed twice.",
        "validation_loss": "of the cycles that are left out; recorded only, nothing hangs on it",
        "comparison_of_conditions": "Paired tests compare like with like.",
        "best_baseline": "The baseline with the lowest Er, OpenSim itself (Er = 0) among them.",
        "significance": "p < 0.05, two-sided, over subjects; not corrected for the number of muscles.",
        "packages": {"opensim_nem2e": "0.1.0", "python": "3.11.9", "numpy": "2.4.6", "torch": "2.13.0"},
        "reproducibility": {
            "tier": "same bits on the same machine",
            "meaning": "The same data and settings give the same tables.",
            "system": "Linux",
            "machine": "x86_64",
            "processor": "some processor",
            "threads": 1,
        },
    }
