"""Pages that need nothing else: tables and figures of a report, and the HTML around them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import __version__

#: CSS pixels of a phone's page, of a table's sign and of a cell's left and right edge together.
_PHONE_WIDTH, _SIGN_WIDTH, _CELL_EDGES = 358.0, 8.2, 14.4

#: What a methods paragraph cites.
REFERENCES = (
    "Teramae T, Matsubara T, Noda T, Morimoto J (2025). Neural-enhanced motion-to-EMG: refining simulated muscle "
    "activity from musculoskeletal models using a Seq2Seq approach. Frontiers in Bioengineering and Biotechnology 13. "
    "doi:10.3389/fbioe.2025.1611414",
    f"The opensim_nem2e developers (2026). opensim_nem2e: refinement of OpenSim muscle activations toward measured "
    f"EMG, version {__version__}.",
    "Seth A, et al. (2018). OpenSim: Simulating musculoskeletal dynamics and neuromuscular control to study human and "
    "animal movement. PLOS Computational Biology 14(7). doi:10.1371/journal.pcbi.1006223",
)


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Parameters
    ----------
    text : str
        What it says.
    strong : bool
        Whether it stands out.
    words : bool
        Whether it may be broken over lines.
    """

    text: str
    strong: bool = False
    words: bool = False


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Parameters
    ----------
    cells : tuple of Cell
        The first one is the row's heading.
    total : bool
        Whether it sums up the rows above.
    """

    cells: tuple[Cell, ...]
    total: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Parameters
    ----------
    caption : str
        What it shows.
    head : tuple of str
        The columns' headings.
    rows : tuple of TableRow
        The rows.
    folded : bool
        Whether it is unfolded on demand.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[TableRow, ...]
    folded: bool = False

    @property
    def in_words(self) -> list[bool]:
        """Which columns hold words, not numbers."""
        return [any(row.cells[k].words for row in self.rows) for k in range(len(self.head))]

    @property
    def wide(self) -> bool:
        """Whether it is wider than a phone, where each row then becomes a block of its own."""
        return sum(_CELL_EDGES + width for width in self._widths()) > _PHONE_WIDTH

    @property
    def abreast(self) -> int:
        """How many numbers of a row's block stand side by side on a phone."""
        numbers = [width for width, words in zip(self._widths(), self.in_words, strict=True) if not words]
        widest = max(numbers[0 if self.in_words[0] else 1 :], default=1.0)
        return max(1, min(5, int((_PHONE_WIDTH + _CELL_EDGES) / (widest + _CELL_EDGES))))

    def _widths(self) -> list[float]:
        """How wide each column must be (CSS pixels): headings and words are broken over lines, numbers are not."""
        widths = []
        for k, name in enumerate(self.head):
            parts = name.split()
            for row in self.rows:
                parts += row.cells[k].text.split() if row.cells[k].words else [row.cells[k].text]
            widths.append(_SIGN_WIDTH * max(map(len, parts), default=0))
        return widths


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page.

    Parameters
    ----------
    key, title, caption, alt : str
        Its name in the page, what it is called, what it shows, and the same in words for those who cannot see it.
    source : str
        The image, as a ``data:`` address.
    width, height : int
        CSS pixels.
    folded : bool
        Whether it is unfolded on demand.
    """

    key: str
    title: str
    caption: str
    alt: str
    source: str
    width: int
    height: int
    folded: bool = False


def picture_of(path: Path, size: tuple[int, int], key: str, title: str, caption: str) -> Picture:
    """Put a figure's file into the page.

    Parameters
    ----------
    path : pathlib.Path
        The file (``.svg``, ``.png``).
    size : tuple of int
        Width and height (CSS pixels).
    key, title, caption : str
        As in :class:`Picture`; the caption is its description, too.

    Returns
    -------
    Picture
        The figure.
    """
    return Picture(key, title, caption, caption, data_url(path.read_bytes(), path.suffix.removeprefix(".")), *size)


def data_url(image: bytes, suffix: str) -> str:
    """Write an image as a ``data:`` address.

    Parameters
    ----------
    image : bytes
        The file's content.
    suffix : {'svg', 'png'}
        What it is.

    Returns
    -------
    str
        The address.
    """
    kind = {"svg": "svg+xml"}.get(suffix, suffix)
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def render_page(template: str, content: Mapping[str, Any]) -> str:
    """Fill in a template of the folder ``templates``.

    Parameters
    ----------
    template : str
        Its name.
    content : mapping
        What the template asks for; the style sheet is added.

    Returns
    -------
    str
        A whole page.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _text("templates", name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_keep_together,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(template).render(content, style=packaged("templates", "style.css"))


def packaged(folder: str, name: str) -> str:
    """Return a style sheet or script of this package, to be put into a page as it is.

    Parameters
    ----------
    folder : {'templates', 'vendor'}
        Ours, or other people's.
    name : str
        The file.

    Returns
    -------
    str
        Its text, which a template does not escape.
    """
    return _Raw(_text(folder, name))


def as_data(content: Mapping[str, Any]) -> str:
    """Write what a page's script reads.

    Parameters
    ----------
    content : mapping
        What JSON can hold.

    Returns
    -------
    str
        The content of a ``<script type="application/json">``, which a template does not escape.
    """
    # A name in it must not end the element.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return _Raw(text.replace("<", "\\u003c"))


def _text(folder: str, name: str) -> str:
    return files(__package__).joinpath(folder, name).read_text(encoding="utf-8")


def _keep_together(value: Any) -> Any:
    """Keep a percent sign on the line of its number."""
    return value.replace(" %", "\N{NO-BREAK SPACE}%") if type(value) is str else value


def _breakable(text: str) -> str:
    """Let a long name be broken after its parts, instead of anywhere."""
    return _Raw(re.sub(r"(?<=[_./-])(?=\w)", "<wbr>", html.escape(text)))


class _Raw(str):
    """Text that is put into the page as it is."""

    def __html__(self) -> str:
        return self
