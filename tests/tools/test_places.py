"""Every directory that a tool writes to is tried before anything is computed."""

from __future__ import annotations

import pytest

from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.tools.gait_events import GaitEventsTool
from opensim_nem2e.tools.stdr_cross_validate import STDRCrossValidateTool
from opensim_nem2e.tools.stdr_train import STDRTrainTool


@pytest.mark.parametrize(
    ("tool", "property_name", "given"),
    [
        *(
            (tool, name, "")
            for tool in (STDRTrainTool, STDRCrossValidateTool)
            for name in ("results_directory", "checkpoint_directory", "tensorboard_directory")
        ),
        (GaitEventsTool, "results_directory", ""),
        (GaitEventsTool, "events_file", "/walk_events.csv"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_at_once(tmp_path, monkeypatch, tool, property_name, given):
    blocked = tmp_path / "a_file"
    blocked.write_text("")
    begun = []
    monkeypatch.setattr(tool, "_run", lambda self, run: begun.append(run))
    monkeypatch.setattr(tool, "_check", lambda self: [])
    tables = {} if tool is GaitEventsTool else {"trials_file": __file__, "emg_channels_file": __file__}
    places = {"results_directory": str(tmp_path / "results"), property_name: f"{blocked}/inside{given}"}
    made = tool(**tables, **places)
    with pytest.raises(NEM2EError, match=rf"The directory '{blocked}/inside' cannot be made"):
        made.run()
    assert not begun
    assert [path.name for path in tmp_path.iterdir()] == ["a_file"]
    setattr(made, property_name, str(tmp_path / "fine") + given)
    assert made.run()
    assert len(begun) == 1
