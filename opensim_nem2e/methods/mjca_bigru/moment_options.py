"""The options of PI-MJCA-BiGRU: the one place where its hyper-parameters are stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from ...options import Options, option

#: The sizes of the networks, by preset.
SIZES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": {
            "joint_units": 64,
            "integrated_units": 128,
            "recurrent_units": 128,
            "recurrent_layers": 2,
            "head": (128, 64),
        },
        "small": {
            "joint_units": 16,
            "integrated_units": 48,
            "recurrent_units": 32,
            "recurrent_layers": 1,
            "head": (32,),
        },
    }
)


@dataclass(frozen=True)
class MJCAOptions(Options):
    """How the network that estimates joint moments from a leg's motion is built and trained."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})

    architecture: Literal["auto", "kernel", "mlp", "kernel_mlp", "mjca_bigru", "bigru", "cnn_bigru"] = option(
        "kernel",
        "What learns the moments. kernel: kernel ridge regression on the motion at <lags>, in closed form; width, "
        "penalty and linear part are chosen on laboratories left out in turn (of one laboratory as by auto). mlp: a "
        "network of fully connected layers on the motion at <lags>. kernel_mlp: the mean of these two, for subjects of "
        "other laboratories. mjca_bigru: the paper's, cross-attention between joints and bidirectional gated recurrent "
        "units. bigru, cnn_bigru: its ablations, without attention and with convolutions in its place. auto: the one "
        "of these with the least error on training subjects that are left out in turn (of one subject trials, such as "
        "speeds; of one trial strides), which takes many times as long.",
    )
    network_size: Literal["small", "paper"] = option(
        "small", "Units of the recurrent networks. paper: 128 in each of two layers. small: 32 in one, far faster."
    )
    hidden_units: tuple[int, ...] = option(
        (96, 96), "Units of the layers of mlp and kernel_mlp.", bounds="[1, 10000]", list_size=(1, 8)
    )
    frames: Literal["all", "last"] = option(
        "all",
        "What a recurrent network is trained to put out. last: the last sample of every window, as in the paper, for "
        "use while the motion goes on. all: all samples that have <context> around them, for recorded motion; a "
        "twentieth of the cost.",
    )
    sampling_step: float = option(
        0.01, "From sample to sample of a window; motions are interpolated to it.", bounds="[0.001, 0.1]", unit="s"
    )
    window: float = option(
        0.2, "How much motion a recurrent network sees to put out the last sample.", unit="s", bounds="(0, 10]"
    )
    context: float = option(
        0.2,
        "For <frames> all: how much motion a recurrent network sees before and after the samples that it puts out; "
        "windows hold five times as much.",
        unit="s",
        bounds="(0, 2]",
    )
    lags: tuple[float, ...] = option(
        (0.0, 0.04, 0.08, 0.12, 0.16, 0.2),
        "How far back kernel, mlp and kernel_mlp see the motion. Negative: ahead, as is known of recorded motion only.",
        unit="s",
        bounds="[-2, 2]",
        list_size=(1, 100),
    )
    pelvis_inputs: tuple[Literal["pelvis_tilt", "pelvis_list", "pelvis_rotation"], ...] = option(
        (), "Coordinates of the pelvis that are inputs beside those of the leg."
    )
    bearing_inputs: bool = option(
        False,
        "Is what the leg would bear if it alone stood on the ground an input, too? It is found from how the whole body "
        "moves, so the motions must tell where the pelvis is, and models should have a trunk; not for use while the "
        "motion goes on.",
    )
    moment_joints: tuple[
        Literal["hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle", "subtalar_angle"], ...
    ] = option((), "Joints whose moments are estimated. Empty: all that any subject has.")
    body_inputs: bool = option(
        False,
        "Are body mass and the lengths of thigh and shank inputs, too? Moments are per mass and height anyway; of a "
        "dozen subjects a network learns to tell them apart by these numbers.",
    )
    epochs: int = option(60, "Passes through the training data.", bounds="[1, 1000000]")
    batch_size: int = option(64, "Windows per training step.", bounds="[1, 1000000]")
    learning_rate: float = option(0.003, "Step size of AdamW, which falls to a tenth (cosine).", bounds="(0, 1]")
    weight_decay: float = option(0.01, "Rate at which AdamW lets weights decay.", bounds="[0, 1]")
    dropout: float = option(0.1, "Share of values that are dropped between layers.", bounds="[0, 1)")
