"""docs/performance.md: what is computed, written and drawn from a benchmark's JSON, against values worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.macs import comparisons, macs_left
from benchmarks.page import SECTIONS, write_page
from benchmarks.plans import plans
from core.benchmark import SUBJECTS
from core.errors import ModelError


def _row(engine: str, model: str, layers: dict[str, float], **other: float) -> dict:
    row = {"engine": engine, "model": model, "seconds": 10.0, "batch": 1, "threads": 1, "processes": 1}
    row |= {"median_ms": sum(layers.values()), "repeats": 3, "compared_with": "torch"}
    row |= {"lower_quartile_ms": 1.0, "upper_quartile_ms": 900.0, "ratio_to_reference": 1.0}
    row |= {"real_time_factor": 1.0, "max_abs_difference": 0.0, "peak_rss_mb": 100.0}
    return row | {"layers_ms": layers, "stages_ms": {"decode": 1.0, "front end": 2.0, "network": 3.0}} | other


def _layer_macs(widths: tuple[int, ...]) -> dict[str, float]:
    """Multiplications of 3 x 3 convolutions on the maps of 10 s: 1001 frames and 64 bands, halved after every second layer."""
    frames, bands, inputs, found = 1001, 64, 1, {}
    for place, width in enumerate(widths):
        found[f"C{place + 1}"] = 9 * inputs * width * frames * bands
        inputs = width
        if place % 2 and place < 11:
            frames, bands = frames // 2, bands // 2
    return found


WHOLE = (64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 2048, 2048)
HALVED = (*WHOLE[:6], *(width // 2 for width in WHOLE[6:]))


def _found() -> dict:
    """Two networks whose layers do 100 MACs a nanosecond, but for the pruned C12, which takes as long as the whole one."""
    before, after = ({name: macs / 1e8 for name, macs in _layer_macs(w).items()} for w in (WHOLE, HALVED))
    after["C12"] = before["C12"]
    rows = [_row("torch", "cnn14", before), _row("torch", "epanns", after)]
    read = {"memory_read": {"buffer_mb": 1, "gb_per_s": {"1": 10.0}}, "load_average": 0.5, "processor": "P"}
    host = read | {
        "cores": 1,
        "memory_free_mb": 1,
        "system": "S",
        "python": "3",
        "packages": {},
        "instructions": [],
    }
    host |= {"omp_wait_policy": {"ours": "passive", "peers": "their own"}, "between_turns": "stopped"}
    return {"engines": {"host": host, "rows": rows, "left_out": {"openvino": "not installed"}, "weights": {}}}


def test_time_is_set_against_macs_layer_by_layer():
    (found,) = comparisons(_found()["engines"]["rows"])
    before, after = _layer_macs(WHOLE), _layer_macs(HALVED)
    for layer in found.layers:
        assert layer.macs == (before[layer.name], after[layer.name])
        assert layer.rate(0) == pytest.approx(100)
    early = sum(before[f"C{i}"] for i in range(1, 7)) / sum(before.values())
    assert found.share(pruned=False, of_time=True) == pytest.approx(early)
    assert found.share(pruned=False, of_time=False) == pytest.approx(early)
    assert found.layers_cut_by_macs == pytest.approx(1 - sum(after.values()) / sum(before.values()))
    late = 1 - (sum(after.values()) - after["C12"] + before["C12"]) / sum(before.values())
    assert found.layers_cut == pytest.approx(late)
    assert found.macs_cut == pytest.approx(0.3607, abs=1e-4)  # the paper's 36 %
    c12 = found.layers[-1]
    assert (c12.macs_cut, c12.time_cut) == (0.75, 0)
    assert c12.weight_bytes == (4 * 9 * 2048 * 2048, 4 * 9 * 1024 * 1024)
    assert c12.reading_ms(0, 10.0) == pytest.approx(15.099, abs=1e-3)  # 151 MB at 10 GB/s
    assert macs_left("cnn14:0.5") == pytest.approx(1 - found.macs_cut, abs=1e-9)


def test_the_page_is_filled_between_its_markers(tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    sections = ("engines", "macs", "host", "length")
    text = "".join(
        f"before {name}\n<!-- measured: {name} -->\nstale\n<!-- end: {name} -->\n" for name in sections
    )
    page.write_text(text)
    found = _found()
    assert write_page(found, page, tmp_path / "images") == ["engines", "macs", "host"]
    first = page.read_text()
    assert first.count("stale") == 1  # the length was not measured
    assert [line for line in first.splitlines() if line.startswith("before")] == [
        f"before {n}" for n in sections
    ]
    before = sum(_layer_macs(WHOLE).values()) / 1e8
    assert f"| torch | cnn14 | {before:.0f} | 1–900 | 1.00 |" in first
    assert "| C12 | 2340 | 585 | 75 % | 23.4 → 23.4, 0 % |" in first
    assert (
        "Pruning takes less of the time than of the MACs from C12 (75 % of the MACs, 0 % of the time)."
        in first
    )
    assert "would take 65 % of C12's time (144 MiB, 15.1 of 23.4 ms)" in first
    assert "openvino: not installed" in first
    pictures = {path.name: ElementTree.parse(path) for path in (tmp_path / "images").iterdir()}
    assert sorted(pictures) == ["performance-engines.svg", "performance-macs.svg"]
    words = {name: "".join(tree.getroot().itertext()) for name, tree in pictures.items()}
    assert "time of a clip, ms" in words["performance-engines.svg"]
    assert "C12" in words["performance-macs.svg"]
    kept = (tmp_path / "images" / "performance-macs.svg").read_bytes()
    write_page(found, page, tmp_path / "images")
    assert page.read_text() == first
    assert (tmp_path / "images" / "performance-macs.svg").read_bytes() == kept


def test_a_page_without_markers_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Speed\n")
    with pytest.raises(ModelError, match="measured: NAME"):
        write_page(_found(), page, tmp_path)


def test_the_page_that_there_is_has_every_section():
    text = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- measured: (\S+) -->", text)) == sorted(SECTIONS)
    assert re.findall(r"<!-- measured: (\S+) -->", text) == re.findall(r"<!-- end: (\S+) -->", text)


def test_the_whole_run_covers_what_the_page_needs():
    found = plans(cores=6)
    assert found["length"].seconds == (1.0, 2.0, 10.0, 60.0)
    assert found["ratio"].models == ("cnn14", "cnn14:0.25", "cnn14:0.5", "cnn14:0.75")
    assert found["batch"].batches == (1, 2, 4, 8)
    assert found["batch"].threads == found["threads"].threads == (1, 2, 4, 6)
    assert found["processes"].processes == (2, 4, 6)
    assert set(found["engines"].engines) == set(SUBJECTS)
    assert "processes" not in plans(cores=1)
