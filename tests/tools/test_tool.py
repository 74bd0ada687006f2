"""The base class of the tools, and what holds for every tool of the package."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import types
from dataclasses import dataclass, make_dataclass
from pathlib import Path

import pytest

from opensim_nem2e.errors import MissingFileError, NEM2EError, SetupError
from opensim_nem2e.options import DirectoryPath, FilePath, Options, option
from opensim_nem2e.tools import tool_registry as registry
from opensim_nem2e.tools.tool import Tool, ToolRun

REGISTERED = [entry.name for entry in registry.tools()]


@dataclass(frozen=True)
class WalkOptions(Options):
    """What the tests need."""

    model_file: FilePath = option("", "Name of the .osim file used to construct a model.")
    states_file: FilePath = option("", "Storage file (.sto) with the states.", required=True)
    external_loads_file: FilePath = option("", "XML file with the external loads.")
    bundle_file: FilePath = option("gait", "A network file, or the name of one.", may_be_name=True)
    output_bundle: FilePath = option("", "A file that is written.")
    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    output_precision: int = option(8, "Output precision.", bounds="[1, 17]")
    initial_time: float = option(float("-inf"), "Initial time.", unit="s")
    final_time: float = option(float("inf"), "Final time.", unit="s")
    muscles: tuple[str, ...] = option((), "Muscles.", required=True)
    plot: bool = option(False, "Draw figures.")


class WalkTool(Tool[WalkOptions]):
    """A tool with the properties that the tests need."""

    def _check(self) -> list[str]:
        if self.initial_time >= self.final_time:
            return ["<initial_time> must be before <final_time>."]
        return []

    def _run(self, run: ToolRun) -> None:
        if self.plot:
            raise NEM2EError("No display.")
        self._seen = Path.cwd()


def filled(path: Path | None = None) -> WalkTool:
    tool = WalkTool(path)
    tool.states_file = "a.sto"
    tool.muscles = "soleus_r gasmed_r"
    return tool


# --- accessors -------------------------------------------------------------------------------------------------


def test_defaults_and_attributes():
    tool = WalkTool()
    assert (tool.results_directory, tool.output_precision, tool.plot, tool.muscles) == ("./", 8, False, ())
    tool.plot = True
    tool.muscles = ["a", "b"]
    assert (tool.plot, tool.get("muscles"), tool.get_muscles(), tool.getMuscles()) == (
        True,
        ("a", "b"),
        *[("a", "b")] * 2,
    )
    assert list(tool.values()) == [row.name for row in WalkTool.properties]


@pytest.mark.parametrize(
    ("setter", "getter", "name", "value"),
    [
        ("setModelFilename", "getModelFilename", "model_file", "m.osim"),
        ("setModelFileName", "getModelFileName", "model_file", "m.osim"),
        ("setModelFile", "getModelFile", "model_file", "m.osim"),
        ("setStatesFileName", "getStatesFileName", "states_file", "s.sto"),
        ("set_states_file", "get_states_file", "states_file", "s.sto"),
        ("setExternalLoadsFileName", "getExternalLoadsFileName", "external_loads_file", "e.xml"),
        ("setOutputBundleFileName", "getOutputBundle", "output_bundle", "b.safetensors"),
        ("setResultsDir", "getResultsDir", "results_directory", "Results"),
        ("setResultsDirectory", "getResultsDirectory", "results_directory", "Results"),
        ("setInitialTime", "getInitialTime", "initial_time", 0.5),
        ("setStartTime", "getStartTime", "initial_time", 0.5),
        ("setFinalTime", "getFinalTime", "final_time", 1.5),
        ("setEndTime", "getEndTime", "final_time", 1.5),
        ("setOutputPrecision", "getOutputPrecision", "output_precision", 12),
        ("setName", "getName", "name", "walk"),
    ],
)
def test_opensims_accessors(setter, getter, name, value):
    tool = WalkTool()
    getattr(tool, setter)(value)
    assert getattr(tool, getter)() == value
    assert getattr(tool, name) == value


def test_accessors_are_documented_from_the_table():
    assert WalkTool.output_precision.__doc__ == "Output precision. Allowed: an integer in [1, 17]. Default: 8"
    assert (
        WalkTool.setOutputPrecision.__doc__
        == "Set ``output_precision``: Output precision. Allowed: an integer in [1, 17]."
    )
    assert WalkTool.setOutputPrecision.__name__ == "setOutputPrecision"


def test_a_wrong_value_is_refused_when_it_is_set():
    tool = WalkTool()
    message = r"^WalkTool: <output_precision> must be an integer in \[1, 17\], but 18 was found\.$"
    for attempt in (
        lambda: setattr(tool, "output_precision", 18),
        lambda: tool.setOutputPrecision(18),
        lambda: tool.set_output_precision(18),
        lambda: tool.set("output_precision", 18),
    ):
        with pytest.raises(SetupError, match=message):
            attempt()
    assert tool.output_precision == 8
    assert not tool.is_set("output_precision")


def test_a_misspelt_attribute_is_not_silently_created():
    tool = WalkTool()
    message = r"^WalkTool has no attribute 'state_file'\. Did you mean 'states_file'\?$"
    with pytest.raises(AttributeError, match=message):
        tool.state_file = "a.sto"
    with pytest.raises(AttributeError, match=message):
        _ = tool.state_file
    with pytest.raises(AttributeError, match="Did you mean 'setResultsDir'"):
        tool.setResultDir("x")
    with pytest.raises(SetupError, match=r"^WalkTool has no property 'state_file'\. Did you mean 'states_file'\?$"):
        tool.get("state_file")


@pytest.mark.parametrize("name", ["a/b", "..\\b", "a\nb", 3])
def test_a_name_must_be_usable_in_file_names(name):
    with pytest.raises(SetupError, match="WalkTool: name must"):
        WalkTool().setName(name)


def test_tools_can_be_copied_and_pickled():
    tool = filled()
    tool.setName("walk")
    for twin in (copy.deepcopy(tool), pickle.loads(pickle.dumps(tool))):
        twin.plot = True
        assert (twin.name, twin.states_file, tool.plot) == ("walk", "a.sto", False)


def test_repr():
    tool = WalkTool()
    assert repr(tool) == "WalkTool()"
    tool.setName("walk")
    assert repr(tool) == "WalkTool(name='walk')"


def test_a_table_with_a_reserved_or_double_name_is_refused():
    for names in (("run",), ("name",), ("options",), ("group",), ("a", "formerly_a")):
        fields = [(name, bool, option(True, "c", formerly=["a"] if "formerly" in name else ())) for name in names]
        declaration = make_dataclass("BadOptions", fields, bases=(Options,), frozen=True)
        with pytest.raises(TypeError, match=r"may not be called|have the same name"):
            type("BadTool", (Tool,), {"__orig_bases__": (Tool[declaration],)})


# --- setup files -----------------------------------------------------------------------------------------------


def test_a_named_tool_is_printed_with_its_name(tmp_path):
    tool = filled()
    assert "\n\t<WalkTool>\n" in tool.to_xml()
    tool.setName('a "b" & c')
    path = tmp_path / "setup.xml"
    assert tool.printToXML(path) is True
    assert '\n\t<WalkTool name="a &quot;b&quot; &amp; c">\n' in path.read_text()
    again = WalkTool(path)
    assert (again.getName(), again.values()) == (tool.getName(), tool.values())
    assert repr(again) == f"WalkTool(name='a \"b\" & c', setup_file={str(path)!r})"
    assert list(tmp_path.iterdir()) == [path]


def test_print_to_a_place_that_does_not_exist(tmp_path):
    with pytest.raises(MissingFileError, match=r"the folder '.*absent' does not exist"):
        WalkTool().printToXML(tmp_path / "absent" / "setup.xml")
    with pytest.raises(MissingFileError, match="this is a directory"):
        WalkTool().printToXML(tmp_path)


def test_is_set_tells_what_was_given(tmp_path):
    path = tmp_path / "setup.xml"
    path.write_text(
        '<OpenSimDocument Version="40600"><WalkTool><model_file/><states_file>Unassigned</states_file>'
        "<output_precision>8</output_precision></WalkTool></OpenSimDocument>"
    )
    tool = WalkTool(path)
    assert [tool.is_set(name) for name in ("model_file", "states_file", "output_precision", "plot")] == [
        False,
        False,
        True,
        False,
    ]
    tool.plot = False
    assert tool.is_set("plot")


# --- paths -----------------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_setup_file_or_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    filled().printToXML(tmp_path / "sub" / "setup.xml")
    monkeypatch.chdir(tmp_path)
    read = WalkTool("sub/setup.xml")
    built = filled()
    assert read.setup_file == tmp_path / "sub" / "setup.xml"
    assert read.resolve("states_file") == tmp_path / "sub" / "a.sto"
    assert read.resolve("results_directory") == tmp_path / "sub"
    assert built.resolve("states_file") == tmp_path / "a.sto"
    assert read.resolve("model_file") is None
    read.model_file = "../m.osim"
    assert read.resolve("model_file") == tmp_path / "m.osim"
    read.model_file = tmp_path / "n.osim"
    assert read.resolve("model_file") == tmp_path / "n.osim"
    # The working directory may change after the file was read.
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert read.resolve("states_file") == tmp_path / "sub" / "a.sto"
    with pytest.raises(TypeError, match="<plot> is not a path"):
        read.resolve("plot")


@pytest.mark.skipif(os.sep != "/", reason="backslashes separate folders on Windows anyway")
def test_a_setup_file_made_on_windows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tool = filled()
    tool.states_file = r"..\Data\a b.sto"
    assert tool.resolve("states_file") == tmp_path.parent / "Data" / "a b.sto"
    odd = tmp_path / "odd\\name.sto"
    odd.touch()
    tool.states_file = odd.name
    assert tool.resolve("states_file") == odd


@pytest.mark.skipif(os.sep != "/", reason="links need a privilege on Windows")
def test_two_dots_after_a_link_lead_where_the_system_says(tmp_path, monkeypatch):
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    (tmp_path / "far" / "a.sto").touch()
    monkeypatch.chdir(tmp_path)
    tool = filled()
    tool.states_file = "link/../a.sto"
    found = tool.resolve("states_file")
    assert found is not None
    assert found.samefile(tmp_path / "far" / "a.sto")
    # Seen from the folder behind the link, the data is one step up.
    tool.states_file = "far/a.sto"
    text = tool.effective_setup(tmp_path / "link")
    copy_path = tmp_path / "link" / "setup.xml"
    copy_path.write_text(text)
    again = WalkTool(copy_path).resolve("states_file")
    assert again is not None
    assert again.samefile(tmp_path / "far" / "a.sto")


def test_a_bare_name_is_left_to_the_tool(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tool = filled()
    assert tool.resolve("bundle_file") is None
    (tmp_path / "gait").touch()
    assert tool.resolve("bundle_file") == tmp_path / "gait"
    for value in ("nets/gait", "gait.safetensors"):
        tool.bundle_file = value
        assert tool.resolve("bundle_file") == tmp_path / value


def test_the_effective_setup_is_valid_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("project/setup", "project/data", "project/Results/run 1"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("project/data/a.sto", "project/setup/m.osim"):
        (tmp_path / file).touch()
    tool = filled()
    tool.setName("walk")
    tool.states_file = "../data/a.sto"
    tool.model_file = tmp_path / "project/setup/m.osim"
    tool.results_directory = "../Results/run 1"
    tool.printToXML("project/setup/setup.xml")
    tool = WalkTool("project/setup/setup.xml")
    results = tool.resolve("results_directory")
    assert results is not None
    text = tool.effective_setup(results, {"initial_time": 0.25, "muscles": ("soleus_r",)})
    assert text.splitlines()[2] == (
        f"\t<!--Written by opensim_nem2e 0.1.0: the setup that was run, read from '{tool.setup_file}'.-->"
    )
    (results / "walk_setup.xml").write_text(text)
    twin = WalkTool(results / "walk_setup.xml")
    assert (twin.name, twin.initial_time, twin.muscles, twin.bundle_file) == ("walk", 0.25, ("soleus_r",), "gait")
    # A relative path stays relative, an absolute one absolute; both lead to the same files.
    assert (twin.states_file, twin.results_directory) == ("../../data/a.sto", "./")
    assert twin.model_file == tool.model_file
    for name in ("states_file", "model_file", "results_directory"):
        assert twin.resolve(name) == tool.resolve(name)
    # The tool itself is as it was.
    assert (tool.initial_time, tool.states_file) == (float("-inf"), "../data/a.sto")


@pytest.mark.skipif(os.sep != "/", reason="POSIX paths")
def test_the_effective_setup_is_absolute_when_nothing_is_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = filled().effective_setup("/elsewhere/Results")
    assert f"<states_file>{tmp_path}/a.sto</states_file>" in text
    assert f"<results_directory>{tmp_path}</results_directory>" in text


def test_the_note_cannot_break_the_comment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = filled().effective_setup(tmp_path, note="a -- b --->")
    (tmp_path / "setup.xml").write_text(text)
    assert WalkTool(tmp_path / "setup.xml").states_file == "a.sto"
    with pytest.raises(SetupError, match="<initial_time> must be a number"):
        filled().effective_setup(tmp_path, {"initial_time": "soon"})


# --- running ---------------------------------------------------------------------------------------------------


def test_run_returns_true_and_stays_in_the_working_directory(tmp_path, monkeypatch, caplog):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    filled().printToXML("sub/setup.xml")
    tool = WalkTool("sub/setup.xml")
    with caplog.at_level("INFO", logger="opensim_nem2e"):
        assert tool.run() is True
    assert caplog.messages == [
        "Running WalkTool (opensim_nem2e 0.1.0).",
        f"Results are in '{tmp_path}/sub'.",
    ]
    assert tool._seen == Path.cwd() == tmp_path
    tool.setName("walk")
    tool.plot = True
    with pytest.raises(NEM2EError, match="No display"):
        tool.run()
    assert Path.cwd() == tmp_path


def test_every_run_leaves_its_setup_and_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tool = filled()
    tool.setName("walk")
    tool.results_directory = "made/results"
    tool.run()
    results = tmp_path / "made" / "results"
    assert {path.name for path in results.iterdir()} == {"walk.log", "walk_effective_setup.xml"}
    assert "[info] Running WalkTool walk (opensim_nem2e 0.1.0)." in (results / "walk.log").read_text()
    assert WalkTool(results / "walk_effective_setup.xml").resolve("states_file") == tmp_path / "a.sto"


class EndingTool(WalkTool):
    """A run that writes, settles an option, and ends as it is told."""

    result_endings = ("_old.csv", ".log")

    def _run(self, run: ToolRun) -> None:
        run.files.path(f"{run.name}.txt").write_text("done")
        run.resolved = {"initial_time": 0.25}
        run.keep_failed = self.output_precision > 8
        run.afterwards(lambda: (run.directory / "after.txt").write_text(str(len(list(run.directory.iterdir())))))
        if self.plot:
            raise KeyboardInterrupt


def ending(tmp_path: Path, **values: object) -> EndingTool:
    return EndingTool(name="end", states_file="a.sto", muscles="a", results_directory=tmp_path / "results", **values)


def test_results_setup_and_log_appear_together(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "end_old.csv").touch()
    assert ending(tmp_path).run()
    results = tmp_path / "results"
    names = {"end.txt", "end.log", "end_effective_setup.xml", "end_old.csv"}
    assert {path.name for path in results.iterdir()} == {*names, "after.txt"}
    # What comes afterwards finds all of it.
    assert (results / "after.txt").read_text() == str(len(names))
    assert EndingTool(results / "end_effective_setup.xml").initial_time == 0.25
    log = (results / "end.log").read_text()
    assert f"[warn] '{results / 'end_old.csv'}' is of an earlier run: this one did not write such a file." in log


@pytest.mark.parametrize(
    ("output_precision", "left"), [(8, None), (9, {"end.txt", "end.log", "end_effective_setup.xml"})]
)
def test_a_run_that_ends_early_leaves_nothing_or_what_it_keeps(tmp_path, output_precision, left):
    with pytest.raises(KeyboardInterrupt):
        ending(tmp_path, plot=True, output_precision=output_precision).run()
    results = tmp_path / "results"
    assert ({path.name for path in results.iterdir()} if results.exists() else None) == left


def test_everything_that_is_missing_is_said_at_once(tmp_path):
    tool = WalkTool()
    tool.initial_time = 2.0
    tool.final_time = 1.0
    with pytest.raises(SetupError) as caught:
        tool.run()
    expected = (
        "<states_file> must be given (a file name), but nothing was found.",
        "<muscles> must be given (names separated by spaces), but nothing was found.",
        "<initial_time> must be before <final_time>.",
    )
    assert caught.value.faults == tuple(f"WalkTool: {fault}" for fault in expected)
    path = tmp_path / "setup.xml"
    tool.printToXML(path)
    with pytest.raises(SetupError) as caught:
        WalkTool(path).run()
    assert caught.value.faults == expected
    assert str(caught.value).startswith(f"{path}: 3 faults were found:\n  - <states_file>")


# --- the registry, and every tool of the package -----------------------------------------------------------------


def test_load_tool_finds_the_class(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_TOOLS", dict(registry._TOOLS))
    registry.register("WalkTool", "walk_tool", "Walk.")
    monkeypatch.setitem(sys.modules, "walk_tool", types.SimpleNamespace(WalkTool=WalkTool))
    path = tmp_path / "setup.xml"
    filled().printToXML(path)
    tool = registry.load_tool(path)
    assert type(tool) is WalkTool
    assert tool.values() == filled().values()
    path.write_text('<OpenSimDocument Version="10000"><WalkTol/></OpenSimDocument>')
    with pytest.raises(SetupError) as caught:
        registry.load_tool(path)
    assert len(caught.value.faults) == 2
    assert caught.value.faults[1].endswith("but 'WalkTol' was found. Did you mean 'WalkTool'?")
    path.write_text('<OpenSimDocument Version="40600"/>')
    with pytest.raises(SetupError, match="must hold one tool, but none was found"):
        registry.load_tool(path)


@pytest.mark.parametrize("name", REGISTERED)
def test_the_default_setup_reads_back_as_the_defaults(name, tmp_path):
    tool = registry.tool_class(name)
    path = tmp_path / f"default_Setup_{name}.xml"
    path.write_bytes(tool.default_xml().encode())
    again = registry.load_tool(path)
    assert type(again) is tool
    assert again.name == ""
    flat = {name: value for name, value in again.values().items() if not isinstance(value, dict)}
    assert again.values() == tool().values()
    assert flat == {row.name: row.default for row in tool.properties}
    assert again.to_xml() == tool.default_xml()


@pytest.mark.parametrize("name", REGISTERED)
def test_every_tool_is_described(name):
    tool = registry.tool_class(name)
    assert (tool.tool_name, tool.__name__) == (name, name)
    assert tool.__doc__
    assert tool.properties
    for row in tool.properties:
        assert row.full_comment.endswith((".", "?")), row.name


def test_the_setups_folder_holds_what_print_xml_writes(repository):
    expected = {f"default_Setup_{name}.xml": registry.tool_class(name).default_xml() for name in REGISTERED}
    found = {path.name: path.read_bytes().decode() for path in (repository / "setups").glob("*.xml")}
    assert found == expected, (
        "Regenerate them: cd setups && for t in "
        + " ".join(REGISTERED)
        + "; do opensim-nem2e print-xml --force $t; done"
    )
