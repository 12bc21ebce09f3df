"""T5's ids, and that they can say everything that Messenger's manuals say."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynalang_py.errors import UserError
from dynalang_py.tokenizers import t5
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


@pytest.mark.parametrize(("split", "least"), [("train", 2000), ("val", 500), ("test", 500)])
def test_every_sentence_of_messenger_is_made_of_known_pieces(tokenizer: T5Tokenizer, split: str, least: int) -> None:
    sentences = list(manuals(split))
    assert len(sentences) >= least
    unknown = tokenizer.vocabulary.index("<unk>")
    for sentence in sentences:
        ids = tokenizer.encode(sentence)
        assert ids[-1] == t5.END
        assert 1 < len(ids) <= 36  # as long as the release allows a sentence to be
        assert unknown not in ids
        assert t5.PAD not in ids
        assert max(ids) < t5.SIZE
        if sentence.isascii():  # T5 writes some other characters in its own way
            assert tokenizer.decode(ids).split() == sentence.split()


def test_known_ids(tokenizer: T5Tokenizer) -> None:
    assert tokenizer.encode("the room is near") == [8, 562, 19, 1084, 1]
    assert tokenizer.encode("") == [1]


def test_the_vocabulary_has_a_piece_for_each_id(tokenizer: T5Tokenizer) -> None:
    pieces = tokenizer.vocabulary
    assert len(pieces) == len(set(pieces)) == t5.SIZE
    assert pieces[:3] == ("<pad>", "</s>", "<unk>")
    assert (pieces[8], pieces[32_000], pieces[-1]) == ("▁the", "<extra_id_99>", "<extra_id_0>")


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sentencepiece model at .*nowhere"):
        T5Tokenizer(tmp_path / "nowhere")
    (tmp_path / "spiece.model").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"spiece\.model is no sentencepiece model"):
        T5Tokenizer(tmp_path / "spiece.model")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    import sentencepiece

    text = tmp_path / "text.txt"
    text.write_text("the dog is near the cat\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "small"), vocab_size=16, minloglevel=2
    )
    with pytest.raises(UserError, match="not T5's"):
        T5Tokenizer(tmp_path / "small.model")
