"""The training engine against the obvious loop, and its promises: same bits, early stop, clear errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_tasks import stdr_task, toy_task

from opensim_nem2e.errors import TrainingError
from opensim_nem2e.methods.stdr.forward import run_free
from opensim_nem2e.methods.stdr.net import STDRNet
from opensim_nem2e.training.schedule import Progress
from opensim_nem2e.training.task import Epoch, ModuleSpec, Task
from opensim_nem2e.training.trainer import train_task

SMALL = {"hidden": 12, "epochs": 4, "batch_size": 4, "learning_rate": 1e-2, "seed": 3}


def train(variant, x, y, settings, validation=None, on_epoch=None):
    return train_task(stdr_task(variant, x, y, validation, **settings), on_epoch=on_epoch)


def waves(count=10, samples=20, inputs=1, seed=0):
    random = np.random.default_rng(seed)
    phase = random.random((count, 1, inputs))
    x = 0.5 + 0.4 * np.sin(2 * np.pi * (np.linspace(0, 1, samples)[None, :, None] + phase))
    return x, np.roll(x[:, :, 0], 2, axis=1) * 0.8


def obvious_loop(variant, x, y, settings):
    """Train as a first reading of the paper would: one window, one decoder step at a time, plain Adam."""
    torch.manual_seed(settings["seed"])
    net = STDRNet(variant, x.shape[2], x.shape[1], settings["hidden"], "general")
    order = torch.Generator().manual_seed(settings["seed"])
    optimiser = torch.optim.Adam(net.parameters(), lr=settings["learning_rate"])
    inputs, targets = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    for _ in range(settings["epochs"]):
        for row in torch.randperm(len(x), generator=order):
            torch.rand((), generator=order)  # the engine draws here for the module
            sequence = inputs[row : row + 1]
            memory, state = net.encoder(sequence.transpose(1, 2) if variant == "spatial" else sequence)
            keys = memory if net.attention is None else net.attention(memory)
            loss = 0.0
            previous = torch.zeros(1, 1, 1)
            for step in range(x.shape[1]):
                hidden, state = net.decoder(previous, state)
                weights = torch.softmax((keys @ hidden.transpose(1, 2)).transpose(1, 2), dim=2)
                out = net.output(torch.tanh(net.combine(torch.cat((weights @ memory, hidden), dim=2))))
                loss = loss + (out[0, 0, 0] - targets[row, step]) ** 2 / x.shape[1]
                previous = targets[row, step].reshape(1, 1, 1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return {name: value.detach().numpy() for name, value in net.state_dict().items()}


@pytest.mark.parametrize(("variant", "inputs"), [("temporal", 1), ("spatial", 5)])
def test_equals_the_obvious_loop_over_50_steps(variant, inputs):
    x, y = waves(10, samples=10, inputs=inputs)
    settings = {"hidden": 16, "epochs": 5, "batch_size": 1, "learning_rate": 1e-3, "seed": 1}
    expected = obvious_loop(variant, x, y, settings)
    trained = train(variant, x, y, settings)
    for name, value in expected.items():
        np.testing.assert_allclose(trained.weights[name], value, rtol=0, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("teacher_forcing", [0.0, 0.5, 1.0])
def test_same_seed_same_bits(teacher_forcing):
    x, y = waves()
    settings = {"hidden": 9, "epochs": 3, "batch_size": 4, "teacher_forcing": teacher_forcing, "seed": 5}
    first = train("temporal", x, y, settings)
    torch.manual_seed(99)
    torch.rand(1000)  # what else goes on in the process does not matter
    state = torch.get_rng_state()
    second = train("temporal", x, y, settings)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.weights.items():
        assert value.tobytes() == second.weights[name].tobytes()
    assert first.history == second.history
    other = train("temporal", x, y, {**settings, "seed": 6})
    assert any(value.tobytes() != other.weights[name].tobytes() for name, value in first.weights.items())


@pytest.mark.slow
def test_learns_a_time_shift():
    x, y = waves(24)
    settings = {"hidden": 24, "epochs": 150, "batch_size": 8, "learning_rate": 1e-2, "teacher_forcing": 0.5}
    trained = train("temporal", x, y, settings)
    assert trained.history[-1].loss < 0.1 * trained.history[0].loss
    estimate, _ = run_free(trained.weights, x, "temporal")
    before = np.sqrt(np.mean((x[:, :, 0] - y) ** 2))
    assert np.sqrt(np.mean((estimate - y) ** 2)) < 0.3 * before


def test_early_stopping_keeps_the_best():
    x, y = waves(6)
    held = waves(6, seed=1)
    # The held windows ask for something else, so that their loss soon rises.
    settings = {"hidden": 12, "epochs": 200, "batch_size": 2, "learning_rate": 1e-2, "patience": 5}
    trained = train("temporal", x, y, settings, validation=(held[0], 1 - held[1]))
    losses = [epoch.validation_loss for epoch in trained.history]
    assert len(losses) < 200
    assert trained.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == trained.best_epoch + 5
    estimate, _ = run_free(trained.weights, held[0], "temporal")
    assert np.mean((estimate - (1 - held[1])) ** 2) == pytest.approx(min(losses), rel=1e-4)


def test_settings_have_an_effect():
    x, y = waves()
    plain = train("temporal", x, y, SMALL)
    for change in (
        {"weight_decay": 0.1},
        {"gradient_clip": 1e-3},
        {"score": "dot"},
        {"learning_rate": 1e-3},
        {"batch_size": 1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ):
        other = train("temporal", x, y, {**SMALL, **change})
        assert other.history != plain.history, change
    assert "attention.weight" in plain.weights


def test_reports_every_epoch_and_can_be_stopped():
    x, y = waves()
    seen = []
    train("temporal", x, y, SMALL, on_epoch=seen.append)
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4]

    def stop(epoch):
        raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        train("temporal", x, y, SMALL, on_epoch=stop)
    assert torch.get_num_threads() == threads


def test_faults():
    x, y = waves()
    with pytest.raises(TrainingError, match="at least one window"):
        train("temporal", x[:0], y[:0], SMALL)
    with pytest.raises(TrainingError, match=r"found \(10, 20, 1\) and \(10, 19\)"):
        train("temporal", x, y[:, 1:], {**SMALL, "batch_size": 10})
    with pytest.raises(TrainingError, match="training data hold values that are not finite"):
        train("temporal", x * np.nan, y, SMALL)
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        train("temporal", x, y * 1e30, SMALL)


def test_of_data():
    good = toy_task()
    for part, change, words in (
        ("data", {"weight": good.data["weight"][1:]}, r"same number of rows.*x \(10, 3\), weight \(9,\)"),
        ("held", {"more": good.held["x"]}, "validation data must have the names of the training data, x, weight"),
        ("data", {"x": good.data["x"].astype(str)}, "'x' must be numbers"),
    ):
        values = {name: getattr(good, name) for name in ("data", "held", "constants")}
        with pytest.raises(TrainingError, match=words):
            train_task(Task(good.module, good.settings, **{**values, part: {**values[part], **change}}))


@pytest.mark.parametrize(
    ("builder", "words"),
    [
        ("toy_module:Nothing", "'toy_module:Nothing' must be 'package.module:callable'.*no attribute 'Nothing'"),
        ("no_such_module:A", "No module named"),
        ("toy_module", "must be 'package.module:callable'"),
        ("torch.nn:Identity", r"must build a torch.nn.Module that has loss_terms\(batch, draw\); found Identity"),
    ],
)
def test_of_modules(builder, words):
    task = toy_task()
    with pytest.raises(TrainingError, match=words):
        train_task(Task(ModuleSpec(builder), task.settings, task.data))


def test_arguments_are_what_json_holds():
    with pytest.raises(TrainingError, match="The arguments of 'a:b' must be texts"):
        ModuleSpec("a:b", {"x": np.zeros(2)})
    assert ModuleSpec("a:b", {"sizes": (1, 2)}) == ModuleSpec("a:b", {"sizes": [1, 2]})


def test_first_weights_must_fit():
    task = toy_task()
    first = {name: value for name, value in train_task(task).weights.items() if name != "seen"}
    again = Task(task.module, task.settings, task.data, task.held, initial=first, constants=task.constants)
    assert train_task(again).history[0].loss < train_task(task).history[0].loss
    wrong = Task(task.module, task.settings, task.data, initial={**first, "gain": np.ones(3)}, constants=task.constants)
    with pytest.raises(TrainingError, match=r"gain \(2,\): \(3,\)"):
        train_task(wrong)


def toy_loop(task, decoupled):
    """Train the toy as any PyTorch tutorial would."""
    settings = task.settings
    torch.manual_seed(settings.seed)
    net = task.module.build(task.constants)
    order = torch.Generator().manual_seed(settings.seed)
    weights = [weight for name, weight in net.named_parameters() if name != "gain"]
    optimiser = (torch.optim.AdamW if decoupled else torch.optim.Adam)(
        [
            {"params": [net.gain], "lr": 10 * settings.learning_rate, "weight_decay": 0.0},
            {"params": weights, "lr": settings.learning_rate, "weight_decay": settings.weight_decay},
        ]
    )
    data = {name: torch.from_numpy(values) for name, values in task.data.items()}
    rows_done, sums, history = len(data["x"]), {}, []
    for _ in range(settings.epochs):
        sums = {"error": 0.0, "gain": 0.0}
        for rows in torch.randperm(rows_done, generator=order).split(settings.batch_size):
            terms = net.loss_terms({n: v[rows] for n, v in data.items()}, float(torch.rand((), generator=order)))
            optimiser.zero_grad()
            sum(terms.values()).backward()
            optimiser.step()
            for name, term in terms.items():
                sums[name] += term.item() * len(rows) / rows_done
        history.append(sums)
    return {name: value.detach().numpy() for name, value in net.state_dict().items()}, history


@pytest.mark.parametrize("decoupled", [False, True], ids=["Adam", "AdamW"])
def test_any_module_groups_constants_and_terms(decoupled):
    task = toy_task(dropout=0.0, decoupled_weight_decay=decoupled)
    expected, history = toy_loop(task, decoupled)
    trained = train_task(task)
    assert set(trained.weights) == {"first.weight", "first.bias", "second.weight", "second.bias", "gain", "seen"}
    for name, value in expected.items():
        np.testing.assert_allclose(trained.weights[name], value, rtol=0, atol=1e-6, err_msg=name)
    # The rows of five epochs; those that judge it do not count.
    assert trained.weights["seen"] == 50
    for epoch, terms in zip(trained.history, history, strict=True):
        assert dict(epoch.terms) == pytest.approx(terms, rel=1e-5)
        assert epoch.loss == pytest.approx(sum(terms.values()), rel=1e-5)
        assert epoch.validation_loss > 0


def test_groups_must_be_of_the_module(monkeypatch):
    import toy_module

    for groups, words in (
        (lambda net: [{"params": [net.gain]}, {"params": [net.gain]}], "parameter of another group"),
        (lambda net: [{"params": [torch.nn.Parameter(torch.ones(1))]}], "parameter of another group"),
        (lambda net: [{"params": [net.gain], "lr": 3}], "found lr, params"),
    ):
        monkeypatch.setattr(toy_module.Toy, "parameter_groups", groups)
        with pytest.raises(TrainingError, match=words):
            train_task(toy_task())


def test_loss_terms_must_be_scalars(monkeypatch):
    import toy_module

    for terms, words in (({}, "found nothing"), ({"a": torch.ones(2)}, r"found a \(2,\)")):
        monkeypatch.setattr(toy_module.Toy, "loss_terms", lambda self, batch, draw, terms=terms: terms)
        with pytest.raises(TrainingError, match=words):
            train_task(toy_task())


def test_the_step_size_falls_by_half_a_cosine():
    """As PyTorch's own schedule, epoch by epoch; and kept in checkpoints, which know nothing of it otherwise."""
    task = toy_task(epochs=6, batch_size=5, learning_rate=0.02, final_learning_rate=0.002, held=False)
    progress = Progress(task.settings, 10)
    weight = torch.nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([weight], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 6, eta_min=0.002)
    for number in range(6):
        assert 0.02 * progress.rate == pytest.approx(schedule.get_last_lr()[0])
        progress.history.append(Epoch(number + 1, 1.0, None))
        optimiser.step()
        schedule.step()
    still = toy_task(epochs=6, batch_size=5, learning_rate=0.02, final_learning_rate=0.02, held=False)
    plain = toy_task(epochs=6, batch_size=5, learning_rate=0.02, held=False)
    falling, constant, without = (train_task(one).weights for one in (task, still, plain))
    assert all(np.array_equal(constant[name], without[name]) for name in without)
    assert any(not np.array_equal(falling[name], without[name]) for name in without)
    assert "final_learning_rate" not in plain.description()
    assert Task.described(task.description())[1] == task.settings
