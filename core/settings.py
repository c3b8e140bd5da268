"""Settings from the environment: names, parsing and defaults of every PANNSCOPE_ variable. Nothing else reads them.

Variables are read whenever a function is called, so that a program (or a test) may set them after the import. Blank means not set.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from core.errors import SettingsError

ROOT = Path(__file__).resolve().parents[1]
"""The folder that ``core``, ``dashboard`` and ``checkpoints`` lie in: a checkout of the repository, or ``site-packages``."""

ZENODO = "https://zenodo.org"
"""Where the published checkpoints are."""

WEB_RUNTIME_VERSION = "1.22.0"
"""Of onnxruntime-web, whose files ``core.export.web_runtime`` pins."""

NPM_FILES = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{WEB_RUNTIME_VERSION}/dist"
"""Where the files of that npm package are."""

PROFILES = ("auto", "fast", "small")
"""How a network can be run on a CPU (``core.runtime.profiles``)."""

MAX_THREADS = 256


@dataclass(frozen=True)
class Variable:
    """An environment variable: its name, what it sets, and its default in words (docs/command-line.md has the same)."""

    name: str
    meaning: str
    default: str

    @property
    def value(self) -> str:
        """Its value in the environment now, without blanks around it; empty where it is not set."""
        return os.environ.get(self.name, "").strip()

    def refusal(self, accepted: str) -> SettingsError:
        """The error for a value that is not accepted."""
        return SettingsError(f"{self.name} is {accepted}; got {self.value!r}: change it, or unset it.")


WEIGHTS = Variable(
    "PANNSCOPE_WEIGHTS",
    "folder of the downloaded checkpoints",
    "`checkpoints/weights` in a checkout of the repository, else `weights` in the cache folder",
)
CACHE = Variable(
    "PANNSCOPE_CACHE",
    "folder of what can be downloaded or compiled again",
    "the user's cache folder: `~/.cache/pannscope`, `~/Library/Caches/pannscope` or `%LOCALAPPDATA%\\pannscope\\Cache`",
)
MIRROR = Variable("PANNSCOPE_ZENODO", "address of a mirror of Zenodo", f"`{ZENODO}`")
WEB_RUNTIME = Variable(
    "PANNSCOPE_WEB_RUNTIME",
    "address of the files of onnxruntime-web, which `export --web` downloads",
    f"`{NPM_FILES}`",
)
PROFILE = Variable(
    "PANNSCOPE_PROFILE",
    "how a network is run on a CPU: `fast`, `small` (least memory), or `auto`, by the memory that is free",
    "`auto`",
)
THREADS = Variable(
    "PANNSCOPE_THREADS",
    "threads that a network runs on",
    "as many as torch's, at most the cores that a container's limits leave",
)
AUTO_FETCH = Variable(
    "PANNSCOPE_AUTO_FETCH", "`1`: the dashboard downloads the official pair when it starts", "`0`"
)
FIXED_MODELS = Variable(
    "PANNSCOPE_FIXED_MODELS",
    "`1`: visitors of the dashboard can neither install nor remove networks, for servers that strangers open",
    "`0`",
)
CORPUS = Variable(
    "PANNSCOPE_CORPUS",
    "folder of a data set that `pannscope batch` has written: the Corpus page shows it to everyone who opens the dashboard, and plays its clips",
    "none; on the machine that the dashboard runs on, the page has a field for the folder",
)

VARIABLES = (WEIGHTS, CACHE, MIRROR, WEB_RUNTIME, PROFILE, THREADS, AUTO_FETCH, FIXED_MODELS, CORPUS)


def weights_dir() -> Path:
    """The folder of the downloaded checkpoints; it need not exist."""
    if WEIGHTS.value:
        return Path(WEIGHTS.value).expanduser()
    return ROOT / "checkpoints" / "weights" if is_checkout(ROOT) else cache_dir() / "weights"


def cache_dir() -> Path:
    """The folder of what can be downloaded or compiled again; it need not exist."""
    if CACHE.value:
        return Path(CACHE.value).expanduser()
    return platformdirs.user_cache_path("pannscope", appauthor=False)


def zenodo() -> str:
    """Where the published checkpoints are downloaded from: Zenodo or a mirror, without a slash at the end."""
    return _address(MIRROR, ZENODO)


def web_runtime() -> str:
    """Where the files of onnxruntime-web are downloaded from, without a slash at the end."""
    return _address(WEB_RUNTIME, NPM_FILES)


def _address(variable: Variable, default: str) -> str:
    address = (variable.value or default).rstrip("/")
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of brackets that are no IPv6 address, or a port that is none
        valid = False
    if not valid or not address.isprintable() or set(" ?#") & set(address):
        raise variable.refusal("an address that begins with https:// or http:// and has a host and no query")
    return address


def profile() -> str:
    """One of ``PROFILES``."""
    value = PROFILE.value or "auto"
    if value not in PROFILES:
        raise PROFILE.refusal(f"one of {', '.join(PROFILES)}")
    return value


def threads() -> int | None:
    """Threads that a network runs on, 1 to ``MAX_THREADS``; None where the variable is not set."""
    value = THREADS.value
    if not value:
        return None
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= MAX_THREADS):
        raise THREADS.refusal(f"a number of threads, 1 to {MAX_THREADS}")
    return int(value)


def auto_fetch() -> bool:
    """Whether the dashboard downloads the official pair when it starts."""
    return _switch(AUTO_FETCH)


def fixed_models() -> bool:
    """Whether visitors of the dashboard can neither install nor remove networks."""
    return _switch(FIXED_MODELS)


def corpus() -> str:
    """The folder of the data set that the Corpus page shows; empty where none is set."""
    return CORPUS.value


def check() -> None:
    """Raise ``SettingsError`` for the first variable whose value is not accepted."""
    for read in (zenodo, web_runtime, profile, threads, auto_fetch, fixed_models):
        read()


@lru_cache(maxsize=4)
def is_checkout(root: Path) -> bool:
    """Whether a folder is a checkout of Pannscope's repository (an editable install's, too) rather than an installation's."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(project == "pannscope")


def _switch(variable: Variable) -> bool:
    accepted = {"": False, "0": False, "false": False, "1": True, "true": True}
    value = variable.value.lower()
    if value not in accepted:
        raise variable.refusal("1 or 0")
    return accepted[value]
