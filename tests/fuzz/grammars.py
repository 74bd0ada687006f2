"""Files as their formats' grammars allow them, and a little beyond: hypothesis strategies that give bytes."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

from hypothesis import strategies as st

#: What stands where a number should.
odd_numbers = st.sampled_from(
    ["nan", "inf", "-Infinity", "1e999", "1_000", "\u0661\u0662", "0x10", "", "1,5", "-0", "9" * 5000, "1e-400", "1 2"]
)
#: What stands where a name should.
odd_names = st.sampled_from(
    [
        *("../../../evil", "/etc/passwd", "..", ".", "", " ", "a" * 300, "\x1b[2J\x1b[31m", "\u2028[error] x", "a\nb"),
        *(
            "\u202egnp",
            "CON",
            "$x$",
            "{x}",
            "%s%n",
            '"',
            "'",
            ",",
            ";",
            "=1+1",
            "\ufeff",
            "\u00e4",
            "a\0b",
            "x" * 70_000,
        ),
    ]
)


def mostly(usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Give what is usual nine times of ten."""
    return st.integers(0, 9).flatmap(lambda k: odd if k == 9 else usual)


numbers = mostly(st.floats(-1e4, 1e4).map(lambda value: f"{value:.6g}"), odd_numbers)
names = mostly(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), odd_names)
ends = st.sampled_from(["\n", "\r\n", "\r"])


def encoded(text: str) -> bytes:
    """Turn a text into bytes, whatever is in it."""
    return text.encode("utf-8", "surrogatepass")


@st.composite
def tables(draw: st.DrawFn, columns: Sequence[str], cells: Sequence[st.SearchStrategy[str]]) -> bytes:
    """Give a csv file: columns left out, twice or unknown, rows too short or long, quotes that are not closed."""
    kept = [name for name in columns if draw(st.integers(0, 19))]
    kept += [draw(names)] if not draw(st.integers(0, 9)) else []
    by_name = dict(zip(columns, cells, strict=True))
    separator = draw(mostly(st.just(","), st.sampled_from([";", "\t", "|"])))
    end = draw(ends)
    rows = [kept]
    for _ in range(draw(st.integers(0, 6))):
        row = [draw(by_name.get(name, names)) for name in kept]
        change = draw(st.integers(0, 15))
        rows.append(row[:-1] if change == 0 else [*row, "1"] if change == 1 else row)
    lines = []
    for row in rows:
        quote = draw(st.integers(0, 9)) == 0
        lines.append(
            separator.join(f'"{cell}' + ('"' if draw(st.booleans()) else "") if quote else cell for cell in row)
        )
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + encoded(end.join(lines) + draw(st.sampled_from(["", end])))


@st.composite
def storage(draw: st.DrawFn) -> bytes:
    """Give a .sto or .mot file: header lines in any order, repeated or wrong, rows too short or long."""
    width, height = draw(st.integers(0, 4)), draw(st.integers(0, 5))
    header = [
        draw(names),
        f"version={draw(mostly(st.just('1'), odd_numbers))}",
        f"nRows={draw(mostly(st.just(str(height)), odd_numbers))}",
        f"nColumns={draw(mostly(st.just(str(width + 1)), odd_numbers))}",
        f"inDegrees={draw(mostly(st.sampled_from(['yes', 'no']), odd_names))}",
    ]
    header = draw(st.one_of(st.just(header), st.permutations(header), st.lists(st.sampled_from(header), max_size=7)))
    labels = [draw(mostly(st.just("time"), odd_names)), *(draw(names) for _ in range(width))]
    rows = [
        "\t".join(
            [f"{k / 100:.2f}" if draw(st.integers(0, 9)) else draw(numbers), *(draw(numbers) for _ in range(width))]
        )
        for k in range(height)
    ]
    end = draw(ends)
    return encoded(end.join([*header, draw(mostly(st.just("endheader"), odd_names)), "\t".join(labels), *rows, ""]))


@st.composite
def trc(draw: st.DrawFn) -> bytes:
    """Give a .trc file."""
    markers, frames = [draw(names) for _ in range(draw(st.integers(0, 3)))], draw(st.integers(0, 4))
    units = draw(mostly(st.sampled_from(["mm", "m"]), odd_names))
    counts = [draw(mostly(st.just(str(count)), odd_numbers)) for count in (100, 100, frames, len(markers))]
    lines = [
        "PathFileType\t4\t(X/Y/Z)\tfile.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        "\t".join([*counts, units, "100", "1", str(frames)]),
        "\t".join(["Frame#", "Time", *("\t\t".join([name, ""]) for name in markers)]),
        "\t\t" + "\t".join(f"X{k}\tY{k}\tZ{k}" for k in range(1, len(markers) + 1)),
        "",
    ]
    for k in range(frames):
        lines.append("\t".join([str(k + 1), draw(numbers), *(draw(numbers) for _ in range(3 * len(markers)))]))
    return encoded(draw(ends).join(lines))


def xml(good: bytes) -> st.SearchStrategy[bytes]:
    """Change the elements of a document: their texts, names, attributes, number and nesting."""
    from lxml import etree

    @st.composite
    def document(draw: st.DrawFn) -> bytes:
        root = etree.fromstring(good)
        elements = [element for element in root.iter() if isinstance(element.tag, str)]
        for _ in range(draw(st.integers(0, 4))):
            element = draw(st.sampled_from(elements))
            match draw(st.integers(0, 6)):
                case 0 | 1:
                    text = draw(st.one_of(numbers, names))
                    element.text = "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")
                case 2:
                    element.tag = draw(st.sampled_from([other.tag for other in elements]))
                case 3:
                    if element.getparent() is not None:
                        element.getparent().append(etree.fromstring(etree.tostring(element)))
                case 4:
                    if element.getparent() is not None:
                        element.getparent().remove(element)
                case 5:
                    name = draw(odd_names)
                    element.set("name", "".join(sign for sign in name if sign.isprintable()))
                case 6:
                    element.append(etree.Comment("x"))
        text = etree.tostring(root, encoding="unicode")
        match draw(st.integers(0, 14)):
            case 0:
                entities = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
                text = entities + text.replace("</", "&b;</", 1)
            case 1:
                text = '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + text.replace("</", "&x;</", 1)
            case 2:
                text = "<a>" * 3000 + text
            case 3:
                text = text[: draw(st.integers(0, len(text)))]
            case 4:
                text = text.replace("</", escape(draw(odd_names)) + "</", 1)
        encoding = draw(st.sampled_from(["utf-8", "utf-16", "latin-1"]))
        return text.encode(encoding, "replace")

    return document()


#: Values that are of another kind than they should be.
_json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**6), 10**6),
        st.sampled_from([1e308, -1e-320, 10**4000]),
        odd_names,
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


def json_like(good: bytes) -> st.SearchStrategy[bytes]:
    """Change values of a JSON file at any depth, or leave them out; now and then something else altogether."""

    @st.composite
    def document(draw: st.DrawFn) -> bytes:
        content = json.loads(good)
        for _ in range(draw(st.integers(0, 4))):
            place = content
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    break
                key = draw(st.sampled_from(keys))
                if isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 3)):
                    place = place[key]
                    continue
                if draw(st.booleans()):
                    place[key] = draw(_json_values)
                elif isinstance(place, dict):
                    del place[key]
                break
        text = json.dumps(content)
        match draw(st.integers(0, 14)):
            case 0:
                text = text[: draw(st.integers(0, len(text)))]
            case 1:
                text = "[" * 100_000
            case 2:
                text = '{"a":' * 50_000
            case 3:
                text = text.replace("1", draw(st.sampled_from(["NaN", "Infinity", "1e999", "9" * 5000])), 1)
            case 4:
                text = json.dumps(draw(_json_values))
        return encoded(text)

    return document()


@st.composite
def npz(draw: st.DrawFn) -> bytes:
    """Give an .npz file whose arrays have headers that lie, types that are refused, and names that lead elsewhere."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for _ in range(draw(st.integers(0, 3))):
            name = draw(mostly(st.sampled_from(["One-Entire/soleus", "One-Entire/soleus/inputs"]), odd_names))
            shape = draw(
                st.sampled_from(["(2, 2)", "(4,)", "()", "(100000, 100000)", "(-1,)", "(True,)", "(0, 3)", "x"])
            )
            kind = draw(
                st.sampled_from(["'<f8'", "'|O'", "'<U4'", "[('a', '<f8')]", "'<c16'", "'<M8[s]'", "'|S9'", "1"])
            )
            order = draw(st.sampled_from(["False", "True", "2"]))
            header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}}}".ljust(117) + "\n"
            size = draw(st.sampled_from([len(header), 0, 65535]))
            head = (
                b"\x93NUMPY" + draw(st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x09\x00"])) + struct.pack("<H", size)
            )
            content = draw(st.binary(max_size=40)) if draw(st.booleans()) else struct.pack("<4d", 0.5, 0.5, 0.25, 1e300)
            archive.writestr(f"{name[:200]}.npy", head + header.encode() + content)
    content = stream.getvalue()
    return content[: draw(st.integers(0, len(content)))] if not draw(st.integers(0, 9)) else content


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """Flip bits of a file, cut it, or put another length where one stands."""

    @st.composite
    def document(draw: st.DrawFn) -> bytes:
        content = bytearray(good)
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(content) - 1))
            match draw(st.integers(0, 3)):
                case 0:
                    content[at] ^= 1 << draw(st.integers(0, 7))
                case 1:
                    del content[max(1, at) :]
                case 2:
                    content[:8] = struct.pack("<Q", draw(st.sampled_from([0, 1, 2**31, 2**63, len(content)])))
                case 3:
                    content[at:at] = draw(st.sampled_from([b"null", b"\0" * 50, b"[[[[", b"1e999", b"\xff\xfe"]))
        return bytes(content)

    return document()


@st.composite
def patterns(draw: st.DrawFn) -> bytes:
    """Give patterns of folders, and below them patterns of setup files."""
    parts = st.sampled_from(
        ["{subject}", "{trial}", "s*", "t1", "*", "**", "..", "{1a}", "{", "}", "", "?", "[a", "/", "x" * 300]
    )

    def pattern() -> str:
        return "/".join(draw(st.lists(parts, min_size=1, max_size=4))) + draw(
            st.sampled_from(["", "_cmc.xml", "*cmc.xml"])
        )

    folders = " ".join(pattern() for _ in range(draw(st.integers(0, 2))))
    setups = " ".join(pattern() for _ in range(draw(st.integers(0, 2))))
    return encoded(draw(mostly(st.just(f"{folders}\n{setups}"), odd_names)))
