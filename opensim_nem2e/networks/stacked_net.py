"""STDR-Nets of the same shape, computed together: outputs and gradients by hand, without autograd.

The networks, their gradients and all intermediate values lie in fixed memory, and every product serves all networks
at once (``baddbmm``). The mathematics is that of :class:`opensim_nem2e.networks.stdr_net.STDRNet`, which the tests
compare; what is gained over autograd:

- the gradient of a recurrent matrix is one product over all time steps, where autograd adds up one outer product per
  step and so reads and writes the matrix's gradient anew at each;
- what of the backward pass does not depend on later steps is computed for all steps at once;
- nothing is allocated, so that a graphics processor can record a step once and replay it (CUDA graphs).

Backpropagation through time: Werbos 1990 (Proc. IEEE 78, 1550-1560); LSTM equations and the order of the gates
(input, forget, cell, output) are those of ``torch.nn.LSTM``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .conditions import Score, Variant
from .forward import weight_shapes

# Every weight begins at a multiple of so many numbers (64 bytes), as memory that PyTorch allocates does.
_ALIGNMENT = 16


class StackedNet:
    """Networks of the same shape with their gradients.

    Parameters
    ----------
    variant : {'temporal', 'spatial'}
        Over what the networks attend.
    inputs : int
        Number of input muscles.
    samples : int
        Samples of a window, in and out.
    hidden : int
        Units of the encoder and of the decoder.
    score : {'dot', 'general'}
        Luong's score function.
    networks : int
        How many networks.
    dtype : torch.dtype
        Of all numbers.
    device : torch.device or str
        Where they are.

    Attributes
    ----------
    flat : Tensor, shape (networks, numbers)
        All weights of a network in one row, each beginning on a 64-byte border; what lies between them stays zero.
    gradient : Tensor, shape (networks, numbers)
        The same for the gradient.
    weights, gradients : dict of str to Tensor, shape (networks, ...)
        Views of these by PyTorch's names.
    """

    def __init__(
        self,
        variant: Variant,
        inputs: int,
        samples: int,
        hidden: int,
        score: Score,
        networks: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self.variant, self.inputs, self.samples, self.hidden, self.score = variant, inputs, samples, hidden, score
        self.networks = networks
        shapes = weight_shapes(variant, inputs, samples, hidden, score)
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        size = 0
        for name, shape in shapes.items():
            self._places[name] = (size, shape)
            size += -(-math.prod(shape) // _ALIGNMENT) * _ALIGNMENT
        self.flat = torch.zeros(networks, size, dtype=dtype, device=device)
        self.gradient = torch.zeros_like(self.flat)
        self.weights = self.split(self.flat)
        self.gradients = self.split(self.gradient)

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """Name the parts of rows that are laid out as the weights are.

        Parameters
        ----------
        rows : Tensor, shape (..., numbers)
            Such as :attr:`flat`, or one row of it.

        Returns
        -------
        dict of str to Tensor, shape (..., *weight's shape)
            Views by PyTorch's names.
        """
        return {
            name: rows[..., start : start + math.prod(shape)].unflatten(-1, shape)
            for name, (start, shape) in self._places.items()
        }


class _Layer:
    """One recurrent layer and the values of its last pass; step k makes row k + 1 of ``h`` from row k of the inputs."""

    def __init__(self, net: StackedNet, name: str, batch: int, steps: int, learns: bool):
        # Of the encoder, the state before the first step is zero.
        self.from_zero = name == "encoder"
        weights, gradients = net.weights, net.gradients
        self.w_in, self.w_rec = (weights[f"{name}.weight_{part}_l0"] for part in ("ih", "hh"))
        self.b_in, self.b_rec = (weights[f"{name}.bias_{part}_l0"] for part in ("ih", "hh"))
        self.g_in, self.g_rec = (gradients[f"{name}.weight_{part}_l0"] for part in ("ih", "hh"))
        self.g_biases = [gradients[f"{name}.bias_{part}_l0"] for part in ("ih", "hh")]
        self.w_in_t, self.w_rec_t = self.w_in.transpose(1, 2), self.w_rec.transpose(1, 2)
        count, hidden, features = net.networks, net.hidden, self.w_in.shape[2]

        def zeros(*shape: int) -> Tensor:
            return net.flat.new_zeros(shape)

        self.steps = steps
        rows = steps + 1
        self.bias = zeros(count, 1, 4 * hidden)
        self.x = zeros(count, batch, rows, features)
        self.gates = zeros(count, batch, rows, 4 * hidden)
        self.h, self.c, self.tanh_c = (zeros(count, batch, rows, hidden) for _ in range(3))
        self.all_x, self.all_gates, self.all_h = (a.flatten(1, 2) for a in (self.x, self.gates, self.h))
        self._forward = []
        for k in range(steps):
            z = self.gates[:, :, k]
            i, f, g, o = z.split(hidden, dim=2)
            now = [a[:, :, k] for a in (self.h, self.c)]
            new = [a[:, :, k + 1] for a in (self.c, self.tanh_c, self.h)]
            self._forward.append((z, z[..., : 2 * hidden], i, f, g, o, *now, *new))
        if not learns:
            return
        self.factors = zeros(count, batch, rows, 4 * hidden)
        self.cell_factor = zeros(count, batch, rows, hidden)
        self.d_gates = zeros(count, batch, rows, 4 * hidden)
        self.d_h = zeros(count, batch, rows, hidden)
        self.d_c = zeros(count, batch, hidden)
        self.all_d_gates, self.all_d_h = self.d_gates.flatten(1, 2), self.d_h.flatten(1, 2)
        self._backward = []
        for k in range(steps):
            factors, d_gates = (a[:, :, k].unflatten(2, (4, hidden)) for a in (self.factors, self.d_gates))
            self._backward.append(
                (
                    self.d_h[:, :, k + 1],
                    self.cell_factor[:, :, k],
                    factors[:, :, :3],
                    d_gates[:, :, :3],
                    factors[:, :, 3],
                    d_gates[:, :, 3],
                    self.gates[:, :, k, hidden : 2 * hidden],
                    self.d_h[:, :, k],
                    self.d_gates[:, :, k],
                )
            )

    def prepare(self) -> None:
        """Add the biases; once per pass."""
        torch.add(self.b_in, self.b_rec, out=self.bias[:, 0])

    def project(self) -> None:
        """Multiply the inputs of all steps with their weights."""
        torch.baddbmm(self.bias, self.all_x, self.w_in_t, out=self.all_gates)

    def project_one(self, k: int) -> None:
        """Do so for one step, for an input of one feature."""
        torch.addcmul(self.bias, self.x[:, :, k], self.w_in_t, out=self._forward[k][0])

    def step(self, k: int) -> None:
        """Do a step whose inputs are projected."""
        z, i_f, i, f, g, o, h, c, c_new, tanh_c, h_new = self._forward[k]
        if k or not self.from_zero:
            z.baddbmm_(h, self.w_rec_t)
        i_f.sigmoid_()
        g.tanh_()
        o.sigmoid_()
        torch.mul(f, c, out=c_new)
        c_new.addcmul_(i, g)
        torch.tanh(c_new, out=tanh_c)
        torch.mul(o, tanh_c, out=h_new)

    def prepare_backward(self) -> None:
        """Compute, for all steps at once, what turns the gradients of cells and outputs into those of the gates."""
        i, _, g, o = self.gates.split(self.h.shape[3], dim=3)
        d_i, d_f, d_g, d_o = self.factors.split(self.h.shape[3], dim=3)
        # The derivatives s (1 - s) of the sigmoids and 1 - t^2 of the hyperbolic tangents.
        torch.addcmul(self.gates, self.gates, self.gates, value=-1, out=self.factors)
        d_i.mul_(g)
        d_f.mul_(self.c)
        torch.mul(g, g, out=d_g)
        torch.addcmul(i, i, d_g, value=-1, out=d_g)
        tanh_c = self.tanh_c[:, :, 1:]
        d_o[:, :, :-1].mul_(tanh_c)
        inner = self.cell_factor[:, :, :-1]
        torch.mul(tanh_c, tanh_c, out=inner)
        torch.addcmul(o[:, :, :-1], o[:, :, :-1], inner, value=-1, out=inner)
        self.d_c.zero_()
        self.d_h.zero_()

    def step_backward(self, k: int) -> None:
        """Turn the gradient of step k's output, in row k + 1 of ``d_h``, into that of its gates; add to row k."""
        d_h, cell_factor, factors, d_gates, factor_o, d_o, f, d_h_before, d_z = self._backward[k]
        self.d_c.addcmul_(d_h, cell_factor)
        torch.mul(factors, self.d_c.unsqueeze(2), out=d_gates)
        torch.mul(factor_o, d_h, out=d_o)
        self.d_c.mul_(f)
        if k or not self.from_zero:
            d_h_before.baddbmm_(d_z, self.w_rec)

    def finish_backward(self) -> None:
        """Take the gradients of the weights from those of the gates, whose last row is always zero."""
        d_gates = self.all_d_gates.transpose(1, 2)
        torch.bmm(d_gates, self.all_x, out=self.g_in)
        torch.bmm(d_gates, self.all_h, out=self.g_rec)
        torch.sum(self.all_d_gates, dim=1, out=self.g_biases[0])
        self.g_biases[1].copy_(self.g_biases[0])


class _Readout:
    """The way from the decoder's states at some samples to the EMG there, and back."""

    def __init__(self, run: Pass, at: slice):
        count, batch, hidden = run.net.networks, run.batch, run.net.hidden

        def per_window(values: Tensor) -> Tensor:
            return values.view(count * batch, -1, values.shape[3])

        def per_network(values: Tensor) -> Tensor:
            return values.view(count, -1, values.shape[3])

        self.run = run
        self.memory, self.keys_t = run.memory, run.keys.transpose(1, 2)
        self.states, self.attention = run.states[:, at], run.attention[:, at]
        both = run.both[:, :, at]
        context, self.copy = both.split(hidden, dim=3)
        self.context, self.both = per_window(context), per_network(both)
        self.state = run.decoder.h[:, :, 1:][:, :, at]
        combined = run.combined[:, :, at]
        self.combined, self.y = per_network(combined), per_network(run.y[:, :, at].unsqueeze(3))
        if run.learns:
            self.d_y, self.slope = run.d_y[:, :, at].unsqueeze(3), run.slope[:, :, at]
            self.d_combined = run.d_combined[:, :, at]
            self.all_d_combined = per_network(self.d_combined)
            d_both = run.d_both[:, :, at]
            d_context, d_copy = d_both.split(hidden, dim=3)
            self.d_both, self.d_context, self.d_copy = per_network(d_both), per_window(d_context), per_window(d_copy)
            self.d_attention, self.d_scores = run.d_attention[:, at], run.d_scores[:, at]
            self.d_states, self.memory_t = run.d_states[:, at], run.memory.transpose(1, 2)

    def forward(self) -> None:
        torch.bmm(self.states, self.keys_t, out=self.attention)
        # Not with out=: the CUDA kernel writes as if that were contiguous.
        self.attention.copy_(torch.softmax(self.attention, dim=2))
        torch.bmm(self.attention, self.memory, out=self.context)
        self.copy.copy_(self.state)
        torch.bmm(self.both, self.run.w_combine.transpose(1, 2), out=self.combined)
        self.combined.tanh_()
        torch.bmm(self.combined, self.run.w_out.transpose(1, 2), out=self.y)

    def backward(self) -> None:
        torch.mul(self.slope, self.d_y, out=self.d_combined)
        torch.bmm(self.all_d_combined, self.run.w_combine, out=self.d_both)
        torch.bmm(self.d_context, self.memory_t, out=self.d_attention)
        # The derivative of softmax: a (d - sum(a d)).
        torch.mul(self.attention, self.d_attention, out=self.d_scores)
        self.d_scores.addcmul_(self.attention, self.d_scores.sum(dim=2, keepdim=True), value=-1)
        self.d_states.add_(self.d_copy)
        self.d_states.baddbmm_(self.d_scores, self.run.keys)


class Pass:
    """Runs networks on batches of a fixed size: forward, and, if it is to learn, backward.

    Parameters
    ----------
    net : StackedNet
        The networks.
    batch : int
        Windows per network.
    learns : bool
        Whether there is a backward pass.
    free : bool
        Whether any network's decoder may run free; if not, its inputs are known beforehand and cost one product.

    Attributes
    ----------
    x : Tensor, shape (networks, batch, samples, inputs)
        OpenSim's activations; to be filled in. A view of what the encoder reads.
    target : Tensor, shape (networks, batch, samples)
        Measured EMG; to be filled in.
    share : Tensor, shape (networks, batch, 1)
        Weight of each window in its network's loss; to be filled in. One over the number of windows for the mean;
        0 for rows that only fill up the batch.
    forced : Tensor, shape (networks, 1)
        1: the network's decoder is fed the measured EMG; 0: its own output. Without ``free`` it has no effect.
    y : Tensor, shape (networks, batch, samples)
        The estimate of the EMG.
    loss : Tensor, shape (networks,)
        Mean squared error over the weighted windows.
    """

    def __init__(self, net: StackedNet, batch: int, learns: bool = True, free: bool = False):
        self.net, self.batch, self.learns, self.free = net, batch, learns, free
        count, hidden, samples = net.networks, net.hidden, net.samples
        spatial = net.variant == "spatial"
        steps = net.inputs if spatial else samples

        def zeros(*shape: int) -> Tensor:
            return net.flat.new_zeros(shape)

        self.encoder = _Layer(net, "encoder", batch, steps, learns)
        self.decoder = _Layer(net, "decoder", batch, samples, learns)
        read = self.encoder.x[:, :, :-1]
        self.x = read.transpose(2, 3) if spatial else read
        self.target, self.y = zeros(count, batch, samples), zeros(count, batch, samples)
        self.share, self.loss = zeros(count, batch, 1), zeros(count)
        self.forced = zeros(count, 1)
        self.error = zeros(count, batch, samples)

        self.w_key = net.weights.get("attention.weight")
        self.w_combine, self.w_out = net.weights["combine.weight"], net.weights["output.weight"]
        # One matrix per network and window, without the row before the first step.
        self.memory, self.states = (layer.h.flatten(0, 1)[:, 1:] for layer in (self.encoder, self.decoder))
        self.all_keys = self.encoder.all_h if self.w_key is None else zeros(count, batch * (steps + 1), hidden)
        self.keys = self.all_keys.view(count * batch, steps + 1, hidden)[:, 1:]
        self.attention = zeros(count * batch, samples, steps)
        self.both = zeros(count, batch, samples, 2 * hidden)
        self.combined = zeros(count, batch, samples, hidden)
        if learns:
            self.d_y = zeros(count, batch, samples)
            self.slope, self.d_combined = zeros(*self.combined.shape), zeros(*self.combined.shape)
            self.d_both = zeros(*self.both.shape)
            self.d_attention, self.d_scores = zeros(*self.attention.shape), zeros(*self.attention.shape)
            self.d_memory, self.d_states = (layer.d_h.flatten(0, 1)[:, 1:] for layer in (self.encoder, self.decoder))
            self.all_d_keys = zeros(count, batch * (steps + 1), hidden)
            self.d_keys = self.all_d_keys.view(count * batch, steps + 1, hidden)[:, 1:]
            self.d_previous = zeros(count, batch, 1)
        self.readout = _Readout(self, slice(None))
        self.readouts = [_Readout(self, slice(k, k + 1)) for k in range(samples)] if free else []

    def fill(self, network: int, x: Tensor, target: Tensor) -> None:
        """Give one network its windows, which all count alike; what is left of the batch counts nothing.

        Parameters
        ----------
        network : int
            Which.
        x : Tensor, shape (windows, samples, inputs)
            Activations; at most ``batch`` windows.
        target : Tensor, shape (windows, samples)
            EMG.
        """
        count = x.shape[0]
        self.x[network, :count].copy_(x)
        self.target[network, :count].copy_(target)
        self.share[network].zero_()
        self.share[network, :count] = 1 / count

    @torch.no_grad()
    def forward(self) -> None:
        """Estimate the EMG, and take the losses."""
        encoder, decoder = self.encoder, self.decoder
        encoder.prepare()
        encoder.project()
        for k in range(encoder.steps):
            encoder.step(k)
        decoder.prepare()
        for mine, its in ((decoder.h, encoder.h), (decoder.c, encoder.c)):
            mine[:, :, 0].copy_(its[:, :, -1])
        if self.w_key is not None:
            torch.bmm(encoder.all_h, self.w_key.transpose(1, 2), out=self.all_keys)
        previous = decoder.x[:, :, 1:-1, 0]
        if self.free:
            for k, readout in enumerate(self.readouts):
                decoder.project_one(k)
                decoder.step(k)
                readout.forward()
                if k < decoder.steps - 1:
                    torch.lerp(self.y[:, :, k], self.target[:, :, k], self.forced, out=previous[:, :, k])
        else:
            previous.copy_(self.target[:, :, :-1])
            decoder.project()
            for k in range(decoder.steps):
                decoder.step(k)
            self.readout.forward()
        torch.sub(self.y, self.target, out=self.error)
        torch.sum(self.error.square().mul_(self.share), dim=(1, 2), out=self.loss)
        self.loss.div_(self.net.samples)

    @torch.no_grad()
    def backward(self) -> None:
        """Compute the gradients of the losses; those of the pass before are overwritten."""
        encoder, decoder, gradients = self.encoder, self.decoder, self.net.gradients
        torch.mul(self.error, self.share, out=self.d_y)
        self.d_y.mul_(2 / self.net.samples)
        torch.mul(self.combined, self.combined, out=self.slope)
        self.slope.neg_().add_(1).mul_(self.w_out.unsqueeze(1))
        decoder.prepare_backward()
        if not self.free:
            self.readout.backward()
        for k in reversed(range(decoder.steps)):
            if self.free:
                self.readouts[k].backward()
            decoder.step_backward(k)
            if self.free and k:
                # What the step was fed is the estimate of the sample before.
                torch.bmm(decoder.d_gates[:, :, k], decoder.w_in, out=self.d_previous)
                fed_back = self.d_previous[:, :, 0]
                self.d_y[:, :, k - 1].add_(fed_back).addcmul_(fed_back, self.forced, value=-1)
        decoder.finish_backward()
        readout = self.readout
        torch.bmm(readout.d_y.flatten(1, 2).transpose(1, 2), readout.combined, out=gradients["output.weight"])
        torch.bmm(readout.all_d_combined.transpose(1, 2), readout.both, out=gradients["combine.weight"])

        encoder.prepare_backward()
        torch.bmm(self.attention.transpose(1, 2), readout.d_context, out=self.d_memory)
        torch.bmm(self.d_scores.transpose(1, 2), self.states, out=self.d_keys)
        if self.w_key is None:
            self.d_memory.add_(self.d_keys)
        else:
            torch.bmm(self.all_d_keys.transpose(1, 2), encoder.all_h, out=gradients["attention.weight"])
            encoder.all_d_h.baddbmm_(self.all_d_keys, self.w_key)
        encoder.d_h[:, :, -1].add_(decoder.d_h[:, :, 0])
        encoder.d_c.copy_(decoder.d_c)
        for k in reversed(range(encoder.steps)):
            encoder.step_backward(k)
        encoder.finish_backward()
