"""Messages in OpenSim's format, and only where they are wanted."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import textwrap

import pytest

from opensim_nem2e import log

TIMED = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] "


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.mark.parametrize("level", [name for name in log.LEVELS if name != "off"])
def test_console_shows_its_level_and_above(level, stream):
    handler = log.start_console(level, stream)
    for name, number in log.LEVELS.items():
        log.logger.log(number, "a %s message", name)
    log.stop(handler)
    names = list(log.LEVELS)
    expected = [f"[{name}] a {name} message" for name in names[: names.index(level) + 1]]
    assert stream.getvalue().splitlines() == expected


def test_file_has_times_and_is_appended_to(tmp_path):
    path = tmp_path / "run.log"
    for message in ("first", "second"):
        handler = log.start_file(path)
        log.logger.warning(message)
        log.stop(handler)
    lines = path.read_text().splitlines()
    assert [re.fullmatch(TIMED + r"\[warn\] (\w+)", line)[1] for line in lines] == ["first", "second"]


def test_recorder_keeps_lines_while_listening():
    recorder = log.Recorder()
    log.logger.warning("before")
    with recorder.listening():
        log.logger.info("during")
        log.logger.debug("a detail")
        log.logger.log(log.LEVELS["trace"], "too fine")
    log.logger.warning("after")
    assert re.fullmatch(TIMED + r"\[info\] during\n" + TIMED + r"\[debug\] a detail\n", recorder.text)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_a_plain_script_hears_the_tool():
    text = run(
        """
        from opensim_nem2e.log import audible, logger
        logger.info("silent")
        with audible():
            logger.info("heard")
        logger.info("silent")
        """
    )
    assert text == "[info] heard\n"


def test_a_program_with_its_own_logging_decides():
    text = run(
        """
        import logging, sys
        logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="own: %(message)s")
        from opensim_nem2e.log import audible, logger
        with audible():
            logger.info("not wanted")
            logger.warning("wanted")
        """
    )
    assert text == "own: wanted\n"


def test_a_level_that_the_program_sets_stays():
    text = run(
        """
        import logging
        logging.getLogger("opensim_nem2e").setLevel(logging.WARNING)
        from opensim_nem2e.log import audible, logger
        with audible():
            logger.info("not wanted")
            logger.warning("wanted")
        print(logger.level == logging.WARNING)
        """
    )
    assert text == "[warn] wanted\nTrue\n"


def test_what_a_file_put_into_a_message_cannot_harm_terminal_or_log(tmp_path, caplog):
    """Bytes that are no text, terminal escapes, endless names."""
    path = tmp_path / "run.log"
    handler = log.start_file(path, mode="w")
    try:
        log.logger.warning("label '%s'", b"a\xffb".decode("utf-8", "surrogateescape"))
        log.logger.warning("name '%s'", "\x1b[2J evil\u2028line")
        log.logger.warning("long %s", "x" * 1_000_000)
        log.logger.warning("plain Muskelkräfte μ\nsecond\tline")
    finally:
        log.stop(handler)
    text = path.read_text(encoding="utf-8")
    assert "label 'a\\udcffb'" in text
    assert "name '\\x1b[2J evil\\u2028line'" in text
    assert len(text) < 12_000
    assert "plain Muskelkräfte μ\nsecond\tline" in text
    assert all("\x1b" not in record.getMessage() for record in caplog.records)


def test_a_long_message_is_cut_in_its_middle(caplog):
    log.logger.warning("%s", "a" * 50_000 + "b" * 50_000)
    text = log.OpenSimFormatter(with_time=False).format(caplog.records[-1])
    assert len(text) < 4100
    assert text.startswith("[warn] aaa")
    assert " ... " in text
    assert text.endswith("bbb")
