"""Labels and muscle names in every spelling."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
import pytest

from opensim_nem2e.errors import LabelError, MissingFileError, StorageError
from opensim_nem2e.storage import (
    MuscleNames,
    StandardMuscle,
    TimeSeries,
    find_activation_columns,
    find_excitation_columns,
    find_so_activation_columns,
    find_state_label,
    parse_label,
    read_model,
    read_storage,
)
from opensim_nem2e.storage.muscles import PAPER_MUSCLES


def series_of(*labels):
    return TimeSeries([0.0], labels, np.zeros((1, len(labels))))


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("/forceset/soleus_r/activation", ("activation", "soleus_r", "/forceset/soleus_r")),
        ("/model/forces/legs/soleus_r/fiber_length", ("fiber_length", "soleus_r", "/model/forces/legs/soleus_r")),
        ("soleus_r/activation", ("activation", "soleus_r", "soleus_r")),
        ("soleus_r.activation", ("activation", "soleus_r", "soleus_r")),
        ("soleus_r.excitation", ("excitation", "soleus_r", "soleus_r")),
        ("my.model.soleus_r.fiber_length", ("fiber_length", "my.model.soleus_r", "my.model.soleus_r")),
        ("/forceset/tib_r/normalized_tendon_force", ("normalized_tendon_force", "tib_r", "/forceset/tib_r")),
        ("/jointset/knee_r/knee_angle_r/value", ("value", "knee_angle_r", "/jointset/knee_r/knee_angle_r")),
        ("/jointset/knee_r/knee_angle_r/speed", ("speed", "knee_angle_r", "/jointset/knee_r/knee_angle_r")),
        ("knee_angle_r_u", ("speed", "knee_angle_r", "knee_angle_r")),
        ("/forceset/soleus_r", ("other", "soleus_r", "/forceset/soleus_r")),
        ("soleus_r", ("other", "soleus_r", "soleus_r")),
        ("", ("other", "", "")),
        ("/", ("other", "", "/")),
        ("/activation", ("other", "activation", "/activation")),
        (".activation", ("other", ".activation", ".activation")),
        ("_u", ("other", "_u", "_u")),
    ],
)
def test_parse_label(label, expected):
    assert parse_label(label) == expected


def test_state_labels_are_found_as_opensim_finds_them():
    opensim = pytest.importorskip("opensim")
    wanted = [
        "/jointset/knee_r/knee_angle_r/value",
        "/jointset/knee_r/knee_angle_r/speed",
        "/forceset/soleus_r/activation",
        "/forceset/soleus_r/fiber_length",
        "/soleus_r/activation",
    ]
    spellings = [
        "/jointset/knee_r/knee_angle_r/value",
        "knee_r/knee_angle_r/value",
        "jointset/knee_r/knee_angle_r/speed",
        "knee_angle_r/value",
        "knee_angle_r",
        "knee_angle_r_u",
        "value",
        "/forceset/soleus_r/activation",
        "forceset/soleus_r/activation",
        "soleus_r/activation",
        "soleus_r.activation",
        "soleus_r.fiber_length",
        "activation",
        "soleus_r",
    ]
    rng = np.random.default_rng(0)
    for _ in range(400):
        labels = [spellings[i] for i in rng.permutation(len(spellings))[: rng.integers(0, 6)]]
        array = opensim.ArrayStr("", 0)
        for label in labels:
            array.append(label)
        for state in wanted:
            index = opensim.TableUtilities.findStateLabelIndex(array, state)
            assert find_state_label(labels, state) == (labels[index] if index >= 0 else None), (labels, state)


def test_activations_in_every_spelling():
    assert find_activation_columns(
        series_of(
            "/jointset/a/b/value",
            "/forceset/soleus_r/activation",
            "/forceset/soleus_r/fiber_length",
            "/x/y/tib_l/activation",
        )
    ) == {"soleus_r": "/forceset/soleus_r/activation", "tib_l": "/x/y/tib_l/activation"}
    assert find_activation_columns(series_of("knee_angle_r", "soleus_r.activation")) == {
        "soleus_r": "soleus_r.activation"
    }
    assert find_activation_columns(series_of("soleus_r")) == {}
    with pytest.raises(LabelError, match="belong to the muscle 'soleus_r'"):
        find_activation_columns(series_of("/forceset/soleus_r/activation", "soleus_r.activation"))
    # Twice the same label is no matter until the column is needed.
    series = series_of("soleus_r.activation", "soleus_r.activation")
    assert find_activation_columns(series) == {"soleus_r": "soleus_r.activation"}


def test_excitations_in_every_spelling():
    reserves = ("knee_angle_r_reserve", "FX", "lumbar_ext")
    for spelling in ("{}", "/forceset/{}", "{}.excitation"):
        labels = [spelling.format(name) for name in ("soleus_r", "vas_lat_l", *reserves)]
        expected = {"soleus_r": labels[0], "vas_lat_l": labels[1]}
        assert find_excitation_columns(series_of(*labels)) == expected
        assert find_excitation_columns(series_of(*labels), ["soleus_r", "FX"]) == {
            "soleus_r": labels[0],
            "FX": labels[3],
        }
    assert find_excitation_columns(series_of("soleus_r.activation")) == {}
    assert find_so_activation_columns(series_of("soleus_r", "reserve_knee_angle_r", "lumbar_ext")) == {
        "soleus_r": "soleus_r"
    }


def test_real_results_give_the_models_muscles(shared_data):
    for states, controls, model in (
        ("gait10dof18musc_walk", "gait10dof18musc_walk", "Gait10dof18musc/subject01.osim"),
        ("gait2354_walk1", "gait2354_walk1", "Gait2354_Simbody/OutputReference/subject01_simbody_adjusted.osim"),
        ("hamner_subject02_running", "hamner_subject02_running", "Hamner/outputReference/subject02_RRA_Adjusted.osim"),
        ("runningModel", "runningModel", "runningModel/runningModel_CMC_test.osim"),
    ):
        pipelines = shared_data / "opensim_pipelines"
        muscles = read_model(pipelines / model).muscles
        found = find_activation_columns(read_storage(pipelines / "reference_cmc" / f"{states}_states.sto"))
        assert list(found) == list(muscles)
        series = read_storage(pipelines / "reference_cmc" / f"{controls}_controls.sto")
        assert list(find_excitation_columns(series)) == list(muscles)
        assert list(find_excitation_columns(series, muscles)) == list(muscles)
    for path in sorted(shared_data.glob("*/activations_so/*.sto")):
        columns = find_so_activation_columns(read_storage(path))
        assert len(columns) >= 40
        assert not any("reserve" in name or "lumbar" in name for name in columns)


def test_every_muscle_of_every_real_model_has_a_standard_name(shared_data):
    names = MuscleNames.load()
    models = sorted(shared_data.rglob("*.osim"))
    assert models
    for path in models:
        muscles = read_model(path).muscles
        unknown = [name for name in muscles if names.standard(name) is None]
        # The patellar ligament of the cp_child model is modelled as a muscle.
        assert set(unknown) <= {"pat_lig_r", "pat_lig_l"}, path
        for standard, found in names.translate(muscles).items():
            assert len(found) == 1, (path, standard, found)
            assert standard.side == found[0][-1]


def test_arnold_2010():
    # Arnold et al. 2010, Ann Biomed Eng 38(2):269-279: 44 compartments of 35 muscles.
    muscles = [
        "addbrev",
        "addlong",
        "addmagDist",
        "addmagIsch",
        "addmagMid",
        "addmagProx",
        "bflh",
        "bfsh",
        "edl",
        "ehl",
        "fdl",
        "fhl",
        "gaslat",
        "gasmed",
        "gem",
        "glmax1",
        "glmax2",
        "glmax3",
        "glmed1",
        "glmed2",
        "glmed3",
        "glmin1",
        "glmin2",
        "glmin3",
        "grac",
        "iliacus",
        "pect",
        "perbrev",
        "perlong",
        "pertert",
        "piri",
        "psoas",
        "quadfem",
        "recfem",
        "sart",
        "semimem",
        "semiten",
        "soleus",
        "tfl",
        "tibant",
        "tibpost",
        "vasint",
        "vaslat",
        "vasmed",
    ]
    assert len(muscles) == 44
    found = MuscleNames.load().translate(f"{muscle}_r" for muscle in muscles)
    assert len(found) == 44


def test_standard_names():
    names = MuscleNames.load()
    assert set(PAPER_MUSCLES) <= set(names.standard_names)
    for name in PAPER_MUSCLES:
        assert names.standard(f"{name}_l") == StandardMuscle(name, "l")
    for model, expected in (
        ("soleus_r", ("soleus", "r")),
        ("SOLEUS_L", ("soleus", "l")),
        ("hamstrings_r", ("bi", "r")),
        ("vasti_l", ("vaslat", "l")),
        ("gastroc_r", ("gasmed", "r")),
        ("glut_max_r", ("glmax1", "r")),
        ("soleus", ("soleus", "")),
        ("r_soleus", ("soleus", "r")),
        ("soleus.l", ("soleus", "l")),
        ("soleus_left", ("soleus", "l")),
        ("TFL_r", ("tfl", "r")),
    ):
        assert names.standard(model) == expected
    for model in ("reserve_soleus_r", "pat_lig_r", "soleus_x", "", "_r", "soleus_r_r"):
        assert names.standard(model) is None


def test_the_shipped_table():
    text = files("opensim_nem2e.storage").joinpath("muscle_names.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["model_muscle", "standard_name", "models", "note"]
    # One name for several muscles of one model must be said in the table.
    for model in {name for row in rows for name in row["models"].split(";") if name}:
        standard = [row["standard_name"] for row in rows if model in row["models"].split(";")]
        assert len(standard) == len(set(standard)) or model == "Lai", model


def test_a_users_table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("\ufeffmodel_muscle,standard_name,note\nMySoleus,soleus,ours\nvas_int,vaslat,\n\n", "utf-8")
    names = MuscleNames.load(path)
    assert names.standard("mysoleus_l") == ("soleus", "l")
    assert names.standard("vas_int_r") == ("vaslat", "r")
    assert names.standard("tib_ant_r") == ("tib", "r")
    assert MuscleNames.load().standard("mysoleus_l") is None
    assert names.translate(["vas_int_r", "vas_lat_r", "FX"]) == {
        StandardMuscle("vaslat", "r"): ["vas_int_r", "vas_lat_r"]
    }


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", 1, "The header row is missing; allowed columns: model_muscle"),
        (b"muscle,standard_name\n", None, "line 1: unknown column 'muscle'. Did you mean 'model_muscle'"),
        (b"model_muscle\n", 1, "column 'standard_name' is missing"),
        (b"model_muscle,standard_name\na\n", 2, "A row must have 2 cells, as the header; found 1"),
        (b"model_muscle,standard_name\na,b\n\nA,c\n", 4, "The muscle 'A' appears twice"),
        (b"model_muscle,standard_name\n,c\n", 2, "'model_muscle' is empty"),
        (b'model_muscle,standard_name\n"a,c\n', 2, "quote opens in this line and is never closed"),
        (b"\xff\xfea", None, "must be text in UTF-8, UTF-16 or Latin-1"),
        (b"model_muscle,standard_name\na,my-soleus\n", 2, "'standard_name' must be 1 to 64 letters"),
        (b"model_muscle,standard_name\na,../../evil\n", 2, r"found '\.\./\.\./evil'"),
        (b"model_muscle,standard_name,side\na,soleus,right\n", 2, "'side' must be r, l or empty; found 'right'"),
    ],
)
def test_bad_tables(tmp_path, content, line, message):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=message) as error:
        MuscleNames.load(path)
    assert error.value.line == line
    with pytest.raises(MissingFileError):
        MuscleNames.load(tmp_path / "none.csv")


def test_a_lumped_muscle_stands_for_its_group():
    """gait2354 has no vastus lateralis or medialis: its vas_int is as strong as all of them."""
    names = MuscleNames.load()
    small = names.of_model(["vas_int_r", "vas_int_l", "soleus_r", "FX"])
    assert small["vas_int_r"] == ("vaslat", "r")
    assert small["vas_int_l"] == ("vaslat", "l")
    assert small["soleus_r"] == ("soleus", "r")
    assert small["FX"] is None
    # One limb of a full model beside the other of a small one.
    mixed = names.of_model(["vas_int_r", "vas_med_r", "vas_int_l"])
    assert mixed["vas_int_r"] == ("vasint", "r")
    assert mixed["vas_int_l"] == ("vaslat", "l")


def test_a_side_that_the_name_does_not_tell(tmp_path, caplog):
    path = tmp_path / "mine.csv"
    path.write_text("model_muscle;standard_name;side\nSOL1;soleus;r\nSOL2;soleus;l\nmysol;soleus;\nx_r;;l\n")
    names = MuscleNames.load(path)
    assert names.standard("sol1") == ("soleus", "r")
    assert names.standard("SOL2") == ("soleus", "l")
    assert names.standard("mysol_r") == ("soleus", "r")
    assert names.standard("x_r") is None
    assert caplog.text == ""
    path.write_text("model_muscle,standard_name\nmysol,soleuss\nbrachialis,brachialis\n")
    names = MuscleNames.load(path)
    assert names.standard("mysol_r") == ("soleuss", "r")
    assert "'soleuss' is a standard name of your own. Did you mean 'soleus'?" in caplog.text
    assert "brachialis" not in caplog.text


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("tibialis_anterior_r", ("tib", "r")),
        ("Gastrocnemius_Medialis_l", ("gasmed", "l")),
        ("lateral_gastrocnemius_right", ("gaslat", "r")),
        ("biceps_femoris_long_head_r", ("bi", "r")),
        ("biceps_femoris_sh_r", ("bfsh", "r")),
        ("gluteus_medius_2_l", ("glmed2", "l")),
        ("semitendinosus_r", ("semit", "r")),
    ],
)
def test_anatomical_names(name, standard):
    assert MuscleNames.load().standard(name) == standard
