"""The GUI's script, run by Jython as the GUI runs it, and the grammar it may use."""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import vermin

from opensim_nem2e.storage import read_storage

#: What the scripting shell has loaded before it runs a script, for a Jython without windows.
SHELL = """# -*- coding: utf-8 -*-
import java.lang as lang

class Model(object):
    def getName(self):
        return "walker"
    def getInputFileName(self):
        return u"%s"

def getCurrentModel():
    return Model()

def loadMotion(path):
    print("LOADED " + path)

for nem2e_answers in %s:
    execfile("%s")
    print("ERROR %%s" %% nem2e.error)
    print("-----")
"""


@pytest.fixture(scope="module")
def script(repository, tmp_path_factory) -> Path:
    """Return a copy of the script: in a clone it would find the program of the clone's own environment."""
    return Path(shutil.copy(repository / "setups" / "gui" / "nem2e_refine.py", tmp_path_factory.mktemp("gui")))


# --- the grammar ------------------------------------------------------------------------------------------------------


def newer_than_python_2_5(source: str, folder: Path) -> list[str]:
    """List what Python 2.5 would not understand: what vermin finds, and what it does not look for.

    The source must also be grammatical in Python 3, which leaves out Python 2's own 'print x' and 'except A, b'.
    """
    path = folder / "source.py"
    path.write_text(source, encoding="utf-8")
    said = io.StringIO()
    words = ["vermin", "--quiet", "--no-tips", "--violations", "--processes=1", "--target=2.5-", str(path)]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            vermin.main()
    assert end.value.code in (0, 1), said.getvalue()
    found = [line.strip() for line in said.getvalue().splitlines() if "require" in line or "error" in line.lower()]
    assert bool(found) == bool(end.value.code), said.getvalue()
    if not source.isascii():
        found.append("a letter that is not ASCII")
    tree = ast.parse(source)
    future = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and "with_statement" not in future:
            found.append("with")
        if isinstance(node, ast.ExceptHandler) and node.name:
            found.append("except ... as")
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "print" and (node.keywords or len(node.args) != 1):
                found.append("print with other than one argument")
            stars = [argument for argument in node.args if isinstance(argument, ast.Starred)]
            if stars and any(keyword.arg for keyword in node.keywords if keyword.lineno >= stars[0].lineno):
                found.append("a keyword after *arguments")
        if isinstance(node, ast.Attribute) and node.attr in ("setter", "deleter"):
            found.append(f"@property.{node.attr}")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NUMBER and re.match(r"0[oObB]|.*_", token.string):
            found.append(f"the number {token.string}")
    return found


def test_script_is_python_2_5(script, tmp_path):
    assert newer_than_python_2_5(script.read_text(encoding="utf-8"), tmp_path) == []


@pytest.mark.parametrize(
    "source",
    [
        "with open('a') as f:\n    pass",
        "try:\n    pass\nexcept ValueError as error:\n    pass",
        "'{0}'.format(1)",
        "'{}'.format(1)",
        "f'{1}'",
        "{1, 2}",
        "{i for i in 'a'}",
        "{i: 1 for i in 'a'}",
        "b'a'",
        "'ä'",
        "print('a', 'b')",
        "print('a', end='')",
        "print()",
        "from __future__ import print_function",
        "from __future__ import unicode_literals",
        "@list\nclass A:\n    pass",
        "0o17",
        "0b11",
        "1_000",
        "f(*a, b=1)",
        "class A(object):\n    @x.setter\n    def x(self, value):\n        pass",
        "import io",
        "import json",
        "next(iter('a'))",
        "def f(a: int):\n    pass",
        "def f(*, a):\n    pass",
        "def f():\n    x = 1\n    def g():\n        nonlocal x",
        "a, *b = 'abc'",
        "raise ValueError from None",
        "super().a",
        "(a := 1)",
    ],
)
def test_newer_grammar_is_found(source, tmp_path):
    assert newer_than_python_2_5(source + "\n", tmp_path)


# --- the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jython() -> str:
    found = shutil.which("jython")
    if found is None:
        pytest.skip("no jython on the PATH (Debian: apt-get install jython)")
    return found


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """The surroundings of Jython: its memory of the program's place is a new one."""
    # The second and third options halve what starting Jython costs.
    java = f"-Djava.util.prefs.userRoot={tmp_path} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dfile.encoding=UTF-8"
    return {**os.environ, "JAVA_TOOL_OPTIONS": java, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": "/nowhere"}


@pytest.fixture
def run_in_shell(script, jython, environment, trial, tmp_path):
    """Return a function that runs the script without windows, once for each of the answers.

    It returns what each run prints; one Jython does them all, as it takes seconds to start.
    """

    def run(*answers: dict[str, object], script: Path = script) -> list[str]:
        shell = tmp_path / "shell.py"
        runs = ["{" + ", ".join(f'"{name}": {_literal(value)}' for name, value in run.items()) + "}" for run in answers]
        shell.write_text(SHELL % (trial / "walker.osim", f"[{', '.join(runs)}]", script), encoding="utf-8")
        java = environment["JAVA_TOOL_OPTIONS"] + " -Djava.awt.headless=true"
        done = subprocess.run(
            [jython, str(shell)],
            capture_output=True,
            env={**environment, "JAVA_TOOL_OPTIONS": java},
            cwd=tmp_path,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().split("-----\n")[:-1]

    return run


def _literal(value: object) -> str:
    return f'u"{value}"' if isinstance(value, str | Path) else repr(value)


@pytest.mark.slow
def test_refines_and_loads_the_example(run_in_shell, program, trial):
    chosen = {
        "program": program.parent.parent,
        "states_file": trial / "cmc" / "walking_states.sto",
        "external_loads_file": trial / "external_loads.xml",
        "results_directory": trial / "refined",
        "muscles": ["soleus_r", "tibant_r"],
        "write_figures": False,
    }
    # The program that was used is remembered; an existing setup file is taken as it is.
    existing = {"setup_file": trial / "refined" / "walking_refined_setup.xml"}
    states = trial / "refined" / "walking_refined_states.sto"
    for said in run_in_shell(chosen, existing):
        assert f"LOADED {states}\n" in said
        assert said.endswith("ERROR None\n")
        assert "[info] Complete right gait cycles (s): 0.2482-1.3655." in said
        assert f"Model: walker (24 muscles), '{trial / 'walker.osim'}'" in said
    before, after = read_storage(trial / "cmc" / "walking_states.sto"), read_storage(states)
    changed = [name for name in before.labels if not np.array_equal(before.column(name), after.column(name))]
    # Muscles of the same leg move along, so that the torques are met.
    assert {"/forceset/soleus_r/activation", "/forceset/tibant_r/activation"} <= set(changed)
    assert all(re.fullmatch(r"/forceset/\w+_r/(activation|fiber_length)", name) for name in changed)


def test_failures_are_told_in_words(run_in_shell, program, talkative_program, environment, trial):
    environment["PATH"] = "/usr/bin:/bin"
    wrong_number = {
        "program": program,
        "states_file": trial / "cmc" / "walking_states.sto",
        "right_heel_strikes": "0,25 1,37",
        "results_directory": trial / "refined",
    }
    talkative = {"program": talkative_program}
    cases = [
        ({}, "There is no screen to ask for the program 'opensim-nem2e': give 'program' in nem2e_answers."),
        ({"program": "nowhere"}, "There is no program opensim-nem2e at 'nowhere'. It is in the folder 'bin'"),
        (talkative, "There is no screen to ask for a setup file or a states file: give 'setup_file' or 'states_file'"),
        ({**talkative, "states_file": "none.sto"}, "There is no states file 'none.sto'."),
        ({**talkative, "setup_file": "none.xml"}, "There is no setup file 'none.xml'."),
        (wrong_number, "The refinement failed (exit status 1). opensim-nem2e said:\n\n[error] "),
        # Much output, on both streams, does not block.
        (
            {**talkative, "setup_file": trial / "setup_refine.xml"},
            "The refinement failed (exit status 1). opensim-nem2e said:\n\n"
            "[error] It went wrong.\n  - and that is why\n",
        ),
    ]
    heard = run_in_shell(*(answers for answers, _ in cases))
    assert len(heard) == len(cases)
    for said, (_, error) in zip(heard, cases, strict=True):
        assert said.partition("ERROR ")[2].startswith(error)
        assert "LOADED" not in said
    assert re.search("<right_heel_strikes> must be numbers .*, but '0,25 1,37' was found.", heard[-2])
    assert not list((trial / "refined").glob("*.sto"))
    assert heard[-1].count("[info] line ") == heard[-1].count("[warn] line ") == 4000
    assert "LD_LIBRARY_PATH is None" in heard[-1]


def test_program_of_the_same_environment_is_found(run_in_shell, script, talkative_program, environment, tmp_path):
    """As pip installs both, without anything that says where the program is."""
    environment["PATH"] = "/usr/bin:/bin"
    installed = tmp_path / "env" / "share" / "opensim-nem2e" / "gui" / script.name
    installed.parent.mkdir(parents=True)
    shutil.copy(script, installed)
    shutil.copytree(talkative_program.parent, tmp_path / "env" / "bin")
    (said,) = run_in_shell({"setup_file": talkative_program}, script=installed)
    assert said.startswith(f"Running '{tmp_path / 'env' / 'bin' / 'opensim-nem2e'}'")


# --- with windows -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run_with_windows(script, jython, environment, trial, tmp_path):
    """Return a function that runs the script on a screen of its own, where a person answers its windows."""
    screen = shutil.which("xvfb-run")
    java = Path(shutil.which("java") or "/").resolve().parent.parent
    if screen is None or not list(java.rglob("libawt_xawt.so")):
        pytest.skip("no xvfb-run, or only a Java without windows (Debian: apt-get install xvfb default-jre)")

    def run(answers: list[object], **more: str) -> str:
        (tmp_path / "answers.txt").write_text(repr([_plain(answer) for answer in answers]), encoding="utf-8")
        person = Path(__file__).with_name("gui_person.py")
        command = [screen, "-a", jython, str(person), str(script), str(trial / "walker.osim"), "answers.txt"]
        environment["PATH"] = "/usr/bin:/bin"
        done = subprocess.run(command, capture_output=True, env={**environment, **more}, cwd=tmp_path, timeout=300)
        said = done.stdout.decode()
        assert done.returncode == 0, said + done.stderr.decode()
        return said

    return run


def _plain(answer: object) -> object:
    return str(answer) if isinstance(answer, Path) else answer


@pytest.fixture
def trial_in_ascii(trial, tmp_path) -> Path:
    """The trial under a name that Python 2's plain strings hold."""
    return trial.rename(tmp_path / "a walk")


def test_asks_runs_and_loads(run_with_windows, program, trial_in_ascii):
    trial = trial_in_ascii
    (trial / "refined").mkdir()
    cycles = ["Heel", ("type", "0.25 1.37"), ("type", "")]
    said = run_with_windows(
        ["OK", program.parent.parent, "CMC", trial / "cmc" / "walking_states.sto", *cycles, trial / "refined"]
    )
    assert "DIALOG Where is the program opensim-nem2e?" in said
    assert "DIALOG Times of successive left heel strikes (s)" in said
    assert "LOADED in Swing's thread: True" in said
    # The script leaves the GUI free while the program runs.
    assert said.index("RETURNED") < said.index("[info] Results are in")
    assert "ERROR None" in said
    assert "LAST LINE OF THE WINDOW Done. Play the motion" in said
    assert (trial / "refined" / "walking_refined_plantarflexors.png").is_file()


def test_run_can_be_cancelled(run_with_windows, talkative_program, trial_in_ascii):
    answers = ["OK", talkative_program, "Existing", trial_in_ascii / "setup_refine.xml", ["Cancel"]]
    said = run_with_windows(answers, NEM2E_TEST_SLEEP="300")
    assert "ERROR Cancelled: there are no new results." in said
