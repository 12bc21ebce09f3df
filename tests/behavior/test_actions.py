"""Distributions over actions of every kind, and the way between the environment's form and the model's."""

import pytest
import torch
from torch.distributions import Categorical, Normal

from dynalang_py.behavior.actions import (
    Categoricals,
    Normals,
    decode_action,
    distribution,
    encode_action,
    policy_outputs,
)
from dynalang_py.contract import StepSpec
from dynalang_py.nn.random import Noise

TWO = StepSpec(vocab=2, actions=(3, 4))
FLOATS = StepSpec(vocab=2, continuous=2)


def noise() -> Noise:
    return Noise(torch.device("cpu"), 0)


def test_several_choices_at_once_are_independent_categoricals() -> None:
    logits = torch.randn(5, 7)
    policy = Categoricals(logits, (3, 4), 0.0)
    parts = [Categorical(logits=part) for part in logits.split([3, 4], -1)]
    ids = torch.stack([part.sample() for part in parts], -1)
    expected = sum(part.log_prob(ids[:, i]) for i, part in enumerate(parts))
    torch.testing.assert_close(policy.log_prob(encode_action(TWO, ids)), expected)
    torch.testing.assert_close(policy.entropy(), sum(part.entropy() for part in parts))


def test_several_choices_are_drawn_each_by_its_own_number() -> None:
    count = 20_000
    logits = torch.tensor([0.7, 0.2, 0.1, 0.4, 0.3, 0.2, 0.1]).log().expand(count, 7)
    action = Categoricals(logits, (3, 4), 0.0).sample(noise())
    assert (action[:, :3].sum(-1) == 1).all()
    assert (action[:, 3:].sum(-1) == 1).all()
    prob = logits[0].exp()
    assert ((action.mean(0) - prob).abs() < 4 * (prob * (1 - prob) / count).sqrt()).all()
    together = (action[:, 0] * action[:, 3]).mean()
    assert abs(float(together) - 0.7 * 0.4) < 4 * (0.28 * 0.72 / count) ** 0.5


def test_a_discrete_policy_keeps_its_uniform_share() -> None:
    policy = distribution(StepSpec(actions=(4,)), torch.tensor([[1e6, 0.0, 0.0, 0.0]]), 0.01)
    assert isinstance(policy, Categoricals)
    torch.testing.assert_close(policy.log_probs[0].exp()[0], torch.tensor([0.9925, 0.0025, 0.0025, 0.0025]))


def test_continuous_policies_are_normals_within_bounds() -> None:
    outputs = torch.tensor([[0.0, 100.0, 0.0, -100.0]])
    policy = Normals(outputs)
    deviation = 0.1 + 0.9 * torch.tensor(2.0).sigmoid()
    torch.testing.assert_close(policy.normal.loc, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(policy.normal.scale, torch.stack([deviation, torch.tensor(0.1)])[None])
    action = torch.tensor([[0.3, 0.9]])
    plain = Normal(policy.normal.loc, policy.normal.scale)
    torch.testing.assert_close(policy.log_prob(action), plain.log_prob(action).sum(-1))
    torch.testing.assert_close(policy.entropy(), plain.entropy().sum(-1))


def test_continuous_samples_carry_gradient_and_have_the_right_spread() -> None:
    outputs = torch.zeros(20_000, 2, requires_grad=True)
    policy = Normals(outputs)
    sample = policy.sample(noise())
    assert float(sample.detach().std()) == pytest.approx(float(policy.normal.scale[0].detach()), rel=0.03)
    (grad,) = torch.autograd.grad(sample.sum(), outputs)
    assert grad[:, 0].min() > 0


@pytest.mark.parametrize("spec", [TWO, FLOATS])
def test_no_action_is_likelier_than_the_likeliest(spec: StepSpec) -> None:
    policy = distribution(spec, torch.randn(6, policy_outputs(spec)), 0.01)
    best = policy.mode()
    assert encode_action(spec, decode_action(spec, best)).equal(best)
    draws = noise()
    for _ in range(200):
        assert (policy.log_prob(policy.sample(draws)) <= policy.log_prob(best)).all()


def test_actions_go_both_ways() -> None:
    ids = torch.tensor([[2, 0], [0, 3]])
    encoded = encode_action(TWO, ids)
    assert encoded.tolist() == [[0, 0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 1]]
    assert decode_action(TWO, encoded).equal(ids)
    floats = torch.tensor([[-2.0, 0.25]])
    assert encode_action(FLOATS, floats).equal(floats)
    assert decode_action(FLOATS, floats).tolist() == [[-1.0, 0.25]]
    assert (policy_outputs(TWO), policy_outputs(FLOATS)) == (7, 4)
