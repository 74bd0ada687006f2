"""The report of one trial: that it tells what was computed, and that it works in a browser."""

from __future__ import annotations

import base64
import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import lxml.html
import numpy as np
import pytest

from opensim_nem2e.estimates.amplitude import Amplitude, MuscleGain
from opensim_nem2e.estimates.estimate import Estimate, MuscleEstimate
from opensim_nem2e.estimates.trust import CycleTrust, log_trust
from opensim_nem2e.methods.bands import Bands
from opensim_nem2e.methods.base import Provenance
from opensim_nem2e.musculoskeletal.opensim.geometry import Shape
from opensim_nem2e.report import model_view
from opensim_nem2e.report.curves import PHASES, ChartSet, Panel, over_cycles, pack
from opensim_nem2e.report.estimate_report import RunRecord, muscle_charts, write_report
from opensim_nem2e.signals.cycles import Cycle
from opensim_nem2e.storage import read_storage
from opensim_nem2e.storage.atomic import ResultFiles
from opensim_nem2e.tools.stdr_refine import STDRRefineTool

SOURCE = Path(__file__).parents[2] / "examples" / "01_refine_walking" / "cmc" / "walking_states.sto"
TIME = np.arange(0.0, 2.4, 0.005)


def unpacked(packed: dict) -> np.ndarray:
    raw = base64.b64decode(packed["data"])
    if "step" not in packed:
        return np.frombuffer(raw, "<f4").reshape(packed["shape"])
    counts = np.frombuffer(raw, "<u2").reshape(packed["shape"])
    return np.where(counts == 65535, np.nan, packed["low"] + packed["step"] * counts)


@pytest.fixture
def tool(simulation, make_bundle):
    row = {"subjects": 4, "E_opensim": 0.3, "E_refined": 0.2, "E_mean": 0.25, "E_ridge": 0.3, "Er_refined": -0.33}
    validation = {"method": "x", "leave_one_subject_out": {"soleus": row, "ALL": row}}
    tool = STDRRefineTool()
    tool.setName("walk")
    tool.setStatesFileName(simulation.states)
    tool.setResultsDir(simulation.folder / "results")
    tool.bundle_file = make_bundle(validation=validation)
    tool.right_heel_strikes = (0.2, 1.3, 2.35)
    tool.left_heel_strikes = (0.75, 1.8)
    return tool


@pytest.fixture
def page(tool) -> Path:
    tool.run()
    return tool.resolve("results_directory") / "walk_report.html"


def test_curves_are_those_of_the_files(page, simulation):
    root = lxml.html.fromstring(page.read_text(encoding="utf-8"))
    (script,) = root.xpath("//script[@id='report-data']")
    charts = json.loads(script.text)["sets"]["muscles"]
    written = read_storage(page.parent / "walk_activation.sto")
    assert len(charts["panels"]) == 6
    # By functional group, and right before left.
    names = [panel["name"] for panel in charts["panels"]]
    assert names == ["soleus_r", "soleus_l", "med_gas_r", "med_gas_l", "tib_ant_r", "tib_ant_l"]
    time = unpacked(charts["time"])
    np.testing.assert_allclose(time, written.time, atol=1e-6)
    for panel in charts["panels"]:
        before, after = (unpacked(panel["series"][kind]) for kind in ("opensim", "refined"))
        np.testing.assert_allclose(before, simulation.activations[panel["name"]], atol=1e-5)
        inside = np.isfinite(after)
        np.testing.assert_allclose(after[inside], written.column(panel["name"])[inside], atol=2e-5)
        (start, end), *more = panel["changed"]
        assert not more
        assert inside.sum() == pytest.approx(((time >= start) & (time <= end)).sum(), abs=1)
        assert unpacked(panel["cycles"]["refined"]).shape == (2 if panel["name"].endswith("_r") else 1, PHASES)


def test_words_and_origin(page, tool):
    text = lxml.html.fromstring(page.read_text(encoding="utf-8")).text_content()
    text = re.sub(r"\s+", " ", text)
    assert "6 muscles were refined over 2 right and 1 left gait cycles (0.20 to 2.35 s)." in text
    assert (
        "On subjects left out of training the method's error against measured EMG, mean of these muscles, was" in text
    )
    # What the log warned of: no model was given.
    assert "No <model_file> was given: muscles are taken to have the bounds" in text
    assert "never validated" in text
    assert "carries no bands" in text
    assert "nearer to EMG than both" in text
    assert "right_heel_strikes0.2 1.3 2.35" in text
    assert "walk1_states.sto, SHA-256" in text
    page_text = page.read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=[\"']?https?:", page_text)


def test_the_same_run_gives_the_same_report(page, tool):
    before = page.read_bytes()
    tool.run()
    assert page.read_bytes() == before


def test_it_can_be_switched_off(tool):
    tool.write_report = False
    tool.run()
    assert not (tool.resolve("results_directory") / "walk_report.html").exists()


def estimate(**changes) -> Estimate:
    cycle = Cycle("r", 0.2, 1.3)
    covered = (TIME >= 0.2) & (TIME <= 1.3)
    values = 0.3 + 0.2 * np.sin(5.0 * TIME)
    muscles = {
        name: MuscleEstimate(name, values, covered, standard, "r", (cycle,), low=values - 0.1, high=values + 0.1)
        for name, standard in (("mystery_r", ""), ("soleus_r", "soleus"))
    }
    return replace(Estimate(TIME, "activation", muscles, Provenance("x", "a method made by hand")), **changes)


def test_an_estimate_without_simulation(tmp_path, open_page):
    """A method that needs no OpenSim, names from a hostile file, and a trial without cycles."""
    found = estimate()
    odd = "</script><b>$x_r"
    muscles = {**found.muscles, odd: replace(found.muscles["mystery_r"], muscle=odd, cycles=(), low=None, high=None)}
    with ResultFiles(tmp_path) as files:
        write_report(files, "walk", replace(found, muscles=muscles), run=RunRecord(warnings=["mind <the> gap"]))
    root = lxml.html.fromstring((tmp_path / "walk_report.html").read_text(encoding="utf-8"))
    assert [option.text for option in root.xpath("//select//option")] == ["soleus_r", odd, "mystery_r"]
    assert "Estimated by a method made by hand" in root.text_content()
    assert "mind <the> gap" in root.text_content()
    page = open_page(tmp_path / "walk_report.html")
    page.select_option("[data-pick]", "1")
    # Without cycles there is no curve over the cycle.
    assert page.locator(".chart:visible").count() == 1


def test_it_says_for_whom_bands_held_and_which_cycles_are_strange(tmp_path):
    rows = {"subjects": [{"name": "ann <b>", "coverage": 0.87, "width": 0.41}]}
    bands = Bands(0.9, {}, 5, 2.0, "worst subject", coverage={**rows, "muscles": rows["subjects"]})
    found = estimate(provenance=Provenance("x", "a method made by hand", bands=bands))
    cycles = [
        CycleTrust("r", 0.2, 1.3, 0.2, 1.1, 0.8, 1.4, input_distance=0.12, input_limit=0.5),
        CycleTrust("r", 1.3, 1.8, 1.3, 0.5, 0.8, 1.4, outside=1, reasons="cadence 2 strides/s: outside 0.71 to 1.2"),
    ]
    with ResultFiles(tmp_path) as files:
        write_report(files, "walk", found, cycles=cycles)
    root = lxml.html.fromstring((tmp_path / "walk_report.html").read_text(encoding="utf-8"))
    section = root.xpath("//section[@aria-labelledby='bands']")[0]
    text = [" ".join(cell.text_content() for cell in row) for row in section.xpath(".//tbody/tr")]
    assert text == [
        "ann <b> subject 87 0.41",
        "right, 1.30 s 2.00 – – – cadence 2 strides/s: outside 0.71 to 1.2",
        "right, 0.20 s 0.91 – 0.12 – within",
    ]
    assert "1 of 2 cycles are unlike those of the subjects" in section.text_content()
    with ResultFiles(tmp_path) as files:
        write_report(files, "plain", estimate())
    assert 'aria-labelledby="bands"' not in (tmp_path / "plain_report.html").read_text(encoding="utf-8")


def test_it_says_what_was_rolled_and_what_the_prior_decided(tmp_path):
    found = estimate()
    rolled = replace(found.muscles["soleus_r"], cycles=(Cycle("r", 0.2, 1.3, 0.5),))
    gains = {
        name: MuscleGain(name, "network", 0.3, 0.3, share, 0.0, 0.1)
        for name, share in (("soleus_r", 0.07), ("mystery_r", 0.6))
    }
    found = replace(found, muscles={**found.muscles, "soleus_r": rolled}, amplitude=Amplitude("torques", gains))
    with ResultFiles(tmp_path) as files:
        write_report(files, "walk", found)
    root = lxml.html.fromstring((tmp_path / "walk_report.html").read_text(encoding="utf-8"))
    worries = root.xpath("//section[@aria-labelledby='worries']")[0].text_content()
    assert "The right limb's cycle from 0.20 to 1.30 s does not begin with a heel strike" in worries
    assert "rolled to the one at 0.75 s" in worries
    assert "less than 20\N{NO-BREAK SPACE}% of the gain of soleus_r: how strong" in worries
    # Without torques there is nothing that they left open.
    with ResultFiles(tmp_path) as files:
        write_report(files, "plain", replace(found, amplitude=Amplitude("simulation", gains)))
    assert "of the gain of" not in (tmp_path / "plain_report.html").read_text(encoding="utf-8")


def test_measured_shapes_are_not_the_methods(tmp_path, caplog):
    """The method's errors are those of muscles that it estimated, and the methods paragraph says what was measured."""
    rows = {
        name: {"subjects": 4, "E_opensim": 0.3, "E_refined": error, "E_mean": 0.25, "Er_refined": -0.3}
        for name, error in (("soleus", 0.1), ("tib", 0.2))
    }
    found = estimate(provenance=Provenance("x", "a method", validation={"held_out": rows}))
    own = replace(found.muscles["soleus_r"], shape_source="EMG")
    beside = replace(own, muscle="tib_ant_r", standard_name="tib", shape_source="network", remark="half of soleus_r")
    found = replace(found, muscles={"soleus_r": own, "tib_ant_r": beside})
    with ResultFiles(tmp_path) as files:
        write_report(files, "walk", found)
    root = lxml.html.fromstring((tmp_path / "walk_report.html").read_text(encoding="utf-8"))
    text = re.sub(r"\s+", " ", root.text_content())
    assert "mean of the muscles without EMG of their own, was 0.200" in text
    assert "Shapes: the trial's own measured EMG for soleus_r; half of soleus_r for tib_ant_r." in text
    trust = root.xpath("//section[@aria-labelledby='trust']//tbody/tr")
    assert [row.xpath("string(*[1])") for row in trust] == ["tib_ant_r"]
    caplog.set_level("INFO", logger="opensim_nem2e")
    log_trust(found)
    assert "mean of 1 network: OpenSim 0.300, refined 0.200" in caplog.text


def test_bands_are_cut_to_what_was_estimated():
    charts = muscle_charts(estimate(), None, None)
    panel = charts.panels[0]
    low, high = panel.bands["refined"]
    inside = np.isfinite(panel.series["refined"])
    np.testing.assert_allclose((high - low)[inside], 0.2)
    assert np.isnan(low[~inside]).all()
    assert 'class="band refined"' in charts.drawn(0)


def test_seconds_of_a_clock_are_counted_from_the_start():
    """Single precision steps by two minutes at the Unix epoch's seconds of today."""
    time = 1667316692.8 + np.linspace(0.0, 10.0, 200)
    panel = Panel("m", "g", {"refined": np.sin(time)}, {}, changed=[(time[0], time[-1])], strikes=[time[50]])
    packed = ChartSet("muscles", "muscle", "excitation", time, {"refined": "estimated"}, [panel]).packed()
    assert packed["timeLabel"] == "time after 1667316692.800 s (s)"
    np.testing.assert_allclose(packed["panels"][0]["changed"], [[0.0, 10.0]], atol=1e-4)
    np.testing.assert_allclose(packed["panels"][0]["strikes"], [time[50] - time[0]], atol=1e-4)
    packed = ChartSet("muscles", "muscle", "excitation", time - time[0], {"refined": "estimated"}, [panel]).packed()
    assert packed["timeLabel"] == "time (s)"


def test_curves_over_rolled_cycles():
    values = np.sin(2 * np.pi * TIME)
    (row,) = over_cycles(TIME, values, [Cycle("l", 0.5, 1.5, 0.25)])
    np.testing.assert_allclose(row, np.sin(2 * np.pi * (0.75 + np.linspace(0, 1, PHASES))), atol=1e-3)
    np.testing.assert_array_equal(np.isnan(unpacked(pack(np.array([1.0, np.nan, 3.0])))), [False, True, False])
    np.testing.assert_allclose(unpacked(pack(np.array([1.0, 1.7, 3.0]))), [1.0, 1.7, 3.0], atol=1e-4)
    assert np.isnan(unpacked(pack(np.full(3, np.nan)))).all()


def test_in_a_browser(page, open_page):
    opened = open_page(page)
    assert opened.locator(".chart canvas").count() == 2
    opened.click(".small[aria-label='show tib_ant_l']")
    assert opened.locator("[data-pick] option:checked").inner_text() == "tib_ant_l"
    assert opened.get_attribute(".small[aria-label='show tib_ant_l']", "aria-pressed") == "true"
    opened.hover("[data-over=time] .u-over", position={"x": 300, "y": 60})
    values = opened.locator("[data-over=time] .values")
    shown = values.locator("span")
    # They are written with the browser's next frame.
    shown.nth(1).wait_for()
    assert re.fullmatch(r"\d\.\d{3} s", values.inner_text().split("\n")[0].strip()[:7])
    assert shown.evaluate_all("all => all.map((one) => one.title)") == ["OpenSim", "refined"]
    assert all(re.fullmatch(r"\d\.\d{3}", value) for value in shown.all_inner_texts())
    # The legend switches curves off and on.
    opened.click("[data-set=muscles] [data-curve=opensim]")
    opened.hover("[data-over=time] .u-over", position={"x": 310, "y": 60})
    shown.nth(1).wait_for(state="detached")
    assert shown.evaluate_all("all => all.map((one) => one.title)") == ["refined"]
    opened.click("[data-set=muscles] [data-curve=opensim]")
    opened.click("button[aria-label='next muscle']")
    assert opened.locator("[data-pick] option:checked").inner_text() == "soleus_r"


def test_on_a_phone(page, open_page):
    opened = open_page(page, width=390, height=844)
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    for box in (opened.locator(".chart").nth(k).bounding_box() for k in range(2)):
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    # No table is wider than the page.
    assert opened.evaluate(
        "[...document.querySelectorAll('.scroll')].every((one) => one.scrollWidth <= one.clientWidth)"
    )


@pytest.fixture(scope="module")
def with_model(refined_walking) -> Path:
    """The report of the shipped example, which has a model and a motion."""
    return refined_walking / "results" / "walking_report.html"


def test_the_skeleton_walks(with_model, open_page):
    assert with_model.stat().st_size < 5_000_000
    page = open_page(with_model)
    page.wait_for_function("report.colourOf !== undefined")

    def colours():
        return [page.evaluate(f"report.colourOf('{kind}', 'soleus_r')") for kind in ("opensim", "refined")]

    # To where the two soleus muscles differ most.
    files = [read_storage(with_model.parent / "walking_activation.sto"), read_storage(SOURCE)]
    times = np.array(page.evaluate("Array.from(report.unpack(report.data.view.times))"))
    refined, opensim = (
        np.interp(times, found.time, found.column(label))
        for found, label in zip(files, ("soleus_r", "/forceset/soleus_r/activation"), strict=True)
    )
    row = int(np.argmax(np.abs(refined - opensim)))
    assert abs(refined - opensim)[row] > 0.1

    canvas = page.locator("#model-view canvas")
    before, picture = colours(), canvas.screenshot()
    slider = page.locator("#model-view input")
    slider.fill(str(row))
    assert float(page.locator("#model-view output").inner_text().removesuffix(" s")) == pytest.approx(
        times[row], abs=1e-3
    )
    after = colours()
    assert before != after
    assert canvas.screenshot() != picture
    # The more active one is nearer to red.
    assert (int(after[1][:2], 16) > int(after[0][:2], 16)) == (refined > opensim)[row]
    # A click on the curve moves the slider.
    page.click("[data-over=time] .u-over", position={"x": 100, "y": 60})
    assert slider.input_value() != str(row)
    page.click("[data-play]")
    page.wait_for_function(f"document.querySelector('#model-view input').value !== '{slider.input_value()}'")
    page.click("[data-play]")


def test_amplitude_and_gains_are_told(with_model):
    """Torques decided on the amplitude: every gain stands in the page, beside what the networks put out."""
    root = lxml.html.fromstring(with_model.read_text(encoding="utf-8"))
    with (with_model.parent / "walking_gains.csv").open(newline="") as stream:
        rows = {row["muscle"]: row for row in csv.DictReader(stream) if row["shape"]}
    lines = root.xpath("//section[@aria-labelledby='gains']//tr")
    cells = {line.xpath("string(th)"): line.xpath("td/text()") for line in lines}
    assert set(rows) <= set(cells)
    for muscle, row in rows.items():
        shown = [float(cell) for cell in cells[muscle][1:3]]
        assert shown == pytest.approx([float(row["gain"]), float(row["prior"])], abs=1e-3)
    # Whose estimate is the mean profile, and for whom it is half of it, is said.
    assert cells["gasmed_r"][0] == "mean EMG profile (walk)"
    assert cells["soleus_r"][0].startswith("half network")
    (script,) = root.xpath("//script[@id='report-data']")
    charts = json.loads(script.text)["sets"]["muscles"]
    panel = next(panel for panel in charts["panels"] if panel["name"] == "soleus_r")
    written = read_storage(with_model.parent / "walking_activation.sto")
    time, after = unpacked(charts["time"]), unpacked(panel["series"]["refined"])
    inside = np.isfinite(after)
    expected = np.interp(time, written.time, written.column("soleus_r"))
    np.testing.assert_allclose(after[inside], expected[inside], atol=1e-3)
    panel = next(panel for panel in charts["panels"] if panel["name"] == "glmax1_r")
    unscaled, after = (unpacked(panel["series"][kind]) for kind in ("unscaled", "refined"))
    assert np.nanmax(unscaled) > 1.3 * np.nanmax(after)


@pytest.mark.slow
def test_the_skeleton_on_a_phone(with_model, open_page):
    page = open_page(with_model, width=390, height=844)
    page.wait_for_function("report.colourOf !== undefined")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every((one) => one.scrollWidth <= one.clientWidth)")
    box = page.locator("#model-view canvas").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    # The whole body is in the picture at every time, also after the page was hidden for a moment.
    page.set_viewport_size({"width": 1, "height": 844})
    page.set_viewport_size({"width": 390, "height": 844})
    frames = page.evaluate("report.data.view.frames")
    colours = set()
    for frame in range(0, frames, 7):
        page.locator("#model-view input").fill(str(frame))
        colours.add(page.evaluate("report.colourOf('refined', 'soleus_r')"))
        for x, y in page.evaluate("report.muscleEnds()"):
            assert abs(x) < 1
            assert abs(y) < 1
    assert len(colours) > 5


def test_without_opensim_there_is_no_view(tmp_path, monkeypatch, repository):
    monkeypatch.setattr(model_view, "find_spec", lambda name: None)
    tool = STDRRefineTool(repository / "examples" / "01_refine_walking" / "setup_refine.xml")
    tool.write_figures, tool.amplitude = False, "simulation"
    tool.setResultsDir(tmp_path)
    tool.run()
    text = (tmp_path / "walking_report.html").read_text(encoding="utf-8")
    assert "Python package, which is not installed" in text
    assert "<canvas" not in text
    assert "THREE" not in text


def test_bones_are_made_coarser():
    """A fine sphere becomes a coarse one of the same size; a small surface stays as it is."""
    steps = 150
    around, along = np.meshgrid(np.linspace(0, 2 * np.pi, steps), np.linspace(0, np.pi, steps))
    points = np.stack([np.cos(around) * np.sin(along), np.cos(along), np.sin(around) * np.sin(along)], axis=-1)
    first = (np.arange(steps - 1)[:, None] * steps + np.arange(steps - 1)).reshape(-1)
    halves = ([first, first + 1, first + steps], [first + 1, first + steps + 1, first + steps])
    faces = np.concatenate([np.column_stack(corners) for corners in halves])
    sphere = Shape("skull", 0.1 * points.reshape(-1, 3), faces)
    (vertices, triangles) = model_view.simplified([sphere], 5000)["skull"]
    assert 1000 < len(triangles) <= 5000
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.1, rtol=0.05)
    assert triangles.max() == len(vertices) - 1
    small = Shape("talus", np.eye(3), np.array([[0, 1, 2]]))
    both = model_view.simplified([small, replace(small, vertices=np.eye(3) + 1.0)])["talus"]
    np.testing.assert_array_equal(both[1], [[0, 1, 2], [3, 4, 5]])
