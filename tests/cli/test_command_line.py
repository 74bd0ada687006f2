"""The command line as a process: exact text, exit codes, and what it leaves on disk."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from opensim_nem2e import __version__
from opensim_nem2e.methods.bundle import shipped_bundles
from opensim_nem2e.tools import tool_registry as registry

HEAVY = {"numpy", "pandas", "torch", "opensim", "scipy", "matplotlib", "safetensors"}


def test_version(command):
    for option in ("--version", "-V"):
        done = command.start(option)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"opensim-nem2e {__version__}\n", "")


def test_the_module_is_the_command(command):
    done = subprocess.run(
        [sys.executable, "-m", "opensim_nem2e", "--version"],
        cwd=command.folder,
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"opensim-nem2e {__version__}\n")


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help_ends_with_worked_examples(command, words):
    done = command(*words)
    assert done.returncode == 0
    assert done.stdout.startswith(
        "usage: opensim-nem2e [-h] [-V] [-o LEVEL] [--log-file FILE] [-q] COMMAND ...\n\nopensim-nem2e: refine"
    )
    last = done.stdout.rstrip().splitlines()[-1]
    assert last == "  opensim-nem2e --log debug run setup_refine.xml    shows details, and the traceback of an error"


@pytest.mark.parametrize(
    ("verb", "first", "last"),
    [
        (
            "run",
            "Run the tool that a setup file describes.",
            "  opensim-nem2e run-tool setup_refine.xml -o debug",
        ),
        ("print-xml", "Write the default setup file of a tool.", "  opensim-nem2e print-xml STDRTrainTool -"),
        (
            "info",
            "Say what tools there are, and what their properties mean.",
            "  opensim-nem2e info STDRRefineTool bundle_file",
        ),
        (
            "manifest",
            "Make trials.csv and emg_channels.csv from a folder of results.",
            "  opensim-nem2e manifest cycles --pattern activation_file={subject}/{trial}_{side}.sto --pattern "
            "emg_file={subject}/{trial}_emg.sto --set motion=run --set activation_source=so --whole-file",
        ),
        (
            "check",
            "Examine the recordings and simulations of a manifest.",
            "  opensim-nem2e check trials.csv --channels other_channels.csv",
        ),
        (
            "repair",
            "Mend states files whose header OpenSim 4.6 damaged.",
            "  opensim-nem2e repair x_states.sto --model subject01.osim",
        ),
        (
            "report",
            "Draw the figures and write the report of a cross-validation study again.",
            "  opensim-nem2e report results --name walking",
        ),
    ],
)
def test_help_of_a_command_is_its_modules_docstring(command, verb, first, last):
    done = command(verb, "--help")
    assert done.returncode == 0
    assert first in done.stdout.splitlines()
    assert done.stdout.rstrip().splitlines()[-1] == last


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "invalid choice: 'rnu'"),
        (["run"], "the following arguments are required: SETUP"),
        (["print-xml"], "the following arguments are required: TOOL"),
        (["repair"], "the following arguments are required: FILE"),
        (["report"], "the following arguments are required: DIR"),
        (["run", "--unknown", "x.xml"], "unrecognized arguments: --unknown"),
        (["--log", "loud", "info"], "invalid choice: 'loud'"),
    ],
)
def test_usage_errors_exit_with_2(command, words, message):
    done = command(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: opensim-nem2e")
    assert message in done.stderr
    assert not list(command.folder.iterdir())


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [(["rnu"], "run"), (["print-xlm"], "print-xml"), (["-o", "debgu", "info"], "debug")],
)
def test_a_misspelt_word_gets_a_suggestion(command, words, suggestion):
    assert command(*words).stderr.endswith(f"Did you mean '{suggestion}'?\n")


# --- run -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "run-tool"])
def test_run_succeeds(command, verb):
    command.write("sub/setup.xml", results_directory="Results")
    done = command(verb, "sub/setup.xml", "--log-file", "run.log")
    assert done.returncode == 0
    results = command.folder / "sub/Results"
    assert done.stdout == (f"[info] Running DemoTool (opensim_nem2e 0.1.0).\n[info] Results are in '{results}'.\n")
    assert done.stderr == "[warn] Something to know.\n"
    # Relative to the setup file, not to the working directory.
    assert (command.folder / "sub/Results/demo.txt").read_text() == "done"
    log = (command.folder / "run.log").read_text().splitlines()
    stamp = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] "
    assert re.fullmatch(stamp + r"\[info\] Running DemoTool \(opensim_nem2e 0\.1\.0\)\.", log[0])
    # The details are in the log file only.
    assert re.fullmatch(stamp + r"\[debug\] Versions: opensim_nem2e 0\.1\.0, python .*", log[2])
    assert re.fullmatch(stamp + r"\[warn\] Something to know\.", log[3])
    assert re.fullmatch(stamp + r"\[debug\] A detail\.", log[4])
    # And every file that was written.
    assert sum("[debug] Writing '" in line for line in log) == 2
    assert len(log) == 8
    command("--log-file", "run.log", verb, "sub/setup.xml")
    assert len((command.folder / "run.log").read_text().splitlines()) == 16
    # Unasked there is none but that of the results.
    command(verb, "sub/setup.xml")
    assert {path.name for path in command.folder.iterdir() if path.is_file()} == {"run.log"}
    assert (results / "DemoTool.log").read_text().splitlines()[0].endswith(log[0][26:])


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("error", "[error] The run failed on purpose.\n"),
        (
            "crash",
            "[error] Unexpected ZeroDivisionError: on purpose\n"
            "This is a fault of opensim_nem2e; '--log debug' shows where it happened.\n",
        ),
        ("os", "[error] [Errno 2] No such file or directory: '{folder}/absent.sto'\n"),
    ],
)
def test_a_failing_run_says_one_thing(command, outcome, message):
    command.write("setup.xml", outcome=outcome)
    done = command("run", "setup.xml")
    assert done.returncode == 1
    assert done.stderr == message.format(folder=command.folder)
    assert "Traceback" not in done.stdout + done.stderr


def test_a_failed_run_leaves_its_log(command):
    """In the working directory, as OpenSim; a setup that cannot be run at all has no log."""
    command.write("setup.xml", outcome="crash", results_directory="Results")
    kept = command.folder / "opensim_nem2e_failed.log"
    assert command("run", "setup.xml").stdout.endswith(f"[info] The log of the failed run is in '{kept}'.\n")
    log = kept.read_text()
    for part in ("[info] Running DemoTool", "[debug] Versions: ", "[error] Unexpected Zero"):
        assert log.count(part) == 1
    assert log.endswith("ZeroDivisionError: on purpose\n")
    assert not (command.folder / "Results").exists()
    command("-q", "run", "setup.xml")
    assert kept.read_text().count("[info] Running DemoTool") == 2
    kept.unlink()
    command("run", "setup.xml", "--log-file", "own.log")
    assert "Traceback" in (command.folder / "own.log").read_text()
    command("run", "setup.xml", "--set", "output_precision=99")
    assert not kept.exists()


def test_debug_shows_the_traceback_before_or_after_the_verb(command):
    command.write("setup.xml", outcome="crash")
    for words in (["-o", "debug", "run", "setup.xml"], ["run", "setup.xml", "--log", "DEBUG"]):
        done = command(*words)
        assert done.returncode == 1
        assert "Traceback (most recent call last):" in done.stderr
        assert done.stderr.rstrip().endswith("ZeroDivisionError: on purpose")


def test_log_levels(command):
    command.write("setup.xml")
    assert "[debug] A detail.\n" in command("run", "setup.xml", "-o", "debug").stdout
    done = command("run", "setup.xml", "-o", "warn")
    assert (done.stdout, done.stderr) == ("", "[warn] Something to know.\n")
    assert command("run", "setup.xml", "-q").stdout == ""
    assert command("-q", "run", "setup.xml").stdout == ""
    # The level after the verb is the later one.
    done = command("-o", "debug", "run", "setup.xml", "-o", "error")
    assert (done.stdout, done.stderr) == ("", "")
    command.write("bad.xml", outcome="error")
    done = command("-o", "off", "run", "bad.xml")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_several_setups_are_all_run(command):
    command.write("a.xml", outcome="error")
    command.write("b.xml", results_directory="b")
    command.write("c.xml", outcome="nothing")
    done = command.start("run", "a.xml", "b.xml", "c.xml", "d.xml")
    assert done.returncode == 1
    assert (command.folder / "b/demo.txt").exists()
    assert done.stderr == (
        "[error] The run failed on purpose.\n"
        "[warn] Something to know.\n"
        "[error] c.xml: line 3: <outcome> must be one of 'success', 'error', 'crash', 'os', 'sleep', but 'nothing' was"
        " found.\n"
        "[error] d.xml: there is no such setup file.\n"
        "[error] 3 of 4 setup files failed: a.xml, c.xml, d.xml.\n"
    )


def test_all_faults_of_a_setup_file_at_once(command):
    (command.folder / "setup.xml").write_text(
        '<OpenSimDocument Version="50000">\n\t<DemoTool>\n\t\t<state_file>x</state_file>\n'
        "\t\t<output_precision>1,5</output_precision>\n\t</DemoTool>\n</OpenSimDocument>\n"
    )
    done = command("run", "setup.xml")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "[error] setup.xml: 3 faults were found:\n"
        "  - line 1: <OpenSimDocument> is of a newer version than can be read: 20302 to 40699 are allowed, but 50000"
        " was found.\n"
        "  - line 3: <state_file> is not a property of DemoTool. Did you mean 'states_file'?\n"
        "  - line 4: <output_precision> must be an integer in [1, 17], but '1,5' was found."
        " The decimal sign is a point.\n"
    )


@pytest.mark.parametrize(
    ("tool", "hint"),
    [
        ("DemoTol", " Did you mean 'DemoTool'?"),
        ("CMCTool", " It is one of OpenSim's own tools: run it with opensim-cmd or OpenSim's Python package."),
        ("Xyz", ""),
    ],
)
def test_an_unknown_tool_is_answered_with_the_known_ones(command, tool, hint):
    known = ", ".join(sorted(["DemoTool", *(entry.name for entry in registry.tools())]))
    message = f"must be one of {known}, but '{tool}' was found.{hint}\n"
    (command.folder / "setup.xml").write_text(f'<OpenSimDocument Version="40600"><{tool} /></OpenSimDocument>')
    done = command("run", "setup.xml")
    assert (done.returncode, done.stderr) == (1, f"[error] setup.xml: line 1: The tool {message}")
    for verb in ("print-xml", "info"):
        done = command(verb, tool)
        assert (done.returncode, done.stderr) == (1, f"[error] The tool {message}")


@pytest.mark.skipif(sys.platform == "win32", reason="no permission bits and POSIX signals")
def test_a_log_file_that_cannot_be_written_is_a_warning_only(command, tmp_path):
    command.write("setup.xml", results_directory="Results")
    # A folder in its place is refused to every user, root included.
    (tmp_path / "run.log").mkdir()
    done = command("run", "setup.xml", "--log-file", "run.log")
    assert done.returncode == 0
    assert done.stderr.startswith("[warn] There will be no run.log: Is a directory.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "status", "message"),
    [(signal.SIGINT, 130, "[error] Interrupted.\n"), (signal.SIGTERM, 143, "[error] Terminated.\n")],
)
def test_an_interrupted_run_leaves_nothing_behind(command, number, status, message):
    command.write("setup.xml", outcome="sleep", results_directory="Results")
    process = subprocess.Popen(
        [*command.with_demo, "run", "setup.xml"],
        cwd=command.folder,
        env=command.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Sleeping" in line:
            break
    assert list((command.folder / "Results").iterdir())
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (status, message)
    assert not (command.folder / "Results").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_closed_pipe_is_no_error(command):
    command.write("setup.xml", results_directory="Results")
    for words in (["info", "DemoTool"], ["run", "setup.xml"]):
        process = subprocess.Popen(
            [*command.with_demo, *words],
            cwd=command.folder,
            env=command.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(timeout=60) == 0
        assert errors in ("", "[warn] Something to know.\n")
    # The run was finished although nobody listened.
    assert (command.folder / "Results/demo.txt").exists()


# --- print-xml -------------------------------------------------------------------------------------------------

DEMO_XML = """\
<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
	<DemoTool>
		<!--Directory used for writing results.-->
		<results_directory>./</results_directory>
		<!--Storage file (.sto) with the states of a CMC run.-->
		<states_file />
		<!--Number of decimals in the results. Allowed: an integer in [1, 17].-->
		<output_precision>8</output_precision>
		<!--First time that is used. Unit: s.-->
		<initial_time>-Inf</initial_time>
		<!--How the run ends. Allowed: one of 'success', 'error', 'crash', 'os', 'sleep'.-->
		<outcome>success</outcome>
	</DemoTool>
</OpenSimDocument>
"""


def test_print_xml(command):
    done = command.start("print-xml", "DemoTool")
    assert (done.returncode, done.stdout) == (0, "[info] Printing 'default_Setup_DemoTool.xml'.\n")
    written = command.folder / "default_Setup_DemoTool.xml"
    assert written.read_bytes().decode() == DEMO_XML
    # Nothing else is left in the folder, no log file either.
    assert list(command.folder.iterdir()) == [written]


def test_print_xml_to_a_named_file_and_to_standard_output(command):
    done = command("print-xml", "DemoTool", "my setup.xml")
    assert (done.returncode, done.stdout) == (0, "[info] Printing 'my setup.xml'.\n")
    assert (command.folder / "my setup.xml").read_text() == DEMO_XML
    done = command("print-xml", "DemoTool", "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, DEMO_XML, "")
    assert command("run", "my setup.xml").returncode == 0


def test_print_xml_does_not_overwrite_silently(command):
    path = command.folder / "a.xml"
    path.write_text("precious")
    done = command("print-xml", "DemoTool", "a.xml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "[error] a.xml: the file exists and is left as it is; --force replaces it.\n"
    assert path.read_text() == "precious"
    assert command("print-xml", "DemoTool", "a.xml", "--force").returncode == 0
    assert path.read_text() == DEMO_XML


def test_print_xml_where_nothing_can_be_written(command):
    done = command("print-xml", "DemoTool", "no/a.xml")
    assert done.returncode == 1
    assert done.stderr == "[error] no/a.xml: the folder 'no' does not exist.\n"
    (command.folder / "folder").mkdir()
    done = command("print-xml", "DemoTool", "folder")
    assert done.returncode == 1
    assert done.stderr == "[error] folder: a file name was expected, but this is a directory.\n"


# --- info ------------------------------------------------------------------------------------------------------


def test_info_lists_the_tools(command):
    done = command.start("info")
    assert done.returncode == 0
    width = max(len(entry.name) for entry in registry.tools())
    assert done.stdout.startswith(
        f"TOOLS OF opensim_nem2e {__version__}\n\n  {'DemoTool':<{width}}  Do what the setup file says.\n"
    )
    for entry in registry.tools():
        assert f"\n  {entry.name} " in done.stdout
    assert done.stdout.endswith("\n'opensim-nem2e info TOOL' lists the properties of a tool.\n")
    told = done.stdout.partition("BUNDLES THAT SHIP WITH IT")[2].split("'opensim-nem2e")[0]
    named = re.findall(r"^  ([a-z_]+)(?:, ([a-z_]+))?  ?", told, re.MULTILINE)
    assert {name for pair in named for name in pair if name} == set(shipped_bundles())
    done = command.start("info", "muscles")
    assert "subjects: 28 (" in done.stdout
    assert "CC BY 4.0" in done.stdout


def test_info_on_a_misspelt_bundle_or_tool(command):
    assert command("info", "gaitt").stderr == "[error] There is no bundle 'gaitt'. Did you mean 'gait'?\n"
    assert command("info", "DemoTol").stderr.endswith("but 'DemoTol' was found. Did you mean 'DemoTool'?\n")


def test_info_on_a_place_without_a_bundle(command, tmp_path):
    """A file that was moved, or its folder, is no misspelt tool."""
    (tmp_path / "networks").mkdir()
    assert "a bundle must be a .safetensors file; found a folder" in command("info", str(tmp_path / "networks")).stderr
    assert "there is no such bundle" in command("info", str(tmp_path / "networks" / "mylab")).stderr


def test_info_on_a_tool_and_on_a_property(command):
    done = command("info", "DemoTool")
    assert done.returncode == 0
    assert done.stdout.startswith(
        "DemoTool: Do what the setup file says.\n\nPROPERTIES FOR DemoTool (5)\n\n"
        "results_directory [directory]\n    Directory used for writing results.\n    Default: ./\n\n"
        "states_file [file]\n    Storage file (.sto) with the states of a CMC run.\n    Default: (empty)\n"
    )
    done = command("info", "DemoTool", "output_precision")
    assert done.stdout == (
        "DemoTool.output_precision [int]\n"
        "    Number of decimals in the results. Allowed: an integer in [1, 17].\n"
        "    Default: 8\n"
    )
    done = command("info", "DemoTool", "precision")
    assert done.returncode == 1
    assert done.stderr == ("[error] 'precision' is not a property of DemoTool. Did you mean 'output_precision'?\n")


# --- start-up --------------------------------------------------------------------------------------------------


def test_light_commands_import_nothing_heavy(command):
    """One after the other in one process; what the first of them has imported, the last has, too."""
    tools = [entry.name for entry in registry.tools()]
    light = [["--version"], ["--help"], ["info"], *([verb, tool] for verb in ("print-xml", "info") for tool in tools)]
    script = f"""
import sys
from opensim_nem2e.cli.main import main
for words in {light}:
    try:
        status = main(words)
    except SystemExit as end:
        status = end.code
    assert status in (0, None), words
    loaded = {HEAVY} & sys.modules.keys()
    assert not loaded, (words, loaded)
print("all", file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=command.folder, env=command.environment, capture_output=True, text=True
    )
    assert done.stderr == "all\n"


def test_reading_a_setup_file_imports_nothing_heavy(command):
    command.write("setup.xml", outcome="error")
    listing = command.folder / "modules.txt"
    command.start("run", "setup.xml", MODULES_FILE=str(listing))
    assert not HEAVY & set(listing.read_text().split())


# --- repair ----------------------------------------------------------------------------------------------------


# What OpenSim 4.6 writes over the start of a states file when its process exits.
STALE = b"UNKNOWN\nversion=1\nnRows=0\nnColumns=1\ninDegrees=no\nendheader\ntime\n"
ROWS = b"".join(b"      %.8f\t      0.5%d000000\t      0.12345678\n" % (0.1 * i, i) for i in range(9))
HEALTHY = (
    b"walk\nversion=1\nnRows=9\nnColumns=3\ninDegrees=no\nendheader\n"
    b"time\t/jointset/knee_r/knee_angle_r/value\t/forceset/soleus_r/activation\n" + ROWS
)


def test_repair_mends_in_place_and_leaves_healthy_files_alone(command):
    damaged = command.folder / "walk_states.sto"
    damaged.write_bytes(b"walk_subject_01" + HEALTHY[4:])
    with damaged.open("r+b") as file:
        file.write(STALE)
    healthy = command.folder / "healthy_states.sto"
    healthy.write_bytes(HEALTHY)
    before = healthy.stat()
    done = command.start("repair", "walk_states.sto", "healthy_states.sto")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("[info] walk_states.sto: repaired (9 rows, 3 columns): OpenSim 4.6 had overwritten")
    assert second == "[info] healthy_states.sto: the header is healthy, left alone (9 rows, 3 columns)."
    assert damaged.read_bytes() == HEALTHY
    after = healthy.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    # A second time there is nothing left to do.
    done = command("repair", "walk_states.sto")
    assert done.stdout == "[info] walk_states.sto: the header is healthy, left alone (9 rows, 3 columns).\n"


def test_repair_reports_every_file(command):
    (command.folder / "b.sto").write_bytes(b"not a storage file")
    (command.folder / "c.sto").write_bytes(HEALTHY)
    done = command("repair", "a.sto", "b.sto", "c.sto")
    assert done.returncode == 1
    first, *_, last = done.stderr.splitlines()
    assert first == "[error] a.sto: there is no such storage file."
    assert last == "[error] 2 of 3 files could not be repaired: a.sto, b.sto."
    assert done.stdout == "[info] c.sto: the header is healthy, left alone (9 rows, 3 columns).\n"


def test_a_scheduler_for_a_tool_that_has_no_use_for_it(command):
    command.write("setup.xml")
    done = command("run", "setup.xml", "--scheduler", "local")
    assert done.returncode == 1
    assert "--scheduler is for tools with the property <scheduler>; DemoTool has none." in done.stderr
