"""Noise of any shape: its spaces, and that nothing but the seed and the settings decide it."""

from typing import Any

import numpy as np
import pytest

from dynalang_py import envs
from dynalang_py.contract import StepSpec
from dynalang_py.envs import SyntheticConfig
from dynalang_py.errors import UserError


def rollout(config: SyntheticConfig, steps: int, actions: int = 0) -> list[tuple[Any, ...]]:
    env = envs.make(config)
    env.action_space.seed(actions)
    log: list[tuple[Any, ...]] = [(env.reset(seed=4)[0], 0.0, False, False)]
    return log + [env.step(env.action_space.sample())[:4] for _ in range(steps)]


def test_shapes_are_those_of_the_settings() -> None:
    config = SyntheticConfig(
        image_size=16, channels=3, depth_channels=1, vocab=0, token_embed=7, actions=(4, 15), read_steps=2
    )
    spec = StepSpec.from_spaces(*config.spaces())
    assert spec == StepSpec(images={"depth": (16, 16, 1), "image": (16, 16, 3)}, token_embed=7, actions=(4, 15))
    obs, *_ = rollout(config, 1)[1]
    assert envs.make(config).observation_space.contains(obs)
    assert {obs["token_embed"].shape for obs, *_ in rollout(config, 5)} == {(7,)}


@pytest.mark.parametrize(("pixels", "values"), [("noise", 256), ("binary", 2), ("zero", 1)])
def test_images_hold_what_was_asked_for(pixels: Any, values: int) -> None:
    seen = np.unique([obs["image"] for obs, *_ in rollout(SyntheticConfig(pixels=pixels), 10)])
    assert len(seen) == values
    assert set(seen) <= set({"binary": [0, 255], "zero": [0]}.get(pixels, range(256)))


def test_episodes_last_as_long_as_they_should_and_begin_with_reading() -> None:
    log = rollout(SyntheticConfig(max_steps=30, read_steps=5), 30)
    assert [step[3] for step in log] == [False] * 30 + [True]
    assert not any(step[2] for step in log)
    assert [obs["is_read_step"] for obs, *_ in log] == [1] * 5 + [0] * 26
    assert len({obs["image"].tobytes() for obs, *_ in log[:5]}) == 1
    assert len({obs["image"].tobytes() for obs, *_ in log[4:]}) == 27
    assert sum(step[1] for step in log[:5]) == 0
    assert log[-1][0]["log_success"] == (sum(step[1] for step in log) > 0)


def test_actions_change_nothing() -> None:
    one, other = (rollout(SyntheticConfig(), 50, actions) for actions in (0, 1))
    for (obs, *rest), (same, *same_rest) in zip(one, other, strict=True):
        assert rest == same_rest
        np.testing.assert_array_equal(obs["image"], same["image"])
        assert obs["token"] == same["token"]
    assert 0 < sum(step[1] for step in one) < 20


@pytest.mark.parametrize("heard", [{"vocab": 50}, {"vocab": 0, "token_embed": 8}])
def test_other_words_change_nothing_that_is_seen(heard: dict[str, int]) -> None:
    words = {}
    for language in ("true", "shuffled", "none"):
        log = rollout(SyntheticConfig(language=language, **heard), 40)  # type: ignore[arg-type]
        words[language] = np.array([obs.get("token", obs.get("token_embed")) for obs, *_ in log])
        seen = [(obs["image"].tobytes(), *rest) for obs, *rest in log]
        assert seen == [(obs["image"].tobytes(), *rest) for obs, *rest in rollout(SyntheticConfig(**heard), 40)]  # type: ignore[arg-type]
    assert (words["true"] != words["shuffled"]).any()
    assert not words["none"].any()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"vocab": 5, "token_embed": 5}, "vocab or synthetic.token_embed"),
        ({"vocab": 0}, "vocab or synthetic.token_embed"),
        ({"actions": ()}, "one number or more"),
        ({"actions": (1,)}, "at least 2"),
        ({"pixels": "noisy"}, "Did you mean 'noise'"),
        ({"task": "synth"}, "Did you mean 'synthetic'"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        SyntheticConfig(**settings).spaces()
