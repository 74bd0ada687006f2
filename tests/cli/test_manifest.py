"""``opensim-nem2e manifest`` as a process: from the shipped example to a manifest that can be checked."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np

from opensim_nem2e.storage import TimeSeries, write_storage

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "01_refine_walking"


def test_from_a_cmc_run_to_a_manifest(command):
    folder = command.folder / "lab" / "walker"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.py", "results"))
    time = np.arange(0.0, 3.0, 0.005)
    burst = 0.1 + np.sin(2.0 * np.pi * (time[:, None] / 1.12 + [0.0, 0.3])) ** 2
    write_storage(folder / "emg.sto", TimeSeries(time, ("soleus_r", "soleus_l"), burst))
    words = [
        *("manifest", "lab"),
        *("--pattern", "activation_file={subject}/cmc/{trial}_states.sto"),
        *("--pattern", "emg_file={subject}/emg.sto"),
        *("--pattern", "model_file={subject}/{trial_model}.osim"),
        *("--pattern", "external_loads_file={subject}/external_loads.xml"),
        *("--set", "motion=walk"),
    ]
    done = command.start(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[info] 2 gait cycles of 1 subject, 2 EMG channels."
    rows = (command.folder / "lab" / "trials.csv").read_text().splitlines()
    assert rows[1].startswith(
        "lab,walker,walking,1,walk,r,walker/walker.osim,walker/cmc/walking_states.sto,cmc,walker/"
    )
    assert [row.split(",")[5] for row in rows[1:]] == ["r", "l"]
    checked = command("check", "lab/trials.csv")
    assert checked.returncode == 0
    assert "2 cycles examined: 0 errors" in checked.stdout
    again = command(*words)
    assert again.returncode == 1
    assert "the file exists and is left as it is; --force replaces it, --append adds to it" in again.stderr
    assert command(*words, "--force").returncode == 0


def test_words_that_are_no_pairs(command):
    done = command("manifest", ".", "--pattern", "emg_file")
    assert done.returncode == 1
    assert "--pattern must be COLUMN=VALUE; found 'emg_file'" in done.stderr
    done = command("manifest", "nowhere", "--set", "motion=walk")
    assert "nowhere: a folder was expected" in done.stderr


def recipe(repository: Path, name: str) -> list[str]:
    """Return the words of a recipe's command, as a shell would."""
    text = (repository / "docs" / "simtk_recipes.md").read_text()
    block = text.split(f"<!-- recipe {name} -->\n```bash\n")[1].split("```")[0]
    words = shlex.split(block.replace("\\\n", " "))
    assert words.pop(0) == "opensim-nem2e"
    return words


def put(path: Path, labels: tuple[str, ...], time: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.abs(np.sin(time[:, None] + np.arange(len(labels))))
    write_storage(path, TimeSeries(time, labels, values))


def test_the_recipes_for_the_papers_datasets(command, repository):
    """On folders laid out as public scripts expect the originals to be."""
    time = np.arange(0.0, 3.0, 0.01)
    states = ("/forceset/soleus_r/activation", "/forceset/soleus_l/activation")
    running = command.folder / "nmbl_running"
    for subject in ("subject01", "subject19"):
        for speed in ("2", "5"):
            folder = running / subject / "cmc_multipleSteps_v24" / f"CMC_Results_v240_Run_{speed}0002"
            for cycle in "123":
                put(folder / f"{subject}_Run_{speed}0002_cycle{cycle}_states.sto", states, time)
            shutil.copy(EXAMPLE / "external_loads.xml", folder / "External_Loads_all.xml")
            shutil.copy(EXAMPLE / "walking_grf.mot", folder / "walking_grf.mot")
            put(running / "emg" / f"{subject}_Run_{speed}_emg.sto", ("soleus_r", "soleus_l"), time)
        shutil.copy(EXAMPLE / "walker.osim", running / subject / f"{subject}_adjusted_scaled.osim")
    words = recipe(repository, "running")
    # A name must not swallow the rest of a folder's name.
    done = command(*words)
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in (running / "trials.csv").read_text().splitlines()]
    column = rows[0].index("speed_m_s")
    assert {row[column] for row in rows[1:]} == {"2", "5"}
    assert len({(row[1], row[column], row[3]) for row in rows[1:]}) >= 4

    walking = command.folder / "mspeedwalksims"
    for subject in ("GIL01", "GIL02"):
        for trial in ("free", "slow3"):
            folder = walking / subject / f"{subject}_{trial}"
            put(folder / f"{subject}_{trial}_cmc_states.sto", states, time)
            put(folder / f"{subject}_{trial}_emg.sto", ("soleus_r", "soleus_l"), time)
            (folder / f"{subject}_{trial}_events.csv").write_text(
                "time,event,side\n0.5,heel_strike,r\n1.6,heel_strike,r\n1.0,heel_strike,l\n2.1,heel_strike,l\n"
            )
        shutil.copy(EXAMPLE / "walker.osim", walking / subject / f"{subject}_scaled.osim")
    done = command(*recipe(repository, "walking"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[info] 8 gait cycles of 2 subjects, 2 EMG channels."


def test_a_table_is_no_folder(command):
    (command.folder / "lab").mkdir()
    done = command("manifest", "lab", "--pattern", "activation_file={subject}.sto", "--output", "t1.csv")
    assert done.returncode == 1
    assert "--output must be a folder, for trials.csv and emg_channels.csv; found 't1.csv'" in done.stderr
    assert not (command.folder / "t1.csv").exists()
