"""The number that shows whether an agent listens: did it face the thing that was named first?"""

from collections import deque
from typing import Any

import numpy as np
import pytest

from dynalang_py.envs.babyai import OBJECTS, VOCABULARY, BabyAI, Thing, named_thing

from .level import DONE, FORWARD, LEFT, RIGHT, make

AHEAD = [(1, 0), (0, 1), (-1, 0), (0, -1)]


@pytest.mark.parametrize(
    ("mission", "thing"),
    [
        ("go to the red ball", Thing("red", "ball")),
        ("go to a key on your left", Thing(None, "key")),
        ("pick up the purple object", Thing("purple", None)),
        ("open the grey door after you pick up the blue box", Thing("blue", "box")),
        ("pick up a ball, then go to the red door", Thing(None, "ball")),
        ("put the green key near the yellow box", Thing("green", "key")),
        ("go to the matching object at the end of the hallway", None),
        ("get to the green goal square", None),
    ],
)
def test_the_thing_a_mission_names_first(mission: str, thing: Thing | None) -> None:
    assert named_thing(mission) == thing


def test_first_faced_against_a_replay_of_the_level() -> None:
    random = np.random.default_rng(0)
    counts = {0.0: 0, 1.0: 0, "none": 0}
    env = make("BabyAI-GoToLocalS6N4-v0")
    for seed in range(80):
        obs, _ = env.reset(seed=seed)
        named = named_thing(obs["log_text"])
        cells, faced = [env.level.front_pos.tolist()], []
        terminated = truncated = False
        while not (terminated or truncated):
            obs, _, terminated, truncated, _ = env.step(int(random.choice([LEFT, RIGHT, FORWARD, FORWARD, DONE])))
            cells.append(env.level.front_pos.tolist())
            thing = env.level.grid.get(*cells[-1])
            if thing is not None and thing.type in OBJECTS and any(cell != cells[0] for cell in cells):
                faced.append((thing.color, thing.type))
        if faced:
            assert named is not None
            assert obs["log_first_faced"] == float(named.color in (None, faced[0][0]) and named.type == faced[0][1])
            counts[float(obs["log_first_faced"])] += 1
        else:
            assert np.isnan(obs["log_first_faced"])
            counts["none"] += 1
    assert min(counts.values()) > 3


def test_what_is_faced_at_the_start_does_not_count() -> None:
    env = make("MiniGrid-Fetch-5x5-N2-v0")  # BabyAI itself never lets the agent face an object at first
    tried = 0
    for seed in range(60):
        obs, _ = env.reset(seed=seed)
        ahead = env.level.grid.get(*env.level.front_pos)
        if ahead is None or ahead.type == "wall":
            continue
        tried += 1
        done = False
        while not done:
            obs, _, terminated, truncated, _ = env.step(DONE)
            done = terminated or truncated
        assert np.isnan(obs["log_first_faced"])
    assert tried > 5


def test_a_level_that_names_no_object_has_no_first_faced() -> None:
    env = make("MiniGrid-DistShift1-v0")
    env.reset(seed=0)
    for _ in range(env.level.max_steps):
        obs, *_ = env.step(LEFT)
    assert np.isnan(obs["log_first_faced"])


def turns_to_face(env: BabyAI, thing: Any) -> list[int]:
    """The shortest way to stand facing `thing` that faces no other object before."""
    level = env.level
    start = (int(level.agent_pos[0]), int(level.agent_pos[1]), int(level.agent_dir))
    ways: dict[tuple[int, int, int], list[int]] = {start: []}
    queue = deque([start])
    while queue:
        x, y, direction = queue.popleft()
        way = ways[x, y, direction]
        ahead = (x + AHEAD[direction][0], y + AHEAD[direction][1])
        cell = level.grid.get(*ahead)
        if cell is thing:
            return way
        if way and cell is not None and cell.type != "wall":
            continue
        nexts = [(LEFT, (x, y, (direction - 1) % 4)), (RIGHT, (x, y, (direction + 1) % 4))]
        nexts += [(FORWARD, (*ahead, direction))] if cell is None else []
        for action, state in nexts:
            if state not in ways:
                ways[state] = [*way, action]
                queue.append(state)
    return []


def listen_and_go(env: BabyAI, episodes: int) -> tuple[float, float]:
    """An agent that hears out the sentence, then goes to an object that fits it, or to any if none does.

    Returns: mean success, and mean of `log_first_faced` over the episodes in which it isn't NaN.
    """
    random = np.random.default_rng(0)
    success, first = [], []
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        heard, done = [obs["token"]], False
        while heard[-1] != 0 and not done:
            obs, _, terminated, truncated, _ = env.step(DONE)
            heard.append(obs["token"])
            done = terminated or truncated
        wish = named_thing(VOCABULARY.decode(heard))
        things = [thing for thing in env.level.grid.grid if thing is not None and thing.type in OBJECTS]
        fitting = [thing for thing in things if wish is not None and wish.fits(thing.color, thing.type)]
        choice = (fitting or things)[int(random.integers(len(fitting or things)))]
        actions = deque([] if done else turns_to_face(env, choice))
        while not done:
            obs, _, terminated, truncated, _ = env.step(actions.popleft() if actions else DONE)
            done = terminated or truncated
        success.append(obs["log_success"])
        first.append(obs["log_first_faced"])
    return float(np.mean(success)), float(np.nanmean(first))


@pytest.mark.parametrize("task", ["BabyAI-GoToLocalS5N2-v0", "BabyAI-GoToLocalS8N4-v0"])
def test_only_a_listener_with_true_sentences_faces_the_right_thing_first(task: str) -> None:
    success, first = listen_and_go(make(task), 150)
    assert first > 0.97
    assert success > 0.95
    success_shuffled, first_shuffled = listen_and_go(make(task, language="shuffled"), 150)
    assert first_shuffled < 0.65
    assert success_shuffled < 0.75
