"""The agent acts: what it gives back, what it forgets, and what it remembers."""

import numpy as np
import pytest
import torch

from dynalang_py.behavior.actions import decode_action, encode_action
from dynalang_py.contract import StepSpec
from dynalang_py.nn.layers import Family

from .tiny import FAMILIES, FLOATS, MULTI, SPEC, agent, steps


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spec", [SPEC, MULTI, FLOATS])
def test_actions_and_latents_have_the_form_that_replay_keeps(spec: StepSpec, family: Family) -> None:
    own = agent(spec, family)
    first = np.array([True, False, True])
    action, state, latent = own.act(steps(own, 3), first, own.initial(3))
    shape, _ = spec.action_field
    assert action.shape == (3, *shape)
    if spec.continuous:
        assert np.abs(action).max() <= 1
    else:
        assert (action < np.array(spec.actions)).all()
    assert latent.keys() == own.replay_fields().keys()
    assert own.replay_context == (1 if family == "dreamer2025" else 0) == bool(latent)
    for name, (shape, dtype) in own.replay_fields().items():
        assert (latent[name].shape, latent[name].dtype) == ((3, *shape), dtype)
    again, _, _ = own.act(steps(own, 3), first, state)
    assert again.shape == action.shape


def test_a_greedy_agent_takes_the_likeliest_action_of_its_belief() -> None:
    own = agent(MULTI)
    torch.nn.init.normal_(own.behavior.actor_out.weight)  # a new actor has no preferences
    first = np.ones(50, bool)
    action, state, _ = own.act(steps(own, 50), first, own.initial(50), greedy=True)
    likeliest = own.behavior.policy(own.model.dynamics.feature(state)).mode()
    assert action.tolist() == decode_action(MULTI, likeliest).tolist()
    drawn, state, _ = own.act(steps(own, 50), first, own.initial(50))
    likeliest = own.behavior.policy(own.model.dynamics.feature(state)).mode()
    assert drawn.tolist() != decode_action(MULTI, likeliest).tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_acting_forgets_at_the_first_step_alone(family: Family) -> None:
    def belief(first: list[bool], before: int) -> torch.Tensor:
        own = agent(family=family)
        _, state, _ = own.act(steps(own, 2, seed=before), np.array([True, True]), own.initial(2))
        own.acting_noise.generator.manual_seed(0)
        return own.act(steps(own, 2), np.array(first), state)[1]["deter"]

    plain, other = belief([True, False], before=1), belief([True, False], before=2)
    torch.testing.assert_close(plain[0], other[0])
    assert not torch.allclose(plain[1], other[1])


def test_the_action_that_was_taken_moves_the_next_belief() -> None:
    own = agent()
    first = np.array([True, True])
    action, before, _ = own.act(steps(own, 2), first, own.initial(2))
    _, after, _ = own.act(steps(own, 2, seed=1), ~first, before)
    assert decode_action(SPEC, before["action"]).tolist() == action.tolist()
    expected = {}
    for name, taken in (("same", action), ("other", (action + 1) % 3)):
        encoded = encode_action(SPEC, torch.from_numpy(taken))[:, None]
        with torch.no_grad():
            expected[name] = own.model.dynamics.imagine(before, encoded, 1, own.noise)[0][1]["deter"]
    torch.testing.assert_close(after["deter"], expected["same"])
    assert not torch.allclose(after["deter"], expected["other"])
