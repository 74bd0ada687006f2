"""A tool for the tests of the command line: it does what its setup file tells it to."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.log import logger
from opensim_nem2e.options import DirectoryPath, FilePath, Options, option
from opensim_nem2e.tools.tool import Tool, ToolRun


@dataclass(frozen=True)
class DemoOptions(Options):
    """What the run is to do."""

    results_directory: DirectoryPath = option("./", "Directory used for writing results.")
    states_file: FilePath = option("", "Storage file (.sto) with the states of a CMC run.")
    output_precision: int = option(8, "Number of decimals in the results.", bounds="[1, 17]")
    initial_time: float = option(float("-inf"), "First time that is used.", unit="s")
    outcome: Literal["success", "error", "crash", "os", "sleep"] = option("success", "How the run ends.")


class DemoTool(Tool[DemoOptions]):
    """Do what the setup file says."""

    def _run(self, run: ToolRun) -> None:
        if self.outcome == "error":
            raise NEM2EError("The run failed on purpose.")
        if self.outcome == "crash":
            raise ZeroDivisionError("on purpose")
        if self.outcome == "os":
            Path(self.base_directory, "absent.sto").stat()
        run.files.path("demo.txt").write_text("done")
        if self.outcome == "sleep":
            logger.info("Sleeping.")
            time.sleep(60)
        logger.warning("Something to know.")
        logger.debug("A detail.")
