"""What an agent refuses, and that nothing is lost by it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dynalang_py.agent import Agent, NonFiniteError
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.sizes import parts


def agent(*, joint: bool = True, replay_value: float = 0.3, imitation: float = 0.0) -> Agent:
    size = parts("size1m")
    return Agent(
        StepSpec(vectors={"state": 3}, vocab=5, actions=(3,)),
        model=size["model"],
        behavior=replace(size["behavior"], horizon=2, replay_value=replay_value, imitation=imitation),
        optimizer=OptimizerConfig(joint=joint),
        device=torch.device("cpu"),
    )


def window(agent: Agent) -> dict[str, np.ndarray[Any, Any]]:
    fields = {**agent.spec.fields(), **agent.replay_fields()}
    return {name: np.zeros((2, 5, *shape), dtype) for name, (shape, dtype) in fields.items()}


def test_a_broken_observation_leaves_the_return_scale_as_it_was() -> None:
    ours = agent()
    batch = window(ours)
    ours.update(batch)
    before = {name: value.clone() for name, value in ours.behavior.scale.state_dict().items()}
    batch["reward"][0, 3] = np.nan
    with pytest.raises(NonFiniteError, match="reward"):
        ours.update(batch)
    for name, value in ours.behavior.scale.state_dict().items():
        assert torch.equal(value, before[name])


def test_optimizers_of_another_kind_are_refused() -> None:
    ours = agent()
    ours.update(window(ours))
    with pytest.raises(
        UserError, match="the checkpoint has the optimizer 'joint'; here there are model, actor, critic"
    ):
        agent(joint=False, replay_value=0).load_state_dict(ours.state_dict())


def test_the_critic_learns_from_replay_in_a_joint_step_only() -> None:
    with pytest.raises(UserError, match=r"replay_value needs optimizer.joint; without it it must be 0, got 0.3"):
        agent(joint=False)


def test_the_expert_is_imitated_in_a_joint_step_only() -> None:
    with pytest.raises(UserError, match=r"imitation needs optimizer.joint; without it it must be 0, got 1.0"):
        agent(joint=False, replay_value=0, imitation=1.0)
