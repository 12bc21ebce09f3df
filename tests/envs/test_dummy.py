import numpy as np
import pytest

from dynalang_py.envs.dummy import WORDS, Dummy, DummyConfig


def right_action(task: str, choices: int, goal: int) -> object:
    if task == "dummy-discrete":
        return goal
    if task == "dummy-multi":
        return np.array([goal, goal % 2])
    return np.array([(goal + 0.5) / choices * 2 - 1, 0.3], np.float32)


@pytest.mark.parametrize("task", ["dummy-discrete", "dummy-multi", "dummy-continuous"])
@pytest.mark.parametrize("choices", [2, 3, 4])
def test_doing_what_is_said_earns_every_reward(task: str, choices: int) -> None:
    env = Dummy(DummyConfig(task=task, choices=choices, max_steps=3))
    goals = set()
    for seed in range(20):
        obs, _ = env.reset(seed=seed)
        assert env.vocabulary[obs["token"]] == obs["log_text"]
        goal = WORDS.index(obs["log_text"])
        goals.add(goal)
        steps = [env.step(right_action(task, choices, goal)) for _ in range(3)]
        assert [step[1] for step in steps] == [1, 1, 1]
        assert [step[2] for step in steps] == [False] * 3
        assert [step[3] for step in steps] == [False, False, True]
        assert steps[-1][0]["log_success"] == 1
    assert goals == set(range(choices))


@pytest.mark.parametrize("task", ["dummy-discrete", "dummy-multi", "dummy-continuous"])
def test_a_wrong_action_ends_the_episode(task: str) -> None:
    env = Dummy(DummyConfig(task=task))
    obs, _ = env.reset(seed=0)
    wrong = (WORDS.index(obs["log_text"]) + 1) % 4
    obs, reward, terminated, truncated, _ = env.step(right_action(task, 4, wrong))
    assert (reward, terminated, truncated) == (0, True, False)
    assert obs["log_success"] == 0


def test_multi_needs_both_parts_right() -> None:
    env = Dummy(DummyConfig(task="dummy-multi"))
    obs, _ = env.reset(seed=0)
    goal = WORDS.index(obs["log_text"])
    _, reward, terminated, *_ = env.step(np.array([goal, 1 - goal % 2]))
    assert (reward, terminated) == (0, True)


def test_shuffled_words_fit_by_chance_only() -> None:
    env = Dummy(DummyConfig(language="shuffled"))
    fits = []
    for seed in range(400):
        obs, _ = env.reset(seed=seed)
        fits.append(env.vocabulary[obs["token"]] == obs["log_text"])
    assert 0.15 < np.mean(fits) < 0.35
