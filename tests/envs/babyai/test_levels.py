"""Levels: their pictures beside minigrid's own, and what ends them."""

import itertools

import gymnasium
import numpy as np
import pytest

from dynalang_py.envs.babyai import BabyAIConfig, View, list_tasks

from .level import DONE, make


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


def test_level_generation_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    env = make("BabyAI-PutNextLocalS5N3-v0")  # often draws a mission that is done already
    for seed in range(50):
        env.reset(seed=seed)
    assert capsys.readouterr().out == ""


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
