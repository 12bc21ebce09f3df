"""KL balancing: one value, two gradients, free nats after the sum."""

import pytest
import torch
from torch import Tensor

from dynalang_py.nn.functional import unimix
from dynalang_py.world_model.objective import KLBalance, KLConfig


def logits(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(2).requires_grad_()


def test_dyn_and_rep_are_one_value_with_two_gradients() -> None:
    posterior, prior = logits(0, 2, 3, 4, 5), logits(1, 2, 3, 4, 5)
    losses, kl = KLBalance(KLConfig(free_nats=0))(
        {"logit": posterior.log_softmax(-1)}, {"logit": prior.log_softmax(-1)}
    )
    torch.testing.assert_close(losses["dyn"], losses["rep"])
    torch.testing.assert_close(losses["dyn"].detach(), kl)
    assert not kl.requires_grad
    both = (posterior, prior)
    dyn = torch.autograd.grad(losses["dyn"].sum(), both, retain_graph=True, allow_unused=True)
    rep = torch.autograd.grad(losses["rep"].sum(), both, allow_unused=True)
    assert [grad is None for grad in (*dyn, *rep)] == [True, False, False, True]
    # The prior's logits are drawn straight to the posterior's probabilities.
    torch.testing.assert_close(dyn[1], (prior.softmax(-1) - posterior.softmax(-1)).detach())
    assert rep[0].abs().sum() > 0


def test_free_nats_are_counted_after_the_sum_over_latents() -> None:
    """Two latents of 0.7 nats each cost 1.4: neither 2 (each raised to 1 before) nor 1 (each lowered)."""
    share = torch.tensor(0.5)
    other = 0.5 * (1 + (1 - torch.tensor(-1.4).exp()).sqrt())  # KL of (½, ½) to (p, 1 − p) is 0.7
    p = torch.stack([share, 1 - share]).log().expand(2, 2)
    q = torch.stack([other, 1 - other]).log().expand(2, 2)
    losses, kl = KLBalance(KLConfig())({"logit": p}, {"logit": q})
    for value in (losses["dyn"], losses["rep"], kl):
        assert float(value) == pytest.approx(1.4, rel=1e-4)


def test_below_the_free_nats_nothing_is_learned() -> None:
    posterior = logits(0, 3, 2, 4)
    prior = (posterior + 0.1 * logits(1, 3, 2, 4)).detach().requires_grad_()
    p, q = unimix(posterior, 0.01), unimix(prior, 0.01)
    losses, kl = KLBalance(KLConfig())({"logit": p}, {"logit": q})
    assert kl.max() < 1
    assert losses["dyn"].tolist() == losses["rep"].tolist() == [1, 1, 1]
    (losses["dyn"] + losses["rep"]).sum().backward()
    assert posterior.grad is not None
    assert prior.grad is not None
    assert posterior.grad.abs().max() == prior.grad.abs().max() == 0


def test_what_is_observed_costs_its_surprise() -> None:
    """As if the posterior were certain of it; it moves the prior alone, and counts before the free nats do."""
    posterior, prior = logits(0, 3, 2, 4), logits(1, 3, 5, 4)
    names = torch.eye(4)[torch.tensor([[0, 1, 2], [3, 3, 0], [1, 0, 2]])]
    stoch = torch.cat([names, torch.eye(4)[torch.zeros(3, 2, dtype=torch.long)]], 1)
    losses, kl = KLBalance(KLConfig(free_nats=0))(
        {"logit": posterior.log_softmax(-1), "stoch": stoch}, {"logit": prior.log_softmax(-1)}
    )
    certain = torch.cat([1000 * names, posterior], 1).log_softmax(-1)
    want = (certain.exp() * (certain - prior.log_softmax(-1))).sum((-2, -1))
    for value in (losses["dyn"], losses["rep"], kl):
        torch.testing.assert_close(value, want)
    (grad,) = torch.autograd.grad(losses["dyn"].sum(), prior, retain_graph=True)
    torch.testing.assert_close(grad, (prior.softmax(-1) - certain.exp()).detach())
    (grad,) = torch.autograd.grad(losses["rep"].sum(), posterior)
    plain = KLBalance(KLConfig(free_nats=0))(
        {"logit": posterior.log_softmax(-1)}, {"logit": prior[:, 3:].log_softmax(-1)}
    )[0]
    torch.testing.assert_close(grad, torch.autograd.grad(plain["rep"].sum(), posterior)[0])


@pytest.mark.parametrize("loss", ["dyn", "rep"])
def test_each_half_of_the_kl_reaches_one_side_alone(loss: str) -> None:
    sides = {"rep": 3 * logits(0, 3, 2, 4), "dyn": 3 * logits(1, 3, 2, 4)}
    sides = {name: side.detach().requires_grad_() for name, side in sides.items()}
    losses, _ = KLBalance(KLConfig())(*({"logit": unimix(side, 0.01)} for side in sides.values()))
    losses[loss].sum().backward()
    assert [name for name, side in sides.items() if side.grad is not None] == [loss]


@pytest.mark.parametrize("field", ["free_nats", "dyn", "rep"])
def test_negative_weights_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        KLConfig(**{field: -1})
