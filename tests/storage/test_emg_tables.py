"""EMG as the software of laboratories exports it: small tables in the layout of each."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensim_nem2e.errors import LabelError, StorageError
from opensim_nem2e.storage.emg_files import read_emg

RATE = 1000.0
COUNT = 40
TIME = np.arange(COUNT) / RATE
#: Two channels whose values cannot be confused, with six decimals.
ONE, TWO = np.round(0.01 * np.sin(np.arange(COUNT)), 6), np.round(1.0 + 0.02 * np.cos(np.arange(COUNT)), 6)


def rows(*columns, form="{:.6f}", separator=","):
    return [separator.join(form.format(value) for value in row) for row in zip(*columns, strict=True)]


def saved(tmp_path, *lines, name="a.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def check(series, labels, *columns, time=TIME):
    assert series.labels == tuple(labels)
    assert series.time == pytest.approx(time, abs=1e-9)
    assert series.data == pytest.approx(np.column_stack(columns), abs=1e-9)


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, logger="opensim_nem2e")
    return caplog


#: What may stand above a table.
PREAMBLE = ["Name,walk1", "Subject;Müller", "Date\t2026-01-01 10:00", "2026", "", '12" cable', "1000,16"]


@settings(deadline=None, max_examples=80)
@given(
    layout=st.tuples(
        st.sampled_from([",", ";", "\t", " "]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.booleans(),
        st.lists(st.sampled_from(PREAMBLE), max_size=4),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["", " (s)", "[s]", " (ms)", ",s"]),
    ),
    labels=st.lists(
        st.sampled_from(["soleus_r", "EMG 1", "RT SOLEUS,uV", "Voltage.R TA", "µ", "X", "1", "Ch (M)"]),
        min_size=1,
        max_size=4,
        unique=True,
    ),
    data=st.data(),
)
def test_the_same_recording_in_every_layout(tmp_path_factory, layout, labels, data):
    separator, encoding, newline, decimal_comma, preamble, units, comments, trailing, time_unit = layout
    decimal_comma = decimal_comma and separator != ","
    count = data.draw(st.integers(3, 12))
    values = np.array(
        data.draw(
            st.lists(
                st.lists(st.integers(-(10**6), 10**6), min_size=len(labels), max_size=len(labels)),
                min_size=count,
                max_size=count,
            )
        )
    )
    values = values / 1e4
    time = np.arange(count) * (1.0 if "ms" in time_unit else 0.001)
    header = ['"' + name + '"' for name in ("Time" + time_unit, *labels)]
    body = [[f"{t:.3f}", *(f"{v:.4f}" for v in row)] for t, row in zip(time, values, strict=True)]
    if decimal_comma:
        body = [[cell.replace(".", ",") for cell in row] for row in body]
    end = separator if trailing and separator != " " else ""
    lines = list(preamble)
    lines += ["# made by hand"] if comments else []
    lines.append(separator.join(header) + end)
    lines += [separator.join(["s" if "ms" not in time_unit else "ms"] + ["mV"] * len(labels)) + end] if units else []
    lines += [separator.join(row) + end for row in body]
    path = tmp_path_factory.mktemp("emg") / "a.csv"
    path.write_bytes((newline.join(lines) + newline).encode(encoding))
    series = read_emg(path)
    assert series.labels == tuple(labels)
    assert series.time == pytest.approx(np.arange(count) / 1000.0)
    assert series.data.tolist() == values.tolist()


def test_delsys_with_a_time_column_for_each_sensor(tmp_path, told):
    path = saved(tmp_path, "X[s],EMG 1,X[s],EMG 2", *rows(TIME, ONE, TIME, TWO))
    check(read_emg(path), ["EMG 1", "EMG 2"], ONE, TWO)
    # Accelerometers at a tenth of the rate leave blank cells behind their last row.
    slow = [f"{k * 0.01:.5f},{k:.3f}" if k < 4 else "," for k in range(COUNT)]
    lines = [f"{a},{s},{b}" for a, s, b in zip(rows(TIME, ONE), slow, rows(TIME, TWO), strict=True)]
    preamble = [
        "Label: T: EMG 1 Sampling frequency: 1000 Number of points: 40 start: 0 Unit: Volt Domain Unit: s",
        "Label: T: Acc 1.X Sampling frequency: 100 Number of points: 4 start: 0 Unit: g Domain Unit: s",
        "",
    ]
    path = saved(tmp_path, *preamble, "X[s],T: EMG 1,X[s],T: Acc 1.X,X[s],T: EMG 2", *lines)
    check(read_emg(path), ["T: EMG 1", "T: EMG 2"], ONE, TWO)
    assert "left out (another sensor): T: Acc 1.X" in told.text
    # Without a telling name, its rate gives it away.
    path = saved(tmp_path, "X[s],A,X[s],B,X[s],C", *lines)
    check(read_emg(path), ["A", "C"], ONE, TWO)
    assert "left out (at 100 Hz): B" in told.text
    # Who asks for one channel of those gets it.
    assert read_emg(path, channels=["B"]).n_rows == 4


def test_delsys_with_two_rates_of_emg(tmp_path, told):
    fast, slow = np.arange(400) / 2000.0, np.arange(220) / 1111.111

    def wave(time):
        return np.sin(2.0 * np.pi * 80.0 * time)

    lines = []
    for k in range(400):
        other = f"{slow[k]:.7f},{wave(slow[k]):.7f}" if k < 220 else ","
        lines.append(f"{fast[k]:.7f},{wave(fast[k]):.7f},{other}")
    series = read_emg(saved(tmp_path, "X[s],EMG 1,X[s],EMG 2", *lines))
    assert series.time[[0, -1]] == pytest.approx([0.0, slow[-1]], abs=1e-3)
    inner = slice(20, -20)
    assert series.data[inner, 1] == pytest.approx(wave(series.time[inner]), abs=0.01)
    assert "brought to those of 'X[s]' (2000 Hz) by a cubic spline: EMG 2" in told.text


VICON = [
    "Devices",
    "1000",
    ",,Force Plate #1 - Force,,,Trigno - Voltage,",
    "Frame,Sub Frame,Fx,Fy,Fz,EMG1,EMG2",
    ",,N,N,N,V,V",
]
TRAJECTORIES = [
    "",
    "Trajectories",
    "100",
    ",,S:HEEL,,",
    "Frame,Sub Frame,X,Y,Z",
    ",,mm,mm,mm",
    "11,0,1,2,3",
    "12,0,1,2,3",
]


def test_vicon_nexus_with_several_blocks(tmp_path, told):
    frames = [f"{11 + k // 10},{k % 10}" for k in range(COUNT)]
    data = [f"{f},1,2,700,{v}" for f, v in zip(frames, rows(ONE, TWO), strict=True)]
    for blocks in ([*VICON, *data, *TRAJECTORIES], [*TRAJECTORIES[1:], "", *VICON, *data]):
        path = saved(tmp_path, *blocks)
        # Volts are brought to mV, as those of C3D files are.
        check(read_emg(path), ["EMG1", "EMG2"], 1e3 * ONE, 1e3 * TWO)
        check(read_emg(path, c3d_start="first_frame"), ["EMG1", "EMG2"], 1e3 * ONE, 1e3 * TWO, time=TIME + 0.1)
    assert "left out (in n): Fx, Fy, Fz" in told.text
    assert "its first frame is number 11 (0.1000 s into the recording); its time starts at 0.0000 s. If" in told.text
    with pytest.raises(StorageError, match="Frames are missing"):
        read_emg(saved(tmp_path, *VICON, *data[:7], *data[8:]))
    with pytest.raises(StorageError, match="must have one block 'Devices'; found Trajectories"):
        read_emg(saved(tmp_path, *TRAJECTORIES[1:]))
    # Two amplifiers call their channels the same: their own names tell them apart.
    two = [*VICON[:2], ",,Left,Right", "Frame,Sub Frame,EMG1,EMG1", ",,V,V"]
    path = saved(tmp_path, *two, *(f"{f},{v}" for f, v in zip(frames, rows(ONE, TWO), strict=True)))
    check(read_emg(path), ["Left: EMG1", "Right: EMG1"], 1e3 * ONE, 1e3 * TWO)


def test_noraxon(tmp_path, told):
    check(
        read_emg(
            saved(
                tmp_path,
                "Name,walk1",
                "Frequency,1000",
                "",
                '"Time,s","RT SOLEUS,uV","RT TIB.ANT.,uV"',
                *rows(TIME, ONE, TWO),
            )
        ),
        ["RT SOLEUS,uV", "RT TIB.ANT.,uV"],
        ONE,
        TWO,
    )
    # Activities and markers are words.
    lines = [
        f"{t},Walk,{'step' if k == 7 else ''},{v}" for k, (t, v) in enumerate(zip(rows(TIME), rows(ONE), strict=True))
    ]
    path = saved(tmp_path, "Type,csv", "time,Activity,Marker,RT SOLEUS (uV)", *lines)
    check(read_emg(path), ["RT SOLEUS (uV)"], ONE)
    assert "left out (words): Activity, Marker" in told.text


def test_qualisys_and_bts(tmp_path, told):
    head = ["NO_OF_SAMPLES\t40", "TOT_NO_OF_CHAN\t2", "FREQUENCY\t1000", "TIME_STAMP\t2026-01-01, 10:00:00"]
    body = rows(ONE, TWO, separator="\t")
    for lines in (["CHANNEL_NAMES\tSOL\tTA", *body], ["SOL\tTA", *body]):
        check(read_emg(saved(tmp_path, *head, *lines, name="a.tsv")), ["SOL", "TA"], ONE, TWO)
    assert "its own statement of 1000 Hz is used" in told.text
    with_time = [f"{k + 1}\t{t}\t{v}" for k, (t, v) in enumerate(zip(rows(TIME), body, strict=True))]
    check(read_emg(saved(tmp_path, *head, "SAMPLE\tTIME\tSOL\tTA", *with_time, name="a.tsv")), ["SOL", "TA"], ONE, TWO)
    bts = [
        "BTS ASCII format",
        "Type:\tEmg tracks",
        "Measure unit:\tV",
        "Tracks:\t2",
        "Frequency:\t1000 Hz",
        "Frames:\t40",
    ]
    check(
        read_emg(saved(tmp_path, *bts, "Start time:\t0.000", "", "Frame\tTime\tR SOL\tR TA", *with_time, name="a.emt")),
        ["R SOL", "R TA"],
        ONE,
        TWO,
    )
    assert "left out (numbers of rows): Frame" in told.text


def test_labchart_vicon_workstation_and_biopac(tmp_path):
    """What these write between the labels and the numbers is neither."""
    chart = ["Interval=\t1 ms", "TimeFormat=\tStartOfBlock", "ChannelTitle=\tSOL\tTA", "Range=\t10.000 V\t5.000 mV"]
    for lines in (rows(TIME, ONE, TWO, separator="\t"), rows(ONE, TWO, separator="\t")):
        check(read_emg(saved(tmp_path, *chart, *lines, name="a.txt")), ["SOL", "TA"], ONE, TWO)
    noted = [f"{row}\t#* heel strike" if k == 7 else row for k, row in enumerate(rows(TIME, ONE, TWO, separator="\t"))]
    check(read_emg(saved(tmp_path, *chart, *noted, name="a.txt")), ["SOL", "TA"], ONE, TWO)
    with pytest.raises(StorageError, match=f"{COUNT + 5}: 'Interval=' stands here a second time, .* a file of its own"):
        read_emg(saved(tmp_path, *chart, *noted, *chart, *noted, name="a.txt"))
    vicon = ["ANALOG", "1000,Hz", "Sample #,SOL,TA", "Units:,V,uV"]
    counted = [f"{k + 1},{row}" for k, row in enumerate(rows(ONE, TWO))]
    check(read_emg(saved(tmp_path, *vicon, *counted)), ["SOL", "TA"], 1e3 * ONE, 1e-3 * TWO)
    for unit, times in (("min", TIME / 60.0), ("msec", 1e3 * TIME), ("sec", TIME)):
        head = ["walk.acq", "1 msec/sample", "2 channels", "EMG", "mV", f"{unit},CH1,CH2,", f",{COUNT},{COUNT},"]
        lines = [f"{t:.12g},{row}," for t, row in zip(times, rows(ONE, TWO), strict=True)]
        check(read_emg(saved(tmp_path, *head, *lines)), ["CH1", "CH2"], ONE, TWO)


@pytest.mark.parametrize("preamble", [["1000,16"], ["1000,16", "2026"], ["Name,walk1", "1000,16", "2026"]])
@pytest.mark.parametrize("count", [3, 40])
def test_numbers_in_the_preamble_are_no_rows(tmp_path, preamble, count):
    path = saved(tmp_path, *preamble, "Time,SOL", *rows(TIME, ONE)[:count])
    check(read_emg(path), ["SOL"], ONE[:count], time=TIME[:count])


def test_the_adductor_magnus_is_no_magnetometer(tmp_path, told):
    labels = ["add_mag1_r", "R Adductor Magnus", "L Add Mag", "Mag X", "Magnetometer 1"]
    path = saved(tmp_path, ",".join(["time", *labels]), *rows(TIME, *[ONE] * 5))
    check(read_emg(path), labels[:3], ONE, ONE, ONE)
    assert "left out (another sensor): Mag X, Magnetometer 1" in told.text


def test_units_comments_and_columns_that_count(tmp_path, told):
    units = saved(
        tmp_path, "# amplifier 3", "Zeit;SOL;TA;Acc", "ms;mV;mV;g", *rows(TIME * 1e3, ONE, TWO, ONE, separator=";")
    )
    check(read_emg(units), ["SOL", "TA"], ONE, TWO)
    assert "left out (in g): Acc" in told.text
    numpys = saved(tmp_path, "# time soleus_r tib_ant_r", *rows(TIME, ONE, TWO, separator=" "), name="a.txt")
    check(read_emg(numpys), ["soleus_r", "tib_ant_r"], ONE, TWO)
    pandas = saved(tmp_path, ",time,SOL", *(f"{k},{row}" for k, row in enumerate(rows(TIME, ONE))))
    check(read_emg(pandas), ["SOL"], ONE)
    index = saved(tmp_path, "index,SOL", *(f"{k},{row}" for k, row in enumerate(rows(ONE))))
    check(read_emg(index, sampling_rate=RATE), ["SOL"], ONE)
    assert "left out (numbers of rows): index" in told.text
    # What counts nothing is a channel, whatever its name.
    check(read_emg(saved(tmp_path, "N,SOL", *rows(TWO, ONE)), sampling_rate=RATE), ["N", "SOL"], TWO, ONE)


def test_one_channel_without_time(tmp_path):
    for label in ("soleus_r", "EMG1", "x;y", '"a,b"'):
        path = saved(tmp_path, label, *rows(ONE))
        series = read_emg(path, sampling_rate=RATE)
        assert series.data[:, 0] == pytest.approx(ONE)
        assert series.labels == (label.strip('"'),)
    commas = saved(tmp_path, "SOL", *(row.replace(".", ",") for row in rows(ONE)))
    check(read_emg(commas, sampling_rate=RATE), ["SOL"], ONE)
    with pytest.raises(StorageError, match=r"'1,25' may be two values, or one with a decimal comma"):
        read_emg(saved(tmp_path, "SOL", "1,25", "2,35", "3,45"), sampling_rate=RATE)


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ([], 1, "The table is empty"),
        (["time,a"], 1, "No rows of numbers were found"),
        (rows(ONE, TWO), 1, "has no row of labels: its first row holds numbers. Add one above its 2 columns, such as"),
        (["# made by hand", *rows(ONE, TWO)], 2, "has no row of labels"),
        (["a,b", *rows(ONE, TWO, ONE)], 1, "one for each column: 2 are here, but the rows below it have 3 values"),
        (["time,a,b,c", *rows(TIME, ONE)], 1, "4 are here, but the rows below it have 2 values"),
        (
            ["time,a,b", "0,1,2", "0.001,3", "0.002,5,6", "0.003,5,6"],
            3,
            "must have 3 values, as there are labels; found 2",
        ),
        (["time,a,b", "0,1,2", "0.001,3,4", "0.002,5,6,7"], 4, "must have 3 values, .* found 4"),
        (["time,a", "0,1", "0.001,off", "0.002,3", "0.003,4"], 3, "'a' must hold numbers .*; found 'off'"),
        (["time,a", "0,1", "0.001,1_000", "0.002,3"], 3, "found '1_000'"),
        (["time,a", "0,1", "0.001,\u0661\u0662", "0.002,3"], 3, "must hold numbers"),
        (["time,a", "0,1", "0.001,inf", "0.002,3"], 3, "must hold finite numbers; found infinity"),
        (["time,a", "0,1", "0.001,1e999", "0.002,3"], 3, "must hold finite numbers"),
        (["time,a", "0,1", ",3", "0.002,5"], 3, "'time' must hold a number in every row"),
        (["time,a", "0,1", "0.001,3", "0.0005,5"], 4, "Time must increase, but 0.0005 s follows 0.001 s"),
        (["time,a,a,a", *rows(TIME, ONE, ONE, ONE)], 1, r"'a' appears 3 times \(columns 2, 3, 4\)"),
        (["time,a,", *rows(TIME, ONE, TWO)], 1, "2 are here, but the rows below it have 3"),
        (["time,,a", *rows(TIME, TWO, ONE)], 1, "Column 2 has no label"),
        (["time (h),a", *rows(TIME, ONE)], 1, "unit of time must be one of s, ms, us, min; found 'h'"),
        (["time;a", "0,001;1.5", "0,002;2.5"], 2, "all decimal commas or all decimal points"),
        (['time,"a', *rows(TIME, ONE)], 1, "A quote opens in this line and is never closed"),
        (["time,Acc X", *rows(TIME, ONE)], 1, "None of the columns holds EMG; found 'time', 'Acc X'"),
    ],
)
def test_what_is_refused(tmp_path, lines, line, message):
    with pytest.raises(StorageError, match=message) as caught:
        read_emg(saved(tmp_path, *lines))
    assert caught.value.line == line


def test_an_implausible_rate_is_questioned(tmp_path):
    path = saved(tmp_path, "time,SOL", *rows(500.0 * TIME, ONE))
    with pytest.raises(StorageError, match=r"gives a rate of 2 Hz, but .* Name its unit, such as 'time \(ms\)'"):
        read_emg(path)
    assert read_emg(path, sampling_rate=2.0).time[1] == 0.5
    with pytest.raises(StorageError, match=r"of 1e\+06 Hz, but"):
        read_emg(saved(tmp_path, "time (ms),SOL", *rows(TIME, ONE)))


def test_times_that_were_rounded(tmp_path, told):
    exact = np.arange(COUNT) / 2000.0
    path = saved(tmp_path, "time,SOL", *(f"{t:.3f},{v:.6f}" for t, v in zip(exact, ONE, strict=True)))
    series = read_emg(path)
    assert "times were rounded to 0.001 s and repeat" in told.text
    assert 1.0 / np.diff(series.time) == pytest.approx(np.full(COUNT - 1, 2000.0), rel=0.03)
    assert read_emg(path, sampling_rate=2000.0).time == pytest.approx(exact, abs=5e-4)
    assert 1.0 / np.diff(read_emg(path, sampling_rate=2000.0).time) == pytest.approx(np.full(COUNT - 1, 2000.0))
    with pytest.raises(StorageError, match="1500 Hz was given, but the table has a time column"):
        read_emg(path, sampling_rate=1500.0)
    # A gap is no rounding.
    gap = exact + 0.05 * (np.arange(COUNT) > 20)
    with pytest.raises(StorageError, match="Time must increase"):
        read_emg(saved(tmp_path, "time,SOL", *(f"{t:.3f},{v:.6f}" for t, v in zip(gap, ONE, strict=True))))


def test_channels_that_are_asked_for(tmp_path, told):
    path = saved(tmp_path, "time,SOL,TA,Force", *rows(TIME, ONE, TWO, ONE))
    check(read_emg(path, channels=["SOL"]), ["SOL"], ONE)
    assert "left out (not among the channels asked for): TA, Force" in told.text
    check(read_emg(path, channels=["Force", "SOLL"]), ["Force"], ONE)
    assert "there is no channel 'SOLL'. Did you mean 'SOL'?" in told.text
    with pytest.raises(StorageError, match=r"None of the channels .* which has time, SOL, TA, Force"):
        read_emg(path, channels=["X"])
    # The same label twice is no matter until it is asked for.
    path = saved(tmp_path, "time,EMG,EMG,TA", *rows(TIME, ONE, ONE, TWO))
    check(read_emg(path, channels=["TA"]), ["TA"], TWO)
    with pytest.raises(LabelError, match="'EMG' appears 2 times"):
        read_emg(path, channels=["EMG", "TA"])


def test_excel(tmp_path, told):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [["Subject", "S1"], [], ["time", "SOL", "TA"], ["s", "mV", "mV"], *zip(TIME, ONE, TWO, strict=True)]:
        book.active.append([value if isinstance(value, str) else float(value) for value in row])
    book.save(tmp_path / "a.xlsx")
    check(read_emg(tmp_path / "a.xlsx"), ["SOL", "TA"], ONE, TWO)
    (tmp_path / "b.xlsx").write_bytes((tmp_path / "a.xlsx").read_bytes()[:3000])
    with pytest.raises(StorageError, match="cannot be read as an Excel file"):
        read_emg(tmp_path / "b.xlsx")


def test_trigno_discover_and_its_rates(tmp_path, told):
    # Sensors and modes above the labels, rates below, times of each sensor, blanks at the end.
    slow = np.arange(10) / 250.0
    lines = [
        "Application:,Trigno Discover",
        "Date/Time:,11/27/2024 09:12:33 AM",
        "",
        "Sensor one (81234),,,,Sensor two (81235),",
        "sensor mode: EMG+ACC,,,,sensor mode: EMG,",
        "EMG 1 Time Series (s),EMG 1 (mV),ACC X Time Series (s),ACC X (G),EMG 1 Time Series (s),EMG 1 (mV)",
        "1000 Hz,1000 Hz,250 Hz,250 Hz,1000 Hz,1000 Hz",
    ]
    for k in range(COUNT):
        acc = f"{slow[k]:.4f},0.5" if k < len(slow) else ","
        lines.append(f"{TIME[k]:.4f},{ONE[k]:.6f},{acc},{TIME[k]:.4f},{TWO[k]:.6f}")
    found = read_emg(saved(tmp_path, *lines))
    check(found, ["Sensor one (81234): EMG 1 (mV)", "Sensor two (81235): EMG 1 (mV)"], ONE, TWO)
    assert "ACC X (G)" in told.text


@pytest.mark.parametrize(
    "line", ["Sampling rate: 1 kHz", "SamplingRate=1000", "Frequenz,1000", "fs = 1000 Hz", "Sample Rate (Hz),1000"]
)
def test_ways_to_state_a_rate(tmp_path, line):
    check(read_emg(saved(tmp_path, line, "a,b", *rows(ONE, TWO))), ["a", "b"], ONE, TWO)


@pytest.mark.parametrize("label", ["Abs Time", "Elapsed time (s)", "frame time", "Czas [s]", "時間", "s"])
def test_more_names_of_time(tmp_path, label):
    check(read_emg(saved(tmp_path, f"{label},a,b", *rows(TIME, ONE, TWO))), ["a", "b"], ONE, TWO)


def test_a_column_that_rises_evenly_is_no_emg(tmp_path, told):
    count = np.arange(60)
    values = np.round(np.sin(count), 6)
    path = saved(tmp_path, "time,a,tick", *rows(count / RATE, values, 5.0 + 2 * count))
    assert read_emg(path).labels == ("a",)
    assert "it only goes up, evenly): tick" in told.text
    # Unless it is asked for.
    assert read_emg(path, channels=["a", "tick"]).labels == ("a", "tick")


def test_force_plates_and_triggers_are_other_sensors(tmp_path, told):
    columns = "time,a,Fz,Mx1,CoPx,Synch"
    found = read_emg(saved(tmp_path, columns, *rows(TIME, ONE, TWO, TWO, TWO, TWO)))
    assert found.labels == ("a",)
    assert "left out (another sensor): Fz, Mx1, CoPx, Synch" in told.text


def test_numbers_of_rows_that_leave_some_out_are_refused_without_times(tmp_path):
    frames = np.where(np.arange(COUNT) < 20, np.arange(COUNT), np.arange(COUNT) + 500)
    path = saved(tmp_path, "Frame,a,b", *rows(frames, ONE, TWO))
    with pytest.raises(StorageError, match=r"a\.csv:22: Rows are missing, .*'Frame' 520 follows 19"):
        read_emg(path, sampling_rate=RATE)
    path = saved(tmp_path, "Frame,time,a,b", *rows(frames, TIME, ONE, TWO))
    check(read_emg(path), ["a", "b"], ONE, TWO)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["time,a", *(f"00:00:00.{k:03d},1.5" for k in range(5))], "'00:00:00.000' in line 2 is no number"),
        (["time,phase,a", *(f"{k},stance,1.5" for k in range(5))], "'stance' in line 2 is no number"),
        (["time,a", "0.000,***", *(f"{k / 1000:.3f},1.5" for k in range(1, 5))], r":2: '\*\*\*' stands among numbers"),
    ],
)
def test_words_among_numbers_are_named(tmp_path, lines, found):
    with pytest.raises(StorageError, match=found):
        read_emg(saved(tmp_path, *lines))
