"""A tool for the tests of the command line: it does what its setup file tells it to."""

import time
from pathlib import Path

from opensim_nem2e.errors import NEM2EError
from opensim_nem2e.log import logger
from opensim_nem2e.storage.atomic import ResultFiles
from opensim_nem2e.tools.properties import Property
from opensim_nem2e.tools.tool import Tool


class DemoTool(Tool):
    """Do what the setup file says."""

    properties = (
        Property("results_directory", "directory", "./", "Directory used for writing results."),
        Property("states_file", "file", "", "Storage file (.sto) with the states of a CMC run."),
        Property("output_precision", "int", 8, "Number of decimals in the results.", bounds="[1, 17]"),
        Property("initial_time", "double", float("-inf"), "First time that is used.", unit="s"),
        Property(
            "outcome", "string", "success", "How the run ends.", choices=("success", "error", "crash", "os", "sleep")
        ),
    )

    def _run(self) -> None:
        if self.outcome == "error":
            raise NEM2EError("The run failed on purpose.")
        if self.outcome == "crash":
            raise ZeroDivisionError("on purpose")
        if self.outcome == "os":
            Path(self.base_directory, "absent.sto").stat()
        with ResultFiles(self.resolve("results_directory")) as results:
            results.path("demo.txt").write_text("done")
            if self.outcome == "sleep":
                logger.info("Sleeping.")
                time.sleep(60)
        logger.warning("Something to know.")
        logger.debug("A detail.")
