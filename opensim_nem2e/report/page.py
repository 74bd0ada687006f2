"""Pages that need nothing else: tables and figures of a report, and the HTML around them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


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
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[TableRow, ...]


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
    narrow : bool
        Whether it needs less room on a phone.
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
    narrow: bool
    folded: bool = False


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

    folder = files(__package__).joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    style = _Raw(folder.joinpath("style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(content, style=style)


class _Raw(str):
    """Text that is put into the page as it is."""

    def __html__(self) -> str:
        return self
