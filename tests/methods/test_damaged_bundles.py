"""Bundles that ship with the package, damaged, renamed, or given to another tool: one error of ours each."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from opensim_nem2e import bundles
from opensim_nem2e.errors import BundleError
from opensim_nem2e.methods.bundle import Bundle
from opensim_nem2e.methods.motion_bundle import MotionBundle
from opensim_nem2e.methods.nmm.population import Population

FOLDER = Path(bundles.__file__).parent


def load_all(path: Path) -> None:
    bundle = Bundle.load(path)
    for target in bundle.targets:
        bundle.part(target)


#: By bundle, what reads it whole.
READERS: dict[str, Callable[[Path], object]] = {
    "gait": load_all,
    "profiles": load_all,
    "kinematics": MotionBundle.load,
    "muscles": Population.load,
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_refused(name, tmp_path):
    content = (FOLDER / f"{name}.safetensors").read_bytes()
    READERS[name](FOLDER / f"{name}.safetensors")
    chance = random.Random(name)
    path = tmp_path / "bundle.safetensors"
    for _ in range(12):
        damaged, place = bytearray(content), chance.randrange(len(content))
        # Blanks that fill up the header say nothing.
        while content[place] == ord(" "):
            place = chance.randrange(len(content))
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(BundleError) as caught:
            READERS[name](path)
        assert len(str(caught.value)) < 4000, place


@pytest.mark.parametrize("size", [0, 7, 300, -1])
@pytest.mark.parametrize("name", READERS)
def test_a_cut_bundle_is_refused(name, size, tmp_path):
    path = tmp_path / "bundle.safetensors"
    path.write_bytes((FOLDER / f"{name}.safetensors").read_bytes()[:size])
    with pytest.raises(BundleError, match=r"bundle\.safetensors"):
        READERS[name](path)


@pytest.mark.parametrize("name", READERS)
def test_a_bundle_of_another_kind_is_refused(name, tmp_path):
    path = tmp_path / "renamed.safetensors"
    path.write_bytes((FOLDER / f"{name}.safetensors").read_bytes())
    for other, read in READERS.items():
        if read is not READERS[name]:
            with pytest.raises(BundleError, match=r"renamed\.safetensors: (this is|a population bundle|this bundle)"):
                READERS[other](path)
