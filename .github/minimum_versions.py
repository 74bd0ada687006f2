"""Print the oldest versions that pyproject.toml allows, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
# Of the packages that users get; the tools of the developers may be new.
chosen = [name for name in extras if name not in ("all", "dev", "fuzz")]
for line in sorted({*project["dependencies"], *(line for name in chosen for line in extras[name])}):
    match = re.fullmatch(r"([\w.-]+)>=([\w.]+)", line)
    if match:
        print(f"{match[1]}=={match[2]}.*" if match[2].count(".") < 2 else f"{match[1]}=={match[2]}")
