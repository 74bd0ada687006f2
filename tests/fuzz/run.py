"""Fuzz the readers: ``python tests/fuzz/run.py --minutes 30``.

Every reader gets its share of the time in a process of its own. With atheris (``pip install atheris``) new inputs are
made from those that reached new code; without it, from the good files alone. An input that raises anything but an error
of opensim_nem2e, takes longer than 5 s or more than 1.5 GB, or ends the process is a finding: it is kept in
``FOLDER/findings/READER`` with the traceback, and the exit status is 1. The corpus is kept in ``FOLDER/corpus`` and is
taken up by the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import logging
import mmap
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

_SLOW, _HANG = 5.0, 30
_MEMORY_MB = 1500
#: In memory, where there is one: inputs are written thousands of times.
_SHM = "/dev/shm"


class Target:
    """One reader under test: counts what it is given and keeps what must not happen."""

    def __init__(self, name: str, folder: Path):
        from fuzz.readers import READERS, try_input

        (self.reader,) = (reader for reader in READERS if reader.name == name)
        self._try = try_input
        self._folder = folder / "findings" / name
        self._known = {path.stem for path in self._folder.glob("*.txt")} if self._folder.is_dir() else set()
        counter = folder / f"{name}.count"
        if not counter.exists():
            counter.write_bytes(bytes(8))
        # In a file, so that it outlives the process.
        with counter.open("r+b") as stream:
            self._count = mmap.mmap(stream.fileno(), 8)
        # The starting process removes it: this one may be ended by a finding.
        self.read = self.reader.prepare(Path(tempfile.mkdtemp(prefix="fuzz_")))

    def __call__(self, content: bytes) -> None:
        (count,) = struct.unpack("<q", self._count[:8])
        self._count[:8] = struct.pack("<q", count + 1)
        # Of the processor: other programs may hold this one up.
        begun = time.process_time()
        error = self._try(self.read, content)
        seconds = time.process_time() - begun
        if error is not None:
            place = [frame for frame in traceback.extract_tb(error.__traceback__) if "opensim_nem2e" in frame.filename]
            place = place or traceback.extract_tb(error.__traceback__)
            where = f"{Path(place[-1].filename).name}:{place[-1].lineno}" if place else "?"
            self.keep(content, f"{type(error).__name__} {where}", "".join(traceback.format_exception(error)))
        elif seconds > _SLOW:
            self.keep(content, "slow", f"{seconds:.1f} s\n")

    def keep(self, content: bytes, kind: str, text: str) -> None:
        """Keep an input of each kind."""
        key = hashlib.sha256(kind.encode()).hexdigest()[:12]
        if key in self._known:
            return
        self._known.add(key)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{key}.input").write_bytes(content)
        (self._folder / f"{key}.txt").write_text(f"{kind}\n{text[:20000]}", encoding="utf-8", errors="backslashreplace")
        print(f"FINDING {self.reader.name}: {kind}", flush=True)


def fuzz_one(name: str, folder: Path, seconds: float, seed: int) -> None:
    """Fuzz one reader in this process."""
    logging.getLogger("opensim_nem2e").setLevel(logging.CRITICAL + 1)
    atheris = None
    if importlib.util.find_spec("atheris"):
        import atheris

        with atheris.instrument_imports(include=["opensim_nem2e"], enable_loader_override=False):
            target = Target(name, folder)
            for content in target.reader.seeds():
                target(content)
    else:
        target = Target(name, folder)
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for content in target.reader.seeds():
        (corpus / hashlib.sha1(content).hexdigest()).write_bytes(content)
    if atheris is None:
        _mutate(target, corpus, seconds, seed)
        return
    words = folder / f"{name}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.reader.words), encoding="ascii")
    artifacts = folder / "findings" / name
    artifacts.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={max(1, int(seconds))}", f"-timeout={_HANG}", f"-rss_limit_mb={_MEMORY_MB}"]
    options += [f"-dict={words}", f"-artifact_prefix={artifacts}/", f"-seed={seed}", "-max_len=20000"]
    atheris.Setup([sys.argv[0], *options, "-verbosity=0", str(corpus)], target)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def _mutate(target: Target, corpus: Path, seconds: float, seed: int) -> None:
    """Change good files at random, without looking at what is reached."""
    chance = random.Random(seed)
    inputs = [path.read_bytes() for path in sorted(corpus.iterdir())]
    words = [word.encode() for word in target.reader.words] or [b"\0"]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        content = bytearray(chance.choice(inputs))
        for _ in range(chance.randint(1, 6)):
            at = chance.randint(0, len(content))
            match chance.randint(0, 4):
                case 0:
                    content[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    content[at:at] = chance.choice(words)
                case 2:
                    del content[at : at + chance.choice((1, 5, 50, 500))]
                case 3:
                    content[at:at] = content[at : at + chance.choice((1, 10, 200))] * chance.choice((1, 3, 300))
                case 4:
                    content[at : at + chance.choice((1, 3, 8))] = chance.choice(words)
        target(bytes(content[:200_000]))


def main() -> int:
    """Fuzz all readers, and say how often each was called and what was found."""
    from fuzz.readers import READERS

    names = [reader.name for reader in READERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="for all readers together (default: 30)")
    parser.add_argument("--reader", action="append", choices=names, help="only this one; may be given several times")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="corpus and findings (default: .fuzz)")
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run")
    parser.add_argument("--one", metavar="SECONDS", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    seed = random.SystemRandom().randrange(1, 2**31) if options.seed is None else options.seed
    chosen = options.reader or names
    if options.one is not None:
        fuzz_one(chosen[0], options.folder, options.one, seed)
        return 0
    guided = "with atheris" if importlib.util.find_spec("atheris") else "without atheris: inputs are not guided"
    print(f"{len(chosen)} readers, {options.minutes:g} minutes, seed {seed}, {guided}.", flush=True)
    share = 60 * options.minutes / len(chosen)
    for name in chosen:
        (options.folder / f"{name}.count").unlink(missing_ok=True)
        end = time.monotonic() + share
        done = 0
        while (rest := end - time.monotonic()) > 1:
            command = [sys.executable, __file__, "--reader", name, "--folder", str(options.folder), "--seed", str(seed)]
            with tempfile.TemporaryDirectory(prefix="fuzz_", dir=_SHM if Path(_SHM).is_dir() else None) as scratch:
                # A process that a finding has ended is started again.
                try:
                    said = subprocess.run(
                        [*command, "--one", str(rest)],
                        timeout=rest + 10 * _HANG,
                        capture_output=True,
                        env={**os.environ, "TMPDIR": scratch},
                    )
                except subprocess.TimeoutExpired:
                    place = options.folder / "findings" / name
                    place.mkdir(parents=True, exist_ok=True)
                    (place / "hang.txt").write_text("The process did not come back.\n")
                    break
            before, done = done, _executions(options.folder, name)
            if done == before:
                print(f"{name}: the process ended without reading anything:")
                print(said.stderr.decode(errors="replace")[-3000:])
                return 1
            seed += 1
        print(f"{name:18} {done:9} executions, {len(findings(options.folder, name))} findings", flush=True)
    found = {name: findings(options.folder, name) for name in chosen}
    for name, paths in found.items():
        for path in paths:
            first = path.read_text(errors="replace").splitlines()[0] if path.suffix == ".txt" else "ended the process"
            print(f"{name}: {first}: {path}")
    total = sum(map(len, found.values()))
    print(f"{total} findings." if total else "No findings.")
    return 1 if total else 0


def _executions(folder: Path, name: str) -> int:
    count = folder / f"{name}.count"
    return int(struct.unpack("<q", count.read_bytes())[0]) if count.exists() else 0


def findings(folder: Path, name: str) -> list[Path]:
    """Name what was found: a text for each kind, and inputs that ended the process."""
    place = folder / "findings" / name
    return sorted(path for path in place.glob("*") if path.suffix != ".input") if place.is_dir() else []


if __name__ == "__main__":
    sys.exit(main())
