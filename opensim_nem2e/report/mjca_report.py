"""The page of a study of the PI-MJCA-BiGRU paper: its tables and figures, and what they cannot say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..evaluation.mjca_study import EXACT, MUSCLES, PHASE, Summary, minimise_loss, summarise_scores
from ..log import counted
from .mjca_figures import draw_cycle, draw_features, draw_scores
from .page import Cell, Picture, Table, TableRow, picture_of, render_page
from .torque_report import ReportPart

if TYPE_CHECKING:
    from ..evaluation.mjca_study import FeatureSpace, MJCAStudy, Split
    from ..storage.atomic import ResultFiles

_SPLITS = {"within": "Cycles left out", "left_out": "Conditions left out"}
_TITLES = {**_SPLITS, "ablations": "Ablations", "cycle": "A cycle left out", "features": "The space of features"}

#: The paper's abbreviations.
_NAMES = ", ".join(f"{short}: {name}" for name, short in MUSCLES.items())

_BESIDE = (
    f"Beside the networks stand the '{EXACT}' of the paper's loss, which is what a perfectly trained network would put "
    f"out, and the '{PHASE}' of static optimisation over the training cycles, which knows nothing of the motion: a "
    "network that does not beat it has learned no more than the average cycle."
)
_LIMITS = (
    "What is called right here is OpenSim's static optimisation, no measurement: whoever is near to it is not thereby "
    "near to the muscles.",
    "The paper's leg is planar, with ten muscles and no soleus: its moments are not those of the whole model, so that "
    "activations which solve its equation of motion differ from the reference.",
    "R2 has no lower bound, and is far below 0 for muscles that hardly vary: read medians beside means.",
)


def write_mjca_report(
    files: ResultFiles,
    name: str,
    study: MJCAStudy,
    split: Split,
    space: FeatureSpace | None,
    figure_format: str,
    worries: Sequence[str] = (),
) -> None:
    """Draw the figures of a study, and write its page.

    Parameters
    ----------
    files : ResultFiles
        Where to.
    name : str
        What the results' names begin with.
    study : MJCAStudy
        The study, its networks trained.
    split : Split
        Whose last cycle is shown.
    space : FeatureSpace or None
        Features of two networks.
    figure_format : {'png', 'svg'}
        Format of the figures.
    worries : sequence of str, optional
        The run's warnings.
    """
    summary = summarise_scores(study.in_order())
    subjects = {subject for subject, _ in study.conditions}
    content = {
        "title": f"PI-MJCA-BiGRU: the study '{name}'",
        "by": f"{counted(len(subjects), 'subject')} · {counted(len(study.conditions), 'condition')} · "
        f"{counted(len(study.networks), 'network')}, {counted(study.settings.epochs, 'epoch')} each (the paper's: 500)",
        "name": name,
        "version": __version__,
        "summary": [text for kind in _SPLITS if (text := _verdict(summary, kind))],
        "worries": worries,
        "parts": [
            ReportPart(
                key,
                _TITLES[key],
                (_BESIDE,) if key == "within" else (),
                figure=picture,
                tables=(_table(summary, key),) if key in _SPLITS else (),
            )
            for key, picture in _draw(files, name, study, split, space, figure_format).items()
        ],
        "limits": _LIMITS,
    }
    files.path(f"{name}_report.html").write_text(render_page("mjca_study.html", content), encoding="utf-8")


def _draw(
    files: ResultFiles, name: str, study: MJCAStudy, split: Split, space: FeatureSpace | None, figure_format: str
) -> dict[str, Picture]:
    """Draw the figures, in the order of the page."""
    pictures: dict[str, Picture] = {}

    def draw(key: str, title: str, caption: str, drawing: Callable[[Path], tuple[int, int]]) -> None:
        path = files.path(f"{name}_{key}.{figure_format}")
        pictures[key] = picture_of(path, drawing(path), f"{key}-figure", title, caption)

    muscles = list(MUSCLES.values())
    main = [variant for variant in study.variants if variant.key in ("pi", "supervised")]
    twins = [variant.label for variant in main]
    others = [variant.label for variant in study.variants if variant not in main]
    for kind, shown, title in (
        ("within", twins, "Cycles left out of a condition"),
        ("left_out", twins, "Conditions left out"),
        ("ablations", twins[:1] + others if others else [], "Ablations, cycles left out of a condition"),
    ):
        scores = [s for s in study.scores if s.split == ("within" if kind == "ablations" else kind)]
        if scores and shown:
            methods = [*shown, EXACT, PHASE]
            drawing = partial(draw_scores, scores=scores, methods=methods, muscles=muscles, title=title)
            draw(kind, title, f"R2 and NRMSE of activations and forces by muscle ({_NAMES}).", drawing)
    frames = split.test.at(split.test.cycle == split.test.cycle.max())
    curves = {"static optimisation": frames.activation}
    for variant in main:
        curves[variant.label] = study.networks[split.name, variant.key].activations(frames.x)
    curves[EXACT] = minimise_loss(frames, study.settings.weights)
    who = f"{split.subject}, {split.condition}"
    title = f"{who}: a cycle left out"
    of_cycle = partial(draw_cycle, muscles=muscles, phase=frames.phase, curves=curves, title=title)
    draw("cycle", title, f"Activations of {who} over a cycle that was left out.", of_cycle)
    if space is not None:
        of_features = partial(draw_features, space=space, muscles=muscles, title=who)
        draw("features", f"{who}: features", "Features of two networks in two dimensions.", of_features)
    return pictures


def _verdict(summary: Sequence[Summary], split: str) -> str:
    """Say which networks beat the average cycle."""
    medians = {row.method: row.r2_median for row in summary if (row.split, row.quantity) == (split, "activation")}
    if not medians:
        return ""
    networks = {name: value for name, value in medians.items() if not name.startswith((EXACT, PHASE))}
    better = [name for name, value in networks.items() if value > medians[PHASE]]
    told = ", ".join(f"{name} {_number(value)}" for name, value in networks.items())
    return (
        f"{_SPLITS[split]}, median R2 of the activations against static optimisation: {told}; {EXACT} of the paper's "
        f"loss {_number(medians[EXACT])}, {PHASE} of the cycle {_number(medians[PHASE])}. "
        + (f"Better than the latter: {', '.join(better)}." if better else "No network is better than the latter.")
    )


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _table(summary: Sequence[Summary], split: str) -> Table:
    """List the methods of a split, each with its activations and forces."""
    methods = dict.fromkeys(row.method for row in summary if row.split == split)
    rows = {(row.method, row.quantity): row for row in summary if row.split == split}
    body = [
        TableRow(
            (
                Cell(method, words=True),
                *(
                    Cell(text)
                    for row in (rows[method, "activation"], rows[method, "force"])
                    for text in (
                        _number(row.r2_median),
                        f"{_number(row.r2)} ± {row.r2_sd:.2f}",
                        f"{row.nrmse:.3f} ± {row.nrmse_sd:.3f}",
                    )
                ),
            )
        )
        for method in methods
    ]
    head = tuple(f"{quantity}: {what}" for quantity in ("activation", "force") for what in ("median R2", "R2", "NRMSE"))
    return Table(
        f"{_SPLITS[split]}: mean ± standard deviation over subjects, conditions and muscles.",
        ("method", *head),
        tuple(body),
    )
