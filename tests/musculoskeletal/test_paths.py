"""Fitted muscle paths against OpenSim's own paths."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from opensim_nem2e.errors import MissingFileError, ModelError, OpenSimRunError
from opensim_nem2e.musculoskeletal import path_fit
from opensim_nem2e.musculoskeletal import paths as module
from opensim_nem2e.musculoskeletal.opensim.processes import run_model_job
from opensim_nem2e.musculoskeletal.paths import coordinate_ranges, default_cache, fit_paths
from opensim_nem2e.storage.osim import read_model

opensim = pytest.importorskip("opensim")


@pytest.fixture(scope="module")
def ranges(walking_motion):
    return coordinate_ranges(
        walking_motion.coordinates, walking_motion.q, walking_motion.rotational, walking_motion.limits
    )


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """Return a folder for one fit only."""
    return tmp_path_factory.mktemp("one_fit")


@pytest.fixture(scope="module")
def fitted(walking, ranges, own_cache):
    return fit_paths(walking / "walker.osim", ranges, cache_directory=own_cache)


@pytest.fixture(scope="module")
def measured(walking, fitted):
    """Return postures within the range that are neither the fit's nor its check's, and OpenSim's measurements."""
    rng = np.random.default_rng(77)
    q = rng.uniform(fitted.ranges[:, 0], fitted.ranges[:, 1], (40, len(fitted.coordinates)))
    request = {"coordinates": fitted.coordinates, "q": q.tolist()}
    return q, run_model_job("evaluate_paths", walking / "walker.osim", request)


def test_ranges_hold_the_motion(walking_motion, ranges):
    for name, values in zip(walking_motion.coordinates, walking_motion.q.T, strict=True):
        low, high = ranges[name]
        assert low <= values.min() < values.max() <= high


def one_range(low, high, turns, limits=(-9.0, 9.0)):
    return coordinate_ranges(["c"], np.array([[low], [high]]), [turns], np.array([limits]))["c"]


def test_ranges_are_shared_by_trials_alike():
    knee, other_knee = np.radians([-3.1, 11.0]), np.radians([-7.9, 17.0])
    assert one_range(*knee, True) == one_range(*other_knee, True) == pytest.approx(np.radians([-10.0, 20.0]))
    assert one_range(0.1, 0.32, False) == pytest.approx((0.05, 0.35))


def test_ranges_stay_within_the_models_own():
    assert one_range(0.1, 0.5, True, (0.0, 2.0))[0] == 0.0
    # What the motion itself does is part of the range, come what may.
    assert one_range(-0.05, 0.5, True, (0.0, 2.0))[0] == -0.05
    low, high = one_range(0.0, 0.0, True, (-1.0, 1.0))
    assert low < 0.0 < high


def test_paths_are_opensims(fitted, measured):
    q, theirs = measured
    lengths, arms = fitted.evaluate(q)
    assert tuple(theirs["muscles"]) == fitted.muscles
    length_error = np.sqrt(np.mean((lengths - theirs["lengths"]) ** 2, axis=0))
    arm_error = np.sqrt(np.mean((arms - theirs["moment_arms"]) ** 2, axis=0))
    assert length_error.max() < 1e-3
    assert arm_error.max() < 2e-3
    # Not because there is nothing to see.
    assert np.ptp(theirs["lengths"], axis=0).max() > 0.05
    assert np.abs(theirs["moment_arms"]).max() > 0.03
    # The errors that the fit reports are of this size.
    assert fitted.length_error == pytest.approx(length_error, rel=1.0, abs=1e-5)
    assert fitted.inaccurate() == ()


def test_moment_arms_and_velocities_are_derivatives_of_the_length(fitted, measured):
    q = measured[0][:10]
    rng = np.random.default_rng(3)
    qdot = rng.normal(size=q.shape)
    step = 1e-6
    _, arms = fitted.evaluate(q)
    ahead, behind = (fitted.evaluate(q + sign * step * qdot)[0] for sign in (1, -1))
    np.testing.assert_allclose(fitted.velocities(arms, qdot), (ahead - behind) / (2 * step), atol=1e-8)


def test_torch_and_numpy_agree_and_gradients_are_right(fitted, measured):
    q = measured[0][:6]
    tensor = torch.tensor(q.reshape(2, 3, -1), requires_grad=True)
    lengths, arms = fitted.evaluate(tensor)
    expected = fitted.evaluate(q)
    np.testing.assert_allclose(lengths.detach().numpy().reshape(6, -1), expected[0], rtol=1e-13)
    np.testing.assert_allclose(arms.detach().numpy().reshape(expected[1].shape), expected[1], atol=1e-14)
    # The moment arm is minus the gradient of the length, by automatic differentiation, too.
    muscle = fitted.muscles.index("gasmed_r")
    (gradient,) = torch.autograd.grad(lengths[..., muscle].sum(), tensor)
    torch.testing.assert_close(-gradient, arms[..., muscle, :].detach())
    # And each of the moment arms' own gradients is that by finite differences (gradcheck asks for one after the other).
    some = torch.tensor(q[:2])
    jacobian = torch.autograd.functional.jacobian(lambda x: fitted.evaluate(x)[1], some, vectorize=True)
    step = 1e-6
    for row, coordinate in np.ndindex(*q[:2].shape):
        moved = np.zeros((2, q.shape[1]))
        moved[row, coordinate] = step
        ahead, behind = (fitted.evaluate(q[:2] + sign * moved)[1] for sign in (1, -1))
        own = jacobian[..., row, coordinate].numpy().reshape(ahead.shape)
        np.testing.assert_allclose(own, (ahead - behind) / (2 * step), rtol=1e-3, atol=1e-5)


def test_what_is_outside_is_flagged(fitted):
    middle = fitted.ranges.mean(axis=1)
    q = np.tile(middle, (3, 1))
    q[1, 2] = fitted.ranges[2, 1] + 1e-6
    q[2, 0] = fitted.ranges[0, 0] - 1e-6
    outside = fitted.outside(q)
    assert not outside[0].any()
    assert np.flatnonzero(outside[1]).tolist() == [2]
    assert np.flatnonzero(outside[2]).tolist() == [0]
    assert torch.equal(fitted.outside(torch.tensor(q)), torch.tensor(outside))


def test_some_muscles(fitted, measured):
    q = measured[0]
    some = fitted.of(["soleus_l", "bflh_r"])
    lengths, arms = some.evaluate(q)
    columns = [fitted.muscles.index(name) for name in some.muscles]
    whole = fitted.evaluate(q)
    np.testing.assert_allclose(lengths, whole[0][:, columns], rtol=1e-13)
    np.testing.assert_allclose(arms, whole[1][:, columns], atol=1e-14)
    assert some.length_error.tolist() == fitted.length_error[columns].tolist()
    with pytest.raises(ModelError, match="Did you mean 'soleus_l'"):
        fitted.of(["soleus_left"])


def test_a_fit_is_found_again_by_content(walking, ranges, fitted, own_cache, tmp_path, monkeypatch):
    def no_fit(*_arguments, **_more):
        raise AssertionError("the fit is made again")

    monkeypatch.setattr(module, "run_model_job", no_fit)
    elsewhere = tmp_path / "other_name.osim"
    content = (walking / "walker.osim").read_bytes()
    elsewhere.write_bytes(content)
    again = fit_paths(elsewhere, ranges, cache_directory=own_cache)
    q = fitted.ranges.mean(axis=1)
    assert again.evaluate(q)[0].tolist() == fitted.evaluate(q)[0].tolist()
    # How far the body has walked is nothing to a muscle.
    assert fit_paths(elsewhere, {**ranges, "pelvis_tx": (3.0, 4.0)}, cache_directory=own_cache).muscles
    with pytest.raises(AssertionError, match="made again"):
        fit_paths(elsewhere, {**ranges, "knee_angle_r": (-1.0, 0.0)}, cache_directory=own_cache)
    elsewhere.write_bytes(content + b"\n")
    with pytest.raises(AssertionError, match="made again"):
        fit_paths(elsewhere, ranges, cache_directory=own_cache)


@pytest.mark.parametrize("damage", ["truncated", "of another kind"])
def test_a_damaged_cache_is_made_anew(walking, ranges, fitted, own_cache, tmp_path, caplog, damage):
    kept = min(own_cache.glob("paths_*.npz"), key=lambda path: path.stat().st_mtime)
    if damage == "truncated":
        (tmp_path / kept.name).write_bytes(kept.read_bytes()[:1000])
    else:
        np.savez(tmp_path / kept.name, muscles=np.array(["soleus_r"]))
    (crossed,) = own_cache.glob("crossed_*.npz")
    (tmp_path / crossed.name).write_bytes(crossed.read_bytes())
    again = fit_paths(walking / "walker.osim", ranges, cache_directory=tmp_path)
    assert "cannot be read" in caplog.text
    q = fitted.ranges.mean(axis=1)
    assert again.evaluate(q)[0].tolist() == fitted.evaluate(q)[0].tolist()
    assert np.load(tmp_path / kept.name, allow_pickle=False)["muscles"].tolist() == list(fitted.muscles)


def test_a_cache_that_cannot_be_written_is_a_warning(walking, ranges, fitted, tmp_path, caplog):
    (tmp_path / "a_file").write_text("in the folder's place")
    again = fit_paths(walking / "walker.osim", ranges, cache_directory=tmp_path / "a_file")
    q = fitted.ranges.mean(axis=1)
    assert again.evaluate(q)[0].tolist() == fitted.evaluate(q)[0].tolist()
    assert "cannot be kept" in caplog.text


def test_a_fit_for_a_motion(walking, walking_motion, ranges, fitted, paths_cache):
    motion = (walking_motion.coordinates, walking_motion.q[::2])
    near = fit_paths(walking / "walker.osim", ranges, motion=motion, cache_directory=paths_cache)
    unseen = walking_motion.q[1::20][:, [walking_motion.coordinates.index(name) for name in near.coordinates]]
    theirs = run_model_job(
        "evaluate_paths", walking / "walker.osim", {"coordinates": near.coordinates, "q": unseen.tolist()}
    )

    def errors(paths):
        lengths, arms = paths.evaluate(unseen)
        off = np.sqrt(np.mean((lengths - theirs["lengths"]) ** 2, axis=0)).max()
        return off, np.sqrt(np.mean((arms - theirs["moment_arms"]) ** 2, axis=0)).max()

    assert errors(near)[0] < 1e-4
    assert errors(near)[1] < 6e-4
    assert near.motion_errors.max(axis=1) == pytest.approx(errors(near), rel=0.5)
    assert np.isnan(fitted.motion_errors).all()
    # Another motion is another fit; the same one is found again.
    again = fit_paths(walking / "walker.osim", ranges, motion=motion, cache_directory=paths_cache)
    np.testing.assert_array_equal(again.evaluate(unseen)[0], near.evaluate(unseen)[0])
    assert np.abs(again.evaluate(unseen)[0] - fitted.evaluate(unseen)[0]).max() > 0.0


def make_coupled_arm(path, *, loop):
    """Write three links: a function couples the third to the first; with ``loop`` a rod also ties the second."""
    model = opensim.Model()
    model.setName("coupled")
    parent, at = model.getGround(), opensim.Vec3(0)
    for number, length in ((1, 0.3), (2, 0.25), (3, 0.1)):
        link = opensim.Body(f"link{number}", 1.0, opensim.Vec3(0, -length / 2, 0), opensim.Inertia(0.01, 0.01, 0.01))
        model.addBody(link)
        joint = opensim.PinJoint(f"pin{number}", parent, at, opensim.Vec3(0), link, opensim.Vec3(0), opensim.Vec3(0))
        coordinate = joint.upd_coordinates(0)
        coordinate.setName(f"q{number}")
        coordinate.setRangeMin(-0.8)
        coordinate.setRangeMax(0.8)
        model.addJoint(joint)
        parent, at = link, opensim.Vec3(0, -length, 0)
    coupler = opensim.CoordinateCouplerConstraint()
    coupler.setName("follows")
    leaders = opensim.ArrayStr()
    leaders.append("q1")
    coupler.setIndependentCoordinateNames(leaders)
    coupler.setDependentCoordinateName("q3")
    coupler.setFunction(opensim.PolynomialFunction(opensim.Vector.createFromMat(np.array([0.4, 0.5, 0.1]))))
    model.addConstraint(coupler)
    if loop:
        link2 = model.getBodySet().get("link2")
        rod = opensim.ConstantDistanceConstraint(
            model.getGround(), opensim.Vec3(0.2, -0.1, 0), link2, opensim.Vec3(0, -0.1, 0), 0.35
        )
        model.addConstraint(rod)
    for name, body, place in (("near", "link1", -0.1), ("middle", "link2", -0.1), ("far", "link3", -0.08)):
        muscle = opensim.Thelen2003Muscle(name, 500.0, 0.2, 0.1, 0.0)
        muscle.addNewPathPoint("origin", model.getGround(), opensim.Vec3(0.08, 0.3, 0))
        muscle.addNewPathPoint("insertion", model.getBodySet().get(body), opensim.Vec3(0.02, place, 0.01))
        model.addForce(muscle)
    model.finalizeConnections()
    model.printToXML(str(path))
    return path


@pytest.mark.parametrize("loop", [False, True])
def test_models_with_constraints(tmp_path, loop):
    model = make_coupled_arm(tmp_path / "arm.osim", loop=loop)
    limits = {"q1": (-0.3, 0.3), "q2": (-0.7, 0.7)}
    request = {"ranges": limits, "samples": 32, "check_samples": 4, "motion": None}
    answer = run_model_job("sample_paths", model, request)
    # The follower is no coordinate of its own.
    assert answer["crossed"].tolist() == ["q1", "q2"]
    theirs = run_model_job("evaluate_paths", model, {"coordinates": ["q1", "q2"], "q": answer["q"].tolist()})
    np.testing.assert_allclose(answer["lengths"], theirs["lengths"], atol=1e-6)
    np.testing.assert_allclose(answer["moment_arms"], theirs["moment_arms"], atol=1e-5)
    assert np.abs(answer["moment_arms"]).max(axis=(0, 1)).min() > 0.01
    # A loop leaves one freedom: where the assembly has put the second link, it is told.
    independent = np.ptp(answer["q"][:, 1]) / np.ptp(limits["q2"])
    assert (independent > 0.9) is not loop
    fitted = fit_paths(model, limits, cache_directory=tmp_path / "cache")
    lengths, arms = fitted.evaluate(answer["q"])
    np.testing.assert_allclose(lengths, answer["lengths"], atol=1e-4)
    if not loop:
        np.testing.assert_allclose(arms, answer["moment_arms"], atol=1e-3)


def test_paths_of_a_coordinate_that_the_model_prescribes(tmp_path):
    """The motion says where it is: it is measured as any other, without an assembly that would bring it back."""
    file = make_coupled_arm(tmp_path / "arm.osim", loop=False)
    model = opensim.Model(str(file))
    coordinate = model.updCoordinateSet().get("q2")
    coordinate.setPrescribedFunction(opensim.Constant(0.1))
    coordinate.setDefaultIsPrescribed(True)
    model.initSystem()
    model.printToXML(str(tmp_path / "prescribed.osim"))
    request = {"coordinates": ["q1", "q2"], "q": [[0.1, -0.4], [-0.2, 0.5]]}
    free, prescribed = (run_model_job("evaluate_paths", tmp_path / f"{n}.osim", request) for n in ("arm", "prescribed"))
    np.testing.assert_allclose(prescribed["lengths"], free["lengths"], atol=1e-9)
    np.testing.assert_allclose(prescribed["moment_arms"], free["moment_arms"], atol=1e-9)


def fit_made_up(length, arm, seed=4):
    """Fit a path of two coordinates that functions make up, and return errors of both in other postures."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-1.0, 1.0, (512, 2))
    half = np.array([0.5, 0.8])
    (group,), (jumps,) = path_fit.fit_groups(z, half, length(z)[:, None], arm(z)[:, None])
    other = rng.uniform(-1.0, 1.0, (200, 2))
    lengths, slopes = group.evaluate(other)
    return group, jumps, lengths[:, 0] - length(other), -slopes[:, 0] / half - arm(other)


def smooth_length(z):
    return 0.3 + 0.02 * np.sin(z[:, 0]) + 0.01 * z[:, 0] * z[:, 1] ** 2


def smooth_arm(z):
    along = [0.02 * np.cos(z[:, 0]) + 0.01 * z[:, 1] ** 2, 0.02 * z[:, 0] * z[:, 1]]
    return -np.stack(along, axis=-1) / [0.5, 0.8]


def test_length_and_moment_arm_share_a_polynomial_or_not():
    group, jumps, length_error, arm_error = fit_made_up(smooth_length, smooth_arm)
    assert np.abs(length_error).max() < 2e-4
    assert np.abs(arm_error).max() < 1e-3
    assert jumps == 0.0
    np.testing.assert_array_equal(group.lengths, group.slopes)
    # The moment arm is half as long again as the derivative of the length says.
    group, _, length_error, arm_error = fit_made_up(smooth_length, lambda z: 1.5 * smooth_arm(z))
    assert np.abs(length_error).max() < 2e-4
    assert np.abs(arm_error).max() < 1e-3
    assert np.abs(group.lengths - group.slopes).max() > 1e-3


def test_a_path_that_jumps_is_flagged_and_fitted_where_it_does_not():
    def jumping(z):
        return smooth_length(z) + 0.02 * beyond(z)

    def beyond(z):
        return (z[:, 0] > 0.8) & (z[:, 1] > 0.3)

    _, jumps, length_error, _ = fit_made_up(jumping, smooth_arm)
    assert jumps == pytest.approx(0.1 * 0.35, abs=0.02)
    assert np.sort(np.abs(length_error))[:185].max() < 5e-4
    assert np.abs(length_error).max() == pytest.approx(0.02, abs=1e-3)


def test_muscles_that_span_the_whole_spine_are_fitted():
    """Of 18 coordinates there are 3^18 combinations of orders up to 2, but 190 terms."""
    rng = np.random.default_rng(3)
    z = rng.uniform(-1.0, 1.0, (64, 18))
    linear, bent = rng.normal(0.0, 5e-3, (18, 2)), rng.normal(0.0, 1e-3, (18, 18, 2))
    lengths = 0.2 + z @ linear + np.einsum("ni,nj,ijm->nm", z, z, bent)
    arms = -(linear + np.einsum("nj,ijm->nim", z, bent + bent.transpose(1, 0, 2)))
    (group,), jumps = path_fit.fit_groups(z, np.ones(18), lengths, arms.transpose(0, 2, 1))
    assert group.exponents.shape == (190, 18)
    assert not jumps.any()
    found, slopes = group.evaluate(z)
    np.testing.assert_allclose(found, lengths, atol=1e-5)
    np.testing.assert_allclose(slopes, -arms.transpose(0, 2, 1), atol=1e-5)


def test_a_muscle_that_nothing_turns_keeps_its_length():
    group = path_fit.PathGroup((), (0,), path_fit.term_exponents(0, 0), np.array([[0.3]]), np.array([[0.3]]))
    nothing = np.zeros(1)
    errors = nothing, nothing, np.zeros((2, 1)), nothing
    still = module.MusclePaths(("m",), ("knee",), np.array([[0.0, 1.0]]), *errors, (group,))
    lengths, arms = still.evaluate(np.zeros((4, 1)))
    assert lengths.tolist() == [[0.3]] * 4
    assert arms.tolist() == [[[0.0]]] * 4


def test_progress_is_told(walking, ranges, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("opensim_nem2e.musculoskeletal.opensim.processes._TELL", 0.0)
    # A fast machine is done before it would be looked at.
    monkeypatch.setattr("opensim_nem2e.musculoskeletal.opensim.processes._LOOK", 0.01)
    caplog.set_level("DEBUG", logger="opensim_nem2e")
    fit_paths(walking / "walker.osim", ranges, cache_directory=tmp_path)
    shown = (re.search(r": (\d+) %$", record.getMessage()) for record in caplog.records)
    told = [float(found[1]) for found in shown if found]
    assert told
    assert told == sorted(told)
    assert 0.0 < told[0] <= told[-1] <= 100.0


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENSIM_NEM2E_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("OPENSIM_NEM2E_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "opensim_nem2e"


def test_errors_reach_the_user(walking, fitted, paths_cache, tmp_path):
    with pytest.raises(ModelError, match=r"muscles span ankle_angle_l, .* no range"):
        fit_paths(walking / "walker.osim", {"pelvis_tx": (0.0, 1.0)}, cache_directory=paths_cache)
    with pytest.raises(MissingFileError, match=r"none\.osim"):
        fit_paths(tmp_path / "none.osim", {}, cache_directory=tmp_path)
    with pytest.raises(OpenSimRunError, match="evaluate_paths"):
        run_model_job("evaluate_paths", walking / "walker.osim", {"coordinates": ["elbow"], "q": [[0.0]]})


@pytest.mark.slow
def test_paths_of_a_real_model(shared_data, paths_cache):
    model = shared_data / "opensim_pipelines" / "Gait10dof18musc" / "subject01.osim"
    ranges = {coordinate.name: tuple(np.radians([-20.0, 20.0])) for coordinate in read_model(model).coordinates}
    for side in "rl":
        ranges[f"knee_angle_{side}"] = tuple(np.radians([-80.0, 0.0]))
    fitted = fit_paths(model, ranges, cache_directory=paths_cache)
    assert len(fitted.muscles) == 18
    assert fitted.inaccurate() == ()


def test_many_paths_that_do_not_fit_are_one_warning(fitted, caplog):
    """A model of the trunk has dozens; the worst come first, and the log file has all."""
    many = len(fitted.muscles)
    bad = replace(
        fitted,
        moment_arm_error=0.01 + 0.001 * np.arange(many),
        jumps=0.01 * np.arange(many),
    )
    caplog.set_level("DEBUG", logger="opensim_nem2e")
    module._say(bad)
    wrong, jumping = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert f"moment arm, mm): {fitted.muscles[-1]} " in wrong
    assert wrong.endswith(f"; and {many - 5} more.")
    assert f": {fitted.muscles[-1]} {many - 1} %; " in jumping
    assert jumping.endswith(f"; and {many - 6} more.")
    (everything, _) = (text for text in caplog.messages if text.startswith("All: "))
    assert all(muscle in everything for muscle in fitted.muscles)
