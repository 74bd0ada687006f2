"""What a pipeline is to do: trials, steps, which needs which, and what cannot be done."""

from __future__ import annotations

import pytest

from opensim_nem2e.errors import NEM2EError, SetupError
from opensim_nem2e.tools.pipeline.plan import find_trials, plan_steps
from opensim_nem2e.tools.tool_registry import load_tool

SETUP = (
    '<OpenSimDocument Version="40600"><{tool} name="{name}"><model_file>{model}</model_file>{rest}</{tool}>'
    "</OpenSimDocument>"
)


def write(path, tool, model="m.osim", rest="", name="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SETUP.format(tool=tool, model=model, rest=rest, name=name))


def write_scale(path, model, output="scaled.osim"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<ScaleTool><GenericModelMaker><model_file>{model}</model_file></GenericModelMaker>"
        f"<ModelScaler><output_model_file>{output}</output_model_file></ModelScaler></ScaleTool>"
    )


@pytest.fixture
def study(tmp_path):
    """Two subjects with a Scale, and two trials each: IK, then ID and CMC, of which neither needs the other."""
    (tmp_path / "generic.osim").write_text("<OpenSimDocument/>")
    for subject in ("s1", "s2"):
        write_scale(tmp_path / subject / "scale.xml", "../generic.osim")
        for trial in ("a", "b"):
            folder = tmp_path / subject / trial
            output = "<output_motion_file>ik.mot</output_motion_file>"
            write(folder / f"{trial}_ik.xml", "InverseKinematicsTool", "../scaled.osim", output)
            rest = "<coordinates_file>ik.mot</coordinates_file><output_gen_force_file>id.sto</output_gen_force_file>"
            write(folder / f"{trial}_id.xml", "InverseDynamicsTool", "../scaled.osim", rest)
            rest = "<desired_kinematics_file>ik.mot</desired_kinematics_file><results_directory>cmc</results_directory>"
            write(folder / f"{trial}_cmc.xml", "CMCTool", "../scaled.osim", rest)
            rest = "<states_file>cmc/x_states.sto</states_file>"
            write(folder / f"{trial}_refine.xml", "STDRRefineTool", "../scaled.osim", rest, "")
    return tmp_path


SETUPS = ("../scale.xml", "*_ik.xml", "*_id.xml", "*_cmc.xml", "*_refine.xml")


def plan(study, folders=("{subject}/{trial}",), setups=SETUPS, trials_file=None):
    return plan_steps(find_trials(study, folders, setups, trials_file), study)


def test_needs_are_seen_in_the_files(study):
    steps = {step.key: step for step in plan(study)}
    assert len(steps) == 2 + 4 * 4
    assert not any(step.faults for step in steps.values())
    assert steps["s1/scale.xml"].needs == ()
    assert steps["s1/scale.xml"].trial == "s1/a"
    assert steps["s1/b/b_ik.xml"].needs == ("s1/scale.xml",)
    assert steps["s1/b/b_id.xml"].needs == ("s1/scale.xml", "s1/b/b_ik.xml")
    assert steps["s1/b/b_cmc.xml"].needs == ("s1/scale.xml", "s1/b/b_ik.xml")
    assert steps["s1/b/b_refine.xml"].needs == ("s1/scale.xml", "s1/b/b_cmc.xml")
    assert steps["s1/b/b_refine.xml"].tool == "STDRRefineTool"


def test_trials_of_a_manifest(study):
    table = study / "trials.csv"
    table.write_text("dataset,subject,trial,stride\nd,s2,a,1\nd,s2,a,2\nd,s1,b,1\n", encoding="utf-8-sig")
    trials = find_trials(study, ["{subject}/{trial}"], SETUPS, table)
    assert [trial.name for trial in trials] == ["s2/a", "s1/b"]
    with pytest.raises(NEM2EError, match=r"the column 'subjct'.*Did you mean 'subject'\?"):
        find_trials(study, ["{subjct}/*"], SETUPS, table)
    with pytest.raises(SetupError, match="must hold names of its columns"):
        find_trials(study, ["s1/a"], SETUPS, table)
    table.write_text("subject,trial\n")
    with pytest.raises(NEM2EError, match="the column 'subject'"):
        find_trials(study, ["{subject}/{trial}"], SETUPS, table)


def test_folders_as_they_are_named(study):
    assert [trial.name for trial in find_trials(study, ["s2/b", "s1/*"], SETUPS, None)] == ["s2/b", "s1/a", "s1/b"]
    assert [trial.name for trial in find_trials(study / "s1" / "a", [], ["a_ik.xml"], None)] == ["a"]
    assert [trial.name for trial in find_trials(study, [f"{study}/s1/{{trial}}/"], SETUPS)] == ["s1/a", "s1/b"]
    elsewhere = find_trials(study / "s2", [f"{study}/s1/*", "./{trial}"], SETUPS)
    assert [trial.name for trial in elsewhere] == [f"{study}/s1/a", f"{study}/s1/b", "a", "b"]
    with pytest.raises(SetupError, match=r"no folder in '.*' fits 's3/\*'"):
        find_trials(study, ["s3/*"], SETUPS, None)
    # Folders of results are no trials, even if they fit.
    (study / "s1" / "results").mkdir()
    assert [trial.name for trial in find_trials(study, ["s1/{trial}"], SETUPS, None)] == ["s1/a", "s1/b"]
    with pytest.raises(SetupError, match=r"fits 's1/r\*' and holds a setup file"):
        find_trials(study, ["s1/r*"], SETUPS, None)


def test_one_setup_file_must_fit(study):
    (study / "s1" / "a" / "other_ik.xml").write_text("<OpenSimDocument/>")
    (study / "s1" / "a" / "a_id.xml").unlink()
    trial = find_trials(study, ["s1/a"], SETUPS, None)[0]
    assert len(trial.setups) == len(SETUPS) - 2
    assert "2 files fit (a_ik.xml, other_ik.xml)" in trial.faults[0]
    assert "no file fits" in trial.faults[1]
    # Without a star the file is named, and reading it says that it is not there.
    (step,) = plan(study, ["s1/a"], ["missing.xml"])
    assert "there is no such" in step.faults[0]
    assert step.tool == ""


def test_a_file_that_nobody_writes(study):
    """The closest name that an earlier step writes is proposed: the two Hamner setups that are known to be wrong."""
    write_scale(study / "s1" / "scale.xml", "../generic.osim", "subject02.osim")
    write(study / "s1" / "a" / "a_ik.xml", "InverseKinematicsTool", "../subject01.osim")
    steps = {step.key: step for step in plan(study, ["s1/a"])}
    (fault,) = steps["s1/a/a_ik.xml"].faults
    assert "line 1: <model_file>: the file" in fault
    assert "'subject02.osim'? An earlier step writes that." in fault
    # The same name in another folder.
    write(study / "s1" / "a" / "a_ik.xml", "InverseKinematicsTool", "subject02.osim")
    steps = {step.key: step for step in plan(study, ["s1/a"])}
    assert f"'s1/scale.xml' writes it to '{study / 's1'}'." in steps["s1/a/a_ik.xml"].faults[0]


def test_the_wrong_order(study):
    steps = {step.key: step for step in plan(study, ["s1/a"], ("../scale.xml", "a_id.xml", "a_ik.xml"))}
    (fault,) = steps["s1/a/a_id.xml"].faults
    assert "'s1/a/a_ik.xml' writes it, but comes later in <setup_files>." in fault


def test_steps_that_would_overwrite_each_other(study):
    """RRA and CMC with the same name in the same folder: OpenSim lets one replace the other."""
    rest = "<desired_kinematics_file>ik.mot</desired_kinematics_file><results_directory>cmc</results_directory>"
    write(study / "s1" / "a" / "a_rra.xml", "RRATool", "../scaled.osim", rest)
    write(
        study / "s1" / "a" / "b_id.xml",
        "InverseDynamicsTool",
        "../scaled.osim",
        "<output_gen_force_file>id.sto</output_gen_force_file>",
    )
    setups = ("../scale.xml", "a_ik.xml", "a_rra.xml", "a_cmc.xml", "a_id.xml", "b_id.xml")
    steps = {step.key: step for step in plan(study, ["s1/a"], setups)}
    assert (
        f"results named 'x' in '{study / 's1/a/cmc'}', as 's1/a/a_rra.xml' does." in steps["s1/a/a_cmc.xml"].faults[0]
    )
    assert "id.sto', as 's1/a/a_id.xml' does." in steps["s1/a/b_id.xml"].faults[0]
    assert not steps["s1/a/a_rra.xml"].faults


def test_steps_that_need_each_other(tmp_path):
    """Possible only where trials list shared setup files in different orders."""
    for one, two in (("p", "q"), ("q", "p")):
        write_scale(tmp_path / f"{one}.xml", f"{two}.osim", f"{one}.osim")
        (tmp_path / f"{one}.osim").write_text("")
    trials = [
        *find_trials(tmp_path, [], ["p.xml", "q.xml"], None),
        *find_trials(tmp_path, [], ["q.xml", "p.xml"], None),
    ]
    with pytest.raises(SetupError, match=r"need each other's results.*p\.xml"):
        plan_steps(trials, tmp_path)


def test_the_shipped_example(repository):
    example = repository / "examples" / "01_refine_walking"
    tool = load_tool(example / "setup_pipeline.xml")
    cmc, refine = plan_steps(find_trials(example, tool.trial_folders, tool.setup_files), example)
    assert (cmc.tool, cmc.faults, cmc.needs) == ("CMCTool", (), ())
    assert (refine.tool, refine.faults, refine.needs) == ("STDRRefineTool", (), ("setup_cmc.xml",))


@pytest.mark.parametrize(
    ("folders", "setups", "message"),
    [
        (["s*/**"], ["a.xml"], r"<trial_folders>: '\*' stands for any text without a slash, and '\*\*' is not known"),
        (["{1a}/x"], ["a.xml"], "braces must hold a name"),
        (["{}"], ["a.xml"], "braces must hold a name"),
        (["{subject"], ["a.xml"], "braces must hold a name"),
        (["a\0b"], ["a.xml"], "must not hold control characters"),
        (["*" + "a*" * 20], ["a.xml"], "at most 12 stars and names"),
        (["s*"], ["**cmc.xml"], r"<setup_files>: '\*' stands for"),
        (["s*"], ["/data/*_cmc.xml"], "a pattern must be relative, but '/data/"),
        (["s*"], ["x" * 5000], "at most 4096 characters"),
        (["s*"], ["*cmc/"], "must name a file, but"),
        (["///nowhere/*"], ["a.xml"], "no folder in"),
        (["/{a}/{b}"], ["a.xml"], "an absolute pattern must begin with the name of a folder, but '/{a}/"),
    ],
)
def test_patterns_that_are_refused(study, folders, setups, message):
    with pytest.raises(SetupError, match=message) as caught:
        find_trials(study, folders, setups)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("subject,trial\ns1\n", "must have 2 cells, as the header"),
        ("subject,trial\ns1,\n", "'trial' must not be empty"),
        ("subject,trial\n../..,a\n", "'subject' must not hold '/'"),
        ('subject,trial\n"s1,a\n', "never closed"),
        ("subject,trial\n" + "x" * 140_000 + ",a\n", "more than 131072 characters"),
        ("subject,trial\n\x1b[31m,a\n", "control characters"),
    ],
)
def test_a_manifest_that_is_refused(study, table, message):
    (study / "trials.csv").write_text(table)
    with pytest.raises(NEM2EError, match=message) as caught:
        find_trials(study, ["{subject}/{trial}"], SETUPS, study / "trials.csv")
    assert str(caught.value).isprintable()
