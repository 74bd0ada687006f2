"""STDR-Net, the sequence-to-sequence network with attention of the NEM2E paper, in PyTorch.

Source: NEM2E paper, section 3.1.2 and figure 2; attention of Luong, Pham and Manning 2015 (EMNLP, pp. 1412-1421),
global attention, ``dot`` and ``general`` scores.

This module is for training. Refining uses the NumPy twin, :mod:`opensim_nem2e.methods.stdr.forward`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .forward import Score, Variant


class STDRNet(nn.Module):
    """One network: OpenSim's activations of a cycle in, the EMG of one target muscle out.

    An LSTM encoder reads the input sequence and hands its last state to an LSTM decoder of ``samples`` steps. The
    decoder's step s is fed the EMG value of step s - 1 (0 at the start): the measured one under teacher forcing, its
    own output when running free. With decoder state h and context c (attention-weighted sum of encoder states) the
    output is ``y = Ws tanh(Wc [c; h])``.

    Parameters
    ----------
    variant : {'temporal', 'spatial'}
        ``temporal``: one encoder step per sample, its features are the input muscles (one in the paper); attention is
        over samples. ``spatial``: one encoder step per muscle, its features are the muscle's samples; attention
        is over muscles.
    inputs : int
        Number of input muscles.
    samples : int
        Samples of a window, in and out.
    hidden : int
        Units of the encoder and of the decoder.
    score : {'dot', 'general'}
        How a decoder state h and an encoder state e are compared: ``h . e`` or ``h . (Wa e)``.
    """

    def __init__(
        self, variant: Variant, inputs: int = 1, samples: int = 20, hidden: int = 700, score: Score = "general"
    ):
        super().__init__()
        self.variant = variant
        self.inputs = inputs
        self.samples = samples
        self.hidden = hidden
        self.score = score
        self.encoder = nn.LSTM(samples if variant == "spatial" else inputs, hidden, batch_first=True)
        self.decoder = nn.LSTM(1, hidden, batch_first=True)
        self.attention = nn.Linear(hidden, hidden, bias=False) if score == "general" else None
        self.combine = nn.Linear(2 * hidden, hidden, bias=False)
        self.output = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Refine a batch of windows.

        Parameters
        ----------
        x : Tensor, shape (batch, samples, inputs)
            OpenSim's activations.
        target : Tensor, shape (batch, samples), optional
            Measured EMG for teacher forcing; without it the decoder runs free.

        Returns
        -------
        y : Tensor, shape (batch, samples)
            The estimate of the EMG.
        weights : Tensor, shape (batch, samples, encoder steps)
            Attention weights; each row sums to one. Encoder steps are samples or muscles.
        """
        memory, state = self.encoder(x.transpose(1, 2) if self.variant == "spatial" else x)
        keys = memory if self.attention is None else self.attention(memory)
        if target is not None:
            # The decoder's inputs are all known beforehand, so its steps are one call and the attention of all steps
            # is one batched product: the same mathematics as step by step, at less than half the time.
            previous = torch.nn.functional.pad(target[:, :-1], (1, 0)).unsqueeze(2)
            states, _ = self.decoder(previous, state)
            y, weights = self._attend(states, memory, keys)
            return y.squeeze(2), weights
        return self._run_free(memory, keys, state)

    def _attend(self, states: Tensor, memory: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.softmax(states @ keys.transpose(1, 2), dim=2)
        context = weights @ memory
        return self.output(torch.tanh(self.combine(torch.cat((context, states), dim=2)))), weights

    def _run_free(self, memory: Tensor, keys: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden, cell = (part.squeeze(0) for part in state)
        previous = memory.new_zeros(memory.shape[0], 1)
        outputs, weights = [], []
        for _ in range(self.samples):
            hidden, cell = torch.lstm_cell(previous, (hidden, cell), *self.decoder.all_weights[0])
            y, attention = self._attend(hidden.unsqueeze(1), memory, keys)
            previous = y.squeeze(1)
            outputs.append(previous)
            weights.append(attention)
        return torch.cat(outputs, dim=1), torch.cat(weights, dim=1)
