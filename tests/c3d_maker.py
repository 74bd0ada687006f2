"""C3D files with analog channels, for tests."""

from __future__ import annotations

import numpy as np


def write_c3d(path, channels, *, rate=1000.0, frame_rate=100.0, first_frame=0, plate=()):
    """Write analog channels {label: (unit, values)}; ``plate`` are the labels of a force plate's channels."""
    import ezc3d

    file = ezc3d.c3d()
    values = np.stack([data for _, data in channels.values()])
    frames = values.shape[1] // round(rate / frame_rate)
    file["parameters"]["POINT"]["RATE"]["value"] = [frame_rate]
    file["parameters"]["POINT"]["LABELS"]["value"] = ["HEEL"]
    file["data"]["points"] = np.ones((4, 1, frames))
    file["parameters"]["ANALOG"]["RATE"]["value"] = [rate]
    units = [unit for unit, _ in channels.values()]
    file["parameters"]["ANALOG"]["LABELS"]["value"] = list(channels)[:255]
    file["parameters"]["ANALOG"]["UNITS"]["value"] = units[:255]
    if len(units) > 255:
        file.add_parameter("ANALOG", "LABELS2", list(channels)[255:])
        file.add_parameter("ANALOG", "UNITS2", units[255:])
    file["data"]["analogs"] = values[np.newaxis]
    file["header"]["points"]["first_frame"] = first_frame
    if plate:
        file.add_parameter("FORCE_PLATFORM", "CHANNEL", [[list(channels).index(label) + 1] for label in plate])
    file.write(str(path))
    return path
