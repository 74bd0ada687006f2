"""XML that only OpenSim takes: whatever OpenSim's own reader loads is read, and means the same."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap

import pytest

from opensim_nem2e.errors import MAX_MESSAGE, ModelError, SetupError
from opensim_nem2e.storage import read_controls_xml, read_external_loads, read_model, safe_xml
from opensim_nem2e.storage.opensim_setup import read_opensim_setup
from opensim_nem2e.storage.tiny_xml import COLON

MODEL = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600">
	<Model name="m">
		<!--note-->
		<ForceSet>
			<objects>
				<CoordinateActuator name="a"><max_control>2</max_control></CoordinateActuator>
				<Thelen2003Muscle name="mus"><max_control>1</max_control>
				<max_isometric_force>500</max_isometric_force></Thelen2003Muscle>
			</objects>
		</ForceSet>
	</Model>
</OpenSimDocument>
"""


def note(text):
    return MODEL.replace("<!--note-->", text)


def muscle(text, number="<max_control>1<"):
    return MODEL.replace('<Thelen2003Muscle name="mus">' if number.startswith("<Th") else number, text)


#: Name to content. OpenSim loads every one of them.
LOADED = {
    "as it should be": MODEL,
    "hyphens in a comment": note("<!-- a -- b --- -->"),
    "comment in a comment": note("<!-- a <!-- <b> -->"),
    "end of a comment twice": note("<!-- a <!-- b --> c -->"),
    "hyphen at a comment's end": note("<!-- a --->"),
    "bare ampersand": note("<credits>A & B &nbsp; &lt;&amp; &foo</credits>"),
    "bare ampersand in a name": MODEL.replace('name="mus"', 'name="mu&s"'),
    "character references": MODEL.replace('name="mus"', 'name="mu&#x73;&#50;"'),
    "reference to a control": note("<credits>A &#1; B</credits>"),
    "Latin-1": note("<credits>Universit\xe9</credits>").encode("latin-1"),
    "Latin-1, and said": note("<credits>Universit\xe9</credits>").replace("UTF-8", "ISO-8859-1").encode("latin-1"),
    "UTF-8": note("<credits>Universit\xe9</credits>").encode(),
    "an encoding that does not exist": MODEL.replace("UTF-8", "nonsense"),
    "an encoding that it is not": MODEL.replace("UTF-8", "UTF-16"),
    "byte order mark": ("\ufeff" + MODEL).encode(),
    "byte order mark and a blank line": ("\ufeff\n" + MODEL).encode(),
    "blank lines first": "\n \n" + MODEL,
    "no declaration": MODEL.partition("\n")[2],
    "two declarations": MODEL.partition("\n")[0] + "\n" + MODEL,
    "a comment before the declaration": "<!-- x -->\n" + MODEL,
    "a declaration without quotes": MODEL.replace('version="1.0" encoding="UTF-8" ?', "version=1.0"),
    "a declaration in capitals": MODEL.replace("<?xml", "<?XML"),
    "XML 1.1": MODEL.replace('"1.0"', '"1.1"'),
    "null bytes at the end": MODEL.encode() + b"\0\0",
    "rubbish after a null byte": MODEL.encode() + b"\0<x>&",
    "a bracket at the end": MODEL + "<",
    "an end tag at the end": MODEL + "</x>",
    "controls in text": note("<credits>a\x01b\x1b\x0c</credits>"),
    "attribute without quotes": MODEL.replace('name="mus"', "name=mus"),
    "attribute in single quotes": MODEL.replace('name="mus"', "name='mus'"),
    "attribute twice": MODEL.replace('name="mus"', 'name="x" name="mus"'),
    "attributes without a blank between": MODEL.replace('name="mus"', 'a="b"name="mus"'),
    "bracket in an attribute": MODEL.replace('name="mus"', 'a="<b>" name="mus"'),
    "blanks around an equals sign": MODEL.replace('name="mus"', 'name = "mus"'),
    "attribute with a colon": MODEL.replace('name="mus"', 'xsi:type="q" name="mus"'),
    "namespace": MODEL.replace('Version="40600"', 'Version="40600" xmlns="http://a" xmlns:b="http://c"'),
    "C++ name": note("<HuntCrossleyForce::ContactParametersSet name='x'/>"),
    "C++ name with content": note("<A::B><objects><a:c>1</a:c></objects></A::B>"),
    "name that ends in a colon": note("<a:>1</a:>"),
    "name of other letters": note("<é->1</é->"),
    "instruction": note("<?foo bar?>"),
    "instruction first": "<?foo bar?>\n" + MODEL,
    "declaration of an element": note("<!ELEMENT x>"),
    "character data": note("<credits><![CDATA[a < b & c]]></credits>"),
    "number as character data": MODEL.replace(">500<", "><![CDATA[500]]><"),
    "end of character data": note("<credits>a ]]> b</credits>"),
    "comment before a number": MODEL.replace(">500<", "><!-- c -->500<"),
    "closing bracket": note("a > b"),
    "stray text": MODEL.replace("<objects>", "<objects> text "),
    "carriage returns": MODEL.replace("\n", "\r"),
    "lines of Windows": MODEL.replace("\n", "\r\n"),
    "infinity of Windows": muscle("<max_control>1.#INF<"),
    "infinity of Windows, with digits": muscle("<max_control>1.#INF00<"),
    "number with a plus sign": muscle("<max_control> +5.E-1 <"),
    "property twice": muscle("<max_control>0.7</max_control><max_control>1<"),
    "empty property": muscle("<max_control><"),
    "no name": MODEL.replace(' name="mus"', ""),
    "set twice": MODEL.replace("</ForceSet>", "</ForceSet><ForceSet><objects/></ForceSet>"),
    "model twice": MODEL.replace("</Model>", '</Model><Model name="z"/>'),
    **{
        f"appliesForce {word!r}": MODEL.replace('name="mus">', f'name="mus"><appliesForce>{word}</appliesForce>')
        for word in ("false", "False", " FALSE ", "0", "1", "true", "no", "fal", "")
    },
}

#: Loads models with OpenSim, in a process of its own, and prints what it finds in each.
LOAD = textwrap.dedent("""
    import json, sys
    import opensim
    opensim.Logger.setLevelString("off")
    for path in sys.argv[1:]:
        try:
            model = opensim.Model(path)
            muscles = model.getMuscles()
            found = [muscles.get(i) for i in range(muscles.getSize())]
            print("@" + json.dumps([model.getName(), [
                [m.getName(), m.getMaxControl(), m.getMaxIsometricForce(), m.get_appliesForce()] for m in found
            ]]))
        except RuntimeError as error:
            print("@" + json.dumps(str(error)))
""")


def write(folder, content, name="file.xml"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load_with_opensim(paths):
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, paths)], capture_output=True, text=True, check=True, errors="replace"
    )
    return [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]


def test_every_oddity_that_opensim_loads_is_read_alike(tmp_path):
    pytest.importorskip("opensim")
    paths = [write(tmp_path, content, f"{index}.osim") for index, content in enumerate(LOADED.values())]
    theirs = load_with_opensim(paths)
    assert len(theirs) == len(paths)
    for name, path, found in zip(LOADED, paths, theirs, strict=True):
        assert not isinstance(found, str), (name, found)
        ours = read_model(path)
        muscles = [[m.name, m.max_control, m.max_isometric_force, m.applies_force] for m in ours.muscles.values()]
        assert [ours.name, muscles] == found, name


#: Content and the message; OpenSim loads none of them.
REFUSED = [
    (note("\n<!-- a"), 5, "A comment is not closed"),
    (note("<!-->"), 4, "A comment is not closed"),
    (note("<![CDATA[ a"), 4, "is not closed by ']]>'"),
    (MODEL + "\n<x/>", 15, "A second root element follows"),
    ("hello\n" + MODEL, 1, "text outside the root element"),
    (MODEL + "hello", 14, "text outside the root element"),
    (MODEL[:-30], 3, "<Model> is not closed; the file may be cut off"),
    (MODEL.replace("</Model>", ""), 13, "<Model> of line 3 must be closed by '</Model>', but '</OpenSimDocument'"),
    (note("a\0b"), 3, "ends at a null byte"),
    (note("<b><i>x</b></i>"), 4, "<i> of line 4 must be closed"),
    (MODEL.replace('name="mus"', "name"), 8, "must hold attributes"),
    (MODEL.replace('name="mus"', 'name="mus'), 8, "A quote in the tag"),
    (MODEL.replace("<OpenSim", "<!doctype a>\n<OpenSim", 1), 2, "has a DOCTYPE"),
    (note("<a>" * 200 + "&" + "</a>" * 200), 4, "nested too deeply"),
    ("\0" + MODEL, None, "no element"),
]


@pytest.mark.parametrize(("content", "line", "message"), REFUSED)
def test_what_is_refused_has_its_line(tmp_path, content, line, message):
    path = write(tmp_path, content)
    with pytest.raises(ModelError, match=message) as error:
        read_model(path)
    assert str(error.value).startswith(f"{path}:{line}: " if line else str(path))


def test_every_element_keeps_its_line(tmp_path):
    # The oddity makes the lenient reader read all of it, and tags span lines.
    text = MODEL.replace("<ForceSet>", '<ForceSet\n\ta="1\n2"\n a=3>').replace("<!--note-->", "<!-- a -- \n b -->\n")
    tree = safe_xml.parse_xml(write(tmp_path, text))
    plain = safe_xml.parse_xml(write(tmp_path, text.replace(" -- ", "    ").replace(' a="1\n2"\n a=3', "\n\n")))
    assert [(e.tag, e.sourceline) for e in tree.iter()] == [(e.tag, e.sourceline) for e in plain.iter()]
    many = safe_xml.parse_xml(write(tmp_path, "<a>&" + "\n<b/>" * 69_999 + "</a>"))
    assert many.getroot()[-1].sourceline == 70_000


def test_names_with_colons_survive_a_copy(tmp_path):
    path = write(tmp_path, note('<A::B a:b="&lt;"/>'))
    tree = safe_xml.parse_xml(path)
    assert tree.find(f".//A{COLON}{COLON}B").sourceline == 4
    safe_xml.write_xml(tree, tmp_path / "copy.xml")
    assert '<A::B a:b="&lt;"/>' in (tmp_path / "copy.xml").read_text()


def test_utf16_and_the_lost_ampersand(tmp_path, caplog):
    assert list(read_model(write(tmp_path, MODEL.replace("UTF-8", "UTF-16").encode("utf-16"))).muscles) == ["mus"]
    path = write(tmp_path, "<a>\n<b>R&D</b></a>")
    with caplog.at_level(logging.WARNING, "opensim_nem2e"):
        assert safe_xml.parse_xml(path).findtext("b") == "RD"
    assert "a '&' that is not written '&amp;' is left out, as OpenSim does (line 2)" in caplog.text
    # What nobody but this package reads must not lose a letter.
    with pytest.raises(SetupError, match=r":2: .* a '&' in text must be written '&amp;'"):
        safe_xml.parse_xml(path, ours=True)


def test_setups_loads_and_controls_are_read_alike(tmp_path):
    odd = "\n<!-- a -- b -->\n<OpenSimDocument Version=40600><A::B/>{}</OpenSimDocument>\0junk"
    (tmp_path / "grf.mot").write_text("x")
    loads = (
        "<ExternalLoads><objects><ExternalForce name=r><applied_to_body>calcn_r</applied_to_body>"
        "<force_identifier><!-- x -->v</force_identifier></ExternalForce></objects><datafile>grf.mot</datafile>"
        "</ExternalLoads>"
    )
    (force,) = read_external_loads(write(tmp_path, odd.format(loads)))
    assert (force.name, force.force_identifier) == ("r", "v")
    controls = "<ControlSet><objects><ControlConstant name=c><value>0.5</value></ControlConstant>" + (
        "<ControlLinear name=d><x_nodes><ControlLinearNode><t>1</t></ControlLinearNode></x_nodes></ControlLinear>"
        "</objects></ControlSet>"
    )
    assert read_controls_xml(write(tmp_path, odd.format(controls))).labels == ("c", "d")
    setup = "<CMCTool name=run><model_file>a.osim</model_file><initial_time>٣</initial_time></CMCTool>"
    found = read_opensim_setup(write(tmp_path, odd.format(setup)), ["CMCTool"])
    assert (found.name, [file.path.name for file in found.inputs]) == ("run", ["a.osim"])
    assert found.initial_time == -float("inf")


def test_names_that_no_file_can_have(tmp_path):
    long = "x" * 300
    with pytest.raises(Exception, match="is neither beside this file") as error:
        read_external_loads(
            write(
                tmp_path,
                "<ExternalLoads><objects><ExternalForce><applied_to_body>b</applied_to_body><force_identifier>f"
                f"</force_identifier></ExternalForce></objects><datafile>{long}\\y</datafile></ExternalLoads>",
            )
        )
    assert type(error.value).__name__ == "MissingFileError"
    text = (
        f"<CMCTool><force_set_files>{long} b.xml</force_set_files><external_loads_file>{long}.xml</external_loads_file>"
    )
    found = read_opensim_setup(write(tmp_path, text + "</CMCTool>"), ["CMCTool"])
    assert [file.path.name for file in found.inputs] == [long, "b.xml", long + ".xml"]


def test_messages_stay_short(tmp_path):
    for text in (f"<{'a' * 200_000}>", f"<a><{'b' * 200_000} ></a>", f"<Model{'é' * 200_000} x></a>"):
        with pytest.raises(ModelError) as error:
            read_model(write(tmp_path, text))
        assert len(str(error.value)) <= MAX_MESSAGE
    muscles = "".join(
        f"<Thelen2003Muscle name='{'m' * 500}{i}'><max_control>{'x' * 500}</max_control></Thelen2003Muscle>"
        for i in range(500)
    )
    with pytest.raises(ModelError, match="and 480 more of the kind") as error:
        read_model(write(tmp_path, f"<Model><ForceSet><objects>{muscles}</objects></ForceSet></Model>"))
    assert len(str(error.value)) <= MAX_MESSAGE
    with_faults = SetupError(["f" * 10_000] * 1000, "setup.xml")
    assert len(str(with_faults)) <= MAX_MESSAGE
    assert str(with_faults).startswith("setup.xml: 1000 faults were found:\n  - f")
    assert str(with_faults).endswith("and 960 more")


@pytest.mark.parametrize(
    "content",
    [
        b"<a>" + b"<b/>" * 999_990 + b"</a>",
        b"<a>&" + b"<b/>" * 100_000 + b"</a>",
        b"<a>" + b"<b c='1' d='2'/>" * 600_000 + b"</a>",
        b"<!--" * 600_000,
        b"<a>" + b"&" * 20_000_000 + b"</a>",
        b"<a>" + b"&" * 100_000 + b"x" * 10_000_000 + b"</a>",
    ],
    ids=["elements", "lenient elements", "attributes", "open comments", "ampersands", "long text"],
)
def test_memory_is_bounded(tmp_path, content):
    path = write(tmp_path, content)
    code = textwrap.dedent("""
        import resource, sys
        from opensim_nem2e.errors import NEM2EError
        from opensim_nem2e.storage.safe_xml import parse_xml
        try:
            parse_xml(sys.argv[1])
        except NEM2EError:
            pass
        if sys.platform == "linux":
            # Linux counts to ru_maxrss what the process that started this one had.
            (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
            print(line.split()[1])
        else:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=60)
    kilobytes = int(done.stdout) / (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 500_000
