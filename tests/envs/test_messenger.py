"""Messenger: what is read, seen and paid, with the public environment where it is installed, else with a stand-in."""

import importlib.util
import random
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from dynalang_py import envs
from dynalang_py.envs import MessengerConfig, messenger, voice
from dynalang_py.errors import UserError
from dynalang_py.tokenizers import encoders, t5

MODEL = Path(__file__).parents[3] / "shared" / "data" / "t5" / "spiece.model"
STAGES = ("messenger-s1", "messenger-s2", "messenger-s3")
ANIMALS = ("dog", "bird", "fish", "ship")


class Stage:
    """A game in messenger's form: an enemy wanders, the message and the goal stand in two corners."""

    def __init__(self, split: str = "", **settings: Any) -> None:
        self.init_states, self.game_variants = ["b", "a"], [("b",), ("a",)]

    def reset(self) -> tuple[dict[str, Any], list[str]]:
        self.env: Any = SimpleNamespace(game=SimpleNamespace(generator=random.Random()))
        self.env.game.set_seed = self.env.game.generator.seed
        self.variant = random.choice(self.init_states)
        self.agent, self.has_message = [5, 5], False
        self.things = {"enemy": [8, 1 + random.randrange(8)], "message": [0, 0], "goal": [9, 9]}
        names = random.sample(ANIMALS, 3)
        manual = [f"the {name} is the {role}." for role, name in zip(self.things, names, strict=True)]
        random.shuffle(manual)
        return self.observe(), manual

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, None]:
        moves = [(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)]
        self.agent = [min(9, max(0, place + d)) for place, d in zip(self.agent, moves[action], strict=True)]
        self.things["enemy"][1] = self.env.game.generator.randrange(10)
        touched = [role for role, place in self.things.items() if place == self.agent]
        if touched == ["message"]:
            self.has_message = True
            del self.things["message"]
            return self.observe(), 0.5, False, None
        reward = 0.0 if not touched else 1.0 if touched == ["goal"] and self.has_message else -1.0
        return self.observe(), reward, bool(touched), None

    def observe(self) -> dict[str, Any]:
        entities, avatar = np.zeros((10, 10, 3)), np.zeros((10, 10, 1))
        for layer, (role, (y, x)) in enumerate(self.things.items()):
            entities[y, x, layer] = {"enemy": 4, "message": 5, "goal": 6}[role]
        avatar[self.agent[0], self.agent[1], 0] = 16 if self.has_message else 15
        return {"entities": entities, "avatar": avatar}


class TwoStages:
    def __init__(self, stage: int, split_1: str, split_2: str, prob_env_1: float) -> None:
        self.env_1, self.env_2, self.chance = Stage(), Stage(), prob_env_1

    def reset(self) -> tuple[dict[str, Any], list[str]]:
        self.cur_env = self.env_1 if random.random() < self.chance else self.env_2
        return self.cur_env.reset()

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, None]:
        return self.cur_env.step(action)


class Letters:
    """Stands in for T5's tokenizer: a token per letter."""

    pieces = ("<pad>", "</s>", *(f"<{i}>" for i in range(2, t5.SIZE)))
    pad, end = t5.PAD, t5.END

    def __init__(self, model: Path) -> None:
        self.model = model

    def encode(self, sentence: str) -> list[int]:
        return list(sentence.encode())


@pytest.fixture(params=["stand-in", "public"])
def public(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "public":
        if importlib.util.find_spec("messenger") is None:
            pytest.skip("the Messenger environment is not installed")
        return True
    module = ModuleType("messenger.envs")
    kinds = {"TwoEnvWrapper": TwoStages, "StageOne": Stage, "StageTwo": Stage, "StageThree": Stage}
    for name, kind in kinds.items():
        setattr(module, name, kind)
    monkeypatch.setattr(messenger, "_import_messenger", lambda task: module)
    return False


@pytest.fixture(autouse=True)
def _letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t5, "T5Tokenizer", Letters)


def rollout(env: gymnasium.Env[Any, Any], seed: int | None, episodes: int = 1) -> list[tuple[Any, ...]]:
    choose = np.random.default_rng(0)
    log: list[tuple[Any, ...]] = []
    for episode in range(episodes):
        log.append((env.reset(seed=seed if episode == 0 else None)[0], 0.0, False, False))
        while not (log[-1][2] or log[-1][3]):
            log.append(env.step(choose.integers(5))[:4])
    return log


def signature(log: list[tuple[Any, ...]]) -> list[Any]:
    return [(obs["image"].tobytes(), obs.get("token"), obs["log_text"], *rest) for obs, *rest in log]


@pytest.mark.parametrize("task", STAGES)
def test_gymnasium_finds_no_fault(public: bool, task: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(seed|deterministic|obs|reward|info).*")
        warnings.filterwarnings("ignore", message=".*(infinity|Box).*")
        check_env(envs.make(MessengerConfig(task=task)), skip_render_check=True)


@pytest.mark.parametrize("task", STAGES)
def test_the_manual_is_read_before_anything_moves(public: bool, task: str) -> None:
    env = envs.make(MessengerConfig(task=task))
    for seed in range(5):
        obs, _ = env.reset(seed=seed)
        first, tokens = obs["image"], [obs["token"]]
        while obs["is_read_step"]:
            obs, reward, *over, _ = env.step(0)
            tokens.append(obs["token"])
            if obs["is_read_step"]:
                assert (obs["image"] == first).all()
                assert (reward, over) == (0, [False, False])
        # Sentence after sentence, each with its end mark; the first acting step follows the last word's.
        sentences = bytes(tokens[:-1]).split(b"\x01")
        assert b" ".join(sentences).decode().strip() == obs["log_text"]
        assert len(sentences) - 1 == (6 if public and task == "messenger-s3" else 3)
        assert tokens[-1] == t5.PAD
        assert (obs["image"] != first).any()


@pytest.mark.parametrize("task", STAGES)
def test_symbols_are_0_or_255_with_the_agent_in_one_place(public: bool, task: str) -> None:
    env = envs.make(MessengerConfig(task=task))
    for obs, _, terminated, _ in rollout(env, 3, episodes=10):
        image = obs["image"]
        assert image.shape == (16, 16, 17)
        assert set(np.unique(image)) <= {0, 255}
        assert not image[10:].any()
        assert not image[:, 10:].any()
        assert not image[..., 0].any()
        assert terminated or np.count_nonzero(image[..., 15:]) == 1
    assert np.count_nonzero(env.reset(seed=0)[0]["image"]) >= 4


@pytest.mark.parametrize(("task", "limit"), list(zip(STAGES, (4, 64, 128), strict=True)))
def test_who_only_stands_still_runs_out_of_time_at_a_price(public: bool, task: str, limit: int) -> None:
    env = envs.make(MessengerConfig(task=task))
    ends = set()
    for seed in range(10):
        obs, _ = env.reset(seed=seed)
        acting, over = 0, False
        while not over:
            acting += not obs["is_read_step"] or env.unwrapped._heard + 1 == len(env.unwrapped._words)  # type: ignore[attr-defined]
            obs, reward, terminated, truncated, _ = env.step(4)
            over = terminated or truncated
        ends.add(truncated)
        assert truncated == (acting == limit)
        assert reward == -1 if truncated else float(reward) < 0
        assert obs["log_success"] == 0
    assert any(ends), "no episode reached its limit"


def test_a_limit_of_one_s_own(public: bool) -> None:
    log = rollout(envs.make(MessengerConfig(task="messenger-s2", max_steps=1)), 0)
    assert sum(not obs["is_read_step"] for obs, *_ in log) == 1
    assert log[-1][1:] == (-1.0, False, True)


@pytest.mark.parametrize("task", STAGES)
def test_success_is_the_full_reward(public: bool, task: str) -> None:
    log = rollout(envs.make(MessengerConfig(task=task)), 1, episodes=60 if task == "messenger-s1" else 30)
    for obs, reward, terminated, _ in log:
        assert obs["log_success"] == (terminated and reward == 1)
    if public and task == "messenger-s1":
        assert sum(float(obs["log_success"]) for obs, *_ in log) > 0


def test_the_message_and_then_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the stand-in, whose map is known."""
    module = SimpleNamespace(TwoEnvWrapper=TwoStages, StageOne=Stage, StageTwo=Stage, StageThree=Stage)
    monkeypatch.setattr(messenger, "_import_messenger", lambda task: module)
    env = envs.make(MessengerConfig(task="messenger-s2"))
    won = 0
    for seed in range(10):
        obs, _ = env.reset(seed=seed)
        while obs["is_read_step"]:
            obs, *_ = env.step(4)
        path = [0] * 5 + [2] * 5 + [3] * 9 + [1] * 9  # up and left to the message, right and down to the goal
        rewards = []
        for action in path:
            obs, reward, terminated, *_ = env.step(action)
            rewards.append(float(reward))
            if terminated:
                break
        if rewards[-1] == 1:
            won += 1
            assert sum(rewards) == 1.5
            assert obs["log_success"] == 1
    assert won > 0


@pytest.mark.parametrize("task", STAGES)
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_seed_alone_decides(public: bool, task: str, split: Any) -> None:
    config = MessengerConfig(task=task, split=split)
    env, twin = envs.make(config), envs.make(config)
    log = signature(rollout(env, 5, episodes=4))
    random.seed(0)
    before = random.getstate()
    rollout(env, 6)
    assert signature(rollout(twin, 5, episodes=4)) == log
    assert signature(rollout(env, 5, episodes=4)) == log
    assert random.getstate() == before
    assert signature(rollout(env, 7, episodes=4)) != log


def test_games_are_listed_in_one_order_on_every_machine(public: bool) -> None:
    env: Any = envs.make(MessengerConfig(task="messenger-s2"))
    for game in env._world._games:
        assert game.init_states == sorted(game.init_states)
        assert game.game_variants == sorted(game.game_variants)
        assert len(game.init_states) > 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_games_with_several_roles(public: bool, share: float) -> None:
    env: Any = envs.make(MessengerConfig(several_roles=share))
    for _ in range(20):
        env.reset()
        world = env._world._env
        assert world.cur_env is (world.env_1 if share else world.env_2)


def test_shuffling_changes_the_words_and_silence_is_as_long(public: bool) -> None:
    config = MessengerConfig(task="messenger-s1")
    different = 0
    for seed in range(10):
        true, shuffled, none = (
            rollout(envs.make(replace(config, language=language)), seed) for language in ("true", "shuffled", "none")
        )
        for other in (shuffled, none):
            assert (other[0][0]["image"] == true[0][0]["image"]).all()
            assert other[0][0]["log_text"] == true[0][0]["log_text"]
        told = {language: envs.make(replace(config, language=language)) for language in ("true", "shuffled", "none")}
        texts = {language: env.reset(seed=seed)[0]["log_text"] for language, env in told.items()}
        assert told["true"].get_wrapper_attr("told") == texts["true"]
        assert told["shuffled"].get_wrapper_attr("told") != texts["shuffled"]
        assert told["none"].get_wrapper_attr("told") == ""
        assert {obs["token"] for obs, *_ in none} == {t5.PAD}
        assert [obs["is_read_step"] for obs, *_ in none] == [obs["is_read_step"] for obs, *_ in true]
        different += [o["token"] for o, *_ in true] != [o["token"] for o, *_ in shuffled]
    assert different >= 8


class Vectors:
    """Stands in for the frozen encoder: a token per word and an end mark."""

    def __init__(self, model: str, cache: Path) -> None:
        self.silence = self.embed("<pad>")[0]

    def embed(self, sentence: str) -> np.ndarray:
        words = [*sentence.split(), "</s>"]
        return np.stack([np.random.default_rng(list(word.encode())).normal(size=8) for word in words]).astype(
            np.float32
        )


def test_vectors_in_place_of_ids(public: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice, "Embeddings", Vectors)
    config = MessengerConfig(task="messenger-s1", tokens="embed", embedding=8)
    env = envs.make(config)
    log = rollout(env, 0)
    assert env.observation_space["token_embed"].shape == (8,)  # type: ignore[index]
    reading = [obs["token_embed"] for obs, *_ in log if obs["is_read_step"]]
    words = log[0][0]["log_text"].split()
    assert len(reading) == len(words) + 3
    vectors = Vectors("", Path())
    np.testing.assert_array_equal(reading[0], vectors.embed(words[0])[0])
    np.testing.assert_array_equal(log[-1][0]["token_embed"], vectors.silence)
    assert "token" not in log[0][0]
    with pytest.raises(UserError, match=r"messenger\.embedding must be 8, .*got 512"):
        envs.make(replace(config, embedding=512))


def test_the_public_one_hears_t5_s_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("messenger") is None:
        pytest.skip("the Messenger environment is not installed")
    if not MODEL.exists():
        pytest.skip("T5's sentencepiece model is not on this machine")
    monkeypatch.undo()
    env = envs.make(MessengerConfig(task="messenger-s3", sentencepiece=MODEL))
    vocabulary = env.get_wrapper_attr("vocabulary")
    for seed in range(5):
        log = rollout(env, seed)
        heard = "".join(vocabulary[obs["token"]] for obs, *_ in log if obs["is_read_step"])
        said = heard.replace("</s>", "").replace("▁", "")
        assert said == log[0][0]["log_text"].replace(" ", "")


def test_what_is_missing_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "messenger", None)
    monkeypatch.setitem(sys.modules, "messenger.envs", None)
    with pytest.raises(UserError, match=r"git clone https://github\.com/ahjwang/messenger-emma.*pip install"):
        envs.make(MessengerConfig())


def test_a_missing_sentencepiece_model_is_told_with_its_field(public: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if not public:
        monkeypatch.setattr(messenger, "_import_messenger", lambda task: SimpleNamespace(TwoEnvWrapper=TwoStages))
        monkeypatch.setattr(messenger._World, "__init__", lambda self, config: None)
    with pytest.raises(UserError, match=r"messenger\.sentencepiece: there is no sentencepiece model at nowhere"):
        envs.make(MessengerConfig(sentencepiece=Path("nowhere")))


def test_people_see_the_grid(public: bool) -> None:
    env = envs.make(MessengerConfig(task="messenger-s2"), render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    assert frame.shape == (320, 320, 3)
    colours = {tuple(frame[y * 32 + 2, x * 32 + 2]) for y in range(10) for x in range(10)}
    assert (255, 255, 255) in colours
    assert len(colours) >= 4


def test_embeddings_are_reached_through_the_config(monkeypatch: pytest.MonkeyPatch, public: bool) -> None:
    def refuse(model: str) -> None:
        raise UserError(f"no {model}")

    monkeypatch.setattr(encoders, "_load", refuse)
    with pytest.raises(UserError, match="no some/encoder"):
        envs.make(MessengerConfig(tokens="embed", encoder="some/encoder", cache=Path("nowhere")))
