"""A visitor's own checkpoint on the pages: for one session alone, by the rules of any file, and freed with the session."""

from __future__ import annotations

import gc
import io
import json
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import soxr
import torch
from streamlit.testing.v1 import AppTest

from core.errors import CheckpointError, ModelError
from core.examples import example_clip
from core.models.cnn import Cnn14, Cnn14Config
from dashboard.server import own_networks
from dashboard.server.own_networks import FULL, IDLE_S, Holds, OwnNetwork, find_own, load_own, with_labels
from dashboard.server.server import Server
from scripts.hostile_onnx import kinds
from tests.core.onnx_models import by_hand, write

APP = str(Path(__file__).parents[2] / "dashboard" / "app.py")
NAMES = ["Drone", "Rain", "Door of the shed"]
PAGES = {"compare": "candidate", "prune": "network", "filters": "network"}


def checkpoint(seed: int = 0, classes: list[str] | None = NAMES, **beside: Any) -> bytes:
    torch.manual_seed(seed)
    state = Cnn14(Cnn14Config((8,) * 12, 3, 8)).state_dict()
    file = io.BytesIO()
    torch.save({"model": OrderedDict(state), "classes": classes, **beside}, file)
    return file.getvalue()


def uploader(app: AppTest, key: str = "own_checkpoint") -> Any:
    return next(widget for widget in app.get("file_uploader") if widget.key.startswith(key))


def captions(app: AppTest) -> str:
    """Without the escapes of what Markdown would read, and without the spaces at which no line breaks."""
    return " ".join(text.value.replace("\\", "").replace("\xa0", " ") for text in app.caption)


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("names.txt", NAMES),
        (
            "class_labels_indices.csv",
            ["index,mid,display_name", *(f"{i},/m/0,{n}" for i, n in enumerate(NAMES))],
        ),
    ],
)
def test_outputs_without_names_get_those_of_a_file(file: str, lines: list[str], embedded: None) -> None:
    app = AppTest.from_file(APP, default_timeout=120).run()
    uploader(app).upload("net.pth", checkpoint(classes=None)).run()
    assert "3 outputs (output 1, output 2, output 3)" in captions(app)
    assert "--labels" not in captions(app)
    uploader(app, "labels").upload(file, "\r\n".join(lines[:-1]).encode()).run()
    assert f"{file} has 2 names and net.pth has 3 outputs; give one name an output." in [
        error.value.replace("\\", "") for error in app.error
    ]
    unnamed = app.selectbox(key="candidate").value
    uploader(app, "labels").upload(file, "\r\n".join(lines).encode()).run()
    assert not app.exception
    assert not app.error
    assert "3 outputs (Drone, Rain, Door of the shed)" in captions(app)
    assert "numbered" not in captions(app)
    assert app.selectbox(key="candidate").value.startswith(f"{unnamed}-")
    assert app.selectbox(key="candidate").options.count("net.pth") == 1
    with pytest.raises(StopIteration):
        uploader(app, "labels")


@pytest.mark.parametrize("content", [b"a\0b", b"\xff\xfea\0", b"", b"Rain\nRain\nDog", b"x" * (1 << 21)])
def test_a_list_of_names_that_is_none_is_one_line(content: bytes) -> None:
    own = load_own("net.pth", checkpoint(classes=None))
    with pytest.raises(ModelError) as caught:
        with_labels(own, "../../etc/na\nmes.txt", content)
    assert "\n" not in str(caught.value)
    assert "/" not in str(caught.value)


@pytest.mark.parametrize("name", PAGES)
def test_an_upload_is_the_network_that_the_page_shows(name: str, embedded: None) -> None:
    app = AppTest.from_file(APP, default_timeout=120).run()
    if name != "compare":
        app.switch_page(f"{name}/page.py").run()
    uploader(app).upload("../my net.pth", checkpoint(optimizer={"lr": 1})).run()
    select = app.selectbox(key=PAGES[name])
    assert (select.value.startswith("my-net-"), "my-net.pth" in select.options) == (True, True)
    drawn = [
        widget.key for widget in app.main if getattr(widget, "key", None) in (PAGES[name], "own_checkpoint")
    ]
    assert drawn == [PAGES[name], "own_checkpoint"]  # the choice first on every page
    assert not app.exception
    assert not app.error
    captions = [
        text.value.replace("\\", "") for text in app.caption
    ]  # what Markdown would read as markup is escaped
    described = next(text for text in captions if text.startswith("my-net.pth"))
    assert all(said in described for said in (*NAMES, "optimizer"))
    other = AppTest.from_file(APP, default_timeout=120).run()
    assert "my-net.pth" not in other.selectbox(key="candidate").options
    app.button(key=f"remove {select.value}").click().run()
    assert "my-net.pth" not in app.selectbox(key=PAGES[name]).options
    assert not app.exception


def test_what_cannot_be_loaded_is_said_in_place(embedded: None) -> None:
    app = AppTest.from_file(APP, default_timeout=120).run()
    uploader(app).upload("x.pth", checkpoint()[:-2000]).run()
    (error,) = [error.value.replace("\\", "") for error in app.error]
    assert error.startswith("x.pth is damaged or truncated")
    assert not app.exception
    assert app.selectbox(key="candidate").value == "demo-epanns"


def test_errors_have_no_path_of_the_server() -> None:
    for name, content in {
        "../../etc/x.pth": b"",
        "a b\n.exe": b"text",
    }.items():
        with pytest.raises(CheckpointError) as caught:
            load_own(name, content)
        assert "/" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(caught.value).split()[0] in ("x.pth", "a-b")


def test_a_network_lives_as_long_as_a_session_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    own: OwnNetwork | None = load_own("x.pth", checkpoint())
    assert own is not None
    server.forget_with(own)
    same, another = load_own("x.pth", checkpoint()), load_own("x.pth", checkpoint(1))
    assert same is own  # two sessions with one file share it
    assert another.name != own.name
    name, key = own.name, server._models.key(own.name)
    assert server.tagger(name) is own.tagger
    assert (own_networks.title(name), server.structure(name).config.classes) == ("x.pth", 3)
    server._pruned._pruned.put((*key, "plan"), server._pruned._pruned.get("none") or _Sized())  # type: ignore[arg-type]
    freed = weakref.ref(own.tagger.model)
    del own, same
    gc.collect()
    assert freed() is None
    assert find_own(name) is None
    server.memory_pressure.relieve()
    assert len(server._pruned._pruned) == 0


class _Sized:
    nbytes = 8


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_all_visitors_networks_together_have_a_bound() -> None:
    """Room for two: a third waits until the visitor of one of them has been away for a while; that one is released, and freed."""
    first, second, third = (load_own("x.pth", checkpoint(seed)) for seed in range(3))
    clock = Clock()
    holds = Holds(2 * first.nbytes, clock)
    held, shared = holds.hold(first), holds.hold(first)  # one file of two visitors counts once
    clock.now += 1
    kept = holds.hold(second)
    clock.now += IDLE_S - 1.5
    assert holds.touch(kept) is second
    with pytest.raises(CheckpointError, match=FULL[:20]):
        holds.hold(third)
    clock.now += 0.5
    assert holds.hold(third).network is third
    assert (holds.touch(held), holds.touch(shared), holds.touch(kept)) == (None, None, second)
    name = first.name
    del first
    gc.collect()
    assert find_own(name) is None


def test_a_session_that_ends_makes_room() -> None:
    first, second = (load_own("x.pth", checkpoint(seed)) for seed in range(2))
    holds = Holds(first.nbytes, Clock())
    held = holds.hold(first)
    with pytest.raises(CheckpointError):
        holds.hold(second)
    del held
    gc.collect()
    assert holds.hold(second).network is second


def test_a_page_says_that_its_network_is_gone(embedded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppTest.from_file(APP, default_timeout=120).run()
    uploader(app).upload("mine.pth", checkpoint()).run()
    assert "mine.pth" in app.selectbox(key="candidate").options
    for hold in own_networks.get_holds()._holds:
        hold.network = None
    app.run()
    assert any(
        error.value.replace("\\", "").startswith("mine.pth: no longer in this server") for error in app.error
    )
    assert "mine.pth" not in app.selectbox(key="candidate").options
    assert not app.exception


def test_an_onnx_file_beside_an_embedded_network(tmp_path: Path, embedded: None) -> None:
    """The page asks for the rate that the file does not say, and for names; Prune and Filters say in a line that it has no layers."""
    content = write(tmp_path / "x.onnx", output="out").read_bytes()
    app = AppTest.from_file(APP, default_timeout=120).run()
    uploader(app).upload("mine.onnx", content).run()
    assert app.selectbox(key="candidate").value == "demo-epanns"  # until the rate is known
    app.selectbox(key="onnx_rate").select(16_000).run()
    assert not app.exception
    (error,) = (each.value.replace("\\", "") for each in app.error)
    assert error == "Demo CNN14 and mine.onnx have no class in common, so they cannot be compared."
    assert app.selectbox(key="candidate").value.startswith("mine-")
    said = captions(app)
    assert "3 outputs (output 1, output 2, output 3). Its outputs were taken for logits" in said
    uploader(app, "labels").upload("names.txt", b"Speech\nRain\nDrone").run()
    assert not app.error
    assert "Compared over the 2 classes that both networks have: Speech, Rain." in captions(app)
    notes = " ".join(note.value.replace("\\", "") for note in app.info)
    assert "For mine.onnx: the clip was resampled to 16 kHz" in notes
    cards = " ".join(text.value for text in app.markdown).replace("\xa0", " ")
    assert ":orange[**3.23 k**]" in cards  # 8 filters of 400 taps, 3 outputs
    assert ":blue[**1.26 G**] → :orange[**3.19 M**]" in cards  # convolutions and linear layers alone
    app.button(key=next(each.key for each in app.button if each.key.startswith("outputs"))).click().run()
    assert any("which are no probabilities" in error.value for error in app.error)
    app.session_state["network"] = app.selectbox(key="candidate").value
    known = {"sample_rate": 48_000, "labels": json.dumps(["Speech", "Rain", "Drone"])}
    fixed = write(tmp_path / "y.onnx", window=144_000, activated=True, output="scores", metadata=known)
    uploader(app).upload("fixed.onnx", fixed.read_bytes()).run()
    assert not app.error
    assert app.selectbox(key="candidate").value.startswith("fixed-")
    notes = " ".join(note.value.replace("\\", "") for note in app.info)
    assert "For fixed.onnx: the clip is 8.0 s long; it was tagged in 3 windows of 3.0 s" in notes
    for page in ("prune", "filters"):
        app.switch_page(f"{page}/page.py").run()
        (error,) = (each.value.replace("\\", "") for each in app.error)
        assert error.startswith("mine.onnx is an ONNX file: it tags")
        assert not app.exception


def test_a_hostile_onnx_file_is_a_line(tmp_path: Path, embedded: None) -> None:
    app = AppTest.from_file(APP, default_timeout=120).run()
    kind = next(kind for kind in kinds() if kind.name == "ConstantOfShape of 2^38 values")
    uploader(app).upload("../huge.onnx", kind.make(tmp_path).read_bytes()).run()
    (error,) = (error.value.replace("\\", "") for error in app.error)
    assert error.startswith("huge.onnx takes more memory than a tagger of its size may")
    assert app.selectbox(key="candidate").value == "demo-epanns"
    assert not app.exception


def test_onnx_files_of_other_rates_and_windows_are_a_third_and_fourth_network(
    tmp_path: Path, embedded: None
) -> None:
    """A 16 kHz model and one of windows of 3 s at 48 kHz: what the page shows of them is what they output, computed by hand."""
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params["example"] = "rain"
    app.run()
    labels = {"labels": json.dumps(["Speech", "Rain", "Drone"])}
    rated = write(
        tmp_path / "a.onnx", activated=True, output="scores", metadata=labels | {"sample_rate": 16_000}
    )
    known = labels | {"sample_rate": 48_000}
    fixed = write(tmp_path / "b.onnx", window=144_000, activated=True, output="scores", metadata=known)
    app.segmented_control(key="own_place").set_value("also").run()
    for file in (rated, fixed):
        uploader(app).upload(f"my {file.name}", file.read_bytes()).run()
    assert not app.exception
    assert not app.error
    assert [name[:5] for name in app.multiselect(key="also").value] == ["my-a-", "my-b-"]
    every = app.dataframe[1].value
    assert list(every.columns) == [
        "Tag",
        "Demo CNN14",
        "Demo E-PANNs",
        "my-a.onnx",
        "my-b.onnx",
        "Difference",
        "Category",
    ]
    waveform = example_clip("rain").waveform
    expected = by_hand(soxr.resample(waveform, 32_000, 16_000))
    rows = every.set_index("Tag")
    assert rows.loc[["Speech", "Rain"], "my-a.onnx"].tolist() == pytest.approx(
        expected[:2].tolist(), abs=1e-4
    )
    assert rows.loc["Clock", ["my-a.onnx", "my-b.onnx"]].isna().all()
    assert len(app.dataframe[0].value) == 6  # every two of four
    cards = [text.value for text in app.markdown if ":violet[my" in text.value and "**" in text.value]
    assert len([card for card in cards if card.startswith(":small[")]) == 8  # costs, and energy
    uploader(app).upload(
        "bare.onnx", write(tmp_path / "c.onnx", metadata={"sample_rate": 16_000}).read_bytes()
    ).run()
    (error,) = (each.value.replace("\\", "") for each in app.error)
    assert error.startswith("bare.onnx is left out. Demo CNN14 and bare.onnx have no class in common")
    assert list(app.dataframe[1].value.columns)[1:4] == ["Demo CNN14", "Demo E-PANNs", "my-a.onnx"]


def test_files_of_one_name_are_told_apart(embedded: None) -> None:
    one, two = (load_own("net.pth", checkpoint(seed)) for seed in (1, 2))
    shown = own_networks.titles([one.name, "demo-cnn14", two.name, "demo-cnn14"])
    assert shown == (
        f"net.pth ({one.tagger.info.sha256[:4]})",
        "Demo CNN14 (2)",
        f"net.pth ({two.tagger.info.sha256[:4]})",
        "Demo CNN14 (4)",
    )
