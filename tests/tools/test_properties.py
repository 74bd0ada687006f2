"""The property grammar: what is written, what is read, and how faults are worded."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import MissingFileError, NEM2EError, SetupError
from opensim_nem2e.options import (
    DirectoryPath,
    FilePath,
    Interval,
    Options,
    Property,
    layout_of,
    option,
    short_number,
)
from opensim_nem2e.tools import tool_registry as registry
from opensim_nem2e.tools.properties import document_text, read_document
from opensim_nem2e.tools.tool import Tool


@dataclass(frozen=True)
class SampleOptions(Options):
    """One option of every kind."""

    flag: bool = option(False, "A flag.")
    count: int = option(3, "A count.", bounds="[0, 10]")
    gain: float = option(0.5, "A gain.", bounds="(0, Inf)", unit="N")
    limit: float = option(float("inf"), "A limit.")
    title: str = option("", "A title.")
    mode: Literal["fast", "exact"] = option("fast", "A mode.")
    model_file: FilePath = option("", "A model.")
    results_directory: DirectoryPath = option("./", "Results.")
    time_range: tuple[float, ...] = option((), "Two times.", list_size=2, unit="s")
    weights: tuple[float, ...] = option((), "Weights.", bounds=(0, None))
    muscles: tuple[str, ...] = option((), "Muscles.")


TABLE = layout_of(SampleOptions).properties


class Sample(Tool[SampleOptions]):
    """One property of every kind."""


def prop(name: str) -> Property:
    return next(row for row in TABLE if row.name == name)


def setup(tmp_path: Path, inner: str, version: str = ' Version="40600"', tool: str = "Sample") -> Path:
    """Write a setup file whose properties start on line 3."""
    path = tmp_path / "setup.xml"
    path.write_text(f"<OpenSimDocument{version}>\n<{tool}>\n{inner}\n</{tool}>\n</OpenSimDocument>\n", encoding="utf-8")
    return path


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(SetupError) as caught:
        Sample(path)
    assert str(caught.value).startswith(str(path))
    return caught.value.faults


# --- the table -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Name", "int", 1, "c"), "lower case"),
        (("a", "float", 1, "c"), "the type must be one of"),
        (("a", "int", 1, ""), "a comment is needed"),
        (("a", "int", 1, "x -- y"), "XML forbids '--'"),
        (("a", "int", 1.5, "c"), "must be an integer, but 1.5 was found."),
    ],
)
def test_a_wrong_table_is_refused_when_it_is_written(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Property(*arguments)


def test_constraints_must_fit_the_type():
    for keywords in ({"bounds": "[0, 1]"}, {"list_size": 2}, {"may_be_name": True}):
        with pytest.raises(ValueError):
            Property("a", "string", "", "c", **keywords)
    with pytest.raises(ValueError):
        Property("a", "int", 1, "c", choices=("a",))
    with pytest.raises(ValueError, match="Bounds look like"):
        Property("a", "int", 1, "c", bounds="0..1")
    with pytest.raises(ValueError, match="must be an integer in"):
        Property("a", "int", 1, "c", bounds="[2, 3]")


@pytest.mark.parametrize(
    ("kind", "about", "text", "value"),
    [
        (int | None, {"bounds": "[1, 9]"}, "7", 7),
        (float | None, {"bounds": "(0, 1]"}, "0.5", 0.5),
        (bool | None, {}, "false", False),
        (Literal["x", "y"] | None, {}, "y", "y"),
    ],
)
def test_a_value_that_may_be_left_empty(tmp_path, kind, about, text, value):
    """Empty is None, in files and in code, and is not a value that was given; what is given must still fit."""
    declaration = make_dataclass(
        "EmptyOptions", [("a", kind, option(None, "c.", **about))], bases=(Options,), frozen=True
    )

    class Empty(Tool[declaration]):
        pass

    (row,) = Empty.properties
    assert row.is_optional
    assert row.allowed.endswith(", or empty")
    assert row.parse("  ") is row.convert("") is row.convert(None) is None
    assert (row.format(None), row.show(None)) == ("", "(empty)")
    assert "<a />" in Empty.default_xml()
    for inner, expected in (("<a/>", None), ("<a> </a>", None), (f"<a>{text}</a>", value), ("", None)):
        tool = Empty(setup(tmp_path, inner, tool="Empty"))
        assert tool.a == expected
        assert tool.is_set("a") == (expected is not None)
        assert type(Empty(setup(tmp_path, inner, tool="Empty")).a) is type(expected)
        tool.printToXML(tmp_path / "again.xml")
        assert Empty(tmp_path / "again.xml").a == expected
    with pytest.raises(SetupError, match=r"line 3: <a> must be .*, or empty, but '-3' was found\."):
        Empty(setup(tmp_path, "<a>-3</a>", tool="Empty"))
    tool.a = value
    tool.a = None
    assert tool.a is None


def test_a_list_or_path_or_required_value_has_no_none():
    for kind, keywords in (("strings", {}), ("file", {}), ("string", {"required": True})):
        with pytest.raises(ValueError, match="None is no default"):
            Property("a", kind, None, "c", **keywords)
    # A value with a default may not be left empty.
    with pytest.raises(ValueError, match="must be an integer, but nothing was found"):
        Property("a", "int", 3, "c").parse("")


def test_intervals():
    assert str(Interval.of("(0, Inf)")) == "(0, Inf)"
    assert str(Interval.of((0, 1))) == "[0, 1]"
    assert str(Interval.of((None, 1.5))) == "[-Inf, 1.5]"
    assert Interval.of("[-1,2)") == Interval(-1, 2, True, False)
    half_open = Interval.of("(0, 1]")
    assert [number in half_open for number in (0, 0.5, 1, 2)] == [False, True, True, False]


def test_the_comment_tells_unit_and_constraints():
    assert prop("gain").full_comment == "A gain. Unit: N. Allowed: a number in (0, Inf)."
    assert prop("mode").full_comment == "A mode. Allowed: one of 'fast', 'exact'."
    assert prop("time_range").full_comment == "Two times. Unit: s. Allowed: 2 numbers separated by spaces."
    assert prop("flag").full_comment == "A flag."
    optional = Property("a", "string", "", "c.", choices=("", "x", "y"))
    assert optional.full_comment == "c. Allowed: one of 'x', 'y', or empty."
    for size, words in (((2, None), "at least 2 names"), ((1, 3), "1 to 3 names")):
        assert Property("a", "strings", (), "c.", list_size=size).allowed == f"{words} separated by spaces"


# --- numbers as OpenSim writes them ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # Printed by OpenSim 4.6 itself for AnalyzeTool's initial_time.
        (1e-05, "1.0000000000000001e-05"),
        (0.1, "0.10000000000000001"),
        (1 / 3, "0.33333333333333331"),
        (1e300, "1.0000000000000001e+300"),
        (1e-08, "1e-08"),
        (20000.0, "20000"),
        (1e16, "10000000000000000"),
        (1e17, "1e+17"),
        (1234567.5, "1234567.5"),
        (-0.0, "-0"),
        (math.inf, "Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_doubles_are_written_as_opensim_writes_them(value, text):
    assert Property("a", "double", 0, "c").format(value) == text


def test_short_numbers_for_people():
    numbers = (0.1, 20, -math.inf, math.inf, 1e-5)
    assert [short_number(number) for number in numbers] == ["0.1", "20", "-Inf", "Inf", "1e-05"]


# --- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flag", "true", True),
        ("flag", " False\n", False),
        ("count", " +7 ", 7),
        ("gain", "1e-3", 0.001),
        ("gain", ".5", 0.5),
        ("limit", "Inf", math.inf),
        ("limit", "inf", math.inf),
        ("limit", "Infinity", math.inf),
        ("title", "  two words ", "two words"),
        ("model_file", "../My Models/a b.osim", "../My Models/a b.osim"),
        ("model_file", "Unassigned", ""),
        ("model_file", "", ""),
        ("time_range", " -Inf\tinf ", (-math.inf, math.inf)),
        ("time_range", "", ()),
        ("muscles", "soleus_r\n\t gasmed_r", ("soleus_r", "gasmed_r")),
    ],
)
def test_texts_that_are_read(name, text, value):
    assert prop(name).parse(text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("flag", "yes", "must be true or false, but 'yes' was found."),
        ("flag", "1", "must be true or false, but '1' was found."),
        ("flag", "", "must be true or false, but nothing was found."),
        ("count", "1,5", "must be an integer in [0, 10], but '1,5' was found. The decimal sign is a point."),
        ("count", "8.0", "must be an integer in [0, 10], but '8.0' was found."),
        ("count", "11", "must be an integer in [0, 10], but '11' was found."),
        ("count", "0x1", "must be an integer in [0, 10], but '0x1' was found."),
        ("count", "9" * 5000, f"must be an integer in [0, 10], but '{'9' * 60}...' was found."),
        ("gain", "1,5", "must be a number in (0, Inf), but '1,5' was found. The decimal sign is a point."),
        ("gain", "Inf", "must be a number in (0, Inf), but 'Inf' was found."),
        ("gain", "nan", "must be a number in (0, Inf), but 'nan' was found."),
        ("gain", "0", "must be a number in (0, Inf), but '0' was found."),
        ("gain", "1_000", "must be a number in (0, Inf), but '1_000' was found."),
        ("gain", "٣", "must be a number in (0, Inf), but '٣' was found."),
        (
            "gain",
            "1e999",
            "must be a number in (0, Inf), but '1e999' was found."
            " It is too large for a double; 'Inf' stands for infinity.",
        ),
        ("mode", "fats", "must be one of 'fast', 'exact', but 'fats' was found. Did you mean 'fast'?"),
        ("mode", "", "must be one of 'fast', 'exact', but nothing was found."),
        ("time_range", "1", "must be 2 numbers separated by spaces, but '1' was found."),
        ("time_range", "1 x", "must be 2 numbers separated by spaces, but '1 x' was found."),
        (
            "time_range",
            "0,5 1",
            "must be 2 numbers separated by spaces, but '0,5 1' was found. The decimal sign is a point.",
        ),
        ("weights", "1 -1", "must be numbers in [0, Inf] separated by spaces, but '1 -1' was found."),
        (
            "model_file",
            "a\nb.osim",
            r"must be a file name, but 'a\nb.osim' was found. It holds a line break or another control character.",
        ),
    ],
)
def test_texts_that_are_refused(name, text, message):
    # An interval open at Inf, such as gain's, excludes infinity itself.
    with pytest.raises(ValueError) as caught:
        prop(name).parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("flag", np.True_, True),
        ("count", np.int64(4), 4),
        ("gain", 2, 2.0),
        ("gain", np.float32(0.5), 0.5),
        ("model_file", Path("a/b.osim"), str(Path("a/b.osim"))),
        ("model_file", "Unassigned", ""),
        ("time_range", np.array([0.0, 1.0]), (0.0, 1.0)),
        ("time_range", "0 1", (0.0, 1.0)),
        ("muscles", ["soleus_r"], ("soleus_r",)),
        ("muscles", "soleus_r gasmed_r", ("soleus_r", "gasmed_r")),
    ],
)
def test_python_values_that_are_taken(name, value, held):
    converted = prop(name).convert(value)
    assert converted == held
    assert type(converted) is type(held)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("flag", 1, "must be true or false, but 1 was found."),
        ("flag", "true", "must be true or false, but 'true' was found."),
        ("count", True, "must be an integer in [0, 10], but True was found."),
        ("count", 2.0, "must be an integer in [0, 10], but 2.0 was found."),
        ("gain", "0.5", "must be a number in (0, Inf), but '0.5' was found."),
        ("gain", None, "must be a number in (0, Inf), but None was found."),
        ("gain", math.nan, "must be a number in (0, Inf), but nan was found."),
        ("title", 3, "must be a text on one line, but 3 was found."),
        ("time_range", 1.0, "must be 2 numbers separated by spaces, but 1.0 was found."),
        ("time_range", (1.0, None), "must be 2 numbers separated by spaces, but (1.0, None) was found."),
        (
            "muscles",
            ["soleus r"],
            "must be names separated by spaces, but ['soleus r'] was found. A name in a list must not hold spaces.",
        ),
    ],
)
def test_python_values_that_are_refused(name, value, message):
    with pytest.raises(ValueError) as caught:
        prop(name).convert(value)
    assert str(caught.value) == message


def test_integers_keep_to_64_bits():
    row = Property("seed", "int", 0, "A seed.")
    assert row.parse("9223372036854775807") == 2**63 - 1
    for value in (2**63, -(2**63) - 1):
        with pytest.raises(ValueError):
            row.convert(value)
        with pytest.raises(ValueError):
            row.parse(str(value))


_TEXTS = st.text(
    st.characters(min_codepoint=32, exclude_categories=("Cs",), exclude_characters="\ufffe\uffff"), max_size=20
).map(str.strip)
_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
_FLOATS = st.floats(allow_nan=False)
# What a tool may be called: it begins the names of files.
_NAMES = st.text(
    st.characters(exclude_categories=("C", "Zl", "Zp", "Zs"), exclude_characters="/\\", include_characters=" "),
    max_size=20,
).map(lambda text: text.strip(" ").lstrip(". "))


# How long it takes to make examples is the machine's affair.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=st.fixed_dictionaries(
        {
            "flag": st.booleans(),
            "count": st.integers(0, 10),
            "gain": st.floats(min_value=0, exclude_min=True, allow_infinity=False),
            "limit": _FLOATS,
            "title": _TEXTS,
            "mode": st.sampled_from(["fast", "exact"]),
            "model_file": _TEXTS.filter(lambda text: text != "Unassigned"),
            "results_directory": _TEXTS.filter(lambda text: text != "Unassigned"),
            "time_range": st.one_of(st.just(()), st.tuples(_FLOATS, _FLOATS)),
            "weights": st.lists(st.floats(min_value=0), max_size=5).map(tuple),
            "muscles": st.lists(_WORDS, max_size=5).map(tuple),
        }
    ),
    name=_NAMES,
)
def test_every_value_survives_the_file(tmp_path_factory, values, name):
    path = tmp_path_factory.getbasetemp() / "round_trip.xml"
    tool = Sample()
    tool.name = name
    for key, value in values.items():
        tool.set(key, value)
    tool.printToXML(path)
    again = Sample(path)
    assert again.values() == values
    assert again.name == name
    # -0.0 equals 0.0: the text is compared too.
    assert again.to_xml() == tool.to_xml() == path.read_bytes().decode()


@given(text=st.text(max_size=30))
def test_no_text_breaks_the_parser(text):
    for row in TABLE:
        try:
            value = row.parse(text)
        except ValueError:
            continue
        assert row.parse(row.format(value)) == value
        assert row.convert(value) == value


# --- the document ------------------------------------------------------------------------------------------------


def test_faults_name_line_element_allowed_and_found(tmp_path):
    path = setup(
        tmp_path,
        "<flag>yes</flag>\n<contu>1</contu>\n<count>12</count>\n<count>2</count>\n<gain>1,5</gain>\n"
        "<mode>slow</mode>\n<time_range><x/></time_range>\n<muscles size='2'>a b</muscles>\n<qqq/>",
    )
    assert faults(path) == (
        "line 3: <flag> must be true or false, but 'yes' was found.",
        "line 4: <contu> is not a property of Sample. Did you mean 'count'?",
        "line 5: <count> must be an integer in [0, 10], but '12' was found.",
        "line 6: <count> must appear once, but was already given on line 5.",
        "line 7: <gain> must be a number in (0, Inf), but '1,5' was found. The decimal sign is a point.",
        "line 8: <mode> must be one of 'fast', 'exact', but 'slow' was found.",
        "line 9: <time_range> must be 2 numbers separated by spaces, but the element <x> was found in it.",
        "line 10: <muscles> may have no attribute, but the attribute 'size' was found.",
        "line 11: <qqq> is not a property of Sample. 'opensim-nem2e info Sample' lists the properties.",
    )


def test_one_fault_is_one_line(tmp_path):
    path = setup(tmp_path, "<flag>yes</flag>")
    with pytest.raises(SetupError) as caught:
        Sample(path)
    assert str(caught.value) == f"{path}: line 3: <flag> must be true or false, but 'yes' was found."


@pytest.mark.parametrize("version", ["20302", "30000", "40000", "40500", "40600", "40699"])
def test_versions_that_are_read(tmp_path, version):
    assert Sample(setup(tmp_path, "<count>4</count>", f' Version="{version}"')).count == 4


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ("", 'must have a Version (20302 to 40699 are allowed; Version="40600" is OpenSim 4.6).'),
        (
            ' Version="20301"',
            "is of an older version than can be read: 20302 to 40699 are allowed, but 20301 was found.",
        ),
        (
            ' Version="10904"',
            "is of an older version than can be read: 20302 to 40699 are allowed, but 10904 was found.",
        ),
        (
            ' Version="40700"',
            "is of a newer version than can be read: 20302 to 40699 are allowed, but 40700 was found.",
        ),
        (
            ' Version="50000"',
            "is of a newer version than can be read: 20302 to 40699 are allowed, but 50000 was found.",
        ),
        (' Version="4.6"', "must have a whole number as Version (20302 to 40699 are allowed), but '4.6' was found."),
        (' Version=""', "must have a whole number as Version (20302 to 40699 are allowed), but '' was found."),
    ],
)
def test_versions_that_are_refused(tmp_path, version, fault):
    assert faults(setup(tmp_path, "", version)) == (f"line 1: <OpenSimDocument> {fault}",)


def test_a_defaults_block_is_skipped_with_a_message(tmp_path, caplog):
    path = tmp_path / "setup.xml"
    path.write_text(
        '<OpenSimDocument Version="30000">\n<defaults><Sample><count>9</count></Sample></defaults>\n'
        "<Sample name='s'><count>4</count></Sample></OpenSimDocument>"
    )
    with caplog.at_level("INFO", logger="opensim_nem2e"):
        tool = Sample(path)
    assert (tool.count, tool.name) == (4, "s")
    assert caplog.messages == [
        f"The <defaults> block on line 2 of '{path}' is skipped: it has no meaning for these tools."
    ]


def test_comments_and_odd_white_space_are_tolerated(tmp_path):
    path = tmp_path / "setup.xml"
    path.write_bytes(
        b"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>\r\n<!-- by the GUI -->\r\n"
        b"<OpenSimDocument\r\n   Version = '40600'><!-- x --><Sample\tname=' s '>\r\n"
        b"<!--A-->\r\n\r\n<count>\r\n\t4<!-- four -->\r\n</count><?pi x?><muscles>a<!-- and -->\r\n b</muscles>"
        b"<title/><model_file>Unassigned</model_file>\r\n</Sample>\r\n</OpenSimDocument>\r\n<!-- end -->"
    )
    tool = Sample(path)
    assert (tool.name, tool.count, tool.muscles, tool.title, tool.model_file) == ("s", 4, ("a", "b"), "", "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<CMCTool/>", "line 1: the root element must be <OpenSimDocument>, but <CMCTool> was found."),
        (
            "<OpensimDocument/>",
            "line 1: the root element must be <OpenSimDocument>, but <OpensimDocument> was found."
            " Did you mean 'OpenSimDocument'?",
        ),
        (
            '<OpenSimDocument Version="40600">\n</OpenSimDocument>',
            "line 1: <OpenSimDocument> must hold one tool, but none was found.",
        ),
        (
            '<OpenSimDocument Version="40600">\n<Sample/>\n<Sample/>\n</OpenSimDocument>',
            "line 3: a setup file must hold one tool, but <Sample> on line 2, <Sample> on line 3 were found.",
        ),
        (
            '<OpenSimDocument Version="40600" Units="m"><Sample/></OpenSimDocument>',
            "line 1: <OpenSimDocument> may have Version only, but the attribute 'Units' was found.",
        ),
        (
            '<OpenSimDocument Version="40600">oops<Sample/></OpenSimDocument>',
            "line 1: <OpenSimDocument> must hold elements only, but the text 'oops' was found.",
        ),
        (
            '<OpenSimDocument Version="40600"><Sample>a.osim</Sample></OpenSimDocument>',
            "line 1: <Sample> must hold elements only, but the text 'a.osim' was found.",
        ),
        (
            '<OpenSimDocument Version="40600"><Sample name="../x"/></OpenSimDocument>',
            "line 1: <Sample> name must not hold '/', '\\' or control characters, but '../x' was found.",
        ),
    ],
)
def test_documents_that_are_refused(tmp_path, text, fault):
    path = tmp_path / "setup.xml"
    path.write_text(text)
    assert faults(path) == (fault,)


def test_another_tool_than_expected(tmp_path):
    known = ", ".join(entry.name for entry in registry.tools())
    assert faults(setup(tmp_path, "", tool="STDRTrainTool")) == (
        "line 2: the tool must be Sample, but STDRTrainTool was found.",
    )
    assert faults(setup(tmp_path, "", tool="CMCTool")) == (
        f"line 2: The tool must be one of {known}, but 'CMCTool' was found."
        " It is one of OpenSim's own tools: run it with opensim-cmd or OpenSim's Python package.",
    )


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY e "4">]><OpenSimDocument Version="40600"><Sample><count>&e;</count></Sample>'
        "</OpenSimDocument>",
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><OpenSimDocument Version="40600"><Sample>'
        "<title>&e;</title></Sample></OpenSimDocument>",
        '<!DOCTYPE x SYSTEM "http://localhost:1/x.dtd"><OpenSimDocument Version="40600"><Sample/></OpenSimDocument>',
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(8))
        + ']><OpenSimDocument Version="40600"><Sample><title>&i;</title></Sample></OpenSimDocument>',
        '<OpenSimDocument Version="40600"><Sample><title>&undefined;</title></Sample></OpenSimDocument>',
        '<OpenSimDocument Version="40600">' + "<a>" * 5000 + "</a>" * 5000 + "</OpenSimDocument>",
        '<OpenSimDocument Version="40600"><Sample>',
        "not xml at all",
        "",
    ],
    ids=["entity", "file entity", "external DTD", "billion laughs", "undefined", "deep", "unclosed", "text", "empty"],
)
def test_attacks_and_rubbish_are_refused(tmp_path, text):
    path = tmp_path / "setup.xml"
    path.write_text(text)
    with pytest.raises(NEM2EError) as caught:
        Sample(path)
    assert str(path) in str(caught.value)
    assert "root:" not in str(caught.value)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "setup.xml"
    with path.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(NEM2EError, match="too large"):
        read_document(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="no such setup file"):
        Sample(tmp_path / "absent.xml")
    with pytest.raises(MissingFileError, match="directory"):
        Sample(tmp_path)


# --- beside OpenSim itself ----------------------------------------------------------------------------------------


def _comments(text: str) -> dict[str, str]:
    """Return the comment that stands before each property."""
    return {match[2]: match[1] for match in re.finditer(r"<!--(.*?)-->\s*<(\w+)", text)}


def test_the_file_equals_opensims_own_byte_for_byte(shared_fixtures):
    own = (shared_fixtures / "default_setups" / "StaticOptimization_min.xml").read_bytes().decode()
    comments = _comments(own)
    values = {
        "on": ("bool", True),
        "start_time": ("double", -math.inf),
        "end_time": ("double", math.inf),
        "step_interval": ("int", 1),
        "in_degrees": ("bool", True),
        "use_model_force_set": ("bool", True),
        "activation_exponent": ("double", 2),
        "use_muscle_physiology": ("bool", True),
        "optimizer_convergence_criterion": ("double", 1e-4),
        "optimizer_max_iterations": ("int", 100),
    }
    table = [Property(name, kind, value, comments[name]) for name, (kind, value) in values.items()]
    defaults = {row.name: row.default for row in table}
    assert document_text("StaticOptimization", table, defaults, "StaticOptimization") == own


def test_properties_of_cmctool_are_written_line_by_line_as_opensim_does(shared_fixtures):
    own = (shared_fixtures / "default_setups" / "CMCTool_min.xml").read_bytes().decode()
    comments = _comments(own)
    values = {
        "model_file": ("file", ""),
        "replace_force_set": ("bool", False),
        "force_set_files": ("strings", ()),
        "results_directory": ("directory", "./"),
        "output_precision": ("int", 8),
        "initial_time": ("double", 0),
        "final_time": ("double", 1),
        "solve_for_equilibrium_for_auxiliary_states": ("bool", True),
        "maximum_number_of_integrator_steps": ("int", 20000),
        "maximum_integrator_step_size": ("double", 1),
        "minimum_integrator_step_size": ("double", 1e-8),
        "integrator_error_tolerance": ("double", 1e-5),
    }
    table = [Property(name, kind, value, comments[name]) for name, (kind, value) in values.items()]
    ours = document_text("CMCTool", table, {row.name: row.default for row in table}).splitlines()
    # All of our lines but the two that close the file are OpenSim's first lines.
    assert ours[:-2] == own.splitlines()[: len(ours) - 2]
    assert ours[-2:] == own.splitlines()[-2:]


_READ_BY_OPENSIM = """
import sys, opensim
tool = opensim.AnalyzeTool(sys.argv[1], False)
print(tool.getName(), tool.getModelFilename(), tool.getInitialTime(), tool.getFinalTime(), tool.getOutputPrecision(),
      tool.getResultsDir(), tool.getSolveForEquilibrium(), sep="|")
"""


def test_opensim_reads_what_is_written(tmp_path):
    pytest.importorskip("opensim")

    @dataclass(frozen=True)
    class AnalyzeOptions(Options):
        """A few properties of OpenSim's tool."""

        model_file: FilePath = option("", "Model.")
        results_directory: DirectoryPath = option("./", "Results.")
        output_precision: int = option(8, "Precision.")
        initial_time: float = option(0, "Start.")
        final_time: float = option(math.inf, "End.")
        solve_for_equilibrium_for_auxiliary_states: bool = option(True, "Equilibrium.")

    class AnalyzeTool(Tool[AnalyzeOptions]):
        """OpenSim's."""

    tool = AnalyzeTool()
    tool.name = 'walk "1" & <2>'
    tool.model_file = "my models/é & <b>.osim"
    tool.output_precision = 12
    tool.initial_time = 1 / 3
    tool.solve_for_equilibrium_for_auxiliary_states = False
    tool.results_directory = "Results"
    path = tmp_path / "setup.xml"
    tool.printToXML(path)
    done = subprocess.run(
        [sys.executable, "-c", _READ_BY_OPENSIM, path.name],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.splitlines()[-1] == (
        'walk "1" & <2>|my models/é & <b>.osim|0.3333333333333333|inf|12|Results|False'
    )
