"""The package as a whole: cheap to import, and documented throughout."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tomllib

import numpydoc.validate
import pytest

import opensim_nem2e
from opensim_nem2e.methods.base import Fitted
from opensim_nem2e.options import Options
from opensim_nem2e.tools.tool import Tool

HEAVY = ("torch", "opensim", "pandas", "scipy", "matplotlib", "lxml", "numpy")


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys, json; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_costs_nothing():
    assert not modules_after("import opensim_nem2e") & set(HEAVY)


@pytest.mark.parametrize("name", [name for name in opensim_nem2e.__all__ if name != "__version__"])
def test_public_names(name):
    assert getattr(opensim_nem2e, name).__name__ == name
    assert name in dir(opensim_nem2e)


def test_unknown_name():
    with pytest.raises(AttributeError, match="NoSuchTool"):
        _ = opensim_nem2e.NoSuchTool


def test_versions_agree(repository):
    with (repository / "pyproject.toml").open("rb") as stream:
        project = tomllib.load(stream)
    # Stated once: the build takes it from the package.
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "opensim_nem2e/__init__.py"
    assert f"version: {opensim_nem2e.__version__}" in (repository / "CITATION.cff").read_text()
    assert f"## [{opensim_nem2e.__version__}]" in (repository / "CHANGELOG.md").read_text()


def public_objects():
    """Yield the dotted name of every public function, class and method."""
    for module_info in pkgutil.walk_packages(opensim_nem2e.__path__, "opensim_nem2e."):
        if any(part.startswith("_") for part in module_info.name.split(".")[1:]):
            continue
        module = importlib.import_module(module_info.name)
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(thing):
                yield f"{module.__name__}.{name}"
            elif inspect.isclass(thing):
                yield f"{module.__name__}.{name}"
                for attribute, member in vars(thing).items():
                    # Accessors that a property table generates are checked with their tool.
                    if attribute.startswith("_") or not inspect.isfunction(member):
                        continue
                    if member.__code__.co_filename == inspect.getsourcefile(module):
                        yield f"{module.__name__}.{name}.{attribute}"


def found(name: str):
    """Import what a dotted name stands for; a method comes with its class."""
    module, _, last = name.rpartition(".")
    try:
        return importlib.import_module(module), last
    except ModuleNotFoundError:
        module, _, holder = module.rpartition(".")
        return getattr(importlib.import_module(module), holder), last


def is_declaration(name: str) -> bool:
    """Tell whether this is a class of options, whose comments document them, or a tool, which is made as all are."""
    holder, last = found(name)
    thing = getattr(holder, last)
    return inspect.isclass(thing) and issubclass(thing, Options | Tool)


def is_documented_in_a_base(name: str) -> bool:
    """Tell whether this is a method that a base class of its class documents."""
    holder, last = found(name)
    if not inspect.isclass(holder):
        return False
    # A protocol need not be a base.
    bases = [*holder.__mro__[1:], *((Fitted,) if hasattr(holder, "attention_steps") else ())]
    return any(inspect.getdoc(vars(base).get(last)) for base in bases)


def is_error(name: str) -> bool:
    """Tell whether this is an error, which is raised with a message as all are."""
    holder, last = found(name)
    thing = getattr(holder, last)
    return inspect.isclass(thing) and issubclass(thing, Exception)


def test_a_class_name_stands_for_one_class():
    """Whoever reads a name in a message, a docstring or a traceback knows what is meant; so with modules."""
    classes: dict[str, list[str]] = {}
    modules: dict[str, list[str]] = {}
    for module_info in pkgutil.walk_packages(opensim_nem2e.__path__, "opensim_nem2e."):
        name = module_info.name.rpartition(".")[2]
        if name.startswith("_"):
            continue
        # Every method has its own of these, in a folder of its own.
        if not (module_info.name.startswith("opensim_nem2e.methods.") and name in ("method", "forward", "net")):
            modules.setdefault(name, []).append(module_info.name)
        module = importlib.import_module(module_info.name)
        for thing in vars(module).values():
            if inspect.isclass(thing) and thing.__module__ == module.__name__ and not thing.__name__.startswith("_"):
                classes.setdefault(thing.__name__, []).append(module.__name__)
    assert {name: where for name, where in classes.items() if len(where) > 1} == {}
    assert {name: where for name, where in modules.items() if len(where) > 1} == {}


def test_docstrings(repository, monkeypatch):
    # Where they stand takes half of the time, and is not used.
    monkeypatch.setattr(numpydoc.validate.Validator, "source_file_def_line", None)
    with (repository / "pyproject.toml").open("rb") as stream:
        checks = set(tomllib.load(stream)["tool"]["numpydoc_validation"]["checks"])
    faults = []
    count = 0
    for name in public_objects():
        count += 1
        # What a declaration or a base class says need not be said again.
        known = is_declaration(name) or is_documented_in_a_base(name) or is_error(name)
        left_out = {"PR01", "RT01"} if known else set()
        for code, text in numpydoc.validate.validate(name)["errors"]:
            # A dataclass's private fields are nobody's parameters, and a protocol is not made.
            private = re.fullmatch(r"Parameters \{('(_\w+|\*args|\*\*kwargs)'(, )?)+\} not documented", text)
            if code in checks - left_out and not private:
                faults.append(f"{name}: {code} {text}")
    assert count > 100
    assert not faults, "\n".join(faults)
