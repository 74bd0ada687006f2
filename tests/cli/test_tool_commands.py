"""A tool's own command: flags from its declaration, --set, completion."""

from __future__ import annotations

import re

import pytest

from opensim_nem2e.tools.tool_registry import tools

XML = '<OpenSimDocument Version="40600">\n<DemoTool name="given">\n<output_precision>3</output_precision>\n'


def setup_text(folder, name="demo"):
    return (folder / f"{name}_effective_setup.xml").read_text()


def test_verbs_follow_from_the_tools_names():
    verbs = {entry.name: entry.verb for entry in tools()}
    assert verbs["STDRRefineTool"] == "refine"
    assert verbs["STDRCrossValidateTool"] == "cross-validate"
    assert verbs["EMGEnvelopeTool"] == "emg-envelope"
    assert verbs["NEM2EPipelineTool"] == "pipeline"
    assert len(set(verbs.values())) == len(verbs)


def test_flags_give_a_run_and_its_effective_setup(command):
    done = command.start(
        "demo", "--out", "results", "--name", "demo", "--output-precision", "5", "--initial-time", "-0.5"
    )
    assert (done.returncode, done.stderr) == (0, "[warn] Something to know.\n")
    text = setup_text(command.folder / "results")
    assert "<output_precision>5</output_precision>" in text
    assert "<initial_time>-0.5</initial_time>" in text
    assert "the setup that was run, given on the command line." in text
    # The same again, from the setup that was left.
    done = command("run", "results/demo_effective_setup.xml", "-q")
    assert (done.returncode, done.stdout) == (0, "")


def test_long_and_short_names_of_flags(command):
    done = command("demo", "--help")
    assert done.stdout.startswith("usage: opensim-nem2e demo [--PROPERTY VALUE ...] [--set NAME=VALUE ...]\n")
    for flag in ("--out", "--results-directory", "--states", "--states-file", "--output-precision", "--set"):
        assert re.search(rf"{flag}\b", done.stdout), flag
    assert "--outcome {success,error,crash,os,sleep}" in done.stdout


def test_all_faults_of_a_command_line_at_once(command):
    done = command(
        "demo", "--output-precision", "many", "--set", "outcom=error", "--set", "initial_time", "--name", "a/b"
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "[error] 4 faults were found:\n"
        "  - --set must be NAME=VALUE, but 'initial_time' was found.\n"
        "  - DemoTool: --output-precision must be an integer in [1, 17], but 'many' was found.\n"
        "  - DemoTool has no property 'outcom'. Did you mean 'outcome'?\n"
        "  - DemoTool: name must not hold '/', '\\' or control characters, but 'a/b' was found.\n"
    )


def test_a_misspelt_flag_gets_a_suggestion(command):
    done = command("demo", "--output-precison", "3")
    assert done.returncode == 2
    assert done.stderr.endswith("unrecognized arguments: --output-precison 3. Did you mean '--output-precision'?\n")


def test_set_changes_a_setup_file_for_one_run(command):
    (command.folder / "sub").mkdir()
    (command.folder / "sub/setup.xml").write_text(f"{XML}</DemoTool></OpenSimDocument>")
    done = command("run", "sub/setup.xml", "--set", "output_precision=4", "--set", "results_directory=here")
    assert done.returncode == 0
    # A path on the command line is seen from the working directory, not from the setup file.
    text = setup_text(command.folder / "here", "given")
    assert "<output_precision>4</output_precision>" in text
    assert "with output_precision, results_directory from the command line." in text


def test_two_missing_files_are_both_named(command):
    done = command(
        *("refine", "absent_states.sto", "--model", "absent.osim", "--external-loads", "absent.xml"), "--out", "results"
    )
    assert done.returncode == 1
    assert done.stderr == (
        "[error] 3 input files are missing:\n"
        + "".join(
            f"  - {name}: there is no file '{command.folder / file}'.\n"
            for name, file in (
                ("--model", "absent.osim"),
                ("STATES", "absent_states.sto"),
                ("--external-loads", "absent.xml"),
            )
        )
    )
    assert not (command.folder / "results").exists()


def test_messages_name_what_was_typed(command):
    """As the command line calls it where that was used, as the file where a setup file was."""
    done = command("refine", "absent_states.sto", "--cycle-source", "events", "--out", "results")
    assert "events needs --events" in done.stderr
    (command.folder / "setup.xml").write_text(
        '<OpenSimDocument Version="40600"><STDRRefineTool><states_file>absent_states.sto</states_file>'
        "<cycle_source>events</cycle_source></STDRRefineTool></OpenSimDocument>"
    )
    assert "events needs <events_file>" in command("run", "setup.xml").stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("opensim-nem2e ref", ["refine"]),
        ("opensim-nem2e refine --external", ["--external-loads", "--external-loads-file"]),
        ("opensim-nem2e refine --cycle-source e", ["external_loads", "events"]),
    ],
)
def test_the_shell_completes(command, line, expected):
    pytest.importorskip("argcomplete")
    answer = command.folder / "answer"
    environment = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
    }
    command.start(**environment)
    assert sorted(word.strip() for word in answer.read_text().splitlines()) == sorted(expected)


def test_a_main_input_may_be_given_by_its_flag(command):
    done = command("kinematics-train", "--trials-file", "absent.csv", "--out", "results")
    assert (done.returncode, "absent.csv" in done.stderr) == (1, True)
    done = command("kinematics-train", "absent.csv", "--trials-file", "other.csv")
    assert "TRIALS must be given once, but was found with and without its flag." in done.stderr


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (("train", "--epochs", "5"), "unrecognized arguments: --epochs. Write --set STDRNet.epochs=VALUE."),
        (("refine", "x.sto", "--use-emg", "true"), "--use-emg takes no value; --no-use-emg is its opposite."),
    ],
)
def test_words_that_are_no_arguments_get_a_suggestion(command, words, suggestion):
    done = command(*words)
    assert done.returncode == 2
    assert suggestion in done.stderr
