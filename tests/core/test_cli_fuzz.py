"""No command ever ends in a traceback: random words, and files with random damage, end in exit code 0 or 2, and 2 says why in one line."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from core.cli.main import app

COMMANDS = {
    "models": "",
    "fetch": "cnn14",
    "remove": "cnn14",
    "tag": "{tone} -m {small}",
    "timeline": "{tone} -m {small} -o {out}",
    "embed": "{tone} -m {small} -o {out}",
    "compare": "{tone} -a {small} -b {other}",
    "profile": "-m {small}",
    "sensitivity": "-m {small} --clips {tone} --layers C12",
    "importance": "-m {small} --layer C9",
    "prune": "-m {small} --ratio 0.5 --out {out}.safetensors",
    "train": "--manifest {clips} --audio {studio} --width 0.03 --steps 1 --batch 2 --seconds 0.5 --out {out}.safetensors",
    "finetune": "-m {small} --manifest {clips} --audio {studio} --steps 1 --batch 2 --seconds 0.5 --out {out}.safetensors",
    "evaluate": "-m {small} --manifest {clips} --audio {studio}",
    "export": "-m {small} --out {out}.zip",
    "tradeoff": "--stft",
}
"""A call of each that works. ``serve`` and ``bench`` start processes of their own, and have tests of their own."""

WORDS = (
    *(
        "",
        " ",
        "-",
        "--",
        "-x",
        "x",
        "0",
        "-1",
        "1",
        "0.5",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e-999",
        "0x10",
        "１",
        "٣",
    ),
    *(
        "C1",
        "C0",
        "C7-C12",
        "C12-C7",
        "C7=0.5",
        "C7=",
        "=",
        ",",
        "a,b",
        "[",
        "{}",
        "[1]",
        "null",
        "%s",
        "*",
        "?",
        "~",
        ".",
    ),
    *(
        "/dev/null",
        "/no/such/file",
        "a" * 300,
        "a/" * 600,
        "\x00",
        "\ud800",
        "é",
        "\n",
        "a\nb",
        "$HOME",
        "auto",
    ),
    *(
        "demo-cnn14",
        "cnn14",
        "small",
        "l1",
        "winograd",
        "json",
        "{tone}",
        "{small}",
        "{clips}",
        "{studio}",
        "{damaged}",
    ),
)
SECONDS = 30


def damage(data: bytes, chance: random.Random) -> bytes:
    """The bytes of a file cut short, with bytes replaced, repeated or left out."""
    kind = chance.randrange(6)
    if kind == 0 or not data:
        return data[: chance.randrange(len(data) + 1)]
    if kind == 1:
        return chance.randbytes(chance.randrange(400))
    changed = bytearray(data)
    head = min(len(data), chance.choice((16, 200, 4000, len(data))))
    for _ in range(chance.choice((1, 3, 20))):
        at = chance.randrange(head)
        if kind == 2:
            changed[at % len(changed)] = chance.randrange(256)
        elif kind == 3:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        elif kind == 4:
            changed[at:at] = chance.randbytes(chance.randrange(1, 9))
        else:
            del changed[at % len(changed)]
    return bytes(changed)


def options() -> dict[str, list[str]]:
    """The options of every command."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {
        name: [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        for name, command in commands.items()
    }


def call(command: str, chance: random.Random, names: dict[str, str]) -> list[str]:
    """The words of a call that works, with one to three changes."""
    words = COMMANDS[command].split()
    for _ in range(chance.randrange(4)):
        change = chance.randrange(5)
        at = chance.randrange(len(words)) if words else 0
        if change == 0 and words:
            words[at] = chance.choice(WORDS)
        elif change == 1 and words:
            del words[at]
        elif change == 2:
            words.insert(at, chance.choice(WORDS))
        else:
            words += [chance.choice(options()[command]), chance.choice(WORDS)][: chance.choice((1, 2, 2))]
    for name, value in names.items():
        words = [word.replace(f"{{{name}}}", value) for word in words]
    return [command, *words]


@pytest.fixture
def in_time() -> Iterator[None]:
    """A call that does not end raises in the middle of what it does."""

    def late(*_signal: object) -> None:
        raise AssertionError(f"not ended after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("seed", range(60))
def test_no_command_ends_in_a_traceback(
    cli: Callable[..., object],
    studio: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_time: None,
    seed: int,
) -> None:
    chance = random.Random(seed)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path / "weights"))
    for address in ("PANNSCOPE_ZENODO", "PANNSCOPE_WEB_RUNTIME"):
        monkeypatch.setenv(address, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr("core.checkpoints.download.BACKOFF_S", 0.0)
    names = {name: str(studio / f"{name}.safetensors") for name in ("small", "other")}
    names |= {"studio": str(studio), "tone": str(studio / "tone.wav"), "clips": str(studio / "clips.csv")}
    names["out"] = str(tmp_path / "new")
    broken = chance.choice(("small", "tone", "clips"))
    names["damaged"] = str(tmp_path / ("broken" + Path(names[broken]).suffix))
    Path(names["damaged"]).write_bytes(damage(Path(names[broken]).read_bytes(), chance))
    command = list(COMMANDS)[seed % len(COMMANDS)]
    if chance.random() < 0.5:  # a file among those that the call names
        names[broken] = names["damaged"]
    words = call(command, chance, names)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    run = cli(*words)
    assert "Traceback" not in run.err, words
    assert run.code in (0, 2), (words, run)
    if run.code == 2:
        assert run.err.splitlines()[-1].startswith("pannscope: "), (words, run)
