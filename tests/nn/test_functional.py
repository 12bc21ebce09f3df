"""Element-wise functions and distributions against closed forms, torch.distributions and counting."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from dynalang_py.nn.functional import (
    balanced_kl,
    binary_nll,
    categorical_kl,
    entropy,
    sample_onehot,
    straight_through,
    symexp,
    symlog,
    token_nll,
    unimix,
)
from dynalang_py.nn.random import Noise


def noise(seed: int = 0) -> Noise:
    return Noise(torch.device("cpu"), seed)


def test_symexp_undoes_symlog() -> None:
    x = torch.tensor([-1e6, -3.0, -1e-3, 0.0, 0.5, 1.0, 1e6], dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(x)), x)
    assert symlog(torch.tensor(torch.e - 1)) == pytest.approx(1.0)


def test_unimix_leaves_every_class_its_share() -> None:
    logits = torch.tensor([[0.0, 1000.0, -1000.0, 3.0]])
    prob = unimix(logits, 0.2).exp()
    torch.testing.assert_close(prob, torch.tensor([[0.05, 0.85, 0.05, 0.05]]))
    torch.testing.assert_close(unimix(logits, 0.0), logits.log_softmax(-1))
    assert unimix(logits.bfloat16(), 0.2).dtype == torch.float32


@pytest.mark.parametrize("classes", [2, 8, 16, 40])
def test_unimix_has_the_gradient_of_its_formula(classes: int) -> None:
    torch.manual_seed(0)
    logits, slope = 5 * torch.randn(3, 4, classes), torch.randn(3, 4, classes)
    given, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    expected = (plain.softmax(-1) * 0.9 + 0.1 / classes).log()
    torch.testing.assert_close(unimix(given, 0.1), expected)
    unimix(given, 0.1).backward(slope)
    expected.backward(slope)
    torch.testing.assert_close(given.grad, plain.grad, rtol=1e-4, atol=1e-6)


def test_samples_are_as_frequent_as_their_probabilities() -> None:
    prob = torch.tensor([[0.5, 0.25, 0.2, 0.05], [0.01, 0.01, 0.01, 0.97]])
    count = 40_000
    draws = sample_onehot(prob.log().expand(count, 2, 4), noise().uniform(count, 2, 1))
    assert (draws.sum(-1) == 1).all()
    error = (draws.mean(0) - prob).abs()
    assert (error < 4 * (prob * (1 - prob) / count).sqrt()).all()


def test_samples_of_different_latents_are_independent() -> None:
    count = 20_000
    draws = sample_onehot(torch.zeros(count, 2, 2).log_softmax(-1), noise().uniform(count, 2, 1))[..., 0]
    assert abs(float(torch.corrcoef(draws.T)[0, 1])) < 4 / count**0.5


@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2**-24])
def test_a_sample_is_one_class_whatever_the_number_and_the_rounding(number: float) -> None:
    # In float32 the probabilities of many classes add up to a little more or less than one.
    log_prob = torch.randn(200, 1000, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    sample = sample_onehot(log_prob, torch.full((200, 1), number))
    assert (sample.sum(-1) == 1).all()
    assert set(sample.unique().tolist()) == {0.0, 1.0}


def test_a_class_without_probability_is_never_drawn() -> None:
    log_prob = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0]).log()
    numbers = torch.linspace(0, 1 - 2**-24, 1001)[:, None]
    drawn = sample_onehot(log_prob.expand(1001, 5), numbers).sum(0)
    assert drawn[[0, 2, 4]].tolist() == [0, 0, 0]


def test_straight_through_has_the_sample_s_value_and_the_probabilities_gradient() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    log_prob, numbers, weights = logits.log_softmax(-1), noise().uniform(3, 1), torch.randn(3, 5)
    through = straight_through(log_prob, numbers)
    torch.testing.assert_close(through, sample_onehot(log_prob, numbers))
    (grad,) = torch.autograd.grad((through * weights).sum(), logits)
    (expected,) = torch.autograd.grad((logits.softmax(-1) * weights).sum(), logits)
    torch.testing.assert_close(grad, expected)


def test_one_distribution_may_serve_many_draws() -> None:
    logits, numbers, weights = (
        torch.randn(2, 5, requires_grad=True),
        noise().uniform(7, 3, 2, 1),
        torch.randn(7, 3, 2, 5),
    )
    log_prob = logits.log_softmax(-1)
    grads: list[torch.Tensor] = []
    for given in (log_prob, log_prob.expand(7, 3, 2, 5)):
        through = straight_through(given, numbers)
        assert through.equal(sample_onehot(log_prob.expand(7, 3, 2, 5), numbers))
        grads += torch.autograd.grad((through * weights).sum(), logits, retain_graph=True)
    torch.testing.assert_close(*grads)


def test_kl_and_entropy_of_several_latents_against_torch() -> None:
    p, q = torch.randn(7, 3, 4).log_softmax(-1), torch.randn(7, 3, 4).log_softmax(-1)
    theirs = kl_divergence(Categorical(logits=p), Categorical(logits=q)).sum(-1)
    torch.testing.assert_close(categorical_kl(p, q), theirs)
    assert categorical_kl(p, p).abs().max() == 0
    torch.testing.assert_close(entropy(p), Categorical(logits=p).entropy())


def test_kl_is_the_mean_log_ratio_of_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(2, 4, generator=generator).log_softmax(-1) for _ in range(2))
    count = 40_000
    sample = sample_onehot(p.expand(count, 2, 4), noise().uniform(count, 2, 1))
    ratio = (sample * (p - q)).sum((-2, -1))
    assert abs(float(ratio.mean() - categorical_kl(p, q))) < 4 * float(ratio.std()) / count**0.5


def test_negative_log_likelihoods_against_torch() -> None:
    logits, token = torch.randn(2, 3, 6), torch.tensor([[0, 5, 2], [1, 1, 4]], dtype=torch.uint8)
    torch.testing.assert_close(token_nll(logits, token), -Categorical(logits=logits).log_prob(token.long()))
    logit, target = torch.randn(4), torch.tensor([0.0, 1.0, 1.0, 0.0])
    torch.testing.assert_close(binary_nll(logit, target), -Bernoulli(logits=logit).log_prob(target))
    # Of a soft target, the least is its own entropy, where the prediction is the target.
    soft = torch.tensor(0.997)
    torch.testing.assert_close(binary_nll(soft.logit(), soft), Bernoulli(soft).entropy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_vocabularies_have_the_same_losses_and_gradients(dtype: torch.dtype) -> None:
    """Enough logits for several parts, the last of which is shorter."""
    logits = torch.randn(7, 11, 5000, dtype=dtype).requires_grad_()
    theirs, token, weight = logits.detach().float().requires_grad_(), torch.randint(5000, (7, 11)), torch.randn(7, 11)
    loss = token_nll(logits, token)
    expected = torch.nn.functional.cross_entropy(theirs.flatten(0, 1), token.flatten(), reduction="none")
    torch.testing.assert_close(loss, expected.view(7, 11))
    (loss * weight).sum().backward()
    (expected.view(7, 11) * weight).sum().backward()
    assert logits.grad is not None
    assert theirs.grad is not None
    assert logits.grad.dtype == dtype
    torch.testing.assert_close(logits.grad.float(), theirs.grad, atol=1e-5 if dtype == torch.float32 else 1e-2, rtol=0)


def test_the_two_kls_are_one_value_with_the_gradients_of_two() -> None:
    ours, theirs = ([torch.randn(2, 3, 4, 5, generator=rng).requires_grad_() for _ in range(2)] for rng in rngs())
    dyn, rep = balanced_kl(*(x.log_softmax(-1) for x in ours))
    p, q = (x.log_softmax(-1) for x in theirs)
    torch.testing.assert_close(dyn, categorical_kl(p, q))
    (dyn * 0.5 + rep.square()).sum().backward()
    (categorical_kl(p.detach(), q) * 0.5 + categorical_kl(p, q.detach()).square()).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def rngs() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(0) for _ in range(2)]
