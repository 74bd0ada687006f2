"""MATLAB's function, run by GNU Octave, and the syntax it may use."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from opensim_nem2e import STDRRefineTool
from opensim_nem2e.storage import read_storage

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "setups" / "matlab").glob("*.m"), *(ROOT / "examples").glob("*/*.m")])

#: What Octave understands beyond MATLAB, where the parser of MATLAB's grammar sees only a strange name.
OCTAVE_ONLY = re.compile(
    r"\b(end_?(if|for|while|function|switch|try_catch|unwind_protect\w*)|unwind_protect\w*|until|do|puts|printf|fputs|"
    r"fdisp|ifelse|strtrunc|columns|rows|page_screen_output|argv|OCTAVE_VERSION)\b"
    r"|[-+*/^|&]=|\"|\)\(|\}\{"
)


# --- the syntax -------------------------------------------------------------------------------------------------------


def not_matlab(path: Path) -> list[str]:
    """List what MATLAB would not understand."""
    command = [sys.executable, "-c", "from miss_hit_core.mh_style import main; main()", "--no-style", "--brief"]
    done = subprocess.run(
        [*command, "--ignore-config", "--single", "--matlab=2017b", str(path)], capture_output=True, text=True
    )
    found = [line for line in done.stdout.splitlines() if "error" in line]
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        code = re.sub(r"'(?:[^']|'')*'", "''", line).partition("%")[0]
        found += [f"line {number}: {match[0]}" for match in OCTAVE_ONLY.finditer(code)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_syntax_is_matlabs(path):
    assert not_matlab(path) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 1; # a comment",
        "if x, y = 1; endif",
        "if x != 1, y = 2; end",
        "x = !y;",
        "x++;",
        "x += 1;",
        'x = "text";',
        "x = {1, 2}{1};",
        "x = f(1)(2);",
        "printf('a');",
        "do\n  x = 1;\nuntil x",
        "function f()\nendfunction",
        "unwind_protect\n  x = 1;\nend_unwind_protect",
        "x = 2 ** 3;",
    ],
)
def test_syntax_of_octave_alone_is_found(source, tmp_path):
    path = tmp_path / "source.m"
    path.write_text(source + "\n")
    assert not_matlab(path)


# --- the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def octave() -> str:
    found = shutil.which("octave-cli")
    if found is None:
        pytest.skip("no octave-cli on the PATH (Debian: apt-get install octave)")
    return found


@pytest.fixture
def run_octave(octave, trial, tmp_path):
    """Return a function that runs lines of code in the trial's folder; it returns what is shown, and what they save.

    The code saves with ``report(struct)``, as JSON.
    """

    def run(code: str, **environment: str) -> tuple[str, dict]:
        saved = tmp_path / "saved.json"
        # A copy: in a clone it would find the program of the clone's own environment.
        functions = shutil.copytree(ROOT / "setups" / "matlab", tmp_path / "matlab", dirs_exist_ok=True)
        before = f"addpath('{functions}');\n"
        before += f"report = @(x) fputs(fopen('{saved}', 'w'), jsonencode(x));\n"
        (tmp_path / "code.m").write_text(before + code + "\nfclose('all');\n", encoding="utf-8")
        done = subprocess.run(
            [octave, "--no-init-file", "--quiet", str(tmp_path / "code.m")],
            capture_output=True,
            env={**os.environ, "OPENSIM_NEM2E_PROGRAM": "", **environment},
            cwd=trial,
            timeout=300,
        )
        shown = done.stdout.decode()
        assert saved.is_file(), shown + done.stderr.decode()
        return shown, json.loads(saved.read_text(encoding="utf-8"))

    return run


def test_setup_file_is_run(run_octave, program, trial):
    shown, saved = run_octave(
        "[results, activation] = nem2e_refine('setup_refine.xml');\n"
        "report(struct('results', results, 'labels', {activation.labels}, 'time', activation.time, ...\n"
        "              'soleus', activation.data(:, strcmp(activation.labels, 'soleus_r'))))",
        OPENSIM_NEM2E_PROGRAM=str(program),
    )
    assert "[info] Complete right gait cycles (s): 0.2482-1.3655. Complete left" in shown
    results = saved["results"]
    folder = trial / "results"
    assert results["directory"] == str(folder)
    assert results["summary"] == str(folder / "walking_summary.csv")
    assert results["report"] == str(folder / "walking_report.html")
    for kind in ("states", "activation", "controls", "emg"):
        assert results[kind] == str(folder / f"walking_{kind}.sto")
    assert set(results["files"]) == {str(path) for path in folder.iterdir() if path.suffix != ".log"}
    written = read_storage(folder / "walking_activation.sto")
    assert tuple(saved["labels"]) == tuple(written.labels)
    np.testing.assert_allclose(saved["time"], written.time, atol=1e-6)
    np.testing.assert_allclose(saved["soleus"], written.column("soleus_r"), atol=1e-4)


def test_names_and_values_make_a_setup_file(run_octave, program, trial):
    code = (
        f"results = nem2e_refine('program', '{program.parent.parent}', 'states_file', 'cmc/walking_states.sto', ...\n"
        "    'right_heel_strikes', [0.25, 1.37], 'roll_incomplete_cycles', true, 'minimum_activation', 1 / 3, ...\n"
        "    'muscles', {'soleus_r', 'tibant_r'}, 'bundle_file', 'gait', 'results_directory', 'a & b''s');\n"
        "report(results)"
    )
    _, results = run_octave(code)
    folder = trial / "a & b's"
    assert results["states"] == str(folder / "walking_refined_states.sto")
    assert Path(results["states"]).is_file()
    tool = STDRRefineTool(trial / "walking_refined_setup.xml")
    given = {name: tool.get(name) for name in tool.values() if tool.is_set(name)}
    assert given == {
        "states_file": "cmc/walking_states.sto",
        "right_heel_strikes": (0.25, 1.37),
        "roll_incomplete_cycles": True,
        "minimum_activation": 1 / 3,
        "muscles": ("soleus_r", "tibant_r"),
        "bundle_file": "gait",
        "results_directory": "a & b's",
    }
    assert tool.name == "walking_refined"


def test_of_two_kinds_of_states_the_refined_ones_are_returned(run_octave, tmp_path):
    """With ``redistribute`` both are written."""
    kinds = [f"{kind}_{what}" for kind in ("walk", "walk_consistent") for what in ("states", "activation", "controls")]
    program = tmp_path / "opensim-nem2e"
    said = [f"[debug] Writing '/results/{kind}.sto'." for kind in kinds]
    code = f"import pathlib, sys; pathlib.Path(sys.argv[-1]).write_text({chr(10).join(said)!r})"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    _, results = run_octave(f"report(nem2e_refine('program', '{program}', 'states_file', 'cmc/walking_states.sto'))")
    assert len(results["files"]) == len(kinds)
    assert [results[what] for what in ("states", "activation", "controls")] == [
        f"/results/walk_{what}.sto" for what in ("states", "activation", "controls")
    ]


def test_failures_are_told_in_words(run_octave, program, talkative_program, trial):
    calls = {
        "'a.xml', 'program', 'nowhere'": "nem2e:refine:program There is no program opensim-nem2e at 'nowhere'.",
        "'setup_refine.xml'": "nem2e:refine:program The program opensim-nem2e was not found. Say where it is: ",
        "'none.xml', 'program', P": f"nem2e:refine:setup There is no setup file '{trial / 'none.xml'}'.",
        "'program', P": "nem2e:refine:arguments Either an existing setup file or properties by name and value",
        "'a.xml', 'states_file', 'b'": "nem2e:refine:arguments Either an existing setup file or properties by name",
        "'states file', 'b', 'program', P": "nem2e:refine:arguments 'states file' is not the name of a property.",
        "'states_file', 'cmc/walking_states.sto', 'sates_file', 'b', 'program', Q": (
            "nem2e:refine:failed opensim-nem2e failed (exit status 1).\n[error] "
        ),
        "'setup_refine.xml', 'program', P": (
            "nem2e:refine:failed opensim-nem2e failed (exit status 1).\nIt left no message; see the lines above."
        ),
    }
    code = f"P = '{talkative_program}'; Q = '{program}'; said = {{}};\n"
    for call in calls:
        code += f"try\n  nem2e_refine({call});\ncatch problem\n"
        code += "  said{end + 1} = [problem.identifier, ' ', problem.message];\nend\n"
    shown, said = run_octave(code + "report(said)", PATH="/usr/bin:/bin", LD_LIBRARY_PATH="/nowhere")
    assert len(said) == len(calls)
    for found, expected in zip(said, calls.values(), strict=True):
        assert found.startswith(expected)
    assert "<sates_file> is not a property of STDRRefineTool. Did you mean 'states_file'?" in said[-2]
    assert not any("Traceback" in text for text in said)
    # All that the program says is shown, on whatever stream, and it has not got MATLAB's libraries.
    assert shown.count("[info] line ") == shown.count("[warn] line ") == 4000
    assert "LD_LIBRARY_PATH is None" in shown
    assert "and that is why" in shown


def test_program_of_the_same_environment_is_found(run_octave, talkative_program, tmp_path):
    """As pip installs both, without anything that says where the program is."""
    shutil.copytree(ROOT / "setups" / "matlab", tmp_path / "env" / "share" / "opensim-nem2e" / "matlab")
    shutil.copytree(talkative_program.parent, tmp_path / "env" / "Scripts")
    shown, _ = run_octave(
        f"addpath('{tmp_path / 'env' / 'share' / 'opensim-nem2e' / 'matlab'}');\n"
        "try\n  nem2e_refine('setup_refine.xml');\ncatch problem\n  report(problem.message);\nend",
        PATH="/usr/bin:/bin",
    )
    assert "[info] line 1 " in shown


def test_files_that_are_no_tables_are_refused(run_octave, tmp_path):
    good = "a\nversion=1\nnRows=2\nnColumns=3\ninDegrees=no\nendheader\ntime\ta\tb\n0.1\t1\tNaN\n0.2\t3\t-4e-3\n"
    texts = {"good": good, "text": good.replace("0.2", "x"), "cut": good[:-6], "header": good[:30]}
    texts["no_time"] = good.replace("time", "")
    for name, text in texts.items():
        (tmp_path / f"{name}.sto").write_text(text)
    _, said = run_octave(
        f"cd('{tmp_path}'); said = {{}};\n"
        "for name = {'good', 'text', 'cut', 'no_time', 'header', 'none'}\n"
        "  try\n    table = nem2e_read_sto([name{1}, '.sto']);\n    said{end + 1} = table;\n"
        "  catch problem\n    said{end + 1} = problem.identifier;\n  end\nend\nreport(said)"
    )
    assert said[0] == {"time": [0.1, 0.2], "labels": ["a", "b"], "data": [[1, None], [3, -0.004]]}
    assert said[1:] == [f"nem2e:read_sto:{what}" for what in ("data", "data", "data", "header", "file")]
