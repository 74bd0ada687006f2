"""Methods of this package, and those of other subjects' packages, which a user installs beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from cycle_maker import make_samples

from opensim_nem2e.data.cycle_view import CycleView
from opensim_nem2e.errors import TrainingError
from opensim_nem2e.methods import registry
from opensim_nem2e.methods.base import Method, RunSettings
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.registry import (
    BASELINES,
    BUILT_IN,
    REFERENCE,
    element_names,
    element_options,
    find_method,
    method_keys,
    method_style,
    trainable_keys,
)

#: A method that says half of the activation.
HALF = """
from dataclasses import dataclass
from opensim_nem2e.methods.base import Method, Plan, Prediction, RunSettings, check_arrays

@dataclass(frozen=True)
class FittedHalf:
    inputs: tuple
    chosen = {}
    attention_steps = ()
    def predict(self, inputs):
        return Prediction(0.5 * inputs["activation"][:, :, 0])
    def arrays(self):
        return {}
    def description(self):
        return {}

class Half(Method):
    key = "half"
    label = "half of it"
    description = "half of the activation"
    colour = "#123456"
    marker = "P"
    def plan(self, samples, part, view, options, run, common=None):
        return Plan(lambda trained: FittedHalf((f"ipsi:{part}",)), {})
    def load(self, part, description, arrays, view):
        check_arrays(part, arrays, {})
        return FittedHalf((f"ipsi:{part}",))

class Demanding(Half):
    def __init__(self, needed):
        pass

class Silent:
    key = "silent"
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package as pip would: a module, and a dist-info folder with its entry points."""

    def make(entries: str, code: str = HALF, package: str = "halves") -> Path:
        (tmp_path / f"{package}.py").write_text(dedent(code))
        info = tmp_path / f"{package}_dist-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}-dist\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[opensim_nem2e.methods]\n{entries}\n")
        monkeypatch.syspath_prepend(tmp_path)
        forget()
        return tmp_path

    def forget() -> None:
        registry._registered.cache_clear()
        registry._usable.cache_clear()
        find_method.cache_clear()
        sys.modules.pop("halves", None)

    yield make
    monkeypatch.undo()
    forget()


def test_built_in_methods():
    assert method_keys() == ("opensim", "stdr_net", "mean", "profiles", "shift", "ridge")
    assert trainable_keys() == ("stdr_net", "mean", "profiles", "shift", "ridge")
    assert set(BASELINES) <= set(trainable_keys())
    for key in BUILT_IN:
        method = find_method(key)
        assert isinstance(method, Method)
        assert method.key == key
        assert find_method(key) is method
        assert method_style(key) == {"label": method.label, "colour": method.colour, "marker": method.marker}
        assert method.options() == method.options()
    assert len({find_method(key).colour for key in BUILT_IN}) == len(BUILT_IN)
    assert len({find_method(key).marker for key in BUILT_IN}) == len(BUILT_IN)
    assert REFERENCE in BUILT_IN


def test_listing_imports_no_method():
    code = (
        "import sys\nfrom opensim_nem2e.methods.registry import method_keys, find_method\nmethod_keys()\n"
        "print([m for m in sys.modules if m.startswith('opensim_nem2e.methods.') and 'registry' not in m"
        " and not m.endswith('base')])\n"
        "find_method('stdr_net')\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_an_unknown_method_is_named_with_its_like():
    with pytest.raises(
        TrainingError, match=r"no method 'rigde'\. Did you mean 'ridge'\? Known: opensim, stdr_net, mean"
    ):
        find_method("rigde")


def test_a_method_of_another_package(install, tmp_path):
    install("half = halves:Half")
    assert method_keys() == (*BUILT_IN, "half")
    assert "half" in trainable_keys()
    assert "halves" not in sys.modules  # not before it is asked for
    method = find_method("half")
    assert method_style("half") == {"label": "half of it", "colour": "#123456", "marker": "P"}
    own = np.random.default_rng(0).random((4, 20))
    samples = make_samples({"ipsi:tib": own}, {"tib": own}, ["a", "a", "b", "b"])
    assert method.parts(samples, CycleView()) == ("tib",)
    fitted = method.plan(samples, "tib", CycleView(), method.options(), RunSettings()).finish(None)
    sections = {
        "cycle": {"definition": "", "sampling": ""},
        "normalization": {"activation": "none", "emg": "subject_max"},
        "data": {"description": "", "licence": "", "attribution": ""},
        "training": {"seed": 0},
        "packages": {},
        "validation": {"method": "none"},
    }
    path = tmp_path / "half.safetensors"
    Bundle(method, CycleView(), {"tib": fitted}, sections).save(path)
    np.testing.assert_array_equal(Bundle.load(path).predict("tib", own[:, :, None]).values, 0.5 * own)


def test_a_package_cannot_take_the_place_of_a_built_in_method(install):
    install("ridge = halves:Half\nhalf = halves:Half")
    assert method_keys() == (*BUILT_IN, "half")
    assert type(find_method("ridge")).__module__ == "opensim_nem2e.methods.baselines"


@pytest.mark.parametrize(
    ("entry", "code", "parts"),
    [
        ("half = nowhere:Half", HALF, ("'half'", "'halves-dist'", "nowhere:Half", "No module named 'nowhere'")),
        ("half = halves:Hlf", HALF, ("'half'", "'halves-dist'", "halves:Hlf", "AttributeError")),
        ("half = halves:Half", "1 / 0", ("'half'", "'halves-dist'", "ZeroDivisionError: division by zero")),
        ("half = halves:Half", "def", ("'half'", "'halves-dist'", "SyntaxError")),
        ("other_name = halves:Half", HALF, ("'other_name'", "registered under its own key, 'half'")),
        ("silent = halves:Silent", HALF, ("'silent'", "does not state label, description, colour, marker")),
        (
            "half = halves:HALF",
            "HALF = 3",
            ("'half'", "must be a class after opensim_nem2e.methods.base.Method; found 3"),
        ),
        ("half = halves:Demanding", HALF, ("'half'", "'halves-dist'", "needed")),
        ("Half = halves:Half", HALF, ("'Half'", "'half'", "in lower case letters")),
    ],
)
def test_a_broken_package_is_named(install, caplog, entry, code, parts):
    install(entry, code)
    key = entry.partition(" ")[0]
    with pytest.raises(TrainingError) as caught:
        find_method(key)
    for part in parts:
        assert part in str(caught.value)
    # All others are as they were, and setup files that do not use it are read.
    assert find_method("ridge").key == "ridge"
    assert element_names() == ()
    assert str(caught.value) in caplog.text


def test_two_packages_with_one_key_are_both_named(install):
    install("half = halves:Half")
    install("half = halves:Half", package="quarters")
    with pytest.raises(TrainingError, match=r"Several packages register a method 'half': '\w+-dist', '\w+-dist'"):
        find_method("half")


def test_elements_of_setup_files(install):
    install("half = halves:Half", HALF.replace('key = "half"', 'key = "half"\n    element = "Half"'))
    assert element_names() == ("Half",)
    assert element_options("Half") is find_method("half").options
    # Those of this package are declared by the tools.
    assert element_options("STDRNet") is None
    assert element_options("Hlf") is None
