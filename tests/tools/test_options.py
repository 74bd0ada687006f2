"""Declarations of options: dataclasses, groups, elements of their own, old names, and lists of integers and files."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensim_nem2e import KinematicsTrainTool
from opensim_nem2e.cli.main import main
from opensim_nem2e.errors import SetupError
from opensim_nem2e.options import DirectoryPath, FilePath, Options, Property, group, layout_of, option
from opensim_nem2e.tools import tool_registry as registry
from opensim_nem2e.tools.tool import Tool, ToolRun


@dataclass(frozen=True)
class NetOptions(Options):
    """How the network is made.

    The rest of the docstring is no comment.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {},
        "large": {"hidden_units": 700, "rate": 0.001},
    }

    preset: Literal["small", "large"] = option("small", "Where empty values come from.")
    hidden_units: int = option(4, "Units.", bounds="[1, 1000]", formerly=("units",))
    rate: float = option(0.5, "Step.", bounds="(0, 1]")
    start_file: FilePath = option("", "Weights to begin with.")

    def faults(self) -> list[str]:
        return ["<rate> must be 0.5 for <preset> large."] if (self.preset, self.rate) == ("large", 0.25) else []


@dataclass(frozen=True)
class TimesOptions(Options):
    """When."""

    start: float = option(0, "Start.", unit="s", formerly=("begin",))
    seeds: tuple[int, ...] = option((0,), "Seeds.", bounds="[0, Inf]")


@dataclass(frozen=True)
class ForestOptions(Options):
    """How many trees."""

    trees: int = option(10, "Trees.")


@dataclass(frozen=True)
class GrowOptions(Options):
    """A tool for these tests."""

    results_directory: DirectoryPath = option("./", "Results.")
    times: TimesOptions = group(TimesOptions)
    net: NetOptions = group(NetOptions, "Net", formerly_flat=True)
    bundle_file: FilePath = option("", "A bundle.", formerly=("network_file", "net_file"))
    inputs: tuple[FilePath, ...] = option((), "Files to read.")


class GrowTool(Tool[GrowOptions]):
    """Grow."""

    @classmethod
    def group_names(cls):
        return ("Forest",)

    @classmethod
    def group_options(cls, element_name):
        return ForestOptions if element_name == "Forest" else None

    def _run(self, run: ToolRun) -> None:
        run.files.path("grown.txt").write_text("done")


def setup(folder: Path, inner: str) -> Path:
    """Write a setup file whose properties start on line 3."""
    path = folder / "setup.xml"
    path.write_text(f'<OpenSimDocument Version="40600">\n<GrowTool>\n{inner}\n</GrowTool>\n</OpenSimDocument>\n')
    return path


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(SetupError) as caught:
        GrowTool(path)
    return caught.value.faults


# --- dataclasses ---------------------------------------------------------------------------------------------------


def test_an_instance_checks_and_converts_its_values():
    options = TimesOptions(start=1, seeds=[3, 4])
    assert (options.start, type(options.start), options.seeds) == (1.0, float, (3, 4))
    with pytest.raises(FrozenInstanceError):
        options.start = 2.0
    with pytest.raises(SetupError) as caught:
        TimesOptions(start="soon", seeds=(-1,))
    assert caught.value.faults == (
        "TimesOptions: <start> must be a number, but 'soon' was found.",
        "TimesOptions: <seeds> must be integers in [0, Inf] separated by spaces, but (-1,) was found.",
    )


def test_presets_fill_what_is_empty_and_stand_in_the_comment():
    assert NetOptions.of_preset("large", rate=0.1) == NetOptions("large", 700, 0.1)
    assert NetOptions.of_preset() == NetOptions("small", 4, 0.5)
    with pytest.raises(SetupError, match=r"there is no preset 'lage'\. Did you mean 'large'\? There are small, large"):
        NetOptions.of_preset("lage")
    tool = GrowTool()
    assert tool.get("Net.hidden_units") is None
    assert tool.options().net == NetOptions("small", 4, 0.5)
    tool.set_group("Net", preset="large", hidden_units=16)
    assert tool.options().net == NetOptions("large", 16, 0.001)
    assert "<hidden_units>16</hidden_units>" in tool.to_xml()
    assert "<rate />" in tool.to_xml()
    by_name = {row.name: row for row in layout_of(NetOptions).own}
    assert by_name["rate"].full_comment == (
        "Step. Empty: from the preset (small 0.5, large 0.001). Allowed: a number in (0, 1], or empty."
    )


def test_what_cannot_be_declared_is_refused():
    @dataclass(frozen=True)
    class Complex(Options):
        a: complex = option(1, "A.")

    @dataclass(frozen=True)
    class Plain(Options):
        a: int = 3

    @dataclass(frozen=True)
    class Twice(Options):
        start: float = option(0, "Start.")
        times: TimesOptions = group(TimesOptions)

    for declaration, message in (
        (Complex, "Complex.a: an option cannot have the type"),
        (Plain, "Plain: 'a' must be declared by option"),
        (Twice, "Twice: two properties have the same name: start"),
    ):
        with pytest.raises(TypeError, match=re.escape(message)):
            layout_of(declaration)


def test_the_tool_gives_its_values_as_the_dataclass():
    tool = GrowTool(name="g", start=2, inputs=["a b.c3d"])
    tool.set_group("Net", hidden_units=16)
    assert tool.name == "g"
    assert tool.options() == GrowOptions(
        times=TimesOptions(start=2.0), net=NetOptions(hidden_units=16), inputs=("a b.c3d",)
    )
    with pytest.raises(SetupError, match=r"GrowTool has no property 'strat'\. Did you mean 'start'\?"):
        GrowTool(strat=1)


# --- lists ---------------------------------------------------------------------------------------------------------

FILES = Property("inputs", "files", (), "Files.")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.c3d b.c3d", ("a.c3d", "b.c3d")),
        ('"walk 1.c3d"  b.c3d', ("walk 1.c3d", "b.c3d")),
        ('"say ""hi"".c3d"', ('say "hi".c3d',)),
        (r"C:\data\x.c3d", (r"C:\data\x.c3d",)),
        ('5".c3d', ('5".c3d',)),
        ("Unassigned", ()),
        ("", ()),
    ],
)
def test_lists_of_files(text, names):
    assert FILES.parse(text) == names
    assert FILES.parse(FILES.format(names)) == names


@pytest.mark.parametrize(("text", "hint"), [('"a b.c3d', "not closed"), ('"a"b', "not closed"), ('""', "empty")])
def test_lists_of_files_that_are_refused(text, hint):
    with pytest.raises(ValueError, match=hint):
        FILES.parse(text)


@given(st.lists(st.text(max_size=12), max_size=4))
def test_every_list_of_files_reads_back(names):
    try:
        held = FILES.convert(names)
    except ValueError:
        return
    assert FILES.parse(FILES.format(held)) == FILES.convert(held) == held


def test_lists_of_files_take_paths():
    assert FILES.convert(Path("a b.c3d")) == ("a b.c3d",)
    assert FILES.convert([Path("a"), "b c"]) == ("a", "b c")


# --- elements ------------------------------------------------------------------------------------------------------


def test_an_element_is_written_and_read_back(tmp_path):
    tool = GrowTool()
    tool.set_group("Net", NetOptions(hidden_units=16, start_file="w.npz"))
    tool.set_group("Forest", trees=3)
    tool.printToXML(tmp_path / "setup.xml")
    text = (tmp_path / "setup.xml").read_text()
    assert (
        "\t\t<!--How the network is made.-->\n\t\t<Net>\n\t\t\t<!--Where empty values come from. Allowed: one of "
        "'small', 'large'.-->\n\t\t\t<preset>small</preset>\n"
    ) in text
    assert "\t\t\t<hidden_units>16</hidden_units>\n" in text
    assert text.index("</Net>") < text.index("<bundle_file") < text.index("<Forest>")
    again = GrowTool(tmp_path / "setup.xml")
    assert again.to_xml() == text
    assert again.options() == tool.options()
    assert (again.group("Net").hidden_units, again.group("Forest"), again.groups_given()) == (
        16,
        ForestOptions(3),
        ("Forest",),
    )
    assert again.is_set("Net.hidden_units")
    assert not again.is_set("Net.rate")
    assert again.resolve("Net.start_file") == tmp_path / "w.npz"
    for twin in (copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        twin.set("Net.hidden_units", 2)
        assert (twin.get("Net.hidden_units"), again.get("Net.hidden_units")) == (2, 16)


def test_the_default_setup_holds_declared_elements_only():
    text = GrowTool.default_xml()
    assert "\t\t\t<hidden_units />" in text
    assert "Forest" not in text
    # To look at an element is not to give it.
    tool = GrowTool()
    assert tool.group("Forest") == ForestOptions()
    assert tool.get("Forest.trees") == 10
    assert tool.to_xml() == text


def test_faults_in_elements_name_line_and_element(tmp_path):
    path = setup(
        tmp_path,
        "<Net>\n<hiden_units>3</hiden_units>\n<rate>2</rate>stray\n<preset>small</preset><preset>large</preset></Net>\n"
        "<Forrest/>\n<Forest a='1'><trees>x</trees></Forest>\n<Net/>\n<times/>",
    )
    assert faults(path) == (
        "line 3: <Net> must hold elements only, but the text 'stray' was found.",
        "line 4: <hiden_units> is not a property of Net. Did you mean 'hidden_units'?",
        "line 5: <rate> must be a number in (0, 1], or empty, but '2' was found.",
        "line 6: <preset> must appear once, but was already given on line 6.",
        "line 7: <Forrest> is not a property of GrowTool. Did you mean 'Forest'?",
        "line 8: <Forest> may have no attribute, but the attribute 'a' was found.",
        "line 8: <trees> must be an integer, but 'x' was found.",
        "line 9: <Net> must appear once, but was already given on line 3.",
        "line 10: <times> is not a property of GrowTool. 'opensim-nem2e info GrowTool' lists the properties.",
    )


def test_an_option_beside_its_element(tmp_path):
    text = '<OpenSimDocument Version="40600">\n<KinematicsTrainTool>\n<bearing_inputs>true</bearing_inputs>\n'
    (tmp_path / "setup.xml").write_text(text + "</KinematicsTrainTool></OpenSimDocument>")
    with pytest.raises(SetupError, match=r"not a property of KinematicsTrainTool\. It stands in <MJCABiGRU>"):
        KinematicsTrainTool(tmp_path / "setup.xml")


def test_faults_in_elements_from_code():
    tool = GrowTool()
    with pytest.raises(SetupError, match=r"^GrowTool: <Net>: <rate> must be a number in \(0, 1\], or empty, but 3 was"):
        tool.set_group("Net", rate=3)
    with pytest.raises(SetupError, match=r"GrowTool: <Net> has no property 'rat'\. Did you mean 'rate'\?"):
        tool.set_group("Net", rat=3)
    with pytest.raises(SetupError, match=r"GrowTool has no element 'Nett'\. Did you mean 'Net'\?"):
        tool.group("Nett")
    with pytest.raises(SetupError, match="<Net> takes NetOptions, but ForestOptions was found"):
        tool.set_group("Net", ForestOptions())
    tool.set_group("Net", preset="large", rate=0.25)
    with pytest.raises(SetupError, match=r"GrowTool: <Net>: <rate> must be 0\.5 for <preset> large\."):
        tool.check()


def test_the_effective_setup_moves_paths_in_elements(tmp_path):
    (tmp_path / "results").mkdir()
    tool = GrowTool(setup(tmp_path, "<Net><start_file>w.npz</start_file></Net>"))
    text = tool.effective_setup(tmp_path / "results", {"Net": {"rate": 0.5}, "units": 7, "start": 3})
    (tmp_path / "results" / "again.xml").write_text(text)
    again = GrowTool(tmp_path / "results" / "again.xml")
    assert again.get("Net.start_file") == "../w.npz"
    assert (again.group("Net").rate, again.get("Net.hidden_units"), again.start) == (0.5, 7, 3.0)


def test_info_tells_of_elements(monkeypatch, capsys):
    monkeypatch.setattr(registry, "_TOOLS", dict(registry._TOOLS))
    registry.register("GrowTool", __name__, "Grow.")
    monkeypatch.setattr(registry, "tool_class", lambda name: GrowTool)
    monkeypatch.setattr("opensim_nem2e.cli.info_command.tool_class", lambda name: GrowTool)
    assert main(["info", "GrowTool"]) == 0
    said = capsys.readouterr().out
    assert "\nNet [element]\n    How the network is made.\n\nNet.preset [string]\n" in said
    assert "\nForest.trees [int]\n    Trees.\n    Default: 10\n" in said
    assert main(["info", "GrowTool", "Forest"]) == 0
    assert capsys.readouterr().out == (
        "GrowTool.Forest [element]\n    How many trees.\n\nGrowTool.Forest.trees [int]\n    Trees.\n    Default: 10\n"
    )
    assert main(["info", "GrowTool", "units"]) == 0
    assert capsys.readouterr().out.startswith(
        "units is the old name of Net.hidden_units.\nGrowTool.Net.hidden_units [int]"
    )


# --- old names -----------------------------------------------------------------------------------------------------


def test_old_names_are_understood_with_one_note(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    setup(tmp_path, "<network_file>a.net</network_file>\n<units>5</units>\n<rate>0.5</rate>\n<begin>2</begin>")
    tool = GrowTool("setup.xml")
    assert (tool.bundle_file, tool.group("Net").hidden_units, tool.start) == ("a.net", 5, 2.0)
    assert tool.network_file == tool.getNetworkFileName() == "a.net"
    tool.setHiddenUnits(6)
    assert tool.options().net == NetOptions(hidden_units=6, rate=0.5)
    assert "network_file" not in tool.to_xml()
    with caplog.at_level("INFO", logger="opensim_nem2e"):
        tool.run()
    notes = [line for line in caplog.messages if "the old name is still understood" in line]
    assert notes == [
        "<network_file> is now <bundle_file>; the old name is still understood.",
        "<units> is now <Net><hidden_units>; the old name is still understood.",
        "<rate> is now <Net><rate>; the old name is still understood.",
        "<begin> is now <start>; the old name is still understood.",
        "<hidden_units> is now <Net><hidden_units>; the old name is still understood.",
    ]
    assert all(note in (tmp_path / "GrowTool.log").read_text() for note in notes)


@pytest.mark.parametrize("order", [1, -1])
def test_both_names_are_a_fault(tmp_path, order):
    lines = ["<network_file>a</network_file>", "<bundle_file>b</bundle_file>"][::order]
    line, other = (3, 4) if order == 1 else (4, 3)
    assert faults(setup(tmp_path, "\n".join(lines))) == (
        f"line {line}: <network_file> is the old name of <bundle_file>, which is given on line {other}: one of them "
        "must be left out.",
    )
    lines = ["<units>3</units>", "<Net><hidden_units>4</hidden_units></Net>"][::order]
    assert faults(setup(tmp_path, "\n".join(lines))) == (
        f"line {line}: <units> is the old name of <Net><hidden_units>, which is given on line {other}: one of them "
        "must be left out.",
    )


def test_two_old_names_are_a_fault(tmp_path):
    assert faults(setup(tmp_path, "<network_file>a</network_file>\n<net_file>b</net_file>")) == (
        "line 4: <net_file> must appear once, but was already given on line 3 as <network_file>.",
    )


@pytest.mark.parametrize(
    ("tool_name", "old", "new"),
    [
        ("STDRRefineTool", "network_file", "bundle_file"),
        ("STDRTrainTool", "initial_bundle", "initial_bundle_file"),
        ("STDRTrainTool", "output_bundle", "output_bundle_file"),
    ],
)
def test_names_that_the_tools_had(tool_name, old, new, tmp_path):
    path = tmp_path / "setup.xml"
    path.write_text(
        f'<OpenSimDocument Version="40600"><{tool_name}><{old}>x.safetensors</{old}></{tool_name}></OpenSimDocument>'
    )
    tool: Any = registry.load_tool(path)
    camel = "".join(part.capitalize() for part in old.split("_"))
    assert tool.get(new) == getattr(tool, old) == getattr(tool, f"get{camel}")() == "x.safetensors"
    getattr(tool, f"set{camel}FileName" if camel.endswith("Bundle") else f"set{camel}Name")("y.safetensors")
    assert tool.get(new) == "y.safetensors"
