"""The report of a study: its sentences against hand-made tables, and the page itself, also in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise

import lxml.html
import numpy as np
import pandas as pd
import pytest

from opensim_nem2e.evaluation.study import read_study
from opensim_nem2e.report import study_report
from opensim_nem2e.report.study_report import limits, methods_paragraph, summary, write_report


@pytest.fixture(scope="module")
def results(study_folder, tmp_path_factory):
    """The small study with its report, in a folder of its own."""
    folder = shutil.copytree(study_folder, tmp_path_factory.mktemp("report") / "results")
    found = read_study(folder)
    write_report(found)
    return found


@pytest.fixture(scope="module")
def page(results):
    return lxml.html.parse(str(results.folder / "walking_report.html")).getroot()


def words(element):
    return " ".join(element.text_content().split())


# --- sentences --------------------------------------------------------------------------------------------------------


def hand_made(results, rows):
    """Replace the statistics by rows of condition, muscle, Er, p, best baseline, its Er, difference, its p."""
    table = pd.DataFrame(
        [
            {
                "condition": condition,
                "muscle": muscle,
                "method": "stdr_net",
                "subjects": 5,
                "Er": rate,
                "p": p,
                "best_baseline": best,
                "Er_best_baseline": rate - difference,
                "versus_best": difference,
                "versus_best_p": p_best,
            }
            for condition, muscle, rate, p, best, difference, p_best in rows
        ]
    )
    return replace(results, statistics=table)


def test_beats_opensim_but_not_the_baseline(results):
    made = hand_made(
        results,
        [
            ("One-Entire", "soleus", -0.30, 0.001, "mean", 0.05, 0.01),
            ("One-Entire", "tib", -0.20, 0.20, "mean", 0.02, 0.50),
            ("One-Entire", "rect", 0.10, 0.03, "opensim", 0.10, 0.03),
        ],
    )
    text = summary(made)
    assert text.startswith("One-Entire: on subjects they have not seen, STDR-Net beats OpenSim on 2 of 3 muscles ")
    assert "(1 significantly) and is significantly worse on 1, and the best baseline" in text
    assert "(mean EMG profile, OpenSim) on 0 of 3 muscles (0 significantly) and is significantly worse on 2." in text
    assert "Mean Er -0.133, best baseline -0.190." in text


def test_beats_the_baseline(results):
    made = hand_made(
        results,
        [
            ("One-Entire", "soleus", -0.30, 0.001, "ridge", -0.10, 0.01),
            ("One-Entire", "tib", -0.20, 0.01, "ridge", -0.05, 0.06),
            ("All-Entire", "soleus", -0.50, 0.001, "shift", -0.40, 0.001),
        ],
    )
    one, everything = summary(made).split(" All-Entire: ")
    assert (
        "beats OpenSim on 2 of 2 muscles (2 significantly), and the best baseline (ridge regression) on 2 of 2" in one
    )
    assert "2 of 2 muscles (1 significantly)." in one
    assert (
        "beats OpenSim on 1 of 1 muscle (1 significantly), and the best baseline (time shift) on 1 of 1" in everything
    )
    assert "worse" not in summary(made)


def test_it_begins_with_the_summary(results, page):
    """A paragraph for each condition."""
    paragraphs = page.xpath("//main/p[@class='summary']")
    assert paragraphs[0] is page.xpath("//main/*")[0]
    assert len(paragraphs) == results.statistics["condition"].nunique()
    assert " ".join(map(words, paragraphs)) == summary(results)


def test_bands_of_people_left_out(page):
    row = page.xpath("//section[@aria-labelledby='bands']//tbody/tr")[0]
    assert [words(cell) for cell in row] == ["One-Quarter", "STDR-Net", "91", "86 (s2)", "0.45"]


def test_limits_name_people_and_sources(results):
    said = " ".join(limits(results))
    assert "rest on 5 subjects: intervals are wide" in said
    assert "2 data sets (lab_a, lab_b) and one motion (walk)" in said
    assert "laboratory as well as by body" in said
    assert "one seed" not in said
    alone = replace(results, study={**results.study, "seeds": [0]}, cycles=results.cycles.assign(dataset="lab_a"))
    said = " ".join(limits(alone))
    assert "one seed" in said
    assert "1 data set (lab_a)" in said
    assert "laboratory as well as by body" not in said
    easier = {"name": "leave_one_trial_out", "judged": "on trials", "meaning": "Trials are left out.", "easier": True}
    assert "nothing about subjects that the networks have not seen" in " ".join(
        limits(replace(results, study={**results.study, "splitting": easier}))
    )


def test_methods_come_from_the_settings(results):
    text = methods_paragraph(results)
    for part in (
        "by computed muscle control",
        "30 gait cycles (walk) of 5 subjects",
        "64 hidden units, up to 80 epochs, batch size 16, learning rate 0.001",
        "In leave-one-subject-out cross-validation",
        "90 networks with 2 random seeds",
        "(Teramae et al. 2025)",
        "opensim_nem2e 0.1.0",
        "Tukey's HSD",
        "ridge regression on the same input were fitted in the same folds",
    ):
        assert part in text, part
    settings = {**results.study["settings"], "early_stopping_patience": 12, "emg_normalization": "none"}
    other = methods_paragraph(replace(results, study={**results.study, "settings": settings}))
    assert "early stopping on one training subject, patience 12" in other
    assert "EMG was not scaled" in other
    settings = {**results.study["settings"], "network_output": "correction", "correction_weight": 0.25}
    linear = methods_paragraph(replace(results, study={**results.study, "settings": settings}))
    assert "a correction, weighted by 0.25, of a linear prediction" in linear


def test_methods_without_networks(results):
    """A study of ridge regression trains nothing, and says nothing of networks."""
    study = {**results.study, "judged": ["ridge"], "networks": 0, "citations": {"ridge": "ridge regression (1970)"}}
    judged = results.statistics["method"] == "ridge"
    statistics = results.statistics.assign(best_baseline=np.where(judged, "mean", None))
    text = methods_paragraph(replace(results, study=study, statistics=statistics, losses=results.losses.iloc[:0]))
    assert "were refined with ridge regression (1970), as implemented" in text
    assert "Each of 3 muscles was estimated by itself" in text
    assert "etworks" not in text


# --- the page ---------------------------------------------------------------------------------------------------------


def test_needs_nothing_else(page):
    for element in page.iter():
        for name in ("src", "href", "srcset", "action"):
            address = element.get(name) if isinstance(element.tag, str) else None
            assert address is None or address.startswith(("data:image/", "#")), address
    style = page.xpath("string(//style)")
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    assert not page.xpath("//script")


def caption(table):
    (found,) = table.xpath("ancestor::figure[@class='table']/figcaption")
    return words(found)


def test_accessible(page):
    assert page.get("lang") == "en"
    assert page.xpath("//meta[@name='viewport']")
    assert len(page.xpath("//h1")) == 1
    images = page.xpath("//img")
    assert len(images) == 15
    assert all(len(image.get("alt")) > 40 for image in images)
    tables = page.xpath("//table")
    assert len(tables) == 10
    for table in tables:
        assert caption(table)
        columns = table.xpath("./thead/tr/th[@scope='col']")
        for row in table.xpath("./tbody/tr"):
            assert [cell.tag for cell in row] == ["th"] + ["td"] * (len(columns) - 1)
            assert row[0].get("scope") == "row"
    ids = page.xpath("//@id")
    assert len(ids) == len(set(ids))
    links = page.xpath("//nav//a/@href")
    assert len(links) == 12
    assert {link.lstrip("#") for link in links} <= set(ids)
    levels = [int(heading.tag[1]) for heading in page.xpath("//h1|//h2|//h3")]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_tables_hold_the_files_numbers(results, page):
    table = next(t for t in page.xpath("//table") if caption(t).startswith("All-Entire: STDR-Net"))
    row = next(r for r in table.xpath("./tbody/tr") if words(r[0]) == "tib")
    statistics = results.statistics
    chosen = (statistics["condition"] == "All-Entire") & (statistics["muscle"] == "tib")
    of = statistics[chosen & (statistics["method"] == "stdr_net")].iloc[0]
    cells = [words(cell) for cell in row]
    assert cells[1] == "5"
    assert cells[2] == f"{of['E_opensim']:.3f} → {of['E']:.3f}"
    assert cells[3].split()[0] == f"{of['Er']:+.3f}".replace("-", "−")
    assert cells[4] == f"{of['Er_low']:+.3f} to {of['Er_high']:+.3f}".replace("-", "−")
    assert bool(row[3].xpath("./strong")) == bool(of["p"] < 0.05 and of["Er"] < 0)
    assert cells[8] == f"{of['peak_ms_opensim']:.0f} → {of['peak_ms']:.0f}"
    assert cells[10] == f"{of['E_gain_opensim']:.3f} → {of['E_gain']:.3f}"
    assert cells[11] == f"{of['r_opensim']:.2f} → {of['r']:.2f}"
    assert cells[12] == f"{of['onset_ms']:.0f}, {of['offset_ms']:.0f}"
    mean = [words(cell) for cell in table.xpath("./tbody/tr[@class='total']")[0]]
    network = statistics[(statistics["condition"] == "All-Entire") & (statistics["method"] == "stdr_net")]
    assert mean[3] == f"{network['Er'].mean():+.3f}".replace("-", "−")

    table = next(t for t in page.xpath("//table") if caption(t).startswith("All-Entire: Er of every"))
    row = [words(cell) for cell in next(r for r in table.xpath("./tbody/tr") if words(r[0]) == "tib")]
    rates = [
        statistics[chosen & (statistics["method"] == m)]["Er"].iloc[0] for m in ("stdr_net", "mean", "shift", "ridge")
    ]
    assert row[1:5] == [f"{rate:+.3f}".replace("-", "−") for rate in rates]
    assert row[6].split()[0] == f"{of['versus_best']:+.3f}".replace("-", "−")


def test_provenance_settings_and_escaping(results, page):
    text = words(page)
    assert "Laboratories A & B <https://example.org>" in text
    assert "lab_a: 12 negative EMG values were set to zero." in text
    for name in results.study["settings"]:
        assert name in text
    assert "numpy 2.4.6" in text
    assert "It grew for every muscle" in text


def test_figures_lie_beside_it_in_both_formats(results):
    images = {path.name for path in results.folder.glob("walking_*.svg")}
    assert len(images) == 15
    assert {name.replace(".svg", ".png") for name in images} == {path.name for path in results.folder.glob("*.png")}
    assert not list(results.folder.glob(".*"))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".html", ".svg", ".png")}


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes(results):
    before = content(results.folder)
    write_report(read_study(results.folder))
    assert content(results.folder) == before


def test_large_drawings_go_in_as_png(results, monkeypatch):
    monkeypatch.setattr(study_report, "LARGEST_SVG", 10)
    picture = study_report.Picture
    made = []
    monkeypatch.setattr(study_report, "Picture", lambda *values: made.append(picture(*values)) or made[-1])
    monkeypatch.setattr(study_report, "study_figures", lambda found: [study_report_error_figure(found)])
    monkeypatch.setattr(study_report, "report_html", lambda found, pictures: "")
    before = (results.folder / "walking_report.html").read_bytes()
    write_report(results)
    (results.folder / "walking_report.html").write_bytes(before)
    assert [one.source[:22] for one in made] == ["data:image/png;base64,"]


def study_report_error_figure(found):
    from opensim_nem2e.report.study_figures import error_figure

    return error_figure(found, "One-Entire")


def test_what_could_not_be_computed_is_said(make_study, tmp_path):
    """One subject: no p, no interval; nothing breaks, and the page says why. Written again, it is the same."""
    folder = make_study(tmp_path / "one", muscles=("soleus",), conditions=("One-Entire",), people=2, seeds=(0,))
    table = pd.read_csv(folder / "walking_statistics.csv")
    for column in ("p", "Er_low", "Er_high", "d", "versus_best_p", "r_squared", "peak_ms"):
        table[column] = np.nan
    table["note"] = "one subject: no p, interval or d"
    table.to_csv(folder / "walking_statistics.csv", index=False)
    path = write_report(read_study(folder))
    text = words(lxml.html.parse(str(path)).getroot())
    assert "one subject: no p, interval or d" in text
    assert "nan" not in text.lower().split()
    assert "Comparison of the conditions" not in text
    before = content(folder)
    assert write_report(read_study(folder)) == path
    assert content(folder) == before


# --- in a browser -----------------------------------------------------------------------------------------------------

_MEASURE = """<script>addEventListener('load', () => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const root = document.documentElement;
  const over = [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') || e.matches('.scroll'))
    .filter(e => e.getBoundingClientRect().right > root.clientWidth + 0.5).map(e => e.tagName + '.' + e.className);
  const blank = [...document.images].filter(i => !i.complete || !i.naturalWidth).length;
  root.dataset.measured = JSON.stringify({width: innerWidth, hidden: root.scrollWidth - root.clientWidth, over, blank});
})</script></head>"""


def measure(text, width, folder):
    """Lay a page out at a width and tell what does not fit. In a frame: a headless window has a least width."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium (chromium, chromium-browser or google-chrome)")
    (folder / "page.html").write_text(text.replace("</head>", _MEASURE, 1), encoding="utf-8")
    (folder / "frame.html").write_text(
        f'<iframe id="f" src="page.html" style="width:{width}px;height:800px;border:0"></iframe><script>'
        "addEventListener('load', () => setTimeout(() => document.body.setAttribute('data-found', "
        "f.contentDocument.documentElement.dataset.measured), 500))</script>"
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900", "--dump-dom"]
    command += [
        "--allow-file-access-from-files",
        "--virtual-time-budget=10000",
        f"--user-data-dir={folder / 'profile'}",
    ]
    address = (folder / "frame.html").as_uri()
    done = subprocess.run([*command, address], capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-found="([^"]+)"', done.stdout)
    assert found, done.stdout[-500:]
    return json.loads(found[1].replace("&quot;", '"'))


@pytest.mark.parametrize("width", [390, 1280])
def test_no_horizontal_scroll(results, tmp_path, width):
    text = (results.folder / "walking_report.html").read_text(encoding="utf-8")
    assert measure(text, width, tmp_path) == {"width": width, "hidden": 0, "over": [], "blank": 0}


def test_the_measurement_sees_what_is_too_wide(tmp_path):
    text = '<html><head></head><body style="margin:0"><pre style="width:500px">x</pre><img src="data:,"></body></html>'
    assert measure(text, 390, tmp_path) == {"width": 390, "hidden": 110, "over": ["PRE."], "blank": 1}
