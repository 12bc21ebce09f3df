"""BabyAI: every level's picture and words, and the number that shows whether an agent listens."""

import itertools
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from dynalang_py.envs.babyai import (
    OBJECTS,
    VOCABULARY,
    BabyAI,
    BabyAIConfig,
    Thing,
    View,
    list_tasks,
    named_thing,
)
from dynalang_py.envs.language import UNKNOWN
from dynalang_py.errors import UserError

pytest.importorskip("minigrid")

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
AHEAD = [(1, 0), (0, 1), (-1, 0), (0, -1)]


def make(task: str = "BabyAI-GoToLocalS5N2-v0", *, read: bool = False, **settings: Any) -> BabyAI:
    """Without the reading at the start, but where a test is about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # gymnasium's, on levels that have a newer version
        return BabyAI(BabyAIConfig(task=task, read=read, **settings))


def test_every_level_shows_what_minigrids_own_wrapper_shows() -> None:
    random = np.random.default_rng(0)
    seen: set[str] = set()
    for task in list_tasks():
        env = make(task)
        obs, _ = env.reset(seed=1)
        for _ in range(15):
            expected = env.level.get_frame(tile_size=5, agent_pov=True)  # all that the wrapper does
            np.testing.assert_array_equal(obs["image"], expected, err_msg=task)
            symbols = env.level.gen_obs()["image"]
            seen |= {f"thing {kind}" for kind in np.unique(symbols[..., 0])}
            if env.level.carrying is not None:
                seen.add("carried")
            doors = symbols[symbols[..., 0] == 4]
            seen |= {f"door {state}" for state in doors[:, 2]}
            obs, _, terminated, truncated, _ = env.step(random.integers(min(env.level.action_space.n, 6)))
            if terminated or truncated:
                break
    # Nothing unseen, wall, floor, door, key, ball, box, goal, lava; carried things; doors open, closed and locked.
    assert {f"thing {kind}" for kind in range(10)} - {"thing 3"} <= seen
    assert {"carried", "door 0", "door 1", "door 2"} <= seen


@pytest.mark.parametrize("tile_size", [4, 8, 11])
def test_a_rollout_equals_one_through_the_wrapper(tile_size: int) -> None:
    from minigrid.wrappers import RGBImgPartialObsWrapper

    task = "BabyAI-UnlockPickupDist-v0"
    env = make(task, tile_size=tile_size)
    theirs = RGBImgPartialObsWrapper(gymnasium.make(task, disable_env_checker=True), tile_size)
    obs, _ = env.reset(seed=4)
    expected, _ = theirs.reset(seed=4)
    random = np.random.default_rng(3)
    for _ in range(150):
        np.testing.assert_array_equal(obs["image"], expected["image"])
        assert obs["log_text"] == expected["mission"]
        action = int(random.integers(6))
        obs, *ours = env.step(action)
        expected, *rest = theirs.step(action)
        assert ours == rest


def test_at_the_default_size_everything_looks_different() -> None:
    view = View(BabyAIConfig().tile_size)
    pictures = []
    door, key, box, goal, lava = 4, 5, 7, 8, 9
    kinds = [(kind, color, 0) for kind, color in itertools.product(range(key, box + 1), range(6))]
    kinds += [(door, color, state) for color, state in itertools.product(range(6), range(3))]
    kinds += [(goal, 1, 0), (lava, 0, 0), (0, 0, 0), (1, 0, 0), (2, 5, 0)]
    for place in [(0, 0), (3, 6)]:  # the second one is where the agent stands on what it carries
        for kind in kinds if place == (0, 0) else kinds[:18]:
            symbols = np.ones((7, 7, 3), np.uint8)
            symbols[place] = kind
            pictures.append(view.draw(symbols).astype(int))
    least = min(np.abs(one - other).max() for one, other in itertools.combinations(pictures, 2))
    assert least >= 20


def test_every_word_of_every_mission_is_known() -> None:
    words: set[int] = set()
    for task in list_tasks():
        env = make(task)
        space = env.level.observation_space["mission"]
        missions = set()
        if task.startswith("MiniGrid-"):
            missions = {space.mission_func(*words) for words in itertools.product(*(space.ordered_placeholders or []))}
        # BabyAI's levels tell their missions only by drawing them; the largest of them draw from the whole grammar.
        for seed in range(300 if "Boss" in task or task == "BabyAI-SynthLoc-v0" else 5):
            missions.add(env.reset(seed=seed)[0]["log_text"])
        for mission in missions:
            ids = VOCABULARY.encode(mission)
            assert ids, task
            assert UNKNOWN not in ids, (task, mission)
            words |= set(ids)
    # All are of use but one, of levels that minigrid's wheel can't build.
    assert [VOCABULARY.pieces[i] for i in range(2, len(VOCABULARY)) if i not in words] == ["maze"]


def test_the_grammar_of_the_verifier_is_covered() -> None:
    from minigrid.core.constants import COLOR_NAMES
    from minigrid.envs.babyai.core import verifier

    class Described(verifier.ObjDesc):
        count = 1

        def find_matching_objs(self, env: Any, use_location: bool = True) -> None:
            self.obj_set = [None] * self.count

    sentences: list[Any] = []
    for kind, color, place, count in itertools.product(
        [None, *verifier.OBJ_TYPES], [None, *COLOR_NAMES], [None, *verifier.LOC_NAMES], [1, 2]
    ):
        thing = Described(kind, color, place)
        thing.count = count
        go = verifier.GoToInstr(thing)
        if kind == "door":
            sentences += [verifier.OpenInstr(thing), verifier.AfterInstr(go, go)]
        else:
            sentences += [verifier.PickupInstr(thing), verifier.PutNextInstr(thing, thing), verifier.AndInstr(go, go)]
        sentences += [verifier.BeforeInstr(go, go)]
    assert len(sentences) > 900
    for sentence in sentences:
        assert UNKNOWN not in VOCABULARY.encode(sentence.surface(None)), sentence.surface(None)


def test_an_unknown_word_is_heard_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make()
    draw = type(env.level).reset

    def reset(level: Any, **kwargs: Any) -> Any:
        answer = draw(level, **kwargs)
        level.mission = "go to the samovar"
        return answer

    monkeypatch.setattr(type(env.level), "reset", reset)
    obs, _ = env.reset(seed=0)
    heard = [obs["token"], *[env.step(LEFT)[0]["token"] for _ in range(3)]]
    assert [env.vocabulary[token] for token in heard] == ["go", "to", "the", "<unk>"]


@pytest.mark.parametrize("pause", [0, 1, 3])
def test_the_mission_is_repeated_while_acting(pause: int) -> None:
    env = make(pause=pause)
    obs, _ = env.reset(seed=0)
    heard = [obs["token"], *[env.step(LEFT)[0]["token"] for _ in range(16)]]
    sentence = [*VOCABULARY.encode(obs["log_text"]), *[0] * pause]
    assert heard == (sentence * 4)[:17]


def test_the_mission_is_read_before_anything_moves() -> None:
    env, level = make(read=True), make()
    obs, _ = env.reset(seed=3)
    plain, _ = level.reset(seed=3)
    words = len(VOCABULARY.encode(obs["log_text"]))
    heard = [obs["token"]]
    for _ in range(words - 1):
        assert obs["is_read_step"] == 1
        obs, reward, terminated, truncated, _ = env.step(FORWARD)
        heard.append(obs["token"])
        np.testing.assert_array_equal(obs["image"], plain["image"])
        assert (reward, terminated, truncated) == (0.0, False, False)
    assert VOCABULARY.decode(heard) == obs["log_text"]
    assert obs["is_read_step"] == 0
    assert env.level.step_count == 0
    random = np.random.default_rng(0)
    while True:  # from the last word on it is the same episode
        action = random.integers(3)
        obs, *rest, _ = env.step(action)
        plain, *expected, _ = level.step(action)
        assert rest == expected
        assert obs["is_read_step"] == 0
        np.testing.assert_array_equal(obs["image"], plain["image"])
        if rest[1] or rest[2]:
            break


def test_silence_takes_no_time_to_read() -> None:
    obs, _ = make(read=True, language="none").reset(seed=0)
    assert obs["is_read_step"] == 0


def test_level_generation_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    env = make("BabyAI-PutNextLocalS5N3-v0")  # often draws a mission that is done already
    for seed in range(50):
        env.reset(seed=seed)
    assert capsys.readouterr().out == ""


def test_shuffling_changes_the_words_and_nothing_else() -> None:
    env, shuffled = make(), make(language="shuffled")
    other = 0
    for seed in range(60):
        (obs, _), (obs_shuffled, _) = env.reset(seed=seed), shuffled.reset(seed=seed)
        heard = []
        for _ in range(6):
            np.testing.assert_array_equal(obs["image"], obs_shuffled["image"])
            assert obs["log_text"] == obs_shuffled["log_text"]
            heard.append(obs_shuffled["token"])
            obs, obs_shuffled = env.step(LEFT)[0], shuffled.step(LEFT)[0]
        other += heard[: len(VOCABULARY.encode(obs["log_text"]))] != VOCABULARY.encode(obs["log_text"])
        assert VOCABULARY.decode(heard).startswith("go to ")
    assert other > 45


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


def test_random_policy_is_at_the_known_level() -> None:
    env = make()
    env.action_space.seed(0)
    success = []
    for seed in range(400):
        env.reset(seed=seed)
        terminated = truncated = False
        steps = 0
        while not (terminated or truncated):
            obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            steps += 1
        success.append(float(obs["log_success"]))
        assert (reward > 0) == bool(obs["log_success"])
        assert terminated or steps == env.level.max_steps
    assert 0.2 < np.mean(success) < 0.4


def test_a_wrong_done_ends_go_to_door() -> None:
    env = make("MiniGrid-GoToDoor-5x5-v0")
    env.action_space.seed(0)
    wrong = 0
    for seed in range(30):
        env.reset(seed=seed)
        obs, reward, terminated, truncated, _ = env.step(DONE)
        assert terminated
        assert not truncated
        assert (reward > 0) == bool(obs["log_success"])
        wrong += reward == 0
    assert wrong > 20


def test_missions_are_said_by_any_tokenizer() -> None:
    from dynalang_py.tokenizers import load

    config = BabyAIConfig(task="BabyAI-GoToLocalS5N2-v0", tokenizer="english")
    env, english = BabyAI(config), load("english")
    assert env.vocabulary == english.pieces
    assert env.observation_space == config.spaces()[0]
    assert env.observation_space["token"].n == english.size  # type: ignore[index]
    seen, _ = env.reset(seed=0)
    heard = [seen["token"]]
    while seen["is_read_step"]:
        seen = env.step(0)[0]
        heard.append(seen["token"])
    assert english.decode(heard) == seen["log_text"]


def test_a_tokenizer_that_can_t_be_spoken_is_told_with_its_field(tmp_path: Path) -> None:
    import sentencepiece

    with pytest.raises(UserError, match=r"babyai\.tokenizer: there is no tokenizer 'englsh'"):
        BabyAIConfig(tokenizer="englsh").spaces()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["go to the red ball"] * 50),
        model_prefix=str(tmp_path / "a"),
        vocab_size=14,
        minloglevel=2,
    )
    with pytest.raises(UserError, match=r"babyai\.tokenizer is '.*a\.model', which has no id 0 for silence"):
        BabyAIConfig(tokenizer=str(tmp_path / "a.model")).spaces()
