"""Bundles: what is written comes back, and every kind of damage gets a clear error."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cycle_maker import make_samples
from safetensors.numpy import load_file, save_file

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.errors import BundleError
from opensim_nem2e.methods import bundle as bundle_module
from opensim_nem2e.methods.base import RunSettings
from opensim_nem2e.methods.bundle import CHECKSUM_KEY, FORMAT_VERSION, METADATA_KEY, SECTIONS, Bundle
from opensim_nem2e.methods.registry import find_method
from opensim_nem2e.methods.stdr.forward import run_free, variant_of, weight_shapes
from opensim_nem2e.methods.stdr.linear_part import LinearPart
from opensim_nem2e.methods.stdr.network import Network

CONDITIONS = ["One-Quarter", "One-Entire", "All-Entire"]
STDR_NET = find_method("stdr_net")

METADATA = {
    "cycle": {"definition": "heel strike to heel strike", "sampling": "linear"},
    "normalization": {"activation": "none", "emg": "subject_max"},
    "data": {"description": "made up", "licence": "CC0", "attribution": "nobody"},
    "training": {"seed": 0},
    "packages": {"numpy": np.__version__},
    "validation": {"method": "none"},
}


def make_network(condition, inputs, hidden=6, score="general", seed=0):
    random = np.random.default_rng(seed)
    shapes = weight_shapes(variant_of(condition), len(inputs), 20, hidden, score)
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return Network(
        view=CycleView(condition, input_muscles=tuple(inputs)),
        inputs=tuple(inputs),
        score=score,
        weights=weights,
        input_offset=np.full(len(inputs), 0.1, np.float32),
        input_scale=np.full(len(inputs), 0.5, np.float32),
        output_offset=np.linspace(0, 0.2, 20).astype(np.float32),
        output_scale=np.array([0.7], np.float32),
    )


def make_bundle(condition="One-Entire"):
    if condition == "All-Entire":
        inputs = {name: ["ipsi:soleus", "ipsi:tib", "contra:soleus"] for name in ("soleus", "tib")}
    else:
        inputs = {name: [f"ipsi:{name}"] for name in ("soleus", "tib")}
    networks = {name: make_network(condition, inputs[name], seed=k) for k, name in enumerate(inputs)}
    return Bundle(STDR_NET, CycleView(condition), networks, METADATA)


def checksum(arrays):
    """The SHA-256 of a part's arrays, written down a second time: files that others make must fit it, too."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode() + array.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_round_trip(tmp_path, condition):
    made = make_bundle(condition)
    path = tmp_path / "net.safetensors"
    made.save(path)
    read = Bundle.load(path)
    assert read.condition == condition
    assert read.targets == ("soleus", "tib")
    assert read.samples == 20
    assert read.cycle_samples == (77 if condition == "One-Quarter" else 20)
    assert read.inputs("tib") == made.inputs("tib")
    assert read.metadata["data"] == METADATA["data"]
    x = np.random.default_rng(1).random((5, read.cycle_samples, len(read.inputs("tib"))))
    y, attention = read.refine("tib", x)
    y_made, attention_made = made.refine("tib", x)
    assert y.shape == (5, read.cycle_samples)
    assert y.dtype == attention.dtype == np.float64
    np.testing.assert_array_equal(y, y_made)
    np.testing.assert_array_equal(attention, attention_made)
    steps = 3 if condition == "All-Entire" else 20
    assert attention.shape == ((5, 77, 20) if condition == "One-Quarter" else (5, 20, steps))
    np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-6)
    # Saving what was loaded gives the same bytes, over the very file it was loaded from too.
    before = path.read_bytes()
    read.save(path)
    assert path.read_bytes() == before
    # Others may read it as they may read any file made here.
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode


def test_normalisation_is_applied():
    bundle = make_bundle()
    network = bundle.part("soleus")
    x = np.random.default_rng(2).random((2, 20, 1))
    raw, _ = run_free(network.weights, (x - 0.1) / 0.5, "temporal")
    y, _ = bundle.refine("soleus", x)
    np.testing.assert_allclose(y, np.linspace(0, 0.2, 20) + 0.7 * raw, atol=1e-6)


def test_a_quarter_is_refined_by_itself():
    bundle = make_bundle("One-Quarter")
    x = np.random.default_rng(2).random((2, 77, 1))
    y, _ = bundle.refine("soleus", x)
    changed = x.copy()
    changed[:, 40:57] = 0.5
    y_changed, _ = bundle.refine("soleus", changed)
    np.testing.assert_array_equal(y[:, :38], y_changed[:, :38])
    assert np.abs(y[:, 41:57] - y_changed[:, 41:57]).max() > 1e-4


def test_loading_is_lazy_and_lean(tmp_path):
    path = tmp_path / "net.safetensors"
    make_bundle().save(path)
    read = Bundle.load(path)
    assert read._loaded == {}
    read.refine("tib", np.zeros((1, 20, 1)))
    assert set(read._loaded) == {"tib"}
    code = (
        "import sys, numpy as np\n"
        "from opensim_nem2e import Bundle\n"
        f"Bundle.load({os.fspath(path)!r}).refine('tib', np.zeros((1, 20, 1)))\n"
        "print([m for m in ('torch', 'scipy', 'pandas', 'opensim', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def damaged(tmp_path, change, sign=True):
    """Save a good bundle, change its tensors and metadata, and return the path; the checksums fit what was changed."""
    path = tmp_path / "net.safetensors"
    made = make_bundle()
    made.save(path)
    tensors, header = load_file(path), json.loads(json.dumps(made.metadata))
    change(tensors, header)
    if sign:
        for entry in header["parts"]:
            prefix = f"{entry['target']}."
            arrays = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
            entry["sha256"] = checksum(arrays)
    text = json.dumps(header)
    save_file(tensors, path, metadata={METADATA_KEY: text, CHECKSUM_KEY: hashlib.sha256(text.encode()).hexdigest()})
    return path


def read_all(path):
    """Open a bundle and everything in it."""
    bundle = Bundle.load(path)
    for target in bundle.targets:
        bundle.part(target)
    return bundle


def _set(header, *keys_and_value):
    *keys, last, value = keys_and_value
    for key in keys:
        header = header[key]
    header[last] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, h: t.pop("tib.combine.weight"), "the tensor 'tib.combine.weight' is missing"),
        (lambda t, h: t.pop("soleus.input_scale"), "the tensor 'soleus.input_scale' is missing"),
        (
            lambda t, h: t.update({"tib.output.weight": np.zeros((1, 7), np.float32)}),
            r"'tib.output.weight' must have the shape \(1, 6\); found \(1, 7\)",
        ),
        (lambda t, h: t.update({"tib.extra": np.zeros(3, np.float32)}), "'tib.extra' belongs to nothing"),
        (lambda t, h: t.update({"rect.extra": np.zeros(3, np.float32)}), "'rect.extra' belongs to no part"),
        (lambda t, h: t.update({"tib.output_scale": np.ones(1)}), "must hold float32 numbers; found float64"),
        (lambda t, h: t.update({"tib.output_scale": np.zeros(1, np.float32)}), "'tib.output_scale' must be positive"),
        (
            lambda t, h: _set(h, "condition", "One-Half"),
            "unknown condition 'One-Half'; allowed: One-Quarter, One-Entire",
        ),
        (lambda t, h: _set(h, "format_version", FORMAT_VERSION + 1), "format version 4.*Update the package"),
        (lambda t, h: h.pop("format_version"), "does not say its format_version"),
        (lambda t, h: _set(h, "samples", 0), "'samples' must be"),
        (lambda t, h: _set(h, "parts", []), "list no parts"),
        (lambda t, h: _set(h, "parts", 0, "inputs", ["soleus"]), "must be different names like 'ipsi:soleus'"),
        (lambda t, h: _set(h, "parts", 0, "inputs", ["ipsi:a", "ipsi:b"]), "has one input muscle; 'soleus' has 2"),
        (lambda t, h: _set(h, "parts", 0, "hidden", -1), "'hidden' of 'soleus'"),
        (lambda t, h: _set(h, "parts", 0, "score", "sum"), "must be dot or general; found 'sum'"),
        (lambda t, h: _set(h, "parts", 1, "target", "soleus"), "'soleus' stands twice"),
        (lambda t, h: _set(h, "parts", 1, "target", "a/b"), "standard name; found 'a/b'"),
        (lambda t, h: h.pop("data"), "the section 'data' is missing"),
        (lambda t, h: h["data"].pop("licence"), "'licence' is missing from the section 'data'"),
        (lambda t, h: h.pop("method"), "'method' must name the method that the bundle holds; found None"),
        (lambda t, h: _set(h, "parts", 0, "linear", 1), "'linear' of 'soleus' must be true or false; found 1"),
    ],
)
def test_wrong_contents(tmp_path, change, message):
    path = damaged(tmp_path, change)
    with pytest.raises(BundleError, match=message) as caught:
        read_all(path)
    assert os.fspath(path) in str(caught.value)


GOOD_ROW = {"subjects": 3, "E_opensim": 0.3, "E_refined": 0.2, "E_mean": 0.2, "E_ridge": 0.2, "Er_refined": -0.3}


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("data", "description", None, "'description' of the section 'data' must be a text; found None"),
        ("normalization", "emg", 3, "'emg' of the section 'normalization' must be a text; found 3"),
        (
            "validation",
            "held_out",
            [GOOD_ROW],
            "'held_out' of the section 'validation' must hold one object per muscle",
        ),
        (
            "validation",
            "leave_one_subject_out",
            {"soleus": {k: v for k, v in GOOD_ROW.items() if k != "E_mean"}},
            "lacks numbers for 'soleus': E_mean",
        ),
        ("validation", "held_out", {"soleus": GOOD_ROW | {"E_ridge": "0.2"}}, "lacks numbers for 'soleus': E_ridge"),
    ],
)
def test_what_is_shown_to_the_user_is_checked(section, key, value, message):
    bundle = make_bundle()
    metadata = json.loads(json.dumps({name: bundle.metadata[name] for name in SECTIONS}))
    parts = {target: bundle.part(target) for target in bundle.targets}
    metadata["validation"]["leave_one_subject_out"] = {"soleus": GOOD_ROW, "ALL": GOOD_ROW}
    Bundle(STDR_NET, bundle.view, parts, metadata)
    metadata[section][key] = value
    with pytest.raises(BundleError, match=re.escape(message)):
        Bundle(STDR_NET, bundle.view, parts, metadata)


def test_all_faults_at_once(tmp_path):
    def change(tensors, header):
        header["condition"] = "x"
        header.pop("cycle")

    with pytest.raises(BundleError, match=r"(?s)unknown condition.*section 'cycle' is missing"):
        Bundle.load(damaged(tmp_path, change))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(tmp_path, value):
    def change(tensors, header):
        tensors["tib.decoder.weight_hh_l0"][0, 0] = value

    read = Bundle.load(damaged(tmp_path, change))
    read.refine("soleus", np.zeros((1, 20, 1)))
    message = rf"'tib.decoder.weight_hh_l0' must hold numbers below 1e\+12, but {value} was found"
    with pytest.raises(BundleError, match=message):
        read.refine("tib", np.zeros((1, 20, 1)))


def test_truncated_anywhere(tmp_path):
    path = tmp_path / "net.safetensors"
    make_bundle().save(path)
    content = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(BundleError, match="truncated, damaged or of another kind"):
            Bundle.load(path)
    path.write_bytes(content + b"x")
    with pytest.raises(BundleError, match="truncated, damaged or of another kind"):
        Bundle.load(path)


def test_other_files(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"\x80\x04\x95" + b"pickle" * 50)
    with pytest.raises(BundleError, match="of another kind"):
        Bundle.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle.load(path)
    save_file({"a": np.zeros(3)}, path, metadata={METADATA_KEY: "{"})
    with pytest.raises(BundleError, match="not valid JSON"):
        Bundle.load(path)
    save_file({"a": np.zeros(3)}, path, metadata={METADATA_KEY: "[" * 100_000})
    with pytest.raises(BundleError, match="not valid JSON"):
        Bundle.load(path)
    save_file({"a": np.zeros(3)}, path, metadata={METADATA_KEY: "[]"})
    with pytest.raises(BundleError, match="JSON object"):
        Bundle.load(path)
    with pytest.raises(BundleError, match="found a folder"):
        Bundle.load(tmp_path)
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.load(tmp_path / "none.safetensors")


def test_a_laboratorys_file_is_no_bundle(tmp_path):
    file = tmp_path / "walk1_states.sto"
    file.write_text("walk1\nendheader\n")
    with pytest.raises(
        BundleError, match=r"must be a \.safetensors file; found a file \.sto \(shipped bundles: .*gait"
    ):
        Bundle.load(file)


def test_shipped_names(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_module, "SHIPPED", tmp_path)
    make_bundle().save(tmp_path / "gait.safetensors")
    assert Bundle.load("gait").targets == ("soleus", "tib")
    with pytest.raises(BundleError, match=r"'gate'.*shipped bundles: gait\).* Did you mean 'gait'\?"):
        Bundle.load("gate")


def test_wrong_use():
    bundle = make_bundle()
    with pytest.raises(
        BundleError, match=r"no estimator for the muscle 'solaeus'. Did you mean 'soleus'\? .*soleus, tib"
    ):
        bundle.refine("solaeus", np.zeros((1, 20, 1)))
    with pytest.raises(BundleError, match=r"shape \(cycles, 20 samples, 1 muscles\); found \(1, 21, 1\)"):
        bundle.refine("soleus", np.zeros((1, 21, 1)))
    with pytest.raises(BundleError, match="not all finite"):
        bundle.refine("soleus", np.full((1, 20, 1), np.nan))


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    make_bundle().save(path)
    before = path.read_bytes()

    def fail(name, content):
        with name.open("wb") as stream:
            stream.write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        make_bundle("One-Quarter").save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- format 3 ---------------------------------------------------------------------------------------------------------


def learned(key, condition, tmp_path):
    """A method fitted to a few made-up cycles, through a file and back, with what it was fitted to."""
    random = np.random.default_rng(3)
    view = CycleView(condition)
    own = random.random((6, view.cycle_samples))
    other = random.random(own.shape)
    names = ("ipsi:soleus", "contra:soleus")
    if condition == "All-Entire":
        view = replace(view, input_muscles=names)
    samples = make_samples(
        dict(zip(names, (own, other), strict=True)),
        {"soleus": random.random(own.shape)},
        ["a", "a", "b", "b", "c", "c"],
    )
    method = find_method(key)
    plan = method.plan(samples, "soleus", view, method.options(), RunSettings(), None)
    fitted = plan.finish(None)
    path = tmp_path / f"{key}.safetensors"
    Bundle(method, view, {"soleus": fitted}, METADATA).save(path)
    x = random.random((5, view.cycle_samples, len(fitted.inputs)))
    return fitted, Bundle.load(path), x


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("key", ["mean", "shift", "ridge", "opensim"])
def test_every_method_comes_back(tmp_path, key, condition):
    fitted, read, x = learned(key, condition, tmp_path)
    assert read.method is find_method(key)
    assert read.metadata["method"] == key
    assert read.inputs("soleus") == fitted.inputs
    found, expected = read.predict("soleus", x), fitted.predict({"activation": x})
    assert found.values.tobytes() == expected.values.tobytes()
    assert found.attention is None
    assert read.attention_steps("soleus") == ()
    assert read.part("soleus").chosen == fitted.chosen
    before = read.path.read_bytes()
    read.save(read.path)
    assert read.path.read_bytes() == before


def test_numbers_of_baselines_are_checked(tmp_path):
    for key, change, message in (
        ("shift", {"lag": 0.7}, "'lag' of 'soleus' must be a number from -0.5 to 0.5; found 0.7"),
        ("shift", {"lag": None}, "'lag' of 'soleus' must be a number from -0.5 to 0.5; found None"),
        ("shift", {"lag": True}, "found True"),
        ("ridge", {"penalty": -1.0}, "'penalty' of 'soleus' must be a number from 0 to inf; found -1"),
    ):
        _, read, _ = learned(key, "One-Entire", tmp_path)
        header = json.loads(json.dumps(read.metadata))
        header["parts"][0] |= change
        text = json.dumps(header)
        texts = {METADATA_KEY: text, CHECKSUM_KEY: hashlib.sha256(text.encode()).hexdigest()}
        read.path.write_bytes(bundle_module.save_tensors(load_file(read.path), texts))
        with pytest.raises(BundleError, match=re.escape(message)):
            read_all(read.path)


def test_the_checksums_are_as_described(tmp_path):
    path = tmp_path / "net.safetensors"
    made = make_bundle()
    made.save(path)
    for entry in made.metadata["parts"]:
        assert entry["sha256"] == checksum(made.part(entry["target"]).arrays())


def flipped(content, place, bit=0):
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def test_a_flipped_bit_in_the_header_is_refused(tmp_path):
    """Any bit of safetensors' header, which holds our text and its checksum."""
    path = tmp_path / "net.safetensors"
    make_bundle().save(path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    random = np.random.default_rng(0)
    for place in range(int(random.integers(11)), 8 + size, 11):
        path.write_bytes(flipped(content, place, int(random.integers(8))))
        with pytest.raises(BundleError):
            read_all(path)


def test_a_flipped_bit_in_any_array_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    make_bundle().save(path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    places = json.loads(content[8 : 8 + size])
    for name, about in places.items():
        if name == "__metadata__":
            continue
        for place in about["data_offsets"][0], about["data_offsets"][1] - 1:
            path.write_bytes(flipped(content, 8 + size + place))
            bundle = Bundle.load(path)
            target, other = name.partition(".")[0], {"soleus": "tib", "tib": "soleus"}[name.partition(".")[0]]
            bundle.part(other)
            with pytest.raises(BundleError, match=f"damaged: the arrays of '{target}' do not fit their checksum"):
                bundle.part(target)


def test_missing_checksums_are_refused(tmp_path):
    path = damaged(tmp_path, lambda t, h: h["parts"][1].pop("sha256"), sign=False)
    with pytest.raises(BundleError, match="no checksum for the arrays of tib"):
        Bundle.load(path)
    text = json.dumps(make_bundle().metadata)
    save_file(load_file(path), path, metadata={METADATA_KEY: text})
    with pytest.raises(BundleError, match="damaged: its metadata do not fit their checksum"):
        Bundle.load(path)


def test_types_that_numpy_lacks(tmp_path):
    """Tensors of types that only PyTorch knows are an error of ours."""
    path = tmp_path / "net.safetensors"
    make_bundle().save(path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    about = header["tib.output_scale"]
    assert about["dtype"] == "F32"
    about |= {"dtype": "BF16", "shape": [2]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    with pytest.raises(BundleError, match="the arrays of 'tib' cannot be read"):
        read_all(path)


def test_a_method_that_is_not_installed_is_named(tmp_path):
    path = damaged(tmp_path, lambda t, h: _set(h, "method", "kernel_ridge"))
    with pytest.raises(
        BundleError, match=r"cannot be used\. There is no method 'kernel_ridge'\..*entry points"
    ) as caught:
        Bundle.load(path)
    assert os.fspath(path) in str(caught.value)


# --- older formats ----------------------------------------------------------------------------------------------------


def write_old(path, condition, networks, version):
    """Lay a file out as versions 1 and 2 of the format were."""
    entries, tensors = [], {}
    for target, network in networks.items():
        entry = {"target": target, "inputs": list(network.inputs), "hidden": network.hidden, "score": network.score}
        arrays = {**network.weights}
        for name in ("input_offset", "input_scale", "output_offset", "output_scale"):
            arrays[name] = getattr(network, name)
        if network.linear is not None:
            entry["linear"] = True
            arrays |= {"linear.activation": network.linear.activation, "linear.shape": network.linear.shape}
        entries.append(entry)
        tensors |= {f"{target}.{name}": array for name, array in arrays.items()}
    header = {**METADATA, "format_version": version, "condition": condition, "samples": 20, "networks": entries}
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps(header)})


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_older_formats_are_read(tmp_path, version, condition):
    inputs = ("ipsi:soleus", "contra:soleus") if condition == "All-Entire" else ("ipsi:soleus",)
    network = make_network(condition, inputs)
    if version == 2:
        random = np.random.default_rng(4)
        activation = random.normal(0, 0.05, (len(inputs), 20, 20)).astype(np.float32)
        shape = random.normal(0, 0.05, (20, 20)).astype(np.float32)
        network = replace(network, linear=LinearPart(activation, shape, 0))
    path = tmp_path / "old.safetensors"
    write_old(path, condition, {"soleus": network}, version)
    read = Bundle.load(path)
    assert read.method is STDR_NET
    assert read.metadata["format_version"] == FORMAT_VERSION
    x = np.random.default_rng(5).random((3, read.cycle_samples, len(inputs)))
    found, expected = read.predict("soleus", x), network.predict({"activation": x})
    assert found.values.tobytes() == expected.values.tobytes()
    assert found.attention.tobytes() == expected.attention.tobytes()
    # Saved again it is of the present format, with checksums.
    read.save(path)
    again = Bundle.load(path)
    assert all(entry["sha256"] for entry in json.loads(json.dumps(again.metadata))["parts"])
    assert again.predict("soleus", x).values.tobytes() == expected.values.tobytes()


def test_older_formats_are_checked_as_before(tmp_path):
    path = tmp_path / "old.safetensors"
    network = make_network("One-Entire", ("ipsi:soleus",))
    write_old(path, "One-Entire", {"soleus": network}, 1)
    tensors = load_file(path)
    header = {**METADATA, "format_version": 1, "condition": "One-Entire", "samples": 20, "networks": []}
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps(header)})
    with pytest.raises(BundleError, match="list no parts"):
        Bundle.load(path)
    broken = replace(network, weights={**network.weights, "output.weight": np.zeros((1, 6), np.float64)})
    write_old(path, "One-Entire", {"soleus": broken}, 1)
    with pytest.raises(BundleError, match=r"'soleus.output.weight' must hold float32 numbers"):
        read_all(path)


#: What the bundle ``gait`` made of a made-up cycle when it was trained: of walking at every fourth sample for the
#: soleus, and of running the sum over the samples of three cycles for every muscle.
GAIT_SOLEUS = [0.11279715398036327, 0.4471585599623554, 0.5304025825251975, 0.12477274239063263, 0.04515830799937248]
GAIT_SUMS = {
    "soleus": 17.69741333543537,
    "gasmed": 15.349681213301857,
    "gaslat": 19.329965561328187,
    "tib": 23.472111037650674,
    "rect": 23.38452106527426,
    "vaslat": 16.096394602086782,
    "vasmed": 18.001533952598873,
    "bi": 21.49584010676927,
    "sem": 23.4929722060727,
    "semit": 25.226816701721567,
    "glmax1": 40.30284372638616,
    "glmax2": 42.07967265709974,
    "glmax3": 41.4899377682535,
    "glmed1": 17.937598201139483,
    "glmed2": 18.240788463465613,
    "glmed3": 18.724082327621744,
}


def test_the_shipped_bundle_says_what_it_always_said():
    bundle = Bundle.load("gait")
    assert bundle.metadata["format_version"] == FORMAT_VERSION
    phase = np.linspace(0, 1, 20)
    cycles = [0.05 + 0.9 * (0.5 + 0.5 * np.sin(2 * np.pi * (phase + start))) ** 2 for start in (0.0, 0.3, 0.7)]
    x = np.stack(cycles)[:, :, None]
    np.testing.assert_allclose(bundle.predict("soleus", x, motion="walk").values[0, ::4], GAIT_SOLEUS, atol=1e-6)
    assert bundle.targets == tuple(GAIT_SUMS)
    for target, expected in GAIT_SUMS.items():
        assert bundle.predict(target, x, motion="run").values.sum() == pytest.approx(expected, abs=1e-4)


def test_a_bundle_that_was_opened_is_opened_again_when_it_has_changed(tmp_path, monkeypatch):
    path = tmp_path / "small.safetensors"
    make_bundle().save(path)
    first = Bundle.load_once(path)
    assert Bundle.load_once(path) is first
    make_bundle().save(path)
    second = Bundle.load_once(path)
    assert second is not first
    assert second.targets == first.targets
    monkeypatch.setattr(bundle_module, "_MOST_KEPT", 10)
    make_bundle().save(path)
    assert Bundle.load_once(path) is not Bundle.load_once(path)
