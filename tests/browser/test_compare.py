"""The Compare page in a real browser: what a person does in the first minutes, and what the page must not do."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import answered, by_cli, settled
from .test_accessibility import findings, tour

Visit = Callable[..., Any]


def wav_bytes(seconds: float = 2.5, rate: int = 44_100, channels: int = 2, seed: int = 0) -> bytes:
    """A dog-like thing: bursts of a falling harmonic tone over noise."""
    time = np.arange(round(seconds * rate)) / rate
    burst = np.exp(-8 * (time % 0.7)) * np.sign(np.sin(2 * np.pi * 500 * time * (1 - 0.1 * (time % 0.7))))
    noise = np.random.default_rng(seed).standard_normal((len(time), channels))
    out = io.BytesIO()
    soundfile.write(out, 0.4 * burst[:, None] + 0.02 * noise, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def upload(page: Any, *files: tuple[str, bytes]) -> None:
    payload = [{"name": name, "mimeType": "audio/wav", "buffer": data} for name, data in files]
    with answered(page):
        page.locator("input[type=file]").first.set_input_files(payload)


def chart(page: Any) -> tuple[list[str], list[float], list[float]]:
    """Names and both models' values as they stand on the page."""
    plot = page.locator(".js-plotly-plot", has=page.locator(".bartext"))
    names = [text.split("  ")[0] for text in plot.locator(".annotation-text").all_text_contents()]
    values = [float(text) for text in plot.locator(".bartext").all_text_contents()]
    return names, values[: len(names)], values[len(names) :]


def compared(path: Path, baseline: str, candidate: str) -> dict[str, Any]:
    return json.loads(by_cli("compare", path, "--json", "--baseline", baseline, "--candidate", candidate))


def probabilities(answer: dict[str, Any]) -> dict[str, float]:
    return {tag["name"]: tag["probability"] for tag in answer["tags"]}


def choose_model(page: Any, box: str, title: str) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("combobox", name=box).click()
    with answered(page):
        page.get_by_role("option", name=title, exact=True).click()
    page.keyboard.press("Escape")


def download(page: Any, button: str) -> str:
    page.get_by_role("tab", name="Download").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).first.click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_a_real_file_from_upload_to_json(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "yard.wav"
    path.write_bytes(wav_bytes())
    expected = compared(path, "demo-cnn14", "demo-epanns")
    page = visit()
    upload(page, ("yard.wav", path.read_bytes()))

    names, left, right = chart(page)
    counted = [
        *expected["agreement"]["kept"],
        *expected["agreement"]["lost"],
        *expected["agreement"]["gained"],
    ]
    assert sorted(names[: len(counted)]) == sorted(counted)
    assert len(names) == len(counted) + 3
    for name, one, two in zip(names, left, right, strict=True):
        assert one == pytest.approx(probabilities(expected["baseline"])[name], abs=0.005001)
        assert two == pytest.approx(probabilities(expected["candidate"])[name], abs=0.005001)
    said = by_cli("compare", path).partition("\n")[0]
    answer = (
        page.locator("h2")
        .first.inner_text()
        .replace("Demo CNN14", "demo-cnn14")
        .replace("Demo E-PANNs", "demo-epanns")
    )
    assert said == f"yard.wav (2.5 s): {answer}"

    document = json.loads(download(page, "JSON"))
    assert document["clip"] == expected["clip"]
    for measure, value in expected["agreement"].items():
        close = pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
        assert document["agreement"][measure] == close, measure
    for side in ("baseline", "candidate"):
        assert probabilities(document[side]) == pytest.approx(probabilities(expected[side]), abs=1e-5)
    table = list(csv.DictReader(io.StringIO(download(page, "CSV"))))
    assert {row["tag"]: float(row["demo-epanns"]) for row in table} == pytest.approx(
        probabilities(expected["candidate"]), abs=1e-5
    )

    choose_model(page, "Baseline", "Demo E-PANNs")
    switched = compared(path, "demo-epanns", "demo-epanns")
    document = json.loads(download(page, "JSON"))
    assert document["baseline"]["model"] == switched["baseline"]["model"] == "demo-epanns"
    assert probabilities(document["baseline"]) == pytest.approx(probabilities(switched["baseline"]), abs=1e-5)
    assert chart(page)[1] == chart(page)[2]
    assert re.fullmatch(
        r"Both recognise Music \((0\.\d\d) → \1\); no difference above 0\.10",
        page.locator("h2").first.inner_text(),
    )
    assert "baseline=demo-epanns" in page.url


def test_bad_files_are_said_in_place_and_the_page_goes_on(visit: Visit) -> None:
    page = visit(scheme="dark")
    upload(
        page,
        ("empty.wav", b""),
        ("words.mp3", b"these are words, not sound " * 40),
        ("cut.wav", wav_bytes(1.0)[:30]),
        ("good.wav", wav_bytes(1.0, seed=3)),
    )
    page.locator("[data-testid=stAlert]", has_text="cut.wav").first.wait_for()
    said = page.locator("[data-testid=stAlert]").all_inner_texts()
    for name in ("empty.wav", "words.mp3", "cut.wav"):
        assert name in " ".join(said)
    assert "Traceback" not in page.inner_text("body")
    assert "good.wav" in page.inner_text("body")
    assert len(chart(page)[0]) >= 3
    assert findings(page) == []
    with answered(page):
        page.get_by_text("Siren", exact=True).click()
    assert page.locator("[data-testid=stAlert]", has_text="words.mp3").count() == 0
    assert "Your 4 recordings are kept" in page.inner_text("body").replace("\u00a0", " ")


def test_many_clips_open_one_by_one(visit: Visit) -> None:
    page = visit()
    upload(page, ("first.wav", wav_bytes(1.0, seed=1)), ("second.wav", wav_bytes(1.5, seed=2)))
    body = page.inner_text("body").replace("\u00a0", " ")
    assert "2 clips" in body
    assert "first.wav 1.0 s" in body
    grid = page.locator("[data-testid=stDataFrame]").first.bounding_box()
    with answered(page):
        page.mouse.click(grid["x"] + 16, grid["y"] + 38 + 35 + 17)
    assert "second.wav 1.5 s" in page.inner_text("body").replace("\u00a0", " ")
    page.get_by_role("tab", name="Download").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="JSON").nth(1).click()
    lines = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["clip"]["name"] for line in lines] == ["first.wav", "second.wav"]


def test_the_microphone_records_at_32_khz(visit: Visit) -> None:
    page = visit()
    page.get_by_test_id("stPopover").filter(has_text="Record").get_by_role("button").click()
    page.get_by_test_id("stAudioInput").get_by_role("button", name="Record").click()
    page.wait_for_timeout(700)
    page.get_by_role("button", name="Stop recording").click()
    page.locator("p", has_text="Microphone recording").first.wait_for()
    settled(page)
    assert "32 kHz mono" in page.inner_text("body").replace("\u00a0", " ")


def test_a_link_opens_the_same_view_and_the_answer_comes_before_its_rows(visit: Visit) -> None:
    page = visit(query="/?example=Siren&top_k=4&threshold=0.1", width=390, height=844)
    assert len(chart(page)[0]) == 4
    assert "Siren" in page.locator("h2").first.inner_text()
    assert "Siren" in page.locator("[data-testid=stMain]").inner_text()
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 844})
        settled(page)
        tops = [
            page.locator(selector).first.bounding_box()["y"]
            for selector in ("h2", ".js-plotly-plot:has(.bartext)")
        ]
        assert tops == sorted(tops)
        picture = page.locator(
            ".js-plotly-plot:has(.heatmaplayer), .js-plotly-plot:has(image)"
        ).first.bounding_box()
        assert width > 390 or picture["y"] > tops[-1]


def test_recordings_outlive_a_reload_for_their_own_browser_alone(visit: Visit) -> None:
    page = visit()
    upload(page, ("yard.wav", wav_bytes(1.0, seed=3)))
    page.get_by_role("button", name="Remove yard.wav").wait_for()
    assert "recordings=" in page.url
    page.reload()
    page.get_by_role("button", name="Remove yard.wav").wait_for()
    settled(page)
    assert page.get_by_text("yard.wav", exact=True).first.is_visible()
    page.context.clear_cookies()  # another browser
    page.reload()
    page.get_by_text("is no longer on this server").wait_for()
    assert page.get_by_text("yard.wav").count() == 0


def test_every_part_fits_and_is_accessible(visit: Visit) -> None:
    assert tour(visit(width=390, scheme="dark"), ("baseline",)) == {}
