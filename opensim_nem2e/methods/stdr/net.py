"""STDR-Net, the sequence-to-sequence network with attention of the NEM2E paper, in PyTorch.

Source: NEM2E paper, section 3.1.2 and figure 2; attention of Luong, Pham and Manning 2015 (EMNLP, pp. 1412-1421),
global attention, ``dot`` and ``general`` scores.

This module is for training. Refining uses the NumPy twin, :mod:`opensim_nem2e.methods.stdr.forward`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import TrainingError
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
    teacher_forcing : float
        Share of the training steps in which the decoder is fed the measured EMG (0: always its own output, 1: never).
    """

    batched = True

    def __init__(
        self,
        variant: Variant,
        inputs: int = 1,
        samples: int = 20,
        hidden: int = 700,
        score: Score = "general",
        teacher_forcing: float = 1.0,
    ):
        super().__init__()
        self.variant = variant
        self.inputs = inputs
        self.samples = samples
        self.hidden = hidden
        self.score = score
        self.teacher_forcing = teacher_forcing
        #: Whether it is computed under ``torch.func.vmap``, which has no rule for nn.LSTM: it is stepped then.
        self.stacked = False
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
        return self._decode(x, target, target is not None)

    def loss_terms(self, batch: Mapping[str, Tensor], draw: float) -> dict[str, Tensor]:
        """Compute the squared error, teacher-forced in as many steps as ``teacher_forcing`` says.

        Parameters
        ----------
        batch : mapping of str to Tensor
            ``x``, shape (windows, samples, inputs): activations; ``y``, shape (windows, samples): EMG. Normalised.
        draw : float
            From 0 (included) to 1 (excluded); below ``teacher_forcing`` the decoder is fed the measured EMG.

        Returns
        -------
        dict of str to Tensor
            ``emg``: the mean squared error.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            Shapes do not fit the network.
        """
        share = self.teacher_forcing
        return self._error(batch, draw < share if 0 < share < 1 else share >= 1)

    def held_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the squared error when running free.

        Parameters
        ----------
        batch : mapping of str to Tensor
            As in :meth:`loss_terms`.

        Returns
        -------
        dict of str to Tensor
            ``emg``: the mean squared error.

        Raises
        ------
        opensim_nem2e.errors.TrainingError
            Shapes do not fit the network.
        """
        return self._error(batch, False)

    def _error(self, batch: Mapping[str, Tensor], forced: bool | Tensor) -> dict[str, Tensor]:
        x, y = batch["x"], batch["y"]
        if x.dim() != 3 or x.shape[1:] != (self.samples, self.inputs) or y.shape != x.shape[:2]:
            raise TrainingError(
                f"The data of this network must be activations x (windows, {self.samples} samples, {self.inputs} "
                f"inputs) with EMG y (windows, {self.samples} samples); found {tuple(x.shape)} and {tuple(y.shape)}."
            )
        return {"emg": functional.mse_loss(self._decode(x, y, forced)[0], y)}

    def _decode(self, x: Tensor, target: Tensor | None, forced: bool | Tensor) -> tuple[Tensor, Tensor]:
        memory, state = self._run(self.encoder, x.transpose(1, 2) if self.variant == "spatial" else x)
        keys = memory if self.attention is None else self.attention(memory)
        if forced is not True:
            return self._run_free(memory, keys, state, target, forced)
        assert target is not None
        # The decoder's inputs are all known beforehand, so its steps are one call and the attention of all steps is
        # one batched product: the same mathematics as step by step, at less than half the time.
        previous = functional.pad(target[:, :-1], (1, 0)).unsqueeze(2)
        states, _ = self._run(self.decoder, previous, state)
        y, weights = self._attend(states, memory, keys)
        return y.squeeze(2), weights

    def _run(
        self, lstm: nn.LSTM, sequence: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if not self.stacked:
            outputs: tuple[Tensor, tuple[Tensor, Tensor]] = lstm(sequence, state)
            return outputs
        if state is None:
            zeros = sequence.new_zeros(1, sequence.shape[0], self.hidden)
            state = zeros, zeros
        states = []
        hidden, cell = state[0].squeeze(0), state[1].squeeze(0)
        for step in range(sequence.shape[1]):
            hidden, cell = self._cell(lstm, sequence[:, step], (hidden, cell))
            states.append(hidden)
        return torch.stack(states, dim=1), (hidden.unsqueeze(0), cell.unsqueeze(0))

    def _cell(self, lstm: nn.LSTM, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if not self.stacked:
            return torch.lstm_cell(x, state, *lstm.all_weights[0])
        # Written out: the fused cell of a graphics card has no rule for vmap either.
        from_input, from_state, input_bias, state_bias = lstm.all_weights[0]
        gates = functional.linear(x, from_input, input_bias) + functional.linear(state[0], from_state, state_bias)
        enter, forget, new, leave = gates.chunk(4, dim=1)
        cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(new)
        return torch.sigmoid(leave) * torch.tanh(cell), cell

    def _attend(self, states: Tensor, memory: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.softmax(states @ keys.transpose(1, 2), dim=2)
        context = weights @ memory
        return self.output(torch.tanh(self.combine(torch.cat((context, states), dim=2)))), weights

    def _run_free(
        self,
        memory: Tensor,
        keys: Tensor,
        state: tuple[Tensor, Tensor],
        target: Tensor | None,
        forced: bool | Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode step by step; where many networks are computed together, some of them may be forced."""
        hidden, cell = (part.squeeze(0) for part in state)
        previous = memory.new_zeros(memory.shape[0], 1)
        outputs, weights = [], []
        for step in range(self.samples):
            hidden, cell = self._cell(self.decoder, previous, (hidden, cell))
            y, attention = self._attend(hidden.unsqueeze(1), memory, keys)
            outputs.append(y.squeeze(1))
            weights.append(attention)
            previous = outputs[-1]
            if isinstance(forced, Tensor) and target is not None:
                previous = torch.where(forced, target[:, step : step + 1], previous)
        return torch.cat(outputs, dim=1), torch.cat(weights, dim=1)
