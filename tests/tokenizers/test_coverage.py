"""What is lost of a text on the way through a tokenizer."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynalang_py.errors import UserError
from dynalang_py.tokenizers import Tokenizer, load
from dynalang_py.tokenizers.closed import VLNWords, Vocabulary
from dynalang_py.tokenizers.coverage import SHOWN, Coverage, measure

SPLIT = Path(__file__).parents[3] / "shared" / "data" / "vlnce" / "val_seen.json.gz"
WORDS = Vocabulary(["go", "to", "the", "red", "box", "t"])


def test_words_outside_a_list_are_counted_and_punctuation_is_none() -> None:
    found = measure(WORDS, ["Go to the RED/blue box!", "go -- to the Sofa, (sofa) … don't"])
    assert (found.words, found.unknown, found.spelt) == (12, 4, 0)
    assert found.lost == {"sofa": 2, "blue": 1, "don't": 1}
    assert str(found) == "4 of 12 words (33.3 %): sofa (2), blue (1), don't (1)"


@pytest.mark.parametrize("tokenizer", [WORDS, Vocabulary(["go"], unknown=False), VLNWords(["go", "t-shirt"])])
def test_a_text_is_known_as_a_whole_if_none_of_its_words_is_lost(tokenizer: Vocabulary) -> None:
    for text in ("go", "Go, go.", "(go)", "go samovar", "t-shirt", "t", "“go”", "go to", "", "?!"):
        assert (measure(tokenizer, [text]).unknown > 0) == tokenizer.lacks(text), text


def test_what_has_bytes_to_fall_back_on_loses_nothing_and_tells_what_it_spells() -> None:
    found = measure(load("english"), ["go to the sofa", "go to the Ünï 🦊 .", "42 ?"])
    assert (found.words, found.unknown, found.spelt) == (10, 0, 2)
    assert str(found) == "none of 10 words; 2 (20 %) are spelt in bytes: Ünï (1), 🦊 (1)"
    assert measure(load("bytes"), ["Ünï 🦊"]) == Coverage(words=2)


def test_a_sentencepiece_model_without_bytes_has_unknown_words(foreign: Tokenizer) -> None:
    found = measure(foreign, ["the dog is near the xylophone", "the dog"])
    assert (found.words, found.unknown, found.spelt) == (8, 1, 0)
    assert found.lost == {"xylophone": 1}


@given(st.lists(st.text("go red.é\u2585", max_size=12), max_size=8))
def test_texts_are_counted_together_as_apart(texts: list[str]) -> None:
    together, apart = measure(WORDS, texts), Coverage()
    for text in texts:
        apart.add(measure(WORDS, [text]))
    assert apart == together
    kept = Coverage.of_state(json.loads(json.dumps(together.state())))
    assert str(kept) == str(together)


def test_the_most_frequent_are_named() -> None:
    found = measure(WORDS, [f"word{i} " * (50 - i) for i in range(40)])
    assert str(found).endswith(f"word{SHOWN - 1} ({51 - SHOWN})")
    assert "word0 (50), word1 (49)" in str(found)
    assert len(str(measure(WORDS, ["x" * 10_000]))) < 100


def test_more_than_is_allowed_is_refused_by_the_option_that_allows_it() -> None:
    found = measure(WORDS, ["go to the samovar", "go to the red"])
    found.check(0.125, "w", "a text", "read another")
    with pytest.raises(
        UserError, match=r"the tokenizer w can't say 12\.5 % of the 8 words of a text \(most often"
    ) as no:
        found.check(0.12, "w", "a text", "read another")
    assert str(no.value).endswith(
        "samovar (1)), and 12 % are allowed: read another, or allow more by --most-unknown 0.13"
    )
    Coverage().check(0.0, "w", "nothing", "")


@pytest.mark.skipif(not SPLIT.exists(), reason="the episodes of VLN-CE are not on this machine")
def test_the_houses_list_lacks_a_quarter_of_the_words_of_r2r_and_its_own_list_few() -> None:
    episodes = json.loads(gzip.decompress(SPLIT.read_bytes()))["episodes"]
    texts = [episode["instruction"]["instruction_text"] for episode in episodes]
    found = measure(load("houses"), texts)
    assert 0.2 < found.share < 0.3
    assert str(found).split(": ")[1].startswith("door (307), down (228), stairs (222)")
    assert measure(load(SPLIT), texts).share < 0.001
    assert measure(load("english"), texts).unknown == 0


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    import sentencepiece

    prefix = tmp_path_factory.mktemp("foreign") / "m"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the dog is near the cat"] * 50), model_prefix=str(prefix), vocab_size=16, minloglevel=2
    )
    return load(f"{prefix}.model")
