"""Say what to cite, in words and in BibTeX.

With BUNDLE, also where its training data come from: those ask to be cited, too.

Examples:
  opensim-nem2e cite
  opensim-nem2e cite gait
"""

from __future__ import annotations

import argparse

from .. import __version__
from ..log import plain

NAME = "cite"
ALIASES = ()

_BIBTEX = f"""@article{{teramae2025nem2e,
  author  = {{Teramae, Tatsuya and Matsubara, Takamitsu and Noda, Tomoyuki and Morimoto, Jun}},
  title   = {{Neural-enhanced motion-to-{{EMG}}: refining simulated muscle activity from musculoskeletal models using a
             {{Seq2Seq}} approach}},
  journal = {{Frontiers in Bioengineering and Biotechnology}},
  volume  = {{13}},
  year    = {{2025}},
  doi     = {{10.3389/fbioe.2025.1611414}}
}}

@software{{opensim_nem2e,
  author  = {{{{The opensim\\_nem2e developers}}}},
  title   = {{opensim\\_nem2e: refinement of {{OpenSim}} muscle activations toward measured {{EMG}}}},
  version = {{{__version__}}},
  year    = {{2026}}
}}

@article{{seth2018opensim,
  author  = {{Seth, Ajay and others}},
  title   = {{{{OpenSim}}: Simulating musculoskeletal dynamics and neuromuscular control to study human and animal
             movement}},
  journal = {{PLOS Computational Biology}},
  volume  = {{14}},
  number  = {{7}},
  year    = {{2018}},
  doi     = {{10.1371/journal.pcbi.1006223}}
}}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's own parser.
    """
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", help="a network bundle, or a shipped one's name")


def execute(options: argparse.Namespace) -> int:
    """Print the references.

    Parameters
    ----------
    options : argparse.Namespace
        The parsed command line.

    Returns
    -------
    int
        0.

    Raises
    ------
    opensim_nem2e.errors.BundleError
        There is no such bundle.
    """
    from ..report.page import REFERENCES

    # Before anything is printed: there may be no such bundle.
    data = None
    if options.bundle is not None:
        from ..methods.bundle import Bundle

        data = Bundle.load(options.bundle).metadata["data"]
    print("Please cite the paper whose method this is, this software, and OpenSim:\n")
    print("\n".join(f"- {reference}" for reference in REFERENCES))
    if data is not None:
        attribution, licence = (plain(" ".join(str(data[key]).split())) for key in ("attribution", "licence"))
        print(f"\nTraining data of '{options.bundle}': {attribution}\nTheir licence: {licence}")
    print(f"\n{_BIBTEX}")
    return 0
