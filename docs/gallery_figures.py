"""Show figures in the gallery that were drawn without pyplot, as this package draws its own."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst


def save_figures(block: tuple[Any, ...], variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Save the figures among an example's variables that were not shown before.

    Parameters
    ----------
    block : tuple
        Of the example's source; of no interest.
    variables : dict
        What sphinx-gallery knows of the block.
    settings : dict
        Those of sphinx-gallery.

    Returns
    -------
    str
        reStructuredText that shows them.
    """
    found = [value for value in variables["example_globals"].values() if isinstance(value, Figure)]
    paths = []
    for figure in found:
        if figure.canvas.manager is None and not getattr(figure, "in_gallery", False):
            path = next(variables["image_path_iterator"])
            figure.savefig(path, dpi=150)
            figure.in_gallery = True  # type: ignore[attr-defined]
            paths.append(path)
    return str(figure_rst(paths, settings["src_dir"]))
