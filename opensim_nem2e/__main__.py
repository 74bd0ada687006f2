"""``python -m opensim_nem2e`` is the command ``opensim-nem2e``."""

import sys

from .cli.main import main

sys.exit(main())
