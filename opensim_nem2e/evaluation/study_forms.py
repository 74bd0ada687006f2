"""What ``<name>_study.json`` may hold where the report reads it: the file may have been edited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..storage.file_names import shown

#: Of a form: any key, each with the same form behind it.
ANY = object()

_TEXT, _NUMBER, _FLAG = "a text", "a number", "true or false"
_TYPES: Mapping[str, tuple[type, ...]] = {_TEXT: (str,), _NUMBER: (int, float), _FLAG: (bool,)}
_VALUE = "a text, a number, true, false, null or a list of such"
_PART = {
    **{key: [_TEXT] for key in ("datasets", "subjects", "motions", "activation_sources", "notes")},
    **{key: {ANY: _NUMBER} for key in ("cycles", "subjects_per_muscle")},
}
_CHECK = {
    **dict.fromkeys(("muscle", "condition"), _TEXT),
    **dict.fromkeys(("Er", "Er_changed", "change", "low", "high", "p"), (_NUMBER, None)),
    "note": (_TEXT, None),
    "worse": (_FLAG, None),
}
_COVERAGE = {"name": _TEXT, **dict.fromkeys(("subjects", "coverage", "width"), _NUMBER)}

#: The form of a study; what is not named here may be anything. A tuple names what may be left out or null; lists hold
#: items of one form.
STUDY: Mapping[Any, Any] = {
    "seconds": (_NUMBER, None),
    "settings": {
        ANY: _VALUE,
        **dict.fromkeys(("emg_normalization", "network_output"), (_TEXT, None)),
        **dict.fromkeys(("learning_rate", "weight_decay", "correction_weight", "window_samples"), (_NUMBER, None)),
    },
    **{key: [_TEXT] for key in ("conditions", "muscles", "subjects")},
    "seeds": [_NUMBER],
    "splitting": {
        **dict.fromkeys(("name", "judged", "meaning"), _TEXT),
        "emg_scale": (_TEXT, None),
    },
    "methods": {ANY: _TEXT},
    "judged": [_TEXT],
    "styles": {ANY: dict.fromkeys(("label", "colour", "marker"), _TEXT)},
    "citations": {ANY: _TEXT},
    "networks": (_NUMBER, None),
    "data": {
        **dict.fromkeys(("description", "licence", "attribution"), (_TEXT, None)),
        "conditions": {ANY: _PART},
    },
    "band_coverage": {ANY: {ANY: {ANY: [(_COVERAGE, "all")]}}},
    "shortcut_check": {"meaning": (_TEXT, None), "muscles": [(_CHECK, "all")]},
    "packages": {ANY: _TEXT},
    "reproducibility": {ANY: _VALUE},
}


def form_fault(value: Any, form: Any, where: str = "") -> str:
    """Say where a value is not of a form.

    Parameters
    ----------
    value : object
        What JSON gave.
    form : object
        As in :data:`STUDY`.
    where : str
        The value's place, for the message.

    Returns
    -------
    str
        The first fault; empty if there is none.
    """
    if isinstance(form, tuple):
        inner, note = form
        if note == "all":
            # Of a row every cell is needed.
            absent = [key for key in inner if isinstance(value, dict) and key not in value]
            return f"'{where}' lacks '{absent[0]}'." if absent else form_fault(value, inner, where)
        return "" if value is None else form_fault(value, inner, where)
    if isinstance(form, Mapping):
        if not isinstance(value, dict):
            return _fault(value, "an object", where)
        for key, item in value.items():
            inner = form.get(key, form.get(ANY))
            fault = "" if inner is None else form_fault(item, inner, f"{where}.{key}" if where else key)
            if fault:
                return fault
        return ""
    if isinstance(form, list):
        if not isinstance(value, list):
            return _fault(value, "a list", where)
        faults = (form_fault(item, form[0], f"{where}[{place}]") for place, item in enumerate(value))
        return next((fault for fault in faults if fault), "")
    if form == _VALUE:
        items = value if isinstance(value, list) else [value]
        return (
            ""
            if all(item is None or isinstance(item, str | int | float) for item in items)
            else _fault(value, form, where)
        )
    fits = isinstance(value, _TYPES[form]) and (form == _FLAG or not isinstance(value, bool))
    return "" if fits else _fault(value, form, where)


def _fault(value: Any, form: str, where: str) -> str:
    text = str(value) if not isinstance(value, str) else value
    return f"{shown(where)} must be {form}, but {shown(text)} was found."
