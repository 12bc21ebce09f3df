"""The reader: what it leaves out while learning, and that it tells probabilities as they are."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynalang_py.run.pretrain import build_reader, perplexities
from dynalang_py.text import config as readers
from dynalang_py.text.tokens import Tokens
from dynalang_py.text.windows import once

CONFIG = readers.get("text-debug")


def test_a_share_is_left_out_while_learning_and_nothing_while_reading() -> None:
    token, first = np.zeros((2, 3), np.int64), np.zeros((2, 3), bool)
    for dropout, share in ((0.0, 0.0), (0.4, 0.4)):
        reader = build_reader(replace(CONFIG, dropout=dropout, batch_size=2), 258)
        passed: list[torch.Tensor] = []

        def note(network: object, inputs: object, output: torch.Tensor, passed: list[torch.Tensor] = passed) -> None:
            passed.append(output)

        for network in (reader.model.encoder.flat, reader.model.decoder.flat):
            assert network is not None
            network.register_forward_hook(note)
        for _ in range(20):
            reader.update(token, first)
        assert np.mean([float((x == 0).float().mean()) for x in passed]) == pytest.approx(share, abs=0.05)
        passed.clear()
        list(reader.score([(token, first, ~first)], 2))
        assert all((x != 0).all() for x in passed)


def test_the_estimated_probability_is_the_priors_own() -> None:
    """With 1 latent of 2 classes the sum over latents can be written out; the estimate must come to the same."""
    model = replace(CONFIG.model, rssm=replace(CONFIG.model.rssm, stoch=1, classes=2))
    reader = build_reader(replace(CONFIG, model=model), 258)
    posterior = {"deter": torch.randn(2, 3, 64), "logit": torch.randn(2, 3, 1, 2).log_softmax(-1)}
    prior, token = torch.randn(2, 3, 1, 2).log_softmax(-1), torch.randint(258, (2, 3))
    torch.nn.init.normal_(reader.model.decoder.flat[0].linear.weight)  # type: ignore[index, union-attr, arg-type]
    exact = []
    for latent in range(2):
        stoch = torch.nn.functional.one_hot(torch.full((2, 3, 1), latent), 2).float()
        said = reader.model.decoder({"deter": posterior["deter"], "stoch": stoch}).token
        assert said is not None
        log_prob = said.log_softmax(-1).gather(-1, token[..., None])[..., 0]
        exact.append(log_prob + prior[..., 0, latent])
    with torch.no_grad():
        found, alone = reader._log_probs(posterior, prior, token, 4000, reader.noise)
    torch.testing.assert_close(found, torch.stack(exact).logsumexp(0), atol=0.05, rtol=0)
    assert (alone <= found + 0.05).all()


def test_held_out_figures_do_not_depend_on_the_shape_of_windows() -> None:
    """What streams have nothing to read adds nothing, and documents do not leak into each other."""
    model = replace(CONFIG.model, rssm=replace(CONFIG.model.rssm, unimix=0.0))
    reader = build_reader(replace(CONFIG, model=model), 258)
    with torch.no_grad():
        for layer in (reader.model.dynamics.prior_net[-1], reader.model.dynamics.posterior_out):
            layer.weight.zero_()  # type: ignore[operator]
            layer.bias.copy_(torch.tensor([50.0, *[0.0] * 7]).repeat(8))  # type: ignore[operator]
    lengths = [5, 17, 2, 9]
    ids = np.random.default_rng(0).integers(2, 258, sum(lengths)).astype(np.uint16)
    text = Tokens(ids, np.cumsum([0, *lengths], dtype=np.int64), np.array(lengths), "key")
    found = []
    for batch, length in ((1, 4), (3, 8), (4, 64)):
        parts = list(reader.score(once(text, batch, length, reset=True), 2))
        assert sum(part.tokens for part in parts) == sum(lengths)
        found.append(sum(part.nats for part in parts))
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)
    shown = perplexities(found[0], text)
    assert shown["perplexity"] == pytest.approx(math.exp(found[0] / 33))
