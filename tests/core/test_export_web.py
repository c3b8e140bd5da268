"""compare.html: what it is made of, and where onnxruntime-web comes from. tests/browser/test_compare_html.py runs one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import onnxruntime
import pytest

from core.errors import DownloadError, ExportError
from core.export.check import check_waveforms
from core.export.web_runtime import PINNED, runtime_files

FILES = {"ort.wasm.min.mjs": b"export const a = 1 < 2;", "ort-wasm-simd-threaded.mjs": b"glue", "ort-wasm-simd-threaded.wasm": b"\0asm" * 9}  # fmt: skip


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in of the npm package, with its pins."""
    assert FILES.keys() == PINNED.keys()
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    for name, content in FILES.items():
        (folder / "dist" / name).write_bytes(content)
        monkeypatch.setitem(PINNED, name, (len(content), hashlib.sha256(content).hexdigest()))
    monkeypatch.setenv("PANNSCOPE_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def server(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """It serves the package's files; what was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            asked.append(self.path)

    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(package)))
    Thread(target=serving.serve_forever, daemon=True).start()
    monkeypatch.setenv("PANNSCOPE_WEB_RUNTIME", f"http://127.0.0.1:{serving.server_port}/dist/")
    yield asked
    serving.shutdown()
    serving.server_close()


def test_downloaded_once_and_kept_in_the_cache(server: list[str], tmp_path: Path) -> None:
    files = runtime_files()
    assert {name: path.read_bytes() for name, path in files.items()} == FILES
    assert all(path.is_relative_to(tmp_path / "cache") for path in files.values())
    assert server == [f"/dist/{name}" for name in FILES]
    runtime_files()
    assert len(server) == 3


def test_another_file_is_refused_and_not_kept(server: list[str], package: Path, tmp_path: Path) -> None:
    (package / "dist" / "ort-wasm-simd-threaded.mjs").write_bytes(b"evil")
    with pytest.raises(
        DownloadError,
        match=r"ort-wasm-simd-threaded.mjs is not the file of onnxruntime-web .* nothing was installed",
    ):
        runtime_files()
    assert [path.name for path in (tmp_path / "cache").rglob("*.*js")] == ["ort.wasm.min.mjs"]
    with pytest.raises(ExportError, match=r"does not have ort-wasm-simd-threaded\.mjs of onnxruntime-web"):
        runtime_files(package)


def test_what_lies_in_the_page(cli, studio, package, tmp_path, monkeypatch):
    """The page's own parts, decoded by Python, are the package's files, the bundle's 8-bit model, and its first test recording."""
    short = check_waveforms()[:1]
    monkeypatch.setattr("core.export.check.check_waveforms", lambda: short)
    words = (
        "export",
        "-f",
        "bundle",
        "-m",
        studio / "small.safetensors",
        "--web",
        "--beside",
        studio / "small.safetensors",
    )
    run = cli(*words, "--web-runtime", package, "--out", tmp_path / "a.zip")
    assert run.code == 0, run.err
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        page, model, wav, stored = (
            archive.read(name)
            for name in ("compare.html", "model.int8.onnx", "test_wavs/0.wav", "self_test.json")
        )
        assert "compare.html" in archive.read("README.md").decode()
    parts = {
        name: gzip.decompress(base64.b85decode(text.replace(",", "<"))[: int(size)])
        for name, size, text in re.findall(
            r'<script type="text/plain" id="([^"]+)" data-bytes="(\d+)">([^<]+)</script>',
            page.decode("ascii", "replace"),
        )
    }
    assert parts.keys() == {*FILES, "baseline.onnx", "candidate.onnx", "example.wav"}
    assert {name: parts[name] for name in FILES} == FILES
    assert (parts["candidate.onnx"], parts["example.wav"]) == (model, wav)
    names = [each.name for each in onnxruntime.InferenceSession(parts["baseline.onnx"]).get_outputs()]
    assert names == ["probabilities", "embedding"]
    facts = json.loads(re.search(r'id="facts">(.+?)</script>', page.decode())[1])
    assert [network["classes"] for network in facts["networks"]] == [["Speech", "Rain", "Siren"]] * 2
    stated = json.loads(stored)["models"]["model.int8.onnx"]["measured"]
    assert [network["loss"] for network in facts["networks"]] == [stated, stated]


def test_the_page_names_no_address_but_the_licences() -> None:
    template = (Path(__file__).parents[2] / "core" / "data" / "compare.html").read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\s)]+", template) == [
        "https://github.com/microsoft/onnxruntime/blob/main/LICENSE"
    ]
    assert "default-src 'none'" in template
    assert "connect-src blob:;" in template


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-f onnx --web", "--web adds a page to a bundle; leave it out for onnx."),
        ("-f bundle --beside demo-cnn14", "--beside and --web-runtime are for the page of --web; give that, too."),
        ("-f bundle --web", "to show beside it; give one: --beside MODEL."),
        ("-f bundle --web --beside demo-cnn14 --web-runtime nowhere", "does not have ort.wasm.min.mjs of onnxruntime-web 1.22.0"),
    ],
)  # fmt: skip
def test_mistakes(cli, studio, tmp_path, words, expected):
    out = tmp_path / ("a.onnx" if "onnx" in words else "a.zip")
    assert (
        expected in cli("export", "-m", studio / "small.safetensors", "--out", out, *words.split()).complaint
    )
    assert not out.exists()
