"""The readers that are fuzzed: how each is called, what a good file looks like, and the words of its format."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from opensim_nem2e.errors import NEM2EError

#: Reads bytes as its file; whatever it raises but errors of this package is a finding.
Read = Callable[[bytes], object]


@dataclass(frozen=True)
class Reader:
    """A reader.

    Parameters
    ----------
    name : str
        What it is called in reports.
    prepare : callable
        Given a folder of its own; returns a function that reads bytes.
    seeds : callable
        Returns good files.
    words : sequence of str
        Words that its format knows.
    """

    name: str
    prepare: Callable[[Path], Read]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[str] = ()


def try_input(read: Read, content: bytes) -> BaseException | None:
    """Read an input; return what it must not raise."""
    try:
        read(content)
    except NEM2EError as error:
        if len(str(error)) > 20_000:
            return AssertionError(f"a message of {len(str(error))} characters")
        return None
    except Exception as error:
        return error
    return None


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Path], Read]:
    def prepare(folder: Path) -> Read:
        path = folder / name

        def run(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        return run

    return prepare


# --- what is read -----------------------------------------------------------------------------------------------------


def _storage(path: Path) -> None:
    from opensim_nem2e.storage import read_storage

    series = read_storage(path)
    assert np.isfinite(series.time).all(), "times that are not finite"
    assert series.data.shape == (len(series.time), len(series.labels))


def _emg(path: Path) -> None:
    from opensim_nem2e.storage.emg_files import read_emg

    series = read_emg(path)
    assert np.isfinite(series.time).all(), "times that are not finite"


def _repair(path: Path) -> None:
    from opensim_nem2e.storage.repair import repair_file

    repair_file(path)


def _setup(path: Path) -> None:
    from opensim_nem2e.tools.tool_registry import load_tool

    tool = load_tool(path)
    tool.check()
    assert tool.to_xml()


def _opensim_setup(path: Path) -> None:
    from opensim_nem2e.storage.opensim_setup import read_opensim_setup
    from opensim_nem2e.tools.pipeline.plan import STEP_TOOLS

    setup = read_opensim_setup(path, STEP_TOOLS)
    setup.writes(path)


def _osim(path: Path) -> None:
    from opensim_nem2e.storage import read_model

    read_model(path)


def _controls(path: Path) -> None:
    from opensim_nem2e.storage.controls_xml import read_controls_xml

    series = read_controls_xml(path)
    assert np.isfinite(series.time).all(), "times that are not finite"


def _external_loads(path: Path) -> None:
    from opensim_nem2e.storage.external_loads import read_external_loads

    read_external_loads(path)


def _trials(path: Path) -> None:
    from opensim_nem2e.data.manifest import examine_trials

    for trial in examine_trials(path)[0]:
        assert np.isfinite([trial.start, trial.end]).all()
        assert "/" not in trial.subject + trial.trial + trial.dataset


def _channels(path: Path) -> None:
    from opensim_nem2e.data.manifest import examine_channels

    for channel in examine_channels(path)[0]:
        assert channel.standard_name.isascii()


def _events(path: Path) -> None:
    from opensim_nem2e.storage.events_table import read_gait_events

    for event in read_gait_events(path):
        assert np.isfinite(event.time)


def _trc(path: Path) -> None:
    from opensim_nem2e.storage.trc import read_trc

    markers = read_trc(path)
    assert np.isfinite(markers.time).all(), "times that are not finite"


def _muscle_names(path: Path) -> None:
    from opensim_nem2e.storage import MuscleNames

    for name in MuscleNames.load(path).standard_names:
        assert name.replace("_", "a").isalnum()


def _bundle(path: Path) -> None:
    from opensim_nem2e.methods.bundle import Bundle

    bundle = Bundle.load(path)
    for target in bundle.targets:
        for array in bundle.part(target).arrays().values():
            assert np.isfinite(array).all(), "arrays that are not finite"


def _skeleton(path: Path) -> None:
    from opensim_nem2e.evaluation.study import Skeleton

    Skeleton.read(path)


def _checkpoint(path: Path) -> None:
    from opensim_nem2e.training.checkpoint import read_checked

    read_checked(path)


def _checkpoint_setup(folder: Path) -> Read:
    from opensim_nem2e.training.checkpoint import NetworkFolder, write_checked

    own = folder / "0123456789abcdef"
    other = folder / "fedcba9876543210"
    for place in (own, other):
        place.mkdir()
        write_checked(place / "data.safetensors", {"inputs": np.zeros((2, 3), np.float32)}, {"variant": "temporal"})
        (place / "setup.json").write_bytes(_checkpoint_setup_seeds()[0])

    def run(content: bytes) -> None:
        (other / "setup.json").write_bytes(content)
        NetworkFolder(own).differences()
        NetworkFolder(other).task()

    return run


def _record(path: Path) -> None:
    from opensim_nem2e.tools.pipeline import step

    record = step._read_record(path)
    if record is not None:
        assert record["written"]
        step.StepOutcome.from_json(record["outcome"])


def _pattern(folder: Path) -> Read:
    from opensim_nem2e.tools.pipeline.plan import find_trials, plan_steps

    for name in ("s1/t1", "s1/t2", "s2/t1"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a_cmc.xml").write_text("<CMCTool/>")
    (folder / "trials.csv").write_text("subject,trial\ns1,t1\ns2,t1\n")

    def run(content: bytes) -> None:
        first, _, second = content.decode("utf-8", "surrogateescape").partition("\n")
        if any(re.search(r"^/+[^*{?]+/.*[*{]|\.\..*[*{]", part) for part in first.split()):
            # It is a folder outside that is looked through, as it was asked for: that takes as long as it takes.
            return
        for table in (None, folder / "trials.csv") if "{" in first else (None,):
            trials = find_trials(folder, first.split(), second.split(), table)
            plan_steps(trials, folder)

    return run


def _switch(folder: Path) -> Read:
    from opensim_nem2e.storage.atomic import ResultFiles, complete_switches

    outside = folder / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")

    def run(content: bytes) -> None:
        results = folder / "results"
        hidden = results / ".results.0123456789abcdef.part"
        hidden.mkdir(parents=True, exist_ok=True)
        (hidden / "new").write_text("new")
        (hidden / "switch.json").write_bytes(content)
        (results / ".results.0123456789abcdef.part.switch").write_bytes(content)
        complete_switches(results)
        with ResultFiles(results) as files:
            files.path("x").write_text("x")
        assert not [path for path in results.iterdir() if path.name.startswith(".")], "leftovers"
        assert [path.name for path in outside.iterdir()] == ["mine"], "something left or came"
        shutil.rmtree(results)

    return run


def study_file(name: str) -> Callable[[Path], Read]:
    """Read one file of a study whose other files are good, and put into words what they say together."""

    def prepare(folder: Path) -> Read:
        from opensim_nem2e.evaluation import study as module
        from opensim_nem2e.report.study_report import limits, methods_paragraph, summary

        for file, content in _small_study().items():
            (folder / file).write_bytes(content)
        good = module.read_study(folder)
        path = folder / f"walking_{name}"
        part = Path(name).stem

        def run(content: bytes) -> None:
            path.write_bytes(content)
            if part == "study":
                new: object = module._read_description(path)
            elif part == "attention":
                new = module._read_attention(path)
            else:
                new = module._read_table(path, part)
            results = replace(good, **{part: new})
            module._check_together(results)
            assert summary(results)
            assert limits(results)
            assert methods_paragraph(results)

        return run

    return prepare


# --- good files -------------------------------------------------------------------------------------------------------

STO = b"""Coordinates
version=1
nRows=3
nColumns=3
inDegrees=no
endheader
time\t/forceset/soleus_r/activation\t/forceset/tib_ant_r/activation
0.0\t0.01\t0.02
0.1\t0.02\t0.03
0.2\t0.03\t0.04
"""

TRC = b"""PathFileType\t4\t(X/Y/Z)\twalk.trc
DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames
100\t100\t2\t2\tmm\t100\t1\t2
Frame#\tTime\tR.Heel\t\t\tL.Heel\t\t
\t\tX1\tY1\tZ1\tX2\tY2\tZ2

1\t0.00\t1\t2\t3\t4\t5\t6
2\t0.01\t1\t2\t3\t4\t5\t6
"""

SETUP = b"""<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600"><STDRRefineTool name="walk">
  <model_file>walker.osim</model_file><states_file>walk_states.sto</states_file>
  <results_directory>refined</results_directory><initial_time>0.5</initial_time>
  <write_figures>false</write_figures></STDRRefineTool></OpenSimDocument>
"""

OPENSIM_SETUP = b"""<OpenSimDocument Version="40600"><CMCTool name="walk"><model_file>m.osim</model_file>
<results_directory>results</results_directory><initial_time>0</initial_time><final_time>1</final_time>
<desired_kinematics_file>ik.mot</desired_kinematics_file><external_loads_file>loads.xml</external_loads_file>
<AnalysisSet><objects><MuscleAnalysis name="x"><on>true</on><moment_arm_coordinate_list>all
</moment_arm_coordinate_list></MuscleAnalysis></objects></AnalysisSet></CMCTool></OpenSimDocument>
"""

OSIM = b"""<OpenSimDocument Version="40600"><Model name="m"><BodySet><objects><Body name="tibia_r"><mass>3</mass></Body>
</objects></BodySet><JointSet><objects><PinJoint name="knee_r"><coordinates><Coordinate name="knee_angle_r">
<default_value>0</default_value><range>-2 0</range></Coordinate></coordinates></PinJoint></objects></JointSet>
<ForceSet><objects><Millard2012EquilibriumMuscle name="soleus_r"><max_isometric_force>3000</max_isometric_force>
<optimal_fiber_length>0.05</optimal_fiber_length><tendon_slack_length>0.25</tendon_slack_length>
<pennation_angle_at_optimal>0.4</pennation_angle_at_optimal><minimum_activation>0.01</minimum_activation>
<activation_time_constant>0.01</activation_time_constant><deactivation_time_constant>0.04</deactivation_time_constant>
</Millard2012EquilibriumMuscle><CoordinateActuator name="reserve"><coordinate>knee_angle_r</coordinate>
<optimal_force>1</optimal_force></CoordinateActuator></objects></ForceSet></Model></OpenSimDocument>
"""

CONTROLS = b"""<OpenSimDocument Version="40600"><ControlSet name="c"><objects><ControlLinear name="soleus_r.excitation">
<is_model_control>true</is_model_control><use_steps>false</use_steps><x_nodes>
<ControlLinearNode><t>0</t><value>0.1</value></ControlLinearNode>
<ControlLinearNode><t>0.1</t><value>0.2</value></ControlLinearNode></x_nodes></ControlLinear></objects></ControlSet>
</OpenSimDocument>
"""

LOADS = b"""<OpenSimDocument Version="40600"><ExternalLoads name="l"><objects><ExternalForce name="right">
<isDisabled>false</isDisabled><applied_to_body>calcn_r</applied_to_body>
<force_expressed_in_body>ground</force_expressed_in_body><force_identifier>ground_force_v</force_identifier>
<point_identifier>ground_force_p</point_identifier><torque_identifier>ground_torque_</torque_identifier>
</ExternalForce></objects><datafile>file.xml</datafile></ExternalLoads></OpenSimDocument>
"""

TRIALS = b"""dataset,subject,trial,stride,motion,speed_m_s,side,activation_file,activation_source,emg_file,t_start,t_end
d,s1,walk 1,1,walk,1.2,r,file.csv,cmc,file.csv,0.1,1.2
d,s2,walk 1,1,walk,,l,file.csv,so,file.csv,0.1,1.2
"""
CHANNELS = b"dataset,emg_column,muscles,standard_name\nd,SOL,soleus_r;med_gas_r,soleus\nd,TA,tib_ant_r,\n"
EVENTS = b"time,side,event\n0.1,r,heel_strike\n0.7,r,toe_off\n1.2,r,heel_strike\n"
NAMES = b"model_muscle,standard_name,note\nsol_lat,soleus,lateral part\nta,tib,\n"
EMG = b"time,EMG soleus,EMG tib\n0.0,0.1,0.2\n0.001,0.2,0.1\n0.002,0.3,0.2\n"
#: Exports of laboratories' software, as :mod:`opensim_nem2e.storage.emg_tables` knows them.
EXPORTS = tuple(
    "\n".join(lines).encode()
    for lines in (
        ["X[s],EMG 1,X[s],Acc 1.X", *(f"{k / 2000},{k % 3},{k / 150},1" for k in range(12))],
        [
            *("Devices", "1000", ",,Trigno - Voltage,", "Frame,Sub Frame,EMG1,EMG2", ",,V,V"),
            *(f"{11 + k // 10},{k % 10},{k % 3},{k % 5}" for k in range(12)),
            *(
                "",
                "Trajectories",
                "100",
                ",,S:HEEL,,",
                "Frame,Sub Frame,X,Y,Z",
                ",,mm,mm,mm",
                "11,0,1,2,3",
                "12,0,1,2,3",
            ),
        ],
        [
            *("Name,walk1", "Frequency,1000", "", '"Time,s","RT SOLEUS,uV","RT TIB.ANT.,uV"'),
            *(f"{k / 1000},{k % 3},{k % 5}" for k in range(12)),
        ],
        [
            *("NO_OF_SAMPLES\t12", "TOT_NO_OF_CHAN\t2", "FREQUENCY\t1000", "TIME_STAMP\t2026-01-01, 10:00:00"),
            *("CHANNEL_NAMES\tSOL\tTA", *(f"{k % 3}\t{k % 5}" for k in range(12))),
        ],
        [
            *("BTS ASCII format", "Type:\tEmg tracks", "Measure unit:\tV", "Tracks:\t1", "Frequency:\t1000 Hz"),
            *("Frames:\t12", "Start time:\t0.000", "", "Frame\tTime\tR SOL"),
            *(f"{k + 1}\t{k / 1000}\t{k % 3}" for k in range(12)),
        ],
        ["# amplifier 3", "Zeit;SOL;TA", "ms;mV;mV", *(f"{k};0,{k % 3};0,{k % 5}" for k in range(12))],
    )
)
RECORD = json.dumps(
    {
        "format": 1,
        "program": "opensim 4.6",
        "inputs": {"setup.xml": "0" * 64},
        "written": {"results/walk_states.sto": "1" * 64},
        "outcome": {
            "seconds": 1.5,
            "quality": {"tracking": {"value": 1.0, "unit": "deg", "name": "knee"}, "reserve": None, "residual": None},
            "outputs": ["results/walk_states.sto"],
            "warnings": [],
            "reused": False,
        },
    }
).encode()
SWITCH = json.dumps([["new", "results/new"]]).encode()
SKELETON = json.dumps(
    {
        "source": "walker",
        "phases": [0, 50],
        "sides": ["ipsi"],
        "bones": [[[[0, 1, 0], [0, 0, 0]]], [[[0, 1, 0], [0, 0, 0]]]],
        "muscles": {"ipsi:soleus": [[[[0, 1, 0], [0, 0, 0]], [[0, 1, 0], [0, 0.1, 0]]]]},
    }
).encode()


@cache
def _checkpoint_setup_seeds() -> list[bytes]:
    from opensim_nem2e.training.task import TrainingSettings

    values = {}
    for name, field in TrainingSettings.__dataclass_fields__.items():
        plain = isinstance(field.default, str | int | float | bool | None)
        values[name] = field.default if plain else 1
    return [
        json.dumps(
            {**values, "data": "0" * 64, "module": "package.module:build", "arguments": {"hidden": 8}}, default=str
        ).encode()
    ]


@cache
def _checkpoint_seeds() -> list[bytes]:
    from opensim_nem2e.training.checkpoint import write_checked

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        write_checked(path, {"weights.a": np.arange(4, dtype=np.float32)}, {"steps": 3})
        return [path.read_bytes()]


@cache
def _bundle_seeds() -> list[bytes]:
    from refine_fixtures import random_network

    from opensim_nem2e.data.cycle_view import CycleView
    from opensim_nem2e.methods.bundle import Bundle
    from opensim_nem2e.methods.registry import find_method

    metadata = {
        "cycle": {"definition": "heel strike to heel strike", "sampling": "linear"},
        "normalization": {"activation": "none", "emg": "subject_max"},
        "data": {"description": "random numbers", "licence": "CC0", "attribution": "nobody"},
        "training": {"seed": 0},
        "packages": {"numpy": "2"},
        "validation": {"method": "none"},
    }
    network = random_network("One-Entire", ("ipsi:soleus",), np.random.default_rng(0), hidden=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        Bundle(find_method("stdr_net"), CycleView("One-Entire"), {"soleus": network}, metadata).save(path)
        return [path.read_bytes()]


@cache
def _small_study() -> dict[str, bytes]:
    """Return the files of a study that is read in milliseconds, with a skeleton."""
    from study_maker import make_study

    with tempfile.TemporaryDirectory() as folder:
        make_study(Path(folder), muscles=("soleus",), conditions=("One-Entire",), people=3, seeds=(0,))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return {**files, "walking_skeleton.json": SKELETON}


def _study_seeds(name: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        content = _small_study()[f"walking_{name}"]
        if name.endswith(".csv"):
            # Some rows are enough.
            content = b"\n".join(content.split(b"\n")[:13]) + b"\n"
        return [content]

    return seeds


def _npz_seeds() -> list[bytes]:
    plain, packed = io.BytesIO(), io.BytesIO()
    arrays = {"One-Entire/soleus": np.full((2, 2), 0.5), "One-Entire/soleus/inputs": np.array(["ipsi:soleus"])}
    np.savez(plain, **arrays)
    np.savez_compressed(packed, **arrays)
    return [plain.getvalue(), packed.getvalue()]


def _c3d_seeds() -> list[bytes]:
    from c3d_maker import write_c3d

    wave = np.sin(0.4 * np.arange(100))
    channels = {"sol": ("V", 1e-3 * wave), "ta": ("V", 2e-3 * wave)}
    with tempfile.TemporaryDirectory() as folder:
        return [write_c3d(Path(folder) / "a.c3d", channels).read_bytes()]


_EMG = ("Time (s)", "X[s]", "Devices", "Sub Frame", "Frequency", "CHANNEL_NAMES", "mV", ";", '"')
_XML = ("<?xml", "<!DOCTYPE", "<!ENTITY", "&lt;", "<![CDATA[", "]]>", "<!--", "-->", "xmlns:", 'file="')
_NUMBERS = ("nan", "inf", "-inf", "1e999", "1_000", "1,5", "\u0661\u0662", "0x10", "1e-400", "-0")

READERS: tuple[Reader, ...] = (
    Reader("storage", _file("file.sto", _storage), lambda: [STO], ("endheader", "nRows=", "version=", *_NUMBERS)),
    Reader("repair", _file("file.sto", _repair), lambda: [STO], ("endheader", "nRows=", "nColumns=")),
    Reader("emg", _file("file.csv", _emg), lambda: [EMG, *EXPORTS], (*_EMG, *_NUMBERS)),
    Reader("c3d", _file("file.c3d", _emg), _c3d_seeds, ("POINT", "ANALOG", "OFFSET", "SCALE", "FRAMES", "UNITS")),
    Reader("setup", _file("file.xml", _setup), lambda: [SETUP], (*_XML, "STDRTrainTool", *_NUMBERS)),
    Reader(
        "opensim_setup", _file("file.xml", _opensim_setup), lambda: [OPENSIM_SETUP], (*_XML, "output_", "ScaleTool")
    ),
    Reader("osim", _file("file.osim", _osim), lambda: [OSIM], (*_XML, *_NUMBERS)),
    Reader("controls_xml", _file("file.xml", _controls), lambda: [CONTROLS], (*_XML, *_NUMBERS)),
    Reader("external_loads", _file("file.xml", _external_loads), lambda: [LOADS], _XML),
    Reader("trials", _file("file.csv", _trials), lambda: [TRIALS], ('"', "../", *_NUMBERS)),
    Reader("channels", _file("file.csv", _channels), lambda: [CHANNELS], ('"', "../", ";")),
    Reader("events", _file("file.csv", _events), lambda: [EVENTS], ('"', *_NUMBERS)),
    Reader("trc", _file("file.trc", _trc), lambda: [TRC], ("mm", "NumFrames", *_NUMBERS)),
    Reader("muscle_names", _file("file.csv", _muscle_names), lambda: [NAMES], ('"', "../")),
    Reader("bundle", _file("file.safetensors", _bundle), _bundle_seeds, ("dtype", "shape", "data_offsets", "F32")),
    Reader("study_json", study_file("study.json"), _study_seeds("study.json"), ("null", "NaN", "[[", "{}")),
    Reader("study_cycles", study_file("cycles.csv"), _study_seeds("cycles.csv"), ('"', *_NUMBERS)),
    Reader("study_statistics", study_file("statistics.csv"), _study_seeds("statistics.csv"), ('"', *_NUMBERS)),
    Reader("study_npz", study_file("attention.npz"), _npz_seeds, ("NUMPY", "'descr'", "'<U9'", "'|O'", "shape")),
    Reader("skeleton", _file("file.json", _skeleton), lambda: [SKELETON], ("null", "NaN", "[[[[", "{}", "1e999")),
    Reader("checkpoint", _file("file.safetensors", _checkpoint), _checkpoint_seeds, ("checksum", "numbers", "F32")),
    Reader("checkpoint_setup", _checkpoint_setup, _checkpoint_setup_seeds, ("null", "[[", "{}")),
    Reader("record", _file("file.json", _record), lambda: [RECORD], ("null", "[[", "{}", "\\u0000")),
    Reader(
        "pattern", _pattern, lambda: [b"{subject}/{trial}\n*_cmc.xml", b"s*/t1 s2/t1\na?cmc.xml"], ("**", "{1a}", "/")
    ),
    Reader("switch", _switch, lambda: [SWITCH, b'[["new", "new"]]'], ("../", "outside/mine", "[[", "null")),
)
