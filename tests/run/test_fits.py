"""Evaluation names the option by which a world looks otherwise than to the agent."""

from dataclasses import replace

import pytest

from dynalang_py.envs import DummyConfig, EnvConfig, HomeGridConfig
from dynalang_py.errors import UserError
from dynalang_py.run.fits import refuse_what_does_not_fit


@pytest.mark.parametrize(
    ("learned", "played", "sentence"),
    [
        (
            DummyConfig(),
            DummyConfig(image_size=9, max_steps=3),
            r"^--env\.image-size 9: with that a step has image of 9 x 9 x 3, .* learned from image of 8 x 8 x 3; leave",
        ),
        (
            DummyConfig(),
            DummyConfig(task="dummy-multi"),
            r"^--env\.task 'dummy-multi': .* actions of \d and \d",
        ),
        (DummyConfig(), DummyConfig(task="dummy-continuous"), "actions of 2 numbers"),
        (HomeGridConfig(), HomeGridConfig(tokenizer="bytes"), r"^--env\.tokenizer 'bytes': .* token ids, .* 40 token"),
    ],
)
def test_an_option_that_changes_what_the_agent_sees_is_named(
    learned: EnvConfig, played: EnvConfig, sentence: str
) -> None:
    refuse_what_does_not_fit(learned, replace(learned, language="shuffled"))
    with pytest.raises(UserError, match=sentence):
        refuse_what_does_not_fit(learned, played)
