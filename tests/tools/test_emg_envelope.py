"""EMGEnvelopeTool from setup file to files that OpenSim opens."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest

from opensim_nem2e import EMGEnvelopeTool, TimeSeries, read_storage, write_storage
from opensim_nem2e.errors import MissingFileError, SetupError, StorageError
from opensim_nem2e.signals.emg import butterworth

ezc3d = pytest.importorskip("ezc3d")

RATE = 1000.0
TIME = np.arange(0.0, 8.0, 1.0 / RATE)


def burst(centre: float) -> np.ndarray:
    """One smooth burst a second, 0.02 to 1."""
    distance = (TIME - centre + 0.5) % 1.0 - 0.5
    return 0.02 + 0.98 * np.exp(-((distance / 0.15) ** 2))


SHAPES = {"soleus_r": burst(0.4), "tib_ant_r": burst(0.9)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, raw_emg):
    """The same walk as .sto, as .csv and, twice as loud, as .c3d, with a contraction louder than all."""
    folder = tmp_path_factory.mktemp("lab")
    data = np.column_stack([0.2 * raw_emg(shape, RATE, k) for k, shape in enumerate(SHAPES.values())])
    write_storage(folder / "walk1.sto", TimeSeries(TIME, ("ch1", "ch2"), data, name="walk1"))
    rows = np.column_stack([TIME, data])
    np.savetxt(folder / "walk2.csv", rows, "%.6f", ",", header="time,ch1,ch2", comments="")
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [100.0]
    file["parameters"]["POINT"]["LABELS"]["value"] = ["HEEL"]
    file["data"]["points"] = np.ones((4, 1, 800))
    file["parameters"]["ANALOG"]["RATE"]["value"] = [RATE]
    file["parameters"]["ANALOG"]["LABELS"]["value"] = ["ch1", "ch2", "Fz"]
    file["parameters"]["ANALOG"]["UNITS"]["value"] = ["V", "mV", "N"]
    file["data"]["analogs"] = np.stack([2e-3 * data[:, 0], 2.0 * data[:, 1], 700.0 + 0.0 * TIME])[np.newaxis]
    file.write(str(folder / "fast walk.c3d"))
    write_storage(folder / "mvc.sto", TimeSeries(TIME, ("ch1", "ch2"), 5.0 * data, name="mvc"))
    (folder / "channels.csv").write_text("channel,label\nch1,soleus_r\nch2,tib_ant_r\n")
    return folder


def tool_of(lab, tmp_path, files, **values) -> EMGEnvelopeTool:
    tool = EMGEnvelopeTool()
    tool.name = "subject01"
    tool.emg_files = [str(lab / file) for file in files]
    tool.channels_file = str(lab / "channels.csv")
    tool.results_directory = str(tmp_path / "results")
    for name, value in values.items():
        tool.set(name, value)
    return tool


def test_from_every_kind_of_file_to_opensim(lab, tmp_path, open_with_opensim):
    setup = tmp_path / "setup.xml"
    tool_of(lab, tmp_path, ["walk?.*", "fast?walk.c3d"]).printToXML(setup)
    assert EMGEnvelopeTool(setup).run()
    results = tmp_path / "results"
    paths = [results / f"{stem}_emg.sto" for stem in ("walk1", "walk2", "fast walk")]
    # 0 to 7.995 s at 200 Hz.
    assert set(map(tuple, open_with_opensim(paths).values())) == {(1600, 2, 1600, 2)}
    one, two, loud = map(read_storage, paths)
    assert one.labels == ("soleus_r", "tib_ant_r")
    # What the text file rounded to six digits.
    assert two.data == pytest.approx(one.data, abs=1e-5)
    # Normalised over the trials: the C3D file is twice as loud, in mV whatever its channels' units, and sets the 1.
    assert loud.data.max(axis=0) == pytest.approx([1.0, 1.0], abs=1e-8)
    assert loud.data == pytest.approx(2.0 * one.data, abs=1e-5)
    for column, shape in enumerate(SHAPES.values()):
        known = np.interp(one.time, TIME, butterworth(shape[:, None], RATE, 6.0, "lowpass", padding="even")[:, 0])
        assert np.corrcoef(one.data[:, column], known)[0, 1] > 0.96
    divisors = (results / "subject01_normalization.csv").read_text().splitlines()
    assert divisors[0] == "label,divisor,normalization"
    assert [row.split(",")[0] for row in divisors[1:]] == ["soleus_r", "tib_ant_r"]
    assert (results / "fast walk_emg.png").stat().st_size > 20_000
    assert (
        "walk1.sto: 2 channels, 1000 Hz, 0.000 to 7.999 s; taken for raw EMG."
        in (results / "subject01.log").read_text()
    )
    # The setup that was run names every file, and gives the same again.
    again = EMGEnvelopeTool(results / "subject01_effective_setup.xml")
    assert len(again.emg_files) == 3
    before = paths[2].read_bytes()
    again.write_figures = False
    again.run()
    assert paths[2].read_bytes() == before


def test_names_that_hold_spaces_and_signs_of_patterns(lab, tmp_path):
    folder = tmp_path / "lab [2]"
    folder.mkdir()
    for name in ("slow walk.sto", "walk [1]?.sto", "run1.sto"):
        shutil.copy(lab / "walk1.sto", folder / name)
    setup = folder / "setup.xml"
    setup.write_text(
        '<OpenSimDocument Version="40600"><EMGEnvelopeTool><results_directory>results</results_directory>'
        '<emg_files>"slow walk.sto" "walk [1]?.sto" run*.sto</emg_files><write_figures>false</write_figures>'
        "<high_pass_frequency/></EMGEnvelopeTool></OpenSimDocument>"
    )
    tool = EMGEnvelopeTool(setup)
    assert tool.high_pass_frequency is None
    assert tool.run()
    again = EMGEnvelopeTool(folder / "results" / "emg_effective_setup.xml")
    assert again.emg_files == ("../slow walk.sto", "../walk [1]?.sto", "../run1.sto")
    assert again.high_pass_frequency is None
    assert again.run()
    stems = {path.stem for path in (folder / "results").glob("*.sto")}
    assert stems == {"slow walk_emg", "walk [1]?_emg", "run1_emg"}


@pytest.mark.parametrize("mvc", [False, True])
def test_recordings_in_different_units(lab, tmp_path, caplog, mvc):
    """One in V among those in mV is told; a trial at rest is small, but its noise is not."""
    series = read_storage(lab / "walk1.sto")
    write_storage(tmp_path / "volts.sto", TimeSeries(TIME, series.labels, 1e-3 * series.data), precision=12)
    still = np.random.default_rng(0).normal(0.0, 0.004, series.data.shape)
    write_storage(tmp_path / "standing.sto", TimeSeries(TIME, series.labels, still), precision=12)
    files = ["walk1.sto", str(tmp_path / "standing.sto"), *([] if mvc else [str(tmp_path / "volts.sto")])]
    other = {"normalization": "mvc", "mvc_files": [str(tmp_path / "volts.sto")]} if mvc else {}
    tool_of(lab, tmp_path, files, write_figures=False, **other).run()
    told = [record.getMessage() for record in caplog.records if "are all in one unit?" in record.getMessage()]
    assert len(told) == 1
    assert "volts.sto: it is 1e+03 times smaller than the largest of the recordings, at rest, too" in told[0]


def test_normalization(lab, tmp_path):
    def largest(**values):
        tool_of(lab, tmp_path, ["walk1.sto"], write_figures=False, **values).run()
        return read_storage(tmp_path / "results" / "walk1_emg.sto").data

    plain = largest(normalization="none")
    assert largest() == pytest.approx(plain / plain.max(axis=0), abs=1e-7)
    mvc = largest(normalization="mvc", mvc_files=[str(lab / "mvc.sto")])
    assert mvc == pytest.approx(plain / plain.max(axis=0) / 5.0, abs=1e-7)
    half = largest(normalization="percentile", normalization_percentile=90.0)
    assert half == pytest.approx(plain / np.percentile(plain, 90.0, axis=0), abs=1e-6)
    assert half.max() > 1.0


def test_envelopes_pass_through(lab, tmp_path):
    tool_of(lab, tmp_path, ["walk1.sto"]).run()
    first = tmp_path / "results" / "walk1_emg.sto"
    for given in ("auto", "envelope"):
        tool = EMGEnvelopeTool()
        tool.emg_files = [str(first)]
        tool.input_type = given
        tool.results_directory = str(tmp_path / given)
        tool.run()
        again = read_storage(tmp_path / given / "walk1_emg.sto")
        # Once is enough: no 'walk1_emg_emg.sto'. The same rate and already normalised: nothing is left to do.
        assert again.data == pytest.approx(read_storage(first).data, abs=2e-8)
        assert "taken for envelopes" in (tmp_path / given / "emg.log").read_text() or given == "envelope"
    tool.input_type = "raw"
    tool.results_directory = str(tmp_path / "raw")
    tool.high_pass_frequency = 150.0
    with pytest.raises(StorageError, match=r"walk1_emg\.sto"):
        tool.run()


def test_what_is_neither_raw_nor_envelope_is_refused(tmp_path):
    slow = np.sin(2.0 * np.pi * TIME)[:, None]
    write_storage(tmp_path / "a.sto", TimeSeries(TIME, ("x",), slow))
    tool = EMGEnvelopeTool()
    tool.emg_files = [str(tmp_path / "a.sto")]
    tool.results_directory = str(tmp_path)
    with pytest.raises(StorageError, match="Set <input_type> to raw or envelope"):
        tool.run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.sto"]


def test_raw_emg_that_is_said_to_be_an_envelope_is_warned_of(lab, tmp_path, caplog):
    tool_of(lab, tmp_path, ["walk1.sto"], input_type="envelope", write_figures=False).run()
    assert "taken for envelopes, as <input_type> says, but half of its channels or more have their power" in caplog.text


def test_a_channel_that_is_missing_is_warned_of(lab, tmp_path, caplog):
    (tmp_path / "channels.csv").write_text("channel,label\nch1,soleus_r\nch22,tib_ant_r\n")
    tool = tool_of(lab, tmp_path, ["walk1.sto"], channels_file=str(tmp_path / "channels.csv"), write_figures=False)
    tool.run()
    assert "there is no channel 'ch22'. Did you mean 'ch2'?" in caplog.text
    assert read_storage(tmp_path / "results" / "walk1_emg.sto").labels == ("soleus_r",)
    (tmp_path / "channels.csv").write_text("channel,label\nA,soleus_r\n")
    with pytest.raises(StorageError, match="which has ch1, ch2"):
        tool.run()
    (tmp_path / "channels.csv").write_text("channel,label\nch1,soleus_r\nch2,soleus_r\n")
    with pytest.raises(StorageError, match="different from all others; found 'ch2,soleus_r'"):
        tool.run()


def test_noise_of_an_electrode_that_was_off_is_warned_of(lab, tmp_path, caplog):
    recorded = read_storage(lab / "walk1.sto")
    noise = 1e-4 * np.random.default_rng(1).standard_normal((recorded.n_rows, 1))
    data = np.hstack([recorded.data, noise])
    write_storage(tmp_path / "off.sto", TimeSeries(recorded.time, ("ch1", "ch2", "ch3"), data))
    tool = tool_of(lab, tmp_path, [], channels_file="", write_figures=False)
    tool.emg_files = [str(tmp_path / "off.sto")]
    tool.run()
    assert "ch3: weaker than 1 % of the strongest channel" in caplog.text
    caplog.clear()
    tool.emg_files = [str(lab / "walk1.sto")]
    tool.run()
    assert "weaker than" not in caplog.text


def test_channels_that_hold_no_emg_are_told(lab, tmp_path, caplog):
    recorded = read_storage(lab / "walk1.sto")
    first, second = recorded.data.T
    lost = np.where((TIME > 3.0) & (TIME < 4.0), 0.0, second)
    cable = first + np.where(np.abs(TIME - 6.0) < 0.04, 3.0 * np.sin(2.0 * np.pi * 60.0 * TIME), 0.0)
    data = np.column_stack([first, np.clip(second, -0.1, 0.1), -2.0 * first, lost, cable, np.full(TIME.size, np.nan)])
    labels = ("sound", "loud", "copied", "lost", "cable", "empty")
    write_storage(tmp_path / "walk1.sto", TimeSeries(TIME, labels, data))
    tool = tool_of(lab, tmp_path, [], channels_file="", write_figures=False)
    tool.emg_files = [str(tmp_path / "walk1.sto")]
    tool.run()
    assert read_storage(tmp_path / "results/walk1_emg.sto").labels == labels[:-1]
    told = [record.getMessage().partition(": ")[2] for record in caplog.records if record.levelname == "WARNING"]
    assert [text.split(" ")[0] for text in told] == ["left", "one", "cut", "'copied'", "the"]
    assert "there is no number in them: empty." in told[0]
    assert "lost (3.001 to 3.999 s)." in told[1]
    assert "can give: loud (" in told[2]
    assert told[3].startswith("'copied' is a copy of 'sound'")
    assert "of 'cable' is at 6.0" in told[4]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"filter_order": 3}, "<filter_order> must be even"),
        ({"band_end_frequency": 10.0}, "<band_end_frequency> must be above <high_pass_frequency>"),
        ({"normalization": "mvc"}, "<mvc_files> goes with <normalization> mvc"),
        ({"output_rate": 10.0}, "<output_rate> must be at least four times"),
        ({"emg_files": ()}, "<emg_files> must be given"),
    ],
)
def test_settings_that_contradict_each_other(lab, tmp_path, values, message):
    with pytest.raises(SetupError, match=message):
        tool_of(lab, tmp_path, ["walk1.sto"], **values).run()


def test_files(lab, tmp_path):
    with pytest.raises(MissingFileError, match=r"no file fits .*no\*"):
        tool_of(lab, tmp_path, ["no*.sto"]).run()
    (tmp_path / "walk1.csv").write_text("time,a\n0,1\n")
    with pytest.raises(SetupError, match="two are called 'walk1'"):
        tool_of(lab, tmp_path, ["walk1.sto", str(tmp_path / "walk1.csv")]).run()


def test_mains_hum_is_warned_of_until_it_is_notched(lab, tmp_path, caplog):
    series = read_storage(lab / "walk1.sto")
    data = series.data.copy()
    data[:, 1] += 0.2 * np.sin(2.0 * np.pi * 50.0 * TIME)
    write_storage(tmp_path / "hum.sto", TimeSeries(TIME, series.labels, data))
    tool = tool_of(lab, tmp_path, [tmp_path / "hum.sto"], write_figures=False)
    tool.run()
    warning = next(record.getMessage() for record in caplog.records if "mains hum" in record.getMessage())
    assert "mains hum of 50 Hz" in warning
    assert "tib_ant_r (" in warning
    # The other channel has none, and after the notch there is nothing to say.
    assert "soleus_r" not in warning
    caplog.clear()
    tool.notch_frequencies = [50.0]
    tool.run()
    assert "mains hum" not in caplog.text


def test_an_export_of_a_laboratory_from_beginning_to_end(lab, tmp_path, caplog):
    """Labels with commas, a channels file of a European spreadsheet, accelerometers: said, quoted, left out."""
    raw = read_storage(lab / "walk1.sto")
    rows = [
        f"{t:.4f};{a:.6f};{b:.6f};{0.01 * k:.4f}".replace(".", ",")
        for k, (t, a, b) in enumerate(zip(raw.time, *raw.data.T, strict=True))
    ]
    head = ["Name;walk1", "", '"Time,s";"RT SOLEUS,uV";"RT TIB.ANT.,uV";"RT Acc X"']
    (tmp_path / "walk.csv").write_text("\n".join([*head, *rows]) + "\n", encoding="utf-16")
    plain = tool_of(lab, tmp_path, [str(tmp_path / "walk.csv")], channels_file="", write_figures=False)
    plain.run()
    assert "left out (another sensor): RT Acc X" in caplog.text
    table = (tmp_path / "results" / "subject01_normalization.csv").read_text().splitlines()
    assert [len(next(csv.reader([line]))) for line in table] == [3, 3, 3]
    assert table[1].startswith('"RT SOLEUS,uV",')
    (tmp_path / "channels.csv").write_text('channel;label\n"RT SOLEUS,uV";soleus_r\n')
    tool_of(
        lab, tmp_path, [str(tmp_path / "walk.csv")], channels_file=str(tmp_path / "channels.csv"), write_figures=False
    ).run()
    assert "left out (not among the channels asked for): RT TIB.ANT.,uV, RT Acc X" in caplog.text
    found = read_storage(tmp_path / "results" / "walk_emg.sto")
    assert found.labels == ("soleus_r",)
    tool_of(lab, tmp_path, ["walk1.sto"], write_figures=False).run()
    same = read_storage(tmp_path / "results" / "walk1_emg.sto")
    assert found.column("soleus_r") == pytest.approx(same.column("soleus_r"), abs=1e-4)
