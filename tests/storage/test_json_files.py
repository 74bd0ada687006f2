"""JSON files of our own that somebody has touched."""

from __future__ import annotations

import pytest

from opensim_nem2e.errors import MissingFileError, StorageError
from opensim_nem2e.storage.json_files import read_json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "The study is nested too deeply"),
        (b'{"a":' * 100_000, "The study is nested too deeply"),
        (b'{"a": 1,\n"b"', r"a\.json:2: The study is no JSON"),
        (b"", "The study is no JSON"),
        (b'"\xff\xfe', "The study is no JSON"),
        (b"9" * 5_000, "The study is no JSON"),
    ],
)
def test_what_is_damaged(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=message) as caught:
        read_json(path, "study")
    assert len(str(caught.value)) < 1000


def test_what_is_whole(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, null]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None]}
    with pytest.raises(MissingFileError, match="there is no such JSON file"):
        read_json(tmp_path / "b.json")
