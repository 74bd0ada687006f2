"""Presets: the settings of a training that need not be given one by one.

The one table from which a training takes them, and from which the comments of the setup files are written. A setting is
named as its property is. To add one: a row in each preset here, its property beside the others in
:mod:`opensim_nem2e.tools.training_properties`, and its field in
:class:`opensim_nem2e.training.task.TrainingSettings` or :class:`opensim_nem2e.methods.stdr.method.Recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Setting = int | float | str


@dataclass(frozen=True)
class Preset:
    """A set of settings that go together.

    Parameters
    ----------
    meaning : str
        What it is for, in words that follow "preset:".
    settings : mapping of str to int, float or str
        By property name; all presets name the same.
    """

    meaning: str
    settings: Mapping[str, Setting]


#: All presets by name.
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        # NEM2E paper, section 3.2.1; where it is silent (learning rate, score, decoder input) the usual choice.
        "paper": Preset(
            "as in the NEM2E paper; a network takes hours",
            MappingProxyType(
                {
                    "hidden_units": 700,
                    "score_function": "general",
                    "network_output": "emg",
                    "correction_weight": 1.0,
                    "teacher_forcing": 1.0,
                    "epochs": 700,
                    "batch_size": 1,
                    "learning_rate": 0.001,
                    "weight_decay": 0.0,
                    "gradient_clip": 0.0,
                    "early_stopping_patience": 0,
                }
            ),
        ),
        "fast": Preset(
            "small networks for few people; a network takes seconds",
            MappingProxyType(
                {
                    "hidden_units": 16,
                    "score_function": "general",
                    "network_output": "correction",
                    "correction_weight": 0.25,
                    "teacher_forcing": 1.0,
                    "epochs": 20,
                    "batch_size": 16,
                    "learning_rate": 0.003,
                    "weight_decay": 0.0,
                    "gradient_clip": 0.0,
                    "early_stopping_patience": 0,
                }
            ),
        ),
    }
)

#: The preset that is used when none is named.
DEFAULT_PRESET = "fast"


def in_words(setting: str) -> str:
    """Say what a setting is in each preset.

    Parameters
    ----------
    setting : str
        A setting's name.

    Returns
    -------
    str
        Such as ``paper 700, fast 64``.
    """
    return ", ".join(f"{name} {_shown(preset.settings[setting])}" for name, preset in PRESETS.items())


def _shown(value: Setting) -> str:
    return value if isinstance(value, str) else f"{value:g}"
