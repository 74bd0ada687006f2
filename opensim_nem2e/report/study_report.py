"""The report of a cross-validation study: one HTML file that needs nothing else.

Everything in it comes from the study's files (:mod:`opensim_nem2e.evaluation.study`), so it can be made again at
any time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..evaluation.statistics import WHY_PAIRED, verdicts
from ..evaluation.study import SHAPE_FIGURES, StudyResults
from ..log import counted, logger
from ..methods.registry import REFERENCE
from ..storage.atomic import ResultFiles
from .page import REFERENCES, Cell, Picture, Table, TableRow, data_url, render_page
from .study_figures import StudyFigure, is_spatial, significance, study_figures

if TYPE_CHECKING:
    import pandas

#: A figure whose SVG is larger than this is put into the report as PNG (bytes).
LARGEST_SVG = 400_000

_CONDITIONS = {
    "One-Quarter": "a quarter of the gait cycle of the target muscle (One-Quarter)",
    "One-Entire": "the entire gait cycle of the target muscle (One-Entire)",
    "All-Entire": "the entire gait cycle of all muscles (All-Entire)",
}
_SOURCES = {"cmc": "computed muscle control", "so": "static optimization", "moco": "Moco"}
_EMG = {
    "subject_max": "divided by the maximum of the channel over the cycles of the subject",
    "trial_max": "divided by the maximum of the channel over the cycles of the trial",
    "none": "not scaled",
}
_SPLITTINGS = {
    "leave_one_subject_out": "In leave-one-subject-out cross-validation, all cycles of one subject at a time were left "
    "out of training and used for evaluation.",
    "leave_one_speed_out": "In cross-validation within subjects, all cycles at one speed at a time were left out of "
    "training and used for evaluation.",
    "leave_one_trial_out": "In cross-validation within subjects, all cycles of one trial at a time were left out of "
    "training and used for evaluation.",
}
_OUTPUTS = {
    "deviation": " They put out the deviation from the mean EMG cycle of the training data.",
    "correction": " They put out a correction, weighted by {weight:g}, of a linear prediction from the same "
    "input: a lag filter common to all muscles, and ridge regression on the samples of the activation, as it is and "
    "divided by its maximum in the cycle (where there are several input muscles, on theirs, too). It was fitted to the "
    "training subjects only, with penalties chosen by leaving out each of them in turn; networks were trained on the "
    "errors it made for the training subject left out.",
}


def write_report(results: StudyResults) -> Path:
    """Draw all figures of a study and write its report.

    Parameters
    ----------
    results : StudyResults
        The study. Its folder gets ``<name>_report.html`` and every figure as SVG and PNG; all of them or, after an
        error, none.

    Returns
    -------
    pathlib.Path
        The report.

    Raises
    ------
    opensim_nem2e.errors.NEM2EError
        The files cannot be written.
    """
    report = f"{results.name}_report.html"
    with ResultFiles(results.folder) as out, out.own_names():
        pictures = [_save_and_embed(figure, results.name, out) for figure in study_figures(results)]
        out.path(report).write_text(report_html(results, pictures), encoding="utf-8")
    path = results.folder / report
    logger.info("The report is '%s', with %d figures beside it (SVG and PNG).", path, len(pictures))
    return path


def report_html(results: StudyResults, pictures: Sequence[Picture]) -> str:
    """Write the report's HTML.

    Parameters
    ----------
    results : StudyResults
        The study.
    pictures : sequence of Picture
        Its figures.

    Returns
    -------
    str
        A whole page.
    """
    return render_page("study.html", _content(results, pictures))


def _save_and_embed(drawn: StudyFigure, name: str, out: ResultFiles) -> Picture:
    svg, png = (out.path(f"{name}_{drawn.key}{suffix}") for suffix in (".svg", ".png"))
    drawn.save(svg)
    drawn.save(png)
    image = svg if svg.stat().st_size <= LARGEST_SVG else png
    width, height = drawn.figure.get_size_inches()
    return Picture(
        drawn.key,
        drawn.title,
        drawn.caption,
        drawn.alt,
        data_url(image.read_bytes(), "svg" if image is svg else "png"),
        round(96 * width),
        round(96 * height),
    )


# --- what the page says -----------------------------------------------------------------------------------------------


def _content(results: StudyResults, pictures: Sequence[Picture]) -> dict[str, Any]:
    study = results.study
    by_key = {picture.key: picture for picture in pictures}
    names = results.condition_names

    def drawn(prefix: str) -> list[Picture]:
        return [by_key[f"{prefix}_{name}"] for name in names if f"{prefix}_{name}" in by_key]

    attention = [picture for picture in pictures if picture.key.startswith("attention_")]
    shortcut = _shortcut_table(study)
    conditions = _condition_table(results) if len(results.conditions) else None
    losses = drawn("losses")
    bands = _band_table(results)
    sections = {
        "statistics": "Error and statistics",
        "baselines": "Beside the baselines",
        "conditions": "Comparison of the conditions" if conditions else "",
        "bands": "Bands" if bands else "",
        "curves": "Curves before and after",
        "losses": "Training" if losses else "",
        "attention": "Attention" if attention else "",
        "shortcut": "Check for shortcut learning" if shortcut else "",
        "limits": "What these numbers cannot say",
        "methods": "Methods, to quote",
        "data": "Data",
        "settings": "Settings and reproducibility",
    }
    data = study.get("data", {})
    return {
        "title": f"Does {_focus(results)} help? The study '{results.name}'",
        "by": _by_line(results),
        "name": results.name,
        "version": study.get("packages", {}).get("opensim_nem2e", __version__),
        "summary": _verdicts(results),
        "contents": [(key, text) for key, text in sections.items() if text],
        "reading": "E is the root mean square error against measured, normalised EMG over the samples of a gait cycle, "
        "averaged over each subject's cycles before anything is compared. Er = E / E(OpenSim) - 1: −0.30 means 30 % "
        "nearer to EMG than OpenSim. Negative is better; stars mark p < 0.05 (*), 0.01 (**), 0.001 (***). "
        + (f"Significance: {study['significance']} " if study.get("significance") else "")
        + "In the tables, r²: squared correlation with EMG. Peak error: mean distance of the curve's peak from that of "
        "EMG. r at best lag: correlation with EMG once the curve is moved to where it fits best. "
        + (_SHAPE if set(SHAPE_FIGURES) <= set(results.statistics.columns) else "")
        + "Bold: significantly nearer to EMG.",
        "change": by_key["error_change"],
        "statistics": [{"condition": name, "table": _statistics_table(results, name)} for name in names],
        "baselines_text": "A network that does not beat the cheap methods below has proved nothing. They learned from "
        "the same training cycles and are judged on the same cycles. " + str(study.get("best_baseline", "")),
        "baselines": [
            {"condition": name, "figure": by_key[f"errors_{name}"], "table": _baseline_table(results, name)}
            for name in names
        ],
        "conditions": conditions,
        "conditions_text": study.get("comparison_of_conditions", WHY_PAIRED),
        "bands": bands,
        "curves": drawn("curves"),
        "losses": losses,
        "attention": _fold(attention),
        "shortcut": shortcut,
        "shortcut_text": _shortcut_text(study),
        "limits": limits(results),
        "methods": methods_paragraph(results),
        "references": REFERENCES,
        "data": _data_lines(results),
        "cycles": _cycle_table(data),
        "notes": _notes(data),
        "settings": [(name, _value(value)) for name, value in study.get("settings", {}).items()],
        "reproducibility": _reproducibility(study),
    }


def summary(results: StudyResults) -> str:
    """Say in words what the study found: the report's first paragraph.

    Parameters
    ----------
    results : StudyResults
        The study.

    Returns
    -------
    str
        A sentence or two per condition: on how many muscles a method beats OpenSim, and on how many the best baseline,
        significantly or not.
    """
    return " ".join(_verdicts(results))


def _verdicts(results: StudyResults) -> list[str]:
    """Return the same, a text per condition and method."""
    table = results.statistics
    named = table.assign(best_baseline=table["best_baseline"].map(results.label, na_action="ignore"))
    labels = {method: results.label(method) for method in results.judged}
    return list(verdicts(named, _splitting(results)["judged"], labels))


def limits(results: StudyResults) -> list[str]:
    """List what the numbers of a study cannot say.

    Parameters
    ----------
    results : StudyResults
        The study.

    Returns
    -------
    list of str
        One statement each.
    """
    network = results.statistics[results.statistics["method"] == results.judged[0]]
    few, many = int(network["subjects"].min()), int(network["subjects"].max())
    people = f"{few}" if few == many else f"{few} to {many}"
    datasets = sorted(results.cycles["dataset"].dropna().unique())
    motions = sorted(results.cycles["motion"].dropna().unique())
    sentences = [
        f"The statistics of each muscle rest on {people} {_plural(many, 'subject', 'subjects')}"
        + (": intervals are wide, and p values hang on single subjects." if few < 10 else "."),
        f"The cycles come from {len(datasets)} {_plural(len(datasets), 'data set', 'data sets')} "
        f"({', '.join(datasets)}) and {_plural(len(motions), 'one motion', 'these motions')} ({', '.join(motions)}). "
        "Other subjects, laboratories, models, electrode placements and motions were not tested.",
    ]
    if len(datasets) > 1:
        sentences.append(
            "Subjects differ by laboratory as well as by body: what separates two data sets (model, simulation, EMG "
            "processing) cannot be told from what separates subjects."
        )
    splitting = _splitting(results)
    if splitting.get("easier"):
        sentences.append(
            f"{splitting['meaning']} The figures say nothing about subjects that the networks have not seen."
        )
    if splitting.get("emg_scale"):
        sentences.append(f"{splitting['emg_scale']} Errors are in units of that scale, not of maximal contraction.")
    if len(results.study.get("seeds", ())) < 2:
        sentences.append("Every network was trained once (one seed): how much of a result is chance is not known.")
    sentences += [
        "Muscles are tested one by one; with many muscles some p < 0.05 are to be expected by chance.",
        "EMG tells when and how strongly a muscle was excited relative to itself. A curve nearer to EMG is not shown "
        "to be nearer to the muscle's force, and refined activations need not reproduce the joint torques.",
        "Attention weights show what a network looked at, not why activity differs.",
    ]
    return sentences


def methods_paragraph(results: StudyResults) -> str:
    """Write a methods paragraph that a paper could quote, from the study's settings.

    Parameters
    ----------
    results : StudyResults
        The study.

    Returns
    -------
    str
        The paragraph.
    """
    study, settings = results.study, results.study.get("settings", {})
    own = results.cycles[results.cycles["method"] == results.judged[0]]
    cycles = len(
        own.drop_duplicates(["dataset", "subject", "trial", "stride", *_present(own, "side", "activation_source")])
    )
    people = own["subject"].nunique()
    sources: list[str] = []
    for part in study.get("data", {}).get("conditions", {}).values():
        sources += [_SOURCES.get(name, name) for name in part.get("activation_sources", ())]
    simulated = (
        f"simulated in OpenSim (Seth et al. 2018) by {_listed(dict.fromkeys(sources))}" if sources else "simulated"
    )
    methods = _listed([results.citation(method) for method in results.judged])
    sentences = [
        f"Muscle activations {simulated} were refined with {methods}, as implemented in opensim_nem2e "
        f"{study.get('packages', {}).get('opensim_nem2e', '')}."
    ]
    motions = _listed(sorted(own["motion"].dropna().unique()))
    sentences.append(
        f"{cycles} gait cycles ({motions}) of {people} {_plural(people, 'subject', 'subjects')} were linearly "
        f"resampled to {settings.get('window_samples', len(results.sample_columns))} samples per network window; EMG "
        f"was {_EMG.get(settings.get('emg_normalization', ''), 'normalised')}."
    )
    inputs = _listed([_CONDITIONS.get(name, name) for name in results.condition_names])
    training = [text.format(settings[key]) for key, text in _TRAINING.items() if settings.get(key)]
    if training and len(results.losses):
        sentences.append(
            f"One network per target muscle ({counted(len(results.muscles), 'muscle')}) was trained for each input: "
            f"{inputs}. "
            f"Networks were trained with the Adam algorithm and the squared error ({', '.join(training)})."
            + _OUTPUTS.get(settings.get("network_output", ""), "").format(weight=settings.get("correction_weight", 1))
        )
    else:
        sentences.append(f"Each of {len(results.muscles)} muscles was estimated by itself, from each input: {inputs}.")
    seeds = len(study.get("seeds", ())) or 1
    splitting = _splitting(results)
    sentences.append(_SPLITTINGS.get(splitting["name"], splitting["meaning"]))
    if study.get("networks", 1):
        sentences.append(
            f"This gave {study.get('networks', 'all')} networks with {seeds} random {_plural(seeds, 'seed', 'seeds')}, "
            "over which errors were averaged."
        )
    baselines = [_method_name(results, name) for name in results.methods if name not in (*results.judged, REFERENCE)]
    sentences.append(
        "The error E was the root mean square difference from normalised EMG, averaged over the cycles of each "
        "subject, and the improvement rate Er = E_refined / E_OpenSim - 1 was tested against zero over subjects "
        "(two-sided t-test, 95 % confidence interval, Cohen's d)."
        + (
            " Input conditions were compared by Tukey's HSD and by paired t-tests with Holm's correction."
            if len(results.conditions)
            else ""
        )
        + (
            f" As baselines, {_listed(baselines)} were fitted in the same folds; {_focus(results)} was compared with "
            "the best of them by paired t-tests."
            if baselines
            else ""
        )
    )
    return " ".join(sentences)


_TRAINING = {
    "hidden_units": "{} hidden units",
    "epochs": "up to {} epochs",
    "batch_size": "batch size {}",
    "learning_rate": "learning rate {:g}",
    "weight_decay": "weight decay {:g}",
    "early_stopping_patience": "their number found by early stopping on one training subject, patience {}",
}


# --- tables -----------------------------------------------------------------------------------------------------------


def _statistics_table(results: StudyResults, condition: str) -> Table:
    table = results.statistics
    part = table[(table["condition"] == condition) & (table["method"] == results.judged[0])].set_index("muscle")
    shape = set(SHAPE_FIGURES) <= set(part.columns)
    rows = [_statistics_row(part.loc[muscle], muscle, shape) for muscle in results.muscles_of(condition)]
    mean = part.select_dtypes("number").mean()
    rows.append(
        TableRow(
            _cells(
                "mean",
                "",
                _change(mean["E_opensim"], mean["E"], 3),
                _signed(mean["Er"], 3),
                *("", "", ""),
                _change(mean["r_squared_opensim"], mean["r_squared"], 2),
                "",
                _change(mean["best_lag_r_opensim"], mean["best_lag_r"], 2),
                *_shape_texts(mean, shape),
            ),
            total=True,
        )
    )
    head = (
        *("muscle", "subjects", "E", "Er", "95 % CI", "p", "Cohen's d", "r²"),
        "peak error, ms",
        "r at best lag",
        *(("E of the shape", "r", "burst on, off, ms") if shape else ()),
    )
    # A column of words would make the table wider than a page.
    notes: dict[str, list[str]] = {}
    for muscle, note in part["note"].map(_text).items():
        if note:
            notes.setdefault(note, []).append(str(muscle))
    told = "".join(f" {', '.join(muscles)}: {note}." for note, muscles in notes.items())
    return _table(
        f"{condition}: {_focus(results)} {_splitting(results)['judged']}, against OpenSim (figures: OpenSim → "
        f"refined).{told}",
        head,
        rows,
    )


def _table(caption: str, head: Sequence[str], rows: Sequence[TableRow]) -> Table:
    """Make a table whose last column, notes, is left out where there are none."""
    if any(row.cells[-1].text for row in rows):
        return Table(caption, tuple(head), tuple(rows))
    return Table(caption, tuple(head[:-1]), tuple(replace(row, cells=row.cells[:-1]) for row in rows))


#: What a table says of shapes; studies of version 0.1 have none.
_SHAPE = (
    "E of the shape: E after the best gain of each subject, which no convention of amplitude can change. Burst on, "
    "off: mean distance of the main burst's begin and end (half way from the curve's lowest to its highest value) from "
    "EMG's. "
)


def _shape_texts(row: pandas.Series, shape: bool) -> list[str]:
    if not shape:
        return []
    timing = ", ".join(f"{row[name]:.0f}" if _finite(float(row[name])) else "–" for name in ("onset_ms", "offset_ms"))
    return [_change(row["E_gain_opensim"], row["E_gain"], 3), _change(row["r_opensim"], row["r"], 2), timing]


def _statistics_row(row: pandas.Series, muscle: str, shape: bool) -> TableRow:
    better = bool(row["Er"] < 0 and row["p"] < 0.05)
    return TableRow(
        (
            Cell(muscle),
            Cell(f"{int(row['subjects'])}"),
            Cell(_change(row["E_opensim"], row["E"], 3)),
            Cell(_signed(row["Er"], 3) + _stars(row["p"]), strong=better),
            Cell(_interval(row["Er_low"], row["Er_high"])),
            Cell(_p(row["p"])),
            Cell(_signed(row["d"], 2)),
            Cell(_change(row["r_squared_opensim"], row["r_squared"], 2)),
            Cell(_change(row["peak_ms_opensim"], row["peak_ms"], 0)),
            Cell(_change(row["best_lag_r_opensim"], row["best_lag_r"], 2)),
            *map(Cell, _shape_texts(row, shape)),
        )
    )


def _baseline_table(results: StudyResults, condition: str) -> Table:
    table = results.statistics[results.statistics["condition"] == condition]
    rates = table.pivot_table(index="muscle", columns="method", values="Er", sort=False)
    methods = [method for method in results.methods if method in rates.columns]
    network = table[table["method"] == results.judged[0]].set_index("muscle")
    rows = []
    for muscle in results.muscles_of(condition):
        row = network.loc[muscle]
        better = bool(row["versus_best"] < 0 and row["versus_best_p"] < 0.05)
        cells = [Cell(muscle), *(Cell(_signed(rates.loc[muscle, method], 3)) for method in methods)]
        cells += [
            Cell(results.label(_text(row["best_baseline"])), words=True),
            Cell(_signed(row["versus_best"], 3) + _stars(row["versus_best_p"]), strong=better),
            Cell(_p(row["versus_best_p"])),
        ]
        rows.append(TableRow(tuple(cells)))
    means = [_signed(rates[method].mean(), 3) for method in methods]
    rows.append(TableRow(_cells("mean", *means, "", _signed(network["versus_best"].mean(), 3), ""), total=True))
    return Table(
        f"{condition}: Er of every method (OpenSim: 0), and {_focus(results)} against the best baseline. Bold: "
        "significantly better than the best baseline.",
        ("muscle", *map(results.label, methods), "best baseline", f"{_focus(results)} less best", "p"),
        tuple(rows),
    )


def _condition_table(results: StudyResults) -> Table:
    rows = []
    for row in results.conditions.to_dict("records"):
        rows.append(
            TableRow(
                (
                    Cell(_text(row["muscle"])),
                    Cell(f"{row['condition_a']} less {row['condition_b']}", words=True),
                    Cell(_signed(row["difference"], 3)),
                    Cell(_p(row["tukey_p"]) + _stars(row["tukey_p"])),
                    Cell(f"{int(row['subjects'])}"),
                    Cell(_signed(row["paired_difference"], 3)),
                    Cell(_p(row["paired_p"])),
                    Cell(_p(row["holm_p"]) + _stars(row["holm_p"])),
                    Cell(_text(row["note"]), words=True),
                )
            )
        )
    head = (
        *("muscle", "conditions", "difference of Er", "p, Tukey's HSD", "subjects with both", "paired difference"),
        *("p, paired", "p, Holm", "note"),
    )
    return _table("Differences of Er between input conditions, muscle by muscle.", head, rows)


def _band_table(results: StudyResults) -> Table | None:
    """List how far the bands of every method held for subjects and laboratories that they were calibrated without."""
    rows = []
    coverage = results.study.get("band_coverage", {})
    told = [
        way
        for way in ("subjects", "laboratories")
        if any(ways.get(way) for methods in coverage.values() for ways in methods.values())
    ]
    for condition, methods in coverage.items():
        for method, ways in methods.items():
            cells = [Cell(condition), Cell(results.label(method), words=True)]
            for way in told:
                found = ways.get(way, ())
                if not found:
                    cells += _cells("–", "–", "–")
                    continue
                share, width = (sum(row[name] for row in found) / len(found) for name in ("coverage", "width"))
                worst = min(found, key=lambda row: float(row["coverage"]))
                least = f"{100 * worst['coverage']:.0f} ({worst['name']})"
                cells += _cells(f"{100 * share:.0f}", least, f"{width:.2f}")
            rows.append(TableRow(tuple(cells)))
    head: tuple[str, ...] = ("condition", "method")
    head += tuple(f"{what}: {text}" for what in told for text in ("EMG within (%)", "least", "width"))
    caption = (
        "Bands of 90 %: share of measured EMG within, and mean width (of the EMG's maximum), of "
        f"{' and of '.join(told)} that they were calibrated without."
    )
    return Table(caption, head, tuple(rows)) if rows else None


def _shortcut_table(study: Mapping[str, Any]) -> Table | None:
    checks = study.get("shortcut_check", {}).get("muscles", ())
    rows = [
        TableRow(
            (
                Cell(check["muscle"]),
                Cell(check["condition"], words=True),
                Cell(_signed(check["Er"], 3)),
                Cell(_signed(check["Er_changed"], 3)),
                Cell(_percent(check["change"]) + _stars(check["p"])),
                Cell(_interval(check["low"], check["high"], percent=True)),
                Cell(_p(check["p"])),
                Cell(_text(check["note"]), words=True),
            )
        )
        for check in checks
    ]
    head = ("muscle", "condition", "Er", "Er, changed input", "change of E", "95 % CI", "p", "note")
    return _table("Error with inputs of randomly changed frequency and phase.", head, rows) if rows else None


def _shortcut_text(study: Mapping[str, Any]) -> str:
    check = study.get("shortcut_check", {})
    values = [row["change"] for row in check.get("muscles", ()) if _finite(row["change"])]
    if not values:
        return str(check.get("meaning", ""))
    unmoved = [f"{row['muscle']} ({row['condition']})" for row in check["muscles"] if not row["worse"]]
    said = f"The error changed by {_percent(sum(values) / len(values))} on average. "
    said += (
        f"It did not grow for {', '.join(unmoved)}: these networks have learned the average waveform."
        if unmoved
        else "It grew for every muscle."
    )
    return f"{check.get('meaning', '')} {said}".strip()


def _cycle_table(data: Mapping[str, Any]) -> Table | None:
    """Count cycles and subjects by muscle, over the conditions (which may have lost different cycles)."""
    parts = data.get("conditions", {})
    muscles = list(dict.fromkeys(muscle for part in parts.values() for muscle in part.get("cycles", {})))
    rows = [
        TableRow(
            _cells(
                muscle,
                *(
                    f"{part.get('cycles', {}).get(muscle, 0)} ({part.get('subjects_per_muscle', {}).get(muscle, 0)})"
                    for part in parts.values()
                ),
            )
        )
        for muscle in muscles
    ]
    title = "Gait cycles (and subjects), by muscle and condition."
    return Table(title, ("muscle", *parts), tuple(rows)) if rows else None


# --- lists and words --------------------------------------------------------------------------------------------------


def _by_line(results: StudyResults) -> str:
    own = results.cycles[results.cycles["method"] == results.judged[0]]
    people, muscles = own["subject"].nunique(), len(results.muscles)
    seconds = results.study.get("seconds")
    parts = [
        f"{people} {_plural(people, 'subject', 'subjects')}",
        f"{muscles} {_plural(muscles, 'muscle', 'muscles')}",
        _listed(results.condition_names),
        str(_splitting(results)["name"]).replace("_", " "),
    ]
    if seconds:
        parts.append(f"computed in {_duration(seconds)}")
    return " · ".join(parts)


def _splitting(results: StudyResults) -> Mapping[str, Any]:
    found = results.study.get("splitting")
    default = {"name": "cross-validation", "judged": "on cycles they have not seen", "meaning": ""}
    return {**default, **found} if isinstance(found, Mapping) else default


def _data_lines(results: StudyResults) -> list[tuple[str, str]]:
    data = results.study.get("data", {})
    not_stated = "not stated"
    lines = [(name, _text(data.get(name)) or not_stated) for name in ("description", "licence", "attribution")]
    parts = data.get("conditions", {}).values()
    for name in ("datasets", "subjects", "motions", "activation_sources"):
        values = dict.fromkeys(value for part in parts for value in part.get(name, ()))
        lines.append((name.replace("_", " "), ", ".join(map(str, values)) or not_stated))
    return lines


def _notes(data: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(note for part in data.get("conditions", {}).values() for note in part.get("notes", ())))


def _reproducibility(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [(name, _value(value)) for name, value in study.get("reproducibility", {}).items()]
    if "leak_check" in study:
        lines.append(("leak check", str(study["leak_check"])))
    lines.append(("seeds", _value(study.get("seeds", ()))))
    lines.append(("packages", ", ".join(f"{name} {version}" for name, version in study.get("packages", {}).items())))
    return lines


def _fold(pictures: Sequence[Picture]) -> list[Picture]:
    """Leave the first figure of each kind open and fold the rest of many."""
    spatial = [picture.key for picture in pictures if is_spatial(picture.key.removeprefix("attention_"))]
    return [replace(picture, folded=picture.key in spatial[1:]) for picture in pictures]


def _focus(results: StudyResults) -> str:
    """Name the method that figures and tables are about."""
    return results.label(results.judged[0])


def _method_name(results: StudyResults, method: str) -> str:
    named = results.study.get("methods")
    return str(named.get(method, results.label(method))) if isinstance(named, Mapping) else results.label(method)


def _present(table: pandas.DataFrame, *columns: str) -> list[str]:
    return [column for column in columns if column in table.columns]


def _cells(*texts: str) -> tuple[Cell, ...]:
    return tuple(Cell(text) for text in texts)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return "(not given)" if value is None or value == "" else str(value)


def _signed(value: float | None, digits: int) -> str:
    if value is None or not _finite(float(value)):
        return "–"
    text = f"{value:+.{digits}f}"
    # Zero has no sign; a minus is as wide as a plus.
    return text.replace("-", "−") if float(text) else text[1:]


def _percent(value: float | None) -> str:
    return "–" if value is None or not _finite(float(value)) else f"{_signed(100 * value, 0)} %"


def _interval(low: float | None, high: float | None, percent: bool = False) -> str:
    if low is None or high is None or not (_finite(float(low)) and _finite(float(high))):
        return "–"
    show = _percent if percent else lambda value: _signed(value, 3)
    return f"{show(low)} to {show(high)}"


def _change(before: float, after: float, digits: int) -> str:
    return " → ".join(f"{value:.{digits}f}" if _finite(float(value)) else "–" for value in (before, after))


def _p(value: float | None) -> str:
    if value is None or not _finite(float(value)):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _stars(value: float | None) -> str:
    stars = significance(math.nan if value is None else float(value))
    return f" {stars}" if stars else ""


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _listed(words: Iterable[str]) -> str:
    found = list(words)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}" if found else ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
