"""What is said: every rule, every word."""

from random import Random

import pytest

from dynalang_py.envs.language import UNKNOWN, Vocabulary
from dynalang_py.envs.vln.houses.catalogue import COLOURS, KINDS, RECIPES
from dynalang_py.envs.vln.houses.furnish import Piece
from dynalang_py.envs.vln.houses.grammar import GRAMMAR, Wording, instruct
from dynalang_py.envs.vln.houses.route import Leg, Passed, Route
from dynalang_py.envs.vln.houses.words import WORDS

SOFA = Piece(name="sofa_1", kind="sofa", colour="red", room="office", x=0, z=0, turn=0, size=(2, 1, 1), model="builtin")
ONE_ROOM = (Route(None, (Leg("office"),), "blue chair"), Route("left", (Leg("office"),), "blue chair"))
MANY_ROOMS = (
    Route("around", (Leg("office"), Leg("hallway", None, "right"), Leg("kitchen", "left")), "red table"),
    Route(None, (Leg("office", passed=Passed(SOFA, "red sofa", "left")), Leg("kitchen")), "white fridge"),
)


def spoken(wording: Wording) -> list[tuple[str, tuple[str, ...]]]:
    sentences = [instruct(route, wording, Random(seed)) for route in (*ONE_ROOM, *MANY_ROOMS) for seed in range(400)]
    return [(sentence.text, sentence.rules) for sentence in sentences]


@pytest.mark.parametrize("wording", ["train", "held_out"])
def test_every_rule_is_reached_and_no_other(wording: Wording) -> None:
    rules = {f"{role}: {rule}" for role, rules in GRAMMAR.items() for rule in getattr(rules, wording)}
    assert {rule for _, used in spoken(wording) for rule in used} == rules


def test_held_out_rules_are_none_of_training() -> None:
    for rules in GRAMMAR.values():
        assert rules.held_out
        assert not {*rules.train} & {*rules.held_out}


def test_held_out_rules_speak_in_words_of_training() -> None:
    train, held_out = (
        {word for rules in GRAMMAR.values() for rule in getattr(rules, name) for word in rule.split()}
        for name in ("train", "held_out")
    )
    assert held_out <= train


def test_the_vocabulary_is_closed() -> None:
    vocabulary = Vocabulary(WORDS)
    for wording in ("train", "held_out"):
        for text, _ in spoken(wording):
            assert UNKNOWN not in vocabulary.encode(text), text
    for name in (*KINDS, *COLOURS, *RECIPES):
        assert UNKNOWN not in vocabulary.encode(name), name


def test_every_word_can_be_said() -> None:
    rules = {rule for rules in GRAMMAR.values() for rule in (*rules.train, *rules.held_out)}
    text = " ".join([*rules, *KINDS, *COLOURS, *RECIPES, "left right around and then . ,"])
    assert {*WORDS} == {word for word in text.split() if not word.startswith("{")}


def test_the_list_of_words_is_short_and_without_repetition() -> None:
    assert len({*WORDS}) == len(WORDS) <= 298


def test_sentences_begin_with_a_capital_and_end_with_a_stop() -> None:
    for text, _ in spoken("train"):
        assert text.endswith(".")
        assert " ." not in text
        assert " ," not in text
        for sentence in text.removesuffix(".").split(". "):
            assert sentence[0].isupper(), text


def test_no_sentence_is_tangled() -> None:
    for wording in ("train", "held_out"):
        for text, rules in spoken(wording):
            if len(rules) > 1:
                for sentence in text.split(". "):
                    assert sentence.count(" and ") <= 2
                    assert sentence.count(" then ") <= 1, text


def test_a_route_is_told_in_many_ways() -> None:
    for route in MANY_ROOMS:
        assert len({instruct(route, "train", Random(seed)).text for seed in range(200)}) > 60
    assert len({instruct(ONE_ROOM[0], "train", Random(seed)).text for seed in range(200)}) == 11


def test_the_target_and_the_last_room_are_named() -> None:
    for route in MANY_ROOMS:
        for seed in range(50):
            text = instruct(route, "train", Random(seed)).text
            assert route.target in text
            assert route.legs[-1].room in text
