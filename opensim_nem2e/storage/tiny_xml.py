"""Make well-formed XML of what only OpenSim's own XML reader takes.

OpenSim reads XML with TinyXML (Simbody ``tinyxmlparser.cpp``), which is laxer than the standard: names with ``::``, two
hyphens in a comment, a bare ``&``, bytes of another encoding, attributes without quotes or given twice, blank lines
before the declaration, anything after a null byte. The functions here follow its rules, and keep every line where it
is, so that line numbers in messages stay right.
"""

from __future__ import annotations

import codecs
import re

#: Stands for a colon in names, which XML keeps for namespaces; it looks like one and is a letter ("modifier letter
#: colon").
COLON = "\ua789"

#: Stands for a character that XML cannot hold.
_REPLACEMENT = "\ufffd"

_BLANK = " \t\r\n\x0b\x0c"
_NAME = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_.:\-\x80-\U0010ffff]*")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*\Z")
_NO_NAME = re.compile(rf"[^\w.\-{COLON}]")
_UNQUOTED = re.compile(r"""[^\s/>"']*""", re.ASCII)
_SPACES = re.compile(rf"[{_BLANK}]*")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCE = re.compile(r"&(?:(amp|lt|gt|quot|apos);|#([0-9]{1,7});|#x([0-9A-Fa-f]{1,6});)?")
#: How many lines of such are named.
_MOST_DROPPED = 5
_PREDEFINED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class XmlFault(Exception):
    """Not even OpenSim reads it, or it is not safe.

    Parameters
    ----------
    what : str
        What is wrong; a predicate of the file.
    line : int
        Where, counted from 1.
    """

    def __init__(self, what: str, line: int):
        super().__init__(what)
        self.line = line


def _latin1(error: UnicodeError) -> tuple[str, int]:
    """Take a byte that is no UTF-8 for the character that it is in Windows' or ISO's Latin-1."""
    assert isinstance(error, UnicodeDecodeError)
    found = error.object[error.start : error.end]
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in found), error.end


codecs.register_error("opensim_nem2e_latin1", _latin1)


def decode(content: bytes) -> str:
    """Decode as UTF-8; single bytes that are none count as Latin-1, whatever the declaration says.

    Parameters
    ----------
    content : bytes
        The text, with or without a byte order mark.

    Returns
    -------
    str
        The text without the mark.
    """
    return content.decode("utf-8-sig", "opensim_nem2e_latin1")


def well_formed(content: bytes, max_depth: int) -> tuple[bytes, tuple[int, ...]]:
    """Rewrite a file as well-formed XML.

    Parameters
    ----------
    content : bytes
        The file.
    max_depth : int
        The deepest nesting of elements.

    Returns
    -------
    content : bytes
        UTF-8 without a declaration, with every element on its line. Comments, processing instructions and other
        markup are left out; a colon in a name has become :data:`COLON`.
    dropped : tuple of int
        The first lines on which a bare "&" was left out, as OpenSim leaves it out.

    Raises
    ------
    XmlFault
        OpenSim cannot read it either, or it is nested too deeply.
    """
    # To TinyXML, a null byte ends the text.
    whole, null, _ = content.partition(b"\0")
    writer = _Writer(decode(whole), max_depth)
    try:
        writer.document()
    except XmlFault as fault:
        if null:
            raise XmlFault(f"{fault} The text ends at a null byte.", fault.line) from None
        raise
    return "".join(writer.out).encode(), tuple(writer.dropped)


class _Writer:
    """Reads markup as TinyXML does and writes it well-formed."""

    def __init__(self, text: str, max_depth: int):
        self.text = text
        self.max_depth = max_depth
        self.out: list[str] = []
        self.dropped: list[int] = []
        #: Names of the open elements, and where each begins.
        self.open: list[tuple[str, int]] = []

    def line(self, at: int) -> int:
        return self.text.count("\n", 0, at) + 1

    def fault(self, what: str, at: int) -> XmlFault:
        return XmlFault(f"is not well-formed XML: {what}", self.line(at))

    def document(self) -> None:
        text, at, rooted = self.text, 0, False
        while at < len(text):
            start = text.find("<", at)
            if start < 0:
                start = len(text)
            if start > at:
                self.characters(at, start)
            if start == len(text):
                break
            if text.startswith("<!--", start):
                at = self.skip(start, start + 4, "-->", "A comment is not closed by '-->'")
            elif text.startswith("<![CDATA[", start):
                at = self.cdata(start)
            elif text.startswith("</", start) and self.open:
                at = self.end_tag(start)
            elif _NAME.match(text, start + 1):
                if not self.open and rooted:
                    raise self.fault("A second root element follows; there must be one.", start)
                rooted = True
                at = self.start_tag(start)
            elif text[start : start + 9].upper() == "<!DOCTYPE":
                raise XmlFault(
                    "has a DOCTYPE, which OpenSim passes over and its files never need. Remove the '<!DOCTYPE ...>'.",
                    self.line(start),
                )
            else:
                # Declarations, instructions and what TinyXML does not know end at the next ">".
                at = text.find(">", start) + 1 or len(text)
                self.keep_lines(start, at)
        if self.open:
            name, start = self.open[-1]
            raise self.fault(f"The element <{name}> is not closed; the file may be cut off.", start)
        if not rooted:
            raise self.fault("There is no element in it.", 0)

    def keep_lines(self, start: int, end: int) -> None:
        self.out.append("\n" * self.text.count("\n", start, end))

    def skip(self, start: int, inner: int, closing: str, otherwise: str) -> int:
        end = self.text.find(closing, inner)
        if end < 0:
            raise self.fault(f"{otherwise}.", start)
        self.keep_lines(start, end)
        return end + len(closing)

    def cdata(self, start: int) -> int:
        if not self.open:
            raise self.fault("There is text outside the root element.", start)
        inner = start + len("<![CDATA[")
        end = self.text.find("]]>", inner)
        if end < 0:
            raise self.fault("A '<![CDATA[' is not closed by ']]>'.", start)
        self.out.append(_escape(self.text[inner:end]))
        return end + 3

    def characters(self, start: int, end: int) -> None:
        found = self.text[start:end]
        if self.open:
            self.out.append(_escape(self.resolve(found, start)) if "&" in found else _escape(found))
        elif found.strip(_BLANK):
            raise self.fault("There is text outside the root element.", self.blanks(start))
        else:
            self.keep_lines(start, end)

    def resolve(self, found: str, start: int) -> str:
        """Replace references by their characters, and leave out a bare "&" as TinyXML does."""

        def character(match: re.Match[str]) -> str:
            if match[1]:
                return _PREDEFINED[match[1]]
            if match[2] or match[3]:
                code = int(match[2]) if match[2] else int(match[3], 16)
                return chr(code) if 0 < code < 0x110000 else _REPLACEMENT
            if len(self.dropped) < _MOST_DROPPED:
                self.dropped.append(self.line(start + match.start()))
            return ""

        return _REFERENCE.sub(character, found)

    def end_tag(self, start: int) -> int:
        name, began = self.open[-1]
        at = start + 2 + len(name)
        end = self.text.find(">", at)
        if not self.text.startswith(name, start + 2) or end < 0 or self.text[at:end].strip(_BLANK):
            found = self.text[start : start + 60].partition(">")[0]
            raise self.fault(
                f"The element <{name}> of line {self.line(began)} must be closed by '</{name}>', but '{found}' was "
                "found.",
                start,
            )
        self.open.pop()
        self.out.append("\n" * self.text.count("\n", start, end) + f"</{_xml_name(name)}>")
        return end + 1

    def start_tag(self, start: int) -> int:
        text = self.text
        match = _NAME.match(text, start + 1)
        assert match is not None
        name, at = match[0], match.end()
        attributes: dict[str, str] = {}
        while True:
            at = self.blanks(at)
            if text.startswith((">", "/>"), at):
                break
            match = _NAME.match(text, at)
            equals = self.blanks(match.end()) if match else at
            if match is None or not text.startswith("=", equals):
                raise self.fault(f"The tag <{name}> must hold attributes as name=\"value\" and end with '>'.", start)
            value, at = self.value(self.blanks(equals + 1), start, name)
            # The last one of the same name counts.
            attributes[match[0]] = value
        if len(self.open) >= self.max_depth:
            raise XmlFault(f"is nested too deeply: at most {self.max_depth} levels are read.", self.line(start))
        written = "".join(
            f' {_xml_name(key)}="{_escape(value)}"' for key, value in attributes.items() if key != "xmlns"
        ).replace("\n", "&#10;")
        # A tag's line, to the XML parser, is that of its end.
        lines = text.count("\n", start, at)
        empty = text[at] == "/"
        self.out.append(f"<{_xml_name(name)}{written}" + "\n" * lines + ("/>" if empty else ">"))
        if not empty:
            self.open.append((name, start))
        return at + (2 if empty else 1)

    def value(self, at: int, start: int, name: str) -> tuple[str, int]:
        quote = self.text[at : at + 1]
        if quote in ("'", '"'):
            end = self.text.find(quote, at + 1)
            if end < 0:
                raise self.fault(f"A quote in the tag <{name}> is not closed.", start)
            return self.resolve(self.text[at + 1 : end], at + 1), end + 1
        match = _UNQUOTED.match(self.text, at)
        assert match is not None
        return match[0], match.end()

    def blanks(self, at: int) -> int:
        match = _SPACES.match(self.text, at)
        assert match is not None
        return match.end()


def _xml_name(name: str) -> str:
    if _PLAIN_NAME.match(name):
        return name
    return _NO_NAME.sub(_REPLACEMENT, name.replace(":", COLON))


def _escape(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return _NO_XML.sub(_REPLACEMENT, text)
