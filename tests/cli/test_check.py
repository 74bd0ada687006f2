"""``opensim-nem2e check`` as a process."""

from __future__ import annotations


def test_findings_are_lines_and_errors_the_exit_status(command):
    folder = command.folder
    (folder / "trials.csv").write_text(
        "dataset,subject,trial,stride,motion,side,activation_file,activation_source,emg_file,t_start,t_end\n"
        "lab,anna,walk,1,walk,r,states.sto,cmc,emg.sto,0.1,1.2\n"
    )
    (folder / "emg_channels.csv").write_text("dataset,emg_column,muscles,standard_name\nlab,sol,soleus_r,soleus\n")
    done = command.start("check", "trials.csv", "--report", "report")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("[error] missing: trials.csv: line 2: 'activation_file': the file 'states.sto' does not")
    assert lines[1].endswith("Remedy: correct the row, or bring the file back.")
    assert lines[2] == "0 cycles examined: 2 errors, 0 warnings, 0 notes."
    assert (folder / "report" / "check.html").is_file()


def test_a_manifest_that_is_missing(command):
    done = command("check", "trials.csv")
    assert done.returncode == 1
    assert "The manifest 'trials.csv' cannot be read" in done.stderr


def test_where_nothing_can_be_written_is_said_first(command):
    (command.folder / "taken").write_text("")
    done = command("check", "trials.csv", "--report", "taken")
    assert done.returncode == 1
    assert "taken" in done.stderr
    assert "manifest" not in done.stderr
