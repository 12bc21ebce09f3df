"""T5's ids: they are homegrid's, and can say everything that Messenger's manuals say."""

import importlib.util
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dynalang_py.errors import UserError
from dynalang_py.tokenizers import load, t5
from dynalang_py.tokenizers.t5 import T5Tokenizer

DATA = Path(__file__).parents[3] / "shared" / "data"
MODEL = DATA / "t5" / "spiece.model"


@pytest.fixture(scope="module")
def tokenizer() -> T5Tokenizer:
    if not MODEL.exists():
        pytest.skip("T5's sentencepiece model is not on this machine")
    return T5Tokenizer(MODEL)


def manuals(split: str) -> Iterator[str]:
    path = DATA / "messenger" / f"text_{split}.json"
    if not path.exists():
        pytest.skip("Messenger's sentences are not on this machine")
    for roles in json.loads(path.read_text()).values():
        for kinds in roles.values():
            for sentences in kinds.values():
                yield from sentences


def test_the_ids_of_homegrid_s_hundred_sentences_are_those_that_it_brings(tokenizer: T5Tokenizer) -> None:
    spec = importlib.util.find_spec("homegrid")
    if spec is None or spec.origin is None:
        pytest.skip("homegrid is not installed")
    ids, _ = pickle.loads((Path(spec.origin).parent / "homegrid_embeds.pkl").read_bytes())
    assert ids.pop("<pad>") == tokenizer.pad
    assert len(ids) == 100
    for sentence, known in ids.items():
        assert tokenizer.encode(sentence) == known.tolist()
        assert tokenizer.decode(known) == sentence


@pytest.mark.parametrize(("split", "least"), [("train", 2000), ("val", 500), ("test", 500)])
def test_every_sentence_of_messenger_is_made_of_known_pieces(tokenizer: T5Tokenizer, split: str, least: int) -> None:
    sentences = list(manuals(split))
    assert len(sentences) >= least
    english = load("english")
    for sentence in sentences:
        ids = tokenizer.encode(sentence)
        assert 0 < len(ids) < 36  # with its end mark, as long as the release allows a sentence to be
        assert tokenizer.unknown not in ids
        assert t5.PAD not in ids
        assert max(ids) < t5.SIZE
        if sentence.isascii():  # T5 writes some other characters in its own way
            assert tokenizer.decode([*ids, t5.END]).split() == sentence.split()
        assert english.unknown not in english.encode(sentence)
        assert english.decode(english.encode(sentence)) == sentence


def test_known_ids(tokenizer: T5Tokenizer) -> None:
    assert tokenizer.encode("the room is near") == [8, 562, 19, 1084]
    assert tokenizer.encode("") == []
    assert (tokenizer.pad, tokenizer.end, tokenizer.unknown) == (t5.PAD, t5.END, 2)


def test_there_is_a_piece_for_each_id(tokenizer: T5Tokenizer) -> None:
    pieces = tokenizer.pieces
    assert len(pieces) == len(set(pieces)) == tokenizer.size == t5.SIZE
    assert pieces[:3] == ("<pad>", "</s>", "<unk>")
    assert (pieces[8], pieces[32_000], pieces[-1]) == ("▁the", "<extra_id_99>", "<extra_id_0>")
    assert tokenizer.decode([8, 562, 32_000, t5.SIZE - 1]) == "the room"


def test_a_file_with_t5_s_pieces_is_t5_s(tokenizer: T5Tokenizer) -> None:
    loaded = load(str(MODEL))
    assert (loaded.size, loaded.identity) == (t5.SIZE, tokenizer.identity)


def test_by_name_it_comes_from_the_cache_of_hugging_face(
    tokenizer: T5Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up itself needs a cache that was filled from the network."""
    found = {("t5-base", "spiece.model"): str(MODEL)}
    hub = SimpleNamespace(try_to_load_from_cache=lambda repository, file: found.get((repository, file)))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert load("t5").identity == tokenizer.identity
    found.clear()
    with pytest.raises(UserError, match=r"not in the cache .*hf download google-t5/t5-small spiece\.model.*path"):
        load("t5")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install huggingface_hub"):
        load("t5")


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sentencepiece model at .*nowhere.*spiece\.model"):
        T5Tokenizer(tmp_path / "nowhere")
    (tmp_path / "spiece.model").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"spiece\.model is no sentencepiece model"):
        T5Tokenizer(tmp_path / "spiece.model")


def test_a_model_of_another_kind_is_refused() -> None:
    from dynalang_py.tokenizers import ENGLISH

    with pytest.raises(UserError, match="not T5's"):
        T5Tokenizer(ENGLISH)
