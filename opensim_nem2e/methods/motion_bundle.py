"""A bundle of a method that takes windows of motion: what it has learned of joint moments, in one file.

The same kind of file as that of :mod:`.bundle` (``.safetensors``, metadata as JSON text, SHA-256 of texts and arrays),
with ``kind`` ``motion`` and one part, but without gait cycles and muscles. Using it needs no PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from .. import __version__
from ..data.cycle_view import CycleView
from ..errors import BundleError, TrainingError
from ..storage.array_files import checksum_of
from ..storage.atomic import atomic_path
from .base import MomentEstimator, Provenance
from .bundle import CHECKSUM_KEY, FORMAT_VERSION, METADATA_KEY, find_bundle, save_tensors
from .registry import find_method

#: The one part of such a bundle.
PART = "moments"

#: Sections that the metadata must have, and the keys each must hold.
SECTIONS: dict[str, tuple[str, ...]] = {
    "data": ("description", "licence", "attribution"),
    "training": ("seed",),
    "packages": (),
    "validation": ("method",),
}


@dataclass(frozen=True)
class MotionBundle:
    """What estimates joint moments from a motion, with where it comes from and how good it is.

    Parameters
    ----------
    method : str
        The method's key.
    network : MomentEstimator
        What it has learned.
    metadata : mapping of str to object
        The sections of :data:`SECTIONS`.
    path : pathlib.Path or None
        Its file.
    """

    method: str
    network: MomentEstimator
    metadata: Mapping[str, Any] = field(repr=False)
    path: Path | None = None

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str]) -> MotionBundle:
        """Read a bundle.

        Parameters
        ----------
        path_or_name : str or os.PathLike
            A ``.safetensors`` file, or the name of a bundle that ships with the package, such as ``kinematics``.

        Returns
        -------
        MotionBundle
            Checked whole.

        Raises
        ------
        opensim_nem2e.errors.BundleError
            There is no such bundle; it is damaged, of another kind, of a newer format, or of a method that is not
            installed.
        """
        path = find_bundle(path_or_name)
        try:
            with safe_open(path, framework="numpy") as file:
                texts = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise BundleError(
                f"{path}: this bundle cannot be read: it must be a complete .safetensors file; the file is truncated, "
                f"damaged or of another kind ({error})."
            ) from error
        text = texts.get(METADATA_KEY, "")
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict) or header.get("kind") != "motion":
            raise BundleError(
                f"{path}: this is no bundle that estimates joint moments from a motion. Such bundles are written by "
                "KinematicsTrainTool."
            )
        version = header.get("format_version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise BundleError(
                f"{path}: the bundle has format version {version!r}; this version of opensim_nem2e reads up to "
                f"{FORMAT_VERSION}. Update the package: pip install --upgrade opensim-nem2e."
            )
        if texts.get(CHECKSUM_KEY) != hashlib.sha256(text.encode()).hexdigest():
            raise BundleError(f"{path}: the bundle is damaged: its metadata do not fit their checksum.")
        if header.get("sha256") != checksum_of(arrays):
            raise BundleError(f"{path}: the bundle is damaged: its arrays do not fit their checksum.")
        faults = [
            f"'{key}' is missing from the section '{section}'"
            for section, keys in SECTIONS.items()
            for key in keys
            if not isinstance(header.get(section), dict) or key not in header[section]
        ]
        faults += [
            f"the tensor '{name}' holds values that are not finite numbers"
            for name, array in arrays.items()
            if not np.isfinite(array).all()
        ]
        try:
            method = find_method(str(header.get("method")))
            if method.requires.sampler != "sliding_windows":
                faults.append(f"the method '{method.key}' takes no windows of motion")
            elif not faults:
                learned = method.load(PART, header.get("network") or {}, arrays, CycleView())
        except (BundleError, TrainingError) as error:
            faults += str(error).splitlines()
        if faults:
            raise BundleError(f"{path}: the bundle cannot be used:\n" + "\n".join(f"  - {one}" for one in faults))
        return cls(method.key, cast(MomentEstimator, learned), header, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bundle, replacing an older one only when it is complete.

        Parameters
        ----------
        path : str or os.PathLike
            The file. Its folder must exist.
        """
        arrays = {name: np.ascontiguousarray(array) for name, array in self.network.arrays().items()}
        header = {
            **self.metadata,
            "format_version": FORMAT_VERSION,
            "kind": "motion",
            "method": self.method,
            "network": self.network.description(),
            "sha256": checksum_of(arrays),
        }
        text = json.dumps(header, allow_nan=False, ensure_ascii=False)
        texts = {METADATA_KEY: text, CHECKSUM_KEY: hashlib.sha256(text.encode()).hexdigest()}
        with atomic_path(path) as temporary:
            temporary.write_bytes(save_tensors(arrays, texts))

    @property
    def provenance(self) -> Provenance:
        """Where its estimates come from."""
        return Provenance(
            method=self.method,
            label=self.network.label,
            bundle=self.path.name if self.path else "",
            path=self.path,
            sha256="" if self.path is None else hashlib.sha256(self.path.read_bytes()).hexdigest(),
            package_version=__version__,
            validation=self.metadata["validation"],
        )

    def described(self) -> list[str]:
        """Say what the bundle is, what it was trained on, and how good it is.

        Returns
        -------
        list of str
            One fact each.
        """
        data, validation = self.metadata["data"], self.metadata["validation"]
        facts = {
            "file": str(self.path),
            "method": self.provenance.label,
            "inputs": ", ".join(self.network.coordinates),
            "joint moments": ", ".join(self.network.moments),
            "looks ahead": f"{self.network.lookahead:g} s",
            "data": data["description"],
            "licence of the data": data["licence"],
            "attribution": data["attribution"],
            "judged by": ". ".join(filter(None, (validation["method"].replace("_", " "), validation.get("note")))),
        }
        figures = [
            f"{joint}: R2 {row['median_r2']:.2f} (least {row['least_r2']:.2f}), RMSE {row['median_rmse']:.2f} Nm/kg, "
            f"medians of {row['left_out']} left out; by the mean moment R2 {row['median_r2_mean']:.2f}"
            for joint, row in validation.get("joints", {}).items()
        ]
        return [*(f"{name}: {text}" for name, text in facts.items()), *figures]


def is_motion_bundle(path_or_name: str | os.PathLike[str]) -> bool:
    """Tell a bundle of this kind from one that estimates EMG.

    Parameters
    ----------
    path_or_name : str or os.PathLike
        A file or a shipped bundle's name.

    Returns
    -------
    bool
        False also where it cannot be read.
    """
    try:
        with safe_open(find_bundle(path_or_name), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    except (BundleError, SafetensorError, OSError, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and header.get("kind") == "motion"
