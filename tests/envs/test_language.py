import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynalang_py.envs.language import PAD, UNKNOWN, Speaker, Vocabulary

WORDS = Vocabulary(["go", "to", "the", "ball", ","])


def test_words_keep_their_order_after_silence_and_unknown() -> None:
    assert WORDS.pieces == ("<pad>", "<unk>", "go", "to", "the", "ball", ",")
    assert len(WORDS) == 7


def test_sentence_comes_back_without_case_and_with_punctuation_apart() -> None:
    ids = WORDS.encode("Go to the ball, go")
    assert ids == [2, 3, 4, 5, 6, 2]
    assert WORDS.decode([*ids, PAD]) == "go to the ball , go"


def test_unknown_words_have_one_id() -> None:
    assert WORDS.encode("go to the samovar !") == [2, 3, 4, UNKNOWN]


def test_a_word_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(["go", "go"])


@given(st.lists(st.integers(2, 9), min_size=1, max_size=6), st.integers(0, 3), st.integers(1, 40))
def test_speaker_repeats_the_sentence_with_pauses(ids: list[int], pause: int, steps: int) -> None:
    speaker = Speaker(pause)
    speaker.tell(ids)
    expected = [*ids, *[PAD] * pause] * steps
    for step in range(steps):
        assert speaker.finished == (step >= len(ids))
        assert next(speaker) == expected[step]


def test_a_new_sentence_interrupts() -> None:
    speaker = Speaker()
    speaker.tell([2, 3, 4])
    assert [next(speaker), next(speaker)] == [2, 3]
    speaker.tell([5, 6])
    assert not speaker.finished
    assert [next(speaker) for _ in range(4)] == [5, 6, PAD, 5]


def test_silent_before_the_first_sentence_and_after_an_empty_one() -> None:
    speaker = Speaker(pause=0)
    assert [next(speaker), next(speaker)] == [PAD, PAD]
    speaker.tell([2])
    assert next(speaker) == 2
    speaker.tell([])
    assert [next(speaker), next(speaker)] == [PAD, PAD]
    assert speaker.finished
