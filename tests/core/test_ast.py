"""AST, beside the package that its layers are from; and without that package, which one line then asks for."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from core.checkpoints import entry, fetch, load_checkpoint, missing_package, path_of, save_checkpoint
from core.classes import ClassSet
from core.errors import CheckpointError, DataError, DownloadError, ModelError, PruningError
from core.export import write_onnx
from core.models import recognition
from core.models.ast import Ast, AstConfig, KaldiLogMel, config_from_state
from core.models.extras import Extra
from core.models.groups import check_prunable, groups
from core.models.registry import architecture
from core.profiling import profile
from core.pruning.plan import plan
from core.tradeoff import measurable
from core.training.students import new_network

AST = architecture("ast")
CLASSES = ClassSet.named(["Drone", "Rain", "Door, of the shed"])
SMALL = AstConfig(classes=3, embedding=64, depth=2, hidden=96, stride=16)
PREFIX = "audio_spectrogram_transformer."


@pytest.fixture
def transformers() -> ModuleType:
    return pytest.importorskip(
        "transformers", reason='the extra "ast" is not installed: pip install "pannscope[ast]"'
    )


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not installed, whether it is or not."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr(Extra, "installed", property(lambda self: False))


def small(config: AstConfig = SMALL) -> Ast:
    """An AST of random weights, its tokens and positions included, which start as zeros."""
    torch.manual_seed(0)
    model: Any = AST.build(config).eval()
    for name, tensor in model.named_parameters():
        if "embeddings." in name:
            torch.nn.init.normal_(tensor, std=0.1)
    return model


def reference(transformers: ModuleType, model: Ast) -> Any:
    """``ASTForAudioClassification`` with the same weights."""
    config = transformers.ASTConfig(
        hidden_size=model.config.embedding,
        num_hidden_layers=model.config.depth,
        num_attention_heads=model.config.embedding // 64,
        intermediate_size=model.config.hidden,
        time_stride=model.config.stride,
        frequency_stride=model.config.stride,
        num_labels=model.config.classes,
    )
    theirs = transformers.ASTForAudioClassification(config).eval()
    theirs.load_state_dict(model.state_dict())
    return theirs


def authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as the authors' code writes it: one matrix for queries, keys and values, two heads that nothing uses."""
    head = {f"mlp_head.{number}": f"classifier.{name}" for number, name in enumerate(("layernorm", "dense"))}
    names = head | {
        "v.patch_embed.proj": f"{PREFIX}embeddings.patch_embeddings.projection",
        "v.norm": f"{PREFIX}layernorm",
    }
    result = {
        "v.cls_token": state[f"{PREFIX}embeddings.cls_token"],
        "v.dist_token": state[f"{PREFIX}embeddings.distillation_token"],
        "v.pos_embed": state[f"{PREFIX}embeddings.position_embeddings"],
    }
    for number in range(SMALL.depth):
        ours, theirs = f"{PREFIX}layers.{number}", f"v.blocks.{number}"
        names |= {f"{theirs}.attn.proj": f"{ours}.attention.o_proj"}
        names |= {f"{theirs}.norm1": f"{ours}.layernorm_before", f"{theirs}.norm2": f"{ours}.layernorm_after"}
        names |= {f"{theirs}.mlp.{name}": f"{ours}.mlp.{name}" for name in ("fc1", "fc2")}
        for part in ("weight", "bias"):
            joint = [state[f"{ours}.attention.{which}_proj.{part}"] for which in "qkv"]
            result[f"{theirs}.attn.qkv.{part}"] = torch.cat(joint)
    for theirs, ours in names.items():
        result |= {f"{theirs}.{part}": state[f"{ours}.{part}"] for part in ("weight", "bias")}
    for unused in ("v.head", "v.head_dist"):
        result |= {f"{unused}.weight": torch.ones(10, SMALL.embedding), f"{unused}.bias": torch.ones(10)}
    return {f"module.{name}": value for name, value in result.items()}


def kaldi(waveform: np.ndarray) -> np.ndarray:
    """Kaldi's log-mel, frame by frame and band by band, normalised as AST's authors do: (1024, 128)."""

    def mel(hertz: float) -> float:
        return 1127 * float(np.log(1 + hertz / 700))

    edges = np.linspace(mel(20), mel(8_000), 130)
    scale = np.array([mel(bin_ * 16_000 / 512) for bin_ in range(257)])
    rise, fall = (
        (scale[:, None] - edges[:-2]) / np.diff(edges)[:-1],
        (edges[2:] - scale[:, None]) / np.diff(edges)[1:],
    )
    filters = np.maximum(0, np.minimum(rise, fall))
    rows = np.zeros((1024, 128))
    for number in range(min(1024, 1 + (len(waveform) - 400) // 160)):
        frame = waveform[160 * number : 160 * number + 400].astype(np.float64)
        frame = frame - frame.mean()
        frame = (frame - 0.97 * np.append(frame[0], frame[:-1])) * (
            0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
        )
        rows[number] = np.log(np.maximum(np.abs(np.fft.rfft(frame, 512)) ** 2 @ filters, 2.0**-23))
    return (rows + 4.2677393) / (2 * 4.5689974)


def sounds(samples: int) -> dict[str, np.ndarray]:
    noise, time = np.random.default_rng(0).standard_normal(samples), np.arange(samples) / 16_000
    made = {
        "noise": 0.1 * noise,
        "tone": 0.9 * np.sin(2 * np.pi * 440 * time),
        "offset": 0.5 + 1e-3 * noise,
        "silence": 0 * time,
    }
    return {name: sound.astype(np.float32) for name, sound in made.items()}


@pytest.mark.parametrize("samples", [160_000, 20_000, 170_000])
def test_the_front_end_is_kaldis(samples):
    for name, sound in sounds(samples).items():
        found = KaldiLogMel()(torch.from_numpy(sound)[None])[0].numpy()
        np.testing.assert_allclose(found, kaldi(sound), atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
def test_the_front_end_is_that_of_transformers(transformers):
    extract = transformers.ASTFeatureExtractor()
    for samples in (160_000, 20_000, 170_000, 400, 300):
        for name, sound in sounds(samples).items():
            expected = extract(sound, sampling_rate=16_000, return_tensors="np")["input_values"]
            found = KaldiLogMel()(torch.from_numpy(sound)[None]).numpy()
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0, err_msg=f"{name}, {samples}")


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
@pytest.mark.parametrize(
    "config", [SMALL, AstConfig(4, 128, 1, 64, 12), AstConfig()], ids=["small", "two heads", "published"]
)
def test_logits_and_embeddings_are_those_of_transformers(transformers, config):
    model = small(config)
    theirs, sound = reference(transformers, model), sounds(160_000)["noise"]
    inputs = transformers.ASTFeatureExtractor()(sound, sampling_rate=16_000, return_tensors="pt")
    batch = torch.from_numpy(sound)[None]
    with torch.inference_mode():
        expected = theirs(**inputs).logits
        torch.testing.assert_close(model(batch), expected, atol=1e-4, rtol=0)
        pooled = theirs.audio_spectrogram_transformer(**inputs).pooler_output
    torch.testing.assert_close(model.outputs(batch)[1], pooled, atol=1e-4, rtol=0)
    assert model.outputs(batch)[1].shape == (1, config.embedding)


def test_the_published_network_is_counted(transformers):
    """By hand: 88.1 M in the paper's table with two heads of 768 x 1000 + 1000; 1,214 tokens; attention's products are in no count of thop."""
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    tokens = 2 + 12 * 101
    network = (16 * 16 + 1) * 768 + (tokens + 2) * 768 + 12 * layer + 2 * 768 + 2 * 768 + 768 * 527 + 527
    counted = profile("ast")
    assert counted.params_trainable == entry("ast").params == network == 86_594_063
    assert round((network + 2 * (768 * 1000 + 1000)) / 1e6, 1) == 88.1
    linear = 12 * tokens * (4 * 768 * 768 + 2 * 768 * 3072) + (tokens - 2) * 256 * 768 + 768 * 527
    assert counted.macs_network == linear
    assert counted.macs_flop_counter == linear + 12 * 2 * tokens * tokens * 768
    assert (
        counted.macs == entry("ast").macs_10s == linear + 4 * (25 * tokens + 1) * 768
    )  # and the layer norms
    assert entry("ast").stft_10s == 998 * 2 * 257 * 512  # two Conv1d layers
    assert {(layer.in_channels, layer.out_channels) for layer in counted.layers[1:7]} == {
        (768, 768),
        (768, 3072),
        (3072, 768),
    }


def test_files_of_three_layouts_are_loaded(transformers, tmp_path):
    model = small()
    save_checkpoint(tmp_path / "own.safetensors", model, classes=CLASSES, name="own")
    reference(transformers, model).save_pretrained(tmp_path)
    torch.save(authors(dict(model.state_dict())), tmp_path / "authors.pth")
    for file in ("own.safetensors", "model.safetensors", "authors.pth"):
        loaded = load_checkpoint(tmp_path / file)
        assert (loaded.info.architecture, loaded.model.config) == ("ast", SMALL)
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], tensor), (file, name)
    assert (
        loaded.info.notes[0]
        == "Skipped what AST has no use for: v.head.weight, v.head.bias, v.head_dist.weight, v.head_dist.bias."
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"v.pos_embed": torch.zeros(1, 146, 64)}, "trained on spectrograms of 144 patches; AST is built for those of 10 s: 1212, 850, 657, 512."),
        ({"v.blocks.0.attn.qkv.weight": torch.zeros(191, 64)}, "'v.blocks.0.attn.qkv.weight' is not 3 tensors of one shape"),
        ({"classifier.dense.bias": torch.zeros(3)}, "holds 'classifier.dense.bias' twice, under two names"),
        ({"v.pos_embed": torch.zeros(1, 514, 63)}, "a multiple of 64 units and up to 64 layers; got 63 and 2"),
    ],
)  # fmt: skip
def test_damaged_and_other_files_are_refused(change, said, tmp_path):
    """Before a network is built, so that the package is not needed for it."""
    shapes = {f"{PREFIX}embeddings.{name}": (1, 1, 64) for name in ("cls_token", "distillation_token")}
    shapes |= {f"{PREFIX}embeddings.position_embeddings": (1, 514, 64), f"{PREFIX}layernorm.weight": (64,)}
    shapes |= {
        f"{PREFIX}embeddings.patch_embeddings.projection.weight": (64, 1, 16, 16),
        "classifier.dense.weight": (3, 64),
    }
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        shapes |= {f"{PREFIX}layers.{number}.attention.{name}.weight": (64, 64) for number in (0, 1)}
    shapes |= {
        f"{PREFIX}layers.{number}.mlp.fc{which}.weight": (64, 64) for number in (0, 1) for which in (1, 2)
    }
    shapes |= {
        name.replace(".weight", ".bias"): (shape[0],)
        for name, shape in shapes.items()
        if name.endswith(".weight")
    }
    shapes |= {
        f"{PREFIX}layernorm.weight": (64,),
        "classifier.layernorm.weight": (64,),
        "classifier.layernorm.bias": (64,),
    }
    for number in (0, 1):
        for norm in ("layernorm_before", "layernorm_after"):
            shapes |= {f"{PREFIX}layers.{number}.{norm}.{part}": (64,) for part in ("weight", "bias")}
    state = authors({name: torch.zeros(shape) for name, shape in shapes.items()})
    torch.save(state | {f"module.{name}": value for name, value in change.items()}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as refused:
        load_checkpoint(tmp_path / "a.pth")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_exported_graph_gives_its_outputs(transformers, tmp_path):
    model = small()
    write_onnx(model, tmp_path / "a.onnx")
    sound = np.stack([sounds(160_000)[name] for name in ("noise", "tone")])
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    found, embedding = session.run(None, {"waveform": sound})
    np.testing.assert_allclose(found, model.probabilities(torch.from_numpy(sound)), atol=1e-4, rtol=0)
    np.testing.assert_allclose(embedding, model.outputs(torch.from_numpy(sound))[1], atol=1e-4, rtol=0)


def test_it_has_its_published_width_alone():
    with pytest.raises(
        DataError, match="AST is built with its published widths; leave --width out, or give CNN14"
    ):
        new_network("ast", 0.5, 3)


def test_it_is_not_pruned():
    line = "AST has no convolutions whose filters can be removed; it can be run, compared and counted. Prune another network."
    assert (AST.layers, groups("ast", SMALL)) == ((), ())
    for refuse in (lambda: check_prunable("ast"), lambda: profile("ast", ratio=0.5)):
        with pytest.raises(PruningError) as refused:
            refuse()
        assert str(refused.value) == line


def test_every_command_says_so(transformers, cli, tmp_path):
    file = tmp_path / "small.safetensors"
    model = small()
    save_checkpoint(file, model, classes=CLASSES, name="small")
    with pytest.raises(PruningError, match="AST has no convolutions"):
        plan(model, 0.5)
    for command in (
        ("importance", "--layer", "all"),
        ("prune", "--ratio", "0.5", "--out", tmp_path / "x.safetensors"),
        ("prune", "--criterion", "similarity", "--out", tmp_path / "x.safetensors"),
        ("sensitivity", "--clips", file),
        ("profile", "--ratio", "0.5"),
    ):
        assert cli(*command, "--checkpoint", file).complaint.startswith(
            "pannscope: AST has no convolutions whose filters"
        )


def test_nothing_imports_the_package_unless_an_ast_is_built(without):
    recognition._templates.cache_clear()
    loaded = load_checkpoint(path_of(entry("demo-epanns")))
    assert recognition.recognize(loaded.model.state_dict())[0] == "cnn14"


def test_without_the_package_one_line_says_what_to_install(without, cli, monkeypatch, tmp_path):
    line = 'AST needs the package transformers, which is not installed: pip install "pannscope[ast]"'
    with pytest.raises(ModelError) as refused:
        AST.build(SMALL)
    assert str(refused.value) == line
    assert missing_package(entry("ast")) == line
    assert (missing_package(entry("cnn14")), missing_package(entry("beats"))) == (None, None)
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    with pytest.raises(DownloadError) as unfetched:
        fetch("ast")
    assert str(unfetched.value) == line
    assert not list(tmp_path.iterdir())
    assert "ast" not in measurable()
    assert cli("profile", "--architecture", "ast").complaint == f"pannscope: {line}\n"


def test_a_broken_installation_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr(Extra, "installed", property(lambda self: True))
    with pytest.raises(ModelError, match=r"which cannot be imported \(.*\): pip install"):
        AST.build(SMALL)


def test_its_shapes_are_checked(transformers):
    state = dict(small().state_dict())
    assert config_from_state(state) == SMALL
    state[f"{PREFIX}layers.1.mlp.fc2.weight"] = torch.zeros(64, 95)
    with pytest.raises(
        ModelError, match=r"of another shape \(.*layers.1.mlp.fc2.weight \(64, 95\) instead of \(64, 96\)"
    ):
        config_from_state(state)
    del state[f"{PREFIX}layernorm.bias"]
    with pytest.raises(ModelError, match=f"1 missing \\({PREFIX}layernorm.bias"):
        config_from_state(state)
