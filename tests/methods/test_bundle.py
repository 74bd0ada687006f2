"""Bundles: what is written comes back, and every kind of damage gets a clear error."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from opensim_nem2e.methods.stdr.conditions import variant_of
from safetensors.numpy import load_file, save_file

from opensim_nem2e.errors import BundleError
from opensim_nem2e.methods import bundle as bundle_module
from opensim_nem2e.methods.bundle import FORMAT_VERSION, METADATA_KEY, SECTIONS, Bundle, Network
from opensim_nem2e.methods.stdr.forward import run_free, weight_shapes

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
    return Bundle(condition, networks, METADATA)


@pytest.mark.parametrize("condition", ["One-Quarter", "One-Entire", "All-Entire"])
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
    assert attention.shape == ((5, 4, 20, 20) if condition == "One-Quarter" else (5, 20, steps))
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
    network = bundle.network("soleus")
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
    assert read._networks == {}
    read.refine("tib", np.zeros((1, 20, 1)))
    assert set(read._networks) == {"tib"}
    code = (
        "import sys, numpy as np\n"
        "from opensim_nem2e import Bundle\n"
        f"Bundle.load({os.fspath(path)!r}).refine('tib', np.zeros((1, 20, 1)))\n"
        "print([m for m in ('torch', 'scipy', 'pandas', 'opensim', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def damaged(tmp_path, change):
    """Save a good bundle, change its tensors and metadata, and return the path."""
    path = tmp_path / "net.safetensors"
    made = make_bundle()
    made.save(path)
    tensors, header = load_file(path), json.loads(json.dumps(made.metadata))
    change(tensors, header)
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps(header)})
    return path


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
        (lambda t, h: t.update({"tib.extra": np.zeros(3, np.float32)}), "'tib.extra' belongs to no network"),
        (lambda t, h: t.update({"tib.output_scale": np.ones(1)}), "must hold 32-bit floats; found F64"),
        (
            lambda t, h: _set(h, "condition", "One-Half"),
            "unknown condition 'One-Half'; allowed: One-Quarter, One-Entire",
        ),
        (lambda t, h: _set(h, "format_version", FORMAT_VERSION + 1), "format version 3.*Update the package"),
        (lambda t, h: h.pop("format_version"), "does not say its format_version"),
        (lambda t, h: _set(h, "samples", 0), "'samples' must be"),
        (lambda t, h: _set(h, "networks", []), "list no networks"),
        (lambda t, h: _set(h, "networks", 0, "inputs", ["soleus"]), "must be different names like 'ipsi:soleus'"),
        (lambda t, h: _set(h, "networks", 0, "inputs", ["ipsi:a", "ipsi:b"]), "has one input muscle; 'soleus' has 2"),
        (lambda t, h: _set(h, "networks", 0, "hidden", -1), "'hidden' of 'soleus'"),
        (lambda t, h: _set(h, "networks", 0, "score", "sum"), "must be dot or general; found 'sum'"),
        (lambda t, h: _set(h, "networks", 1, "target", "soleus"), "two networks for 'soleus'"),
        (lambda t, h: _set(h, "networks", 1, "target", "a/b"), "standard name; found 'a/b'"),
        (lambda t, h: h.pop("data"), "the section 'data' is missing"),
        (lambda t, h: h["data"].pop("licence"), "'licence' is missing from the section 'data'"),
    ],
)
def test_wrong_contents(tmp_path, change, message):
    path = damaged(tmp_path, change)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.load(path)
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
    networks = {target: bundle.network(target) for target in bundle.targets}
    metadata["validation"]["leave_one_subject_out"] = {"soleus": GOOD_ROW, "ALL": GOOD_ROW}
    Bundle(bundle.condition, networks, metadata)
    metadata[section][key] = value
    with pytest.raises(BundleError, match=re.escape(message)):
        Bundle(bundle.condition, networks, metadata)


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
    with pytest.raises(BundleError, match=r"'tib.decoder.weight_hh_l0' holds values that are not finite"):
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
    with pytest.raises(BundleError):
        Bundle.load(path)


def test_other_files(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"\x80\x04\x95" + b"pickle" * 50)
    with pytest.raises(BundleError, match="of another kind"):
        Bundle.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(BundleError, match="not a network bundle"):
        Bundle.load(path)
    save_file({"a": np.zeros(3)}, path, metadata={METADATA_KEY: "{"})
    with pytest.raises(BundleError, match="not valid JSON"):
        Bundle.load(path)
    save_file({"a": np.zeros(3)}, path, metadata={METADATA_KEY: "[]"})
    with pytest.raises(BundleError, match="JSON object"):
        Bundle.load(path)
    with pytest.raises(BundleError, match="found a folder"):
        Bundle.load(tmp_path)
    with pytest.raises(BundleError, match="no such network bundle"):
        Bundle.load(tmp_path / "none.safetensors")


def test_shipped_names(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_module, "SHIPPED", tmp_path)
    make_bundle().save(tmp_path / "gait.safetensors")
    assert Bundle.load("gait").targets == ("soleus", "tib")
    with pytest.raises(BundleError, match=r"'gate'.*shipped bundles: gait\).* Did you mean 'gait'\?"):
        Bundle.load("gate")


def test_wrong_use():
    bundle = make_bundle()
    with pytest.raises(
        BundleError, match=r"no network for the muscle 'solaeus'. Did you mean 'soleus'\? .*soleus, tib"
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
