"""What holds for every environment: spaces, logs, seeding, rendering, and errors that people can act on."""

import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from dynalang_py import envs
from dynalang_py.envs import (
    BabyAIConfig,
    DummyConfig,
    EnvConfig,
    HomeGridConfig,
    LangRoomConfig,
    MessengerConfig,
)
from dynalang_py.errors import UserError

CONFIGS: dict[str, EnvConfig] = {
    "dummy": DummyConfig(),
    "dummy-multi": DummyConfig(task="dummy-multi", language="shuffled"),
    "dummy-continuous": DummyConfig(task="dummy-continuous"),
    "babyai": BabyAIConfig(),
    "babyai-shuffled": BabyAIConfig(language="shuffled"),
    "babyai-put": BabyAIConfig(task="BabyAI-PutNextLocalS5N3-v0", tile_size=4),
    "minigrid-door": BabyAIConfig(task="MiniGrid-GoToDoor-5x5-v0"),
    "homegrid-task": HomeGridConfig(),
    "homegrid-future": HomeGridConfig(task="homegrid-future", language="shuffled"),
    "homegrid-dynamics": HomeGridConfig(task="homegrid-dynamics", tokens="embed"),
    "homegrid-corrections": HomeGridConfig(task="homegrid-corrections", max_steps=50),
    "homegrid-t5": HomeGridConfig(tokens="t5"),
    "langroom": LangRoomConfig(),
    "langroom-shuffled": LangRoomConfig(task="answer-and-echo", language="shuffled"),
}
MODULES: dict[type, str] = {BabyAIConfig: "minigrid", HomeGridConfig: "homegrid", LangRoomConfig: "langroom"}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> EnvConfig:
    config = CONFIGS[request.param]
    pytest.importorskip(MODULES.get(type(config), "numpy"))
    return config


def rollout(env: gymnasium.Env, seed: int | None, steps: int) -> list[tuple[Any, ...]]:
    """Steps of random actions that depend on nothing but the number of the step; episodes follow one another."""
    env.action_space.seed(7)
    obs, _ = env.reset(seed=seed)
    log: list[tuple[Any, ...]] = [(obs, 0.0, False, False)]
    while len(log) < steps:
        if log[-1][2] or log[-1][3]:
            log.append((env.reset()[0], 0.0, False, False))
        else:
            log.append(env.step(env.action_space.sample())[:4])
    return log


def without_nan(obs: dict[str, Any]) -> dict[str, Any]:
    logs = [name for name in obs if name.startswith("log_") and name != "log_text"]
    return {**obs, **{name: np.array(np.nan_to_num(obs[name])) for name in logs}}


def assert_same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> None:
    for (obs_a, *rest_a), (obs_b, *rest_b) in zip(one, other, strict=True):
        assert rest_a == rest_b
        assert obs_a.keys() == obs_b.keys()
        for name in obs_a:
            np.testing.assert_array_equal(obs_a[name], obs_b[name], err_msg=name)


def test_gymnasium_finds_no_fault(config: EnvConfig) -> None:
    env = envs.make(config)
    # NaN, which says that the question didn't arise, is the one value that no Box contains.
    finite = gymnasium.wrappers.TransformObservation(env, without_nan, env.observation_space)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(seed|deterministic|obs|reward|info).*")
        warnings.filterwarnings("ignore", message=".*(infinity|Box|unwrapped).*")
        check_env(finite, skip_render_check=True)


def test_spaces_are_known_without_the_environment(config: EnvConfig) -> None:
    env = envs.make(config)
    assert config.spaces() == (env.observation_space, env.action_space)


@pytest.mark.parametrize("config", [HomeGridConfig(), LangRoomConfig(), MessengerConfig()], ids=lambda c: c.task)
def test_spaces_need_no_extra(config: EnvConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("homegrid", "langroom", "messenger", "gym", "gym_notices", "sentencepiece"):
        monkeypatch.setitem(sys.modules, module, None)
    assert isinstance(config.spaces()[0], gymnasium.spaces.Dict)


def test_observations_lie_in_their_space_and_logs_speak_last(config: EnvConfig) -> None:
    env = envs.make(config)
    space = env.observation_space
    assert isinstance(space, gymnasium.spaces.Dict)
    vocabulary = env.get_wrapper_attr("vocabulary")
    assert vocabulary[0] == "<pad>"
    assert len(set(vocabulary)) == len(vocabulary)
    if "token" in space.spaces:
        assert space["token"] == gymnasium.spaces.Discrete(len(vocabulary))
    numbers = [name for name in space if name.startswith("log_") and name != "log_text"]
    assert "log_success" in numbers
    ends = 0
    for obs, _, terminated, truncated in rollout(env, seed=3, steps=450):
        logs = np.array([obs[name] for name in numbers])
        if terminated or truncated:
            ends += 1
        else:
            assert (logs == 0).all()
        assert space.contains(without_nan(obs))
    assert ends > 0


def test_same_seed_same_episodes(config: EnvConfig) -> None:
    env, twin = envs.make(config), envs.make(config)
    first = rollout(env, seed=11, steps=250)
    rollout(env, seed=12, steps=30)
    assert_same(first, rollout(env, seed=11, steps=250))
    twin.reset(seed=5)
    assert_same(first, rollout(twin, seed=11, steps=250))


def test_other_seeds_and_later_episodes_differ(config: EnvConfig) -> None:
    env = envs.make(config)

    def first_episodes(seeds: list[int | None]) -> set[str]:
        return {
            str([(o["log_text"], o["image"].sum(), o.get("token")) for o, *_ in rollout(env, s, 25)]) for s in seeds
        }

    assert len(first_episodes(list(range(8)))) > 1
    assert len(first_episodes([None] * 8)) > 1


def test_no_observation_changes_after_it_was_given(config: EnvConfig) -> None:
    env = envs.make(config)
    given = [env.reset(seed=1)[0]]
    kept = [{name: np.copy(value) for name, value in given[0].items()}]
    for _ in range(60):
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        given.append(obs)
        kept.append({name: np.copy(value) for name, value in obs.items()})
        if terminated or truncated:
            env.reset()
    for obs, copy in zip(given, kept, strict=True):
        for name in obs:
            np.testing.assert_array_equal(obs[name], copy[name], err_msg=name)


def test_frames_are_made_for_people(config: EnvConfig) -> None:
    env = envs.make(config, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.shape[2] == 3
    assert min(frame.shape[:2]) >= 64
    assert envs.make(config).render() is None


def test_the_words_are_those_of_what_is_told(config: EnvConfig) -> None:
    """Whatever the episode's own sentence is: films show what the agent was told."""
    env = envs.make(config)
    if "token" not in env.reset()[0]:
        return
    vocabulary, others = env.get_wrapper_attr("vocabulary"), 0
    env.action_space.seed(7)
    for seed in range(3):
        obs, done = env.reset(seed=seed)[0], False
        for _ in range(40):
            told = env.get_wrapper_attr("told")
            piece = vocabulary[obs["token"]].strip("▁") if obs["token"] else ""
            assert piece in ("", "</s>") or piece in told
            others += told != obs["log_text"]
            if done:
                break
            obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
    if config.language == "shuffled":
        assert others
    elif config.task in ("homegrid-task", "BabyAI-GoToLocal-v0", "answer-only"):
        assert not others


@pytest.mark.parametrize("kind", [DummyConfig, BabyAIConfig, HomeGridConfig, LangRoomConfig])
def test_without_language_there_is_silence(kind: type[DummyConfig]) -> None:
    pytest.importorskip(MODULES.get(kind, "numpy"))
    env = envs.make(kind(language="none"))
    assert {obs["token"] for obs, *_ in rollout(env, seed=0, steps=300)} == {0}
    assert env.get_wrapper_attr("told") == ""


def test_silence_as_embedding_is_the_same_at_every_step() -> None:
    pytest.importorskip("homegrid")
    log = rollout(envs.make(HomeGridConfig(language="none", tokens="embed")), seed=0, steps=150)
    assert len({obs["token_embed"].tobytes() for obs, *_ in log}) == 1


@pytest.mark.parametrize(
    ("config", "module", "sentence"),
    [
        (BabyAIConfig(), "minigrid", r"babyai extra: pip install 'dynalang_py\[babyai\]'"),
        (HomeGridConfig(), "homegrid", r"homegrid extra: pip install 'dynalang_py\[homegrid\]'"),
        (LangRoomConfig(), "langroom", "package langroom: pip install --no-deps langroom"),
    ],
)
def test_missing_extra_names_the_pip_command(
    config: EnvConfig, module: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=sentence):
        envs.make(config)
    assert (envs.list_tasks()["babyai"] == ()) == (module == "minigrid")


@pytest.mark.parametrize(
    ("config", "right"),
    [
        (BabyAIConfig(task="BabyAI-GoToLocalS5N3-v0"), "BabyAI-GoToLocalS"),
        (BabyAIConfig(task="MiniGrid-Playground-v0"), "must be"),
        (HomeGridConfig(task="homegrid-tasks"), "homegrid-task'"),
        (LangRoomConfig(task="answer"), "answer-only"),
        (DummyConfig(task="discrete"), "dummy-discrete"),
    ],
)
def test_unknown_task_is_told_with_the_nearest(config: EnvConfig, right: str) -> None:
    pytest.importorskip(MODULES.get(type(config), "numpy"))
    with pytest.raises(UserError, match=f"{config.task!r}.*{right}"):
        envs.make(config)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (DummyConfig, "choices", 5),
        (DummyConfig, "language", "loud"),
        (BabyAIConfig, "tile_size", 0),
        (BabyAIConfig, "pause", -1),
        (BabyAIConfig, "language", "loud"),
        (HomeGridConfig, "image_size", 128),
        (HomeGridConfig, "p_teleport", 1.5),
        (HomeGridConfig, "max_steps", 0),
        (LangRoomConfig, "image_size", 63),
        (LangRoomConfig, "view", 0),
    ],
)
def test_wrong_values_are_refused_by_name(kind: type, field: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"\.{field} must .*{value}"):
        kind(**{field: value})


def test_unknown_render_mode_is_refused() -> None:
    with pytest.raises(UserError, match="rgb_array"):
        envs.make(DummyConfig(), render_mode="human")


def test_every_listed_task_can_be_made() -> None:
    pytest.importorskip("minigrid")
    tasks = envs.list_tasks()
    assert set(tasks) == {"babyai", "homegrid", "langroom", "messenger", "vln", "dummy"}
    assert len([name for name in tasks["babyai"] if name.startswith("BabyAI-")]) >= 96
    assert "MiniGrid-GoToDoor-5x5-v0" in tasks["babyai"]
    for name in tasks["dummy"]:
        envs.make(DummyConfig(task=name)).reset(seed=0)
