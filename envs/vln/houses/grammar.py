"""Sentences that a person would say about a route. Every wording is a rule; a few rules of each kind are held out.

Held-out rules are never used for training, but each of their words is: `val_unseen` speaks new sentences, not new
words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from dynalang_py.envs.vln.houses.route import Route

Wording: TypeAlias = Literal["train", "held_out"]
"""Which rules may be used."""


@dataclass(frozen=True)
class Rules:
    """Ways to say the same thing."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


GRAMMAR: dict[str, Rules] = {
    # The object is in the same room.
    "goto": Rules(
        (
            "go to the {target}",
            "walk to the {target}",
            "walk over to the {target} and stop",
            "find the {target} and stop in front of it",
            "move toward the {target}",
            "go and stand by the {target}",
            "look for the {target} and go there",
            "stop next to the {target}",
            "your goal is the {target}",
            "you need to find the {target}",
            "make your way to the {target}",
        ),
        (
            "stand in front of the {target}",
            "walk toward the {target} and stop there",
            "find your way to the {target}",
            "you need to go to the {target} and stop next to it",
            "look for the {target} and stand by it",
        ),
    ),
    # The same, after a turn at the start.
    "goto after a turn": Rules(
        (
            "turn {turn} and go to the {target}",
            "turn {turn} , then walk to the {target}",
            "first turn {turn} , then find the {target}",
            "after you turn {turn} , stop next to the {target}",
        ),
        (
            "first turn {turn} and look for the {target}",
            "go to the {target} after you turn {turn}",
            "you need to turn {turn} to find the {target}",
        ),
    ),
    # The whole way in a sentence.
    "brief": Rules(
        (
            "go to the {room} and stop next to the {target}",
            "find the {target} in the {room}",
            "go to the {target} in the {room}",
            "walk to the {room} and wait by the {target}",
        ),
        (
            "in the {room} , find the {target} and stop there",
            "your goal is the {target} in the {room}",
            "make your way to the {room} and stand by the {target}",
        ),
    ),
    # The way step by step, in this order.
    "start": Rules(("turn {turn}", "first turn {turn}"), ("you need to turn {turn}", "first , turn {turn}")),
    "leave": Rules(
        ("leave the {room}", "walk out of the {room}", "go out of the {room}"),
        ("make your way out of the {room}", "walk until you are out of the {room}"),
    ),
    "pass": Rules(
        (
            "walk past the {landmark} on your {side}",
            "pass the {landmark} on the {side}",
            "go past the {landmark}",
            "keep going until you are past the {landmark}",
        ),
        ("keep the {landmark} on your {side}", "go straight past the {landmark} on the {side}"),
    ),
    "enter": Rules(
        (
            "go straight into the {room}",
            "walk through the doorway into the {room}",
            "enter the {room}",
            "go into the {room}",
        ),
        ("walk straight into the {room}", "go through the doorway and enter the {room}"),
    ),
    "enter after a turn": Rules(
        (
            "turn {turn} into the {room}",
            "turn {turn} and enter the {room}",
            "take the doorway on your {turn} into the {room}",
        ),
        ("go through the doorway on your {turn} into the {room}", "make a {turn} turn to enter the {room}"),
    ),
    "turn": Rules(("turn {turn}", "make a {turn} turn"), ("take a {turn} turn", "go to your {turn}")),
    "stop": Rules(
        (
            "stop next to the {target}",
            "stop in front of the {target}",
            "walk to the {target} and stop",
            "wait by the {target}",
            "wait near the {target}",
            "stop when you are near the {target}",
        ),
        ("go to the {target} and wait there", "stand next to the {target}", "wait in front of the {target}"),
    ),
}
JOINTS = (" . ", " . ", " , then ", " and ", " and then ")
BRIEF = 0.25
"""Share of ways through several rooms that are told in a sentence."""


@dataclass(frozen=True)
class Sentence:
    text: str
    rules: tuple[str, ...]
    """The rules that made it, as "goto: go to the {target}"."""


def instruct(route: Route, wording: Wording, random: Random) -> Sentence:
    """One of the many ways to describe a route."""
    used: list[str] = []

    def say(role: str, **words: str) -> str:
        rules = GRAMMAR[role]
        rule = random.choice(rules.train if wording == "train" else rules.held_out)
        used.append(f"{role}: {rule}")
        return rule.format(**words)

    target, room = route.target, route.legs[-1].room
    if len(route.legs) == 1:
        if route.turn is not None and random.random() < 0.35:
            clauses = [say("goto after a turn", turn=route.turn, target=target)]
        else:
            clauses = [say("goto", target=target)]
    elif random.random() < BRIEF:
        clauses = [say("brief", room=room, target=target)]
    else:
        clauses = [] if route.turn is None else [say("start", turn=route.turn)]
        for i, leg in enumerate(route.legs):
            if i > 0 and leg.entered is not None:
                clauses.append(say("enter after a turn", turn=leg.entered, room=leg.room))
            elif i > 0:
                clauses.append(say("enter", room=leg.room))
            if leg.turn is not None:
                clauses.append(say("turn", turn=leg.turn))
            if leg.passed is not None:
                clauses.append(say("pass", landmark=leg.passed.words, side=leg.passed.side))
            if i == 0 and random.random() < 0.5:
                clauses.append(say("leave", room=leg.room))
        clauses.append(say("stop", target=target))
    return Sentence(_punctuate(_join(clauses, random)), tuple(used))


def _join(clauses: Sequence[str], random: Random) -> str:
    """Two or three clauses to a sentence."""
    text, since = clauses[0], 1
    for clause in clauses[1:]:
        joint = " . " if since >= 3 else random.choice(JOINTS)
        sentence = f"{text.rpartition(' . ')[2]} {clause} "
        if any(word in joint and word in sentence for word in (" and ", " then ")):
            joint = " . "  # one of each is enough
        if clause.startswith("first"):
            joint = " . "
        since = 1 if joint == " . " else since + 1
        text += joint + clause
    return f"{text} ."


def _punctuate(text: str) -> str:
    """Marks close to their words, sentences with a capital letter."""
    sentences = text.replace(" ,", ",").removesuffix(" .").split(" . ")
    return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)
