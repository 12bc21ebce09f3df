"""The whole world model: what may depend on what, what may be absent, and odd observations."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.nn.functional import binary_nll, symlog
from dynalang_py.nn.layers import Family
from dynalang_py.nn.random import Noise
from dynalang_py.world_model import Learned, RSSMConfig, WorldModel, WorldModelConfig
from dynalang_py.world_model.decoder import Decoded, DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.model import HeadConfig
from dynalang_py.world_model.objective import KLConfig

BATCH, LENGTH = 2, 6
SPEC = StepSpec(images={"image": (16, 16, 3)}, vectors={"compass": 2}, vocab=7, actions=(3,))
SILENT = StepSpec(images={"image": (16, 16, 3)}, actions=(3,))


def config(family: Family = "dreamer2025", *, learned_absence: bool = False) -> WorldModelConfig:
    return WorldModelConfig(
        family=family,
        encoder=EncoderConfig(cnn_depth=2, units=8, layers=2, learned_absence=learned_absence),
        rssm=RSSMConfig(deter=8, hidden=8, stoch=4, classes=4, blocks=2),
        decoder=DecoderConfig(units=8, layers=2),
        heads=HeadConfig(units=8),
    )


def world_model(spec: StepSpec = SPEC, settings: WorldModelConfig | None = None) -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(spec, settings or config())
    torch.nn.init.normal_(model.reward.out.weight)  # it starts from zeros, where nothing depends on anything
    return model


def batch(spec: StepSpec = SPEC) -> dict[str, Tensor]:
    torch.manual_seed(1)
    window = {
        name: torch.randint(256, (BATCH, LENGTH, *shape), dtype=torch.uint8) for name, shape in spec.images.items()
    }
    window |= {name: torch.randn(BATCH, LENGTH, width) for name, width in spec.vectors.items()}
    if spec.vocab:
        window["token"] = torch.randint(spec.vocab, (BATCH, LENGTH))
    if spec.token_embed:
        window["token_embed"] = torch.randn(BATCH, LENGTH, spec.token_embed)
    window["action"] = torch.nn.functional.one_hot(torch.randint(3, (BATCH, LENGTH)), 3).float()
    window["reward"] = torch.randn(BATCH, LENGTH)
    for name in ("is_first", "is_last", "is_terminal"):
        window[name] = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    window["is_first"][:, 0] = True
    return window


def learn(model: WorldModel, window: dict[str, Tensor], discount: float = 1.0) -> Learned:
    return model.learn(window, model.dynamics.initial(BATCH), Noise(torch.device("cpu"), 0), discount)


def shaken(window: dict[str, Tensor], step: int, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The same window, but for these things from a step on."""
    other = {name: value.clone() for name, value in window.items()}
    for name in names:
        value = other[name][:, step:]
        other[name][:, step:] = ~value if value.dtype == torch.bool else value.roll(1, 0).flip(-1) + 1
    if "token" in names:
        other["token"] %= SPEC.vocab
    return other


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
def test_nothing_depends_on_what_comes_later(family: Family) -> None:
    """No loss of a step, its reward's among them, sees any input of a later one."""
    model, window = world_model(settings=config(family)), batch()
    plain = learn(model, window)
    everything = ("image", "compass", "token", "action", "reward", "is_first", "is_terminal")
    other = learn(model, shaken(window, 3, everything))
    assert plain.losses.keys() == {"image", "token", "vectors", "reward", "continue", "dyn", "rep"}
    for name, loss in plain.losses.items():
        torch.testing.assert_close(other.losses[name][:, :3], loss[:, :3], msg=f"{name} sees the future")
    # And the test can fail: those of that step are others.
    for name in ("image", "token", "vectors", "reward", "continue"):
        assert not torch.allclose(other.losses[name][:, 3], plain.losses[name][:, 3]), name


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
@pytest.mark.parametrize("name", ["image", "token", "compass"])
def test_no_observation_leaks_into_its_own_prior(family: Family, name: str) -> None:
    model, window = world_model(settings=config(family)), batch()
    plain, other = learn(model, window), learn(model, shaken(window, 3, (name,)))
    assert other.prior["logit"][:, :4].equal(plain.prior["logit"][:, :4])
    assert not torch.allclose(other.posterior["logit"][:, 3], plain.posterior["logit"][:, 3])


def test_the_reward_is_read_from_the_step_that_it_arrives_with() -> None:
    model, window = world_model(), batch()
    learned = learn(model, window)
    features = model.dynamics.feature(learned.posterior)
    for t in range(LENGTH):
        expected = model.reward(features[:, t]).loss(window["reward"][:, t])
        torch.testing.assert_close(learned.losses["reward"][:, t], expected)


def test_the_loss_is_the_weighted_sum() -> None:
    settings = replace(config(), image_scale=0.5, token_scale=2.0, reward_scale=3.0, continue_scale=0.25)
    learned = learn(world_model(settings=settings), batch())
    weights = {"image": 0.5, "token": 2, "vectors": 1, "reward": 3, "continue": 0.25, "dyn": 1, "rep": 0.1}
    torch.testing.assert_close(learned.loss, sum(weights[name] * loss for name, loss in learned.losses.items()))
    assert learned.loss.shape == (BATCH, LENGTH)


def test_what_is_foreseen_is_not_yet_observed() -> None:
    """The second reward and continue losses know the past and the action, and nothing of the step itself."""
    model, window = world_model(settings=replace(config(), foresee_scale=0.5, reward_scale=2.0)), batch()
    plain, seen = learn(model, window), learn(model, shaken(window, 3, ("image", "token", "compass")))
    acted = learn(model, shaken(window, 2, ("action",)))
    for name in ("foresee_reward", "foresee_continue"):
        assert seen.losses[name][:, :4].equal(plain.losses[name][:, :4])
        assert not torch.allclose(seen.losses[name][:, 4], plain.losses[name][:, 4])
        assert not torch.allclose(acted.losses[name][:, 3], plain.losses[name][:, 3])
    weights = {"reward": 2, "foresee_reward": 1, "foresee_continue": 0.5, "rep": 0.1}
    torch.testing.assert_close(plain.loss, sum(weights.get(name, 1) * loss for name, loss in plain.losses.items()))


@pytest.mark.parametrize(("dyn", "rep"), [(1.0, 0.0), (0.0, 1.0)])
def test_dyn_trains_the_prior_and_rep_the_posterior(dyn: float, rep: float) -> None:
    kl = KLConfig(free_nats=0, dyn=dyn, rep=rep)
    settings = replace(config(), image_scale=0.0, reward_scale=0.0, continue_scale=0.0, kl=kl)
    model = world_model(SILENT, settings)
    window = {name: value[:, :1] for name, value in batch(SILENT).items()}  # one step: no way round through the next
    learn(model, window).loss.sum().backward()
    posterior, prior = (net.bias.grad for net in (model.dynamics.posterior_out, model.dynamics.prior_net[-1]))
    for weight, grad in ((dyn, prior), (rep, posterior)):
        assert isinstance(grad, Tensor)
        assert (grad.abs().max() > 0) == bool(weight)


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
def test_every_parameter_learns(family: Family) -> None:
    model = world_model(settings=replace(config(family), kl=KLConfig(free_nats=0)))
    learn(model, batch()).loss.mean().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert still == []


def test_the_continue_head_learns_the_discount_and_the_end() -> None:
    model, window = world_model(), batch()
    window["is_terminal"][0, 4] = True
    learned = learn(model, window, discount=0.9)
    logit = model.go_on(model.dynamics.feature(learned.posterior))
    target = torch.full((BATCH, LENGTH), 0.9)
    target[0, 4] = 0
    torch.testing.assert_close(learned.losses["continue"], binary_nll(logit, target))
    torch.testing.assert_close(model.foresee(model.dynamics.feature(learned.posterior))[1], logit.sigmoid())


# -- absence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learned_absence", [False, True])
@pytest.mark.parametrize("name", ["image", "token"])
def test_what_is_absent_is_neither_seen_nor_scored(name: str, learned_absence: bool) -> None:
    spec = replace(SPEC, vectors={})
    model = world_model(spec, config(learned_absence=learned_absence))
    window = batch(spec)
    window[f"{name}_present"] = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    present = learn(model, window)
    torch.testing.assert_close(learn(model, batch(spec)).loss, present.loss)
    window[f"{name}_present"][:, 2:4] = False
    plain = learn(model, window)
    assert plain.losses[name][:, 2:4].abs().max() == 0
    assert plain.losses[name][:, :2].equal(present.losses[name][:, :2])
    other = shaken(window, 2, (name,))
    other[name][:, 4:] = window[name][:, 4:]
    torch.testing.assert_close(learn(model, other).loss, plain.loss)
    assert not torch.allclose(plain.posterior["logit"][:, 2], present.posterior["logit"][:, 2])
    absent = model.encoder.absent_image if name == "image" else model.encoder.absent_token
    assert (absent is not None) == learned_absence
    if absent is not None:
        (grad,) = torch.autograd.grad(plain.loss.mean(), absent)
        assert grad.abs().max() > 0


def test_text_alone_teaches_the_image_nets_nothing() -> None:
    model, window = world_model(settings=replace(config(), image_scale=0.0)), batch()
    window["image_present"] = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    learn(model, window).loss.mean().backward()
    assert model.encoder.image is not None
    assert model.decoder.image is not None
    for net in (model.encoder.image, model.decoder.image):
        assert all(p.grad is None or p.grad.abs().max() == 0 for p in net.parameters())


# -- observations of other kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
@pytest.mark.parametrize(
    "spec",
    [
        StepSpec(images={"image": (13, 21, 1)}, actions=(3,)),
        StepSpec(images={"depth": (28, 28, 1), "image": (28, 28, 3)}, vocab=300, actions=(3,)),
        StepSpec(images={"image": (7, 7, 3)}, token_embed=5, actions=(3,)),
        StepSpec(vectors={"a": 3, "b": 2}, actions=(3,)),
        StepSpec(vocab=5, actions=(3,)),
    ],
    ids=["odd size", "two images", "token embeddings", "vectors", "tokens alone"],
)
def test_observations_of_every_kind(family: Family, spec: StepSpec) -> None:
    model, window = world_model(spec, config(family)), batch(spec)
    learned = learn(model, window)
    assert learned.loss.isfinite().all()
    decoded = model.decoder(learned.posterior)
    assert (decoded.image is None) == (not spec.images)
    if decoded.image is not None:
        height, width, _ = next(iter(spec.images.values()))
        channels = sum(shape[2] for shape in spec.images.values())
        assert decoded.image.shape == (BATCH, LENGTH, height, width, channels)
    kinds = {"image": spec.images, "token": spec.vocab or spec.token_embed, "vectors": spec.vectors}
    assert {name for name, there in kinds.items() if there} == learned.losses.keys() & kinds.keys()


def test_several_images_lie_over_each_other_in_the_order_of_the_spec() -> None:
    spec = StepSpec(images={"depth": (16, 16, 1), "image": (16, 16, 3)}, actions=(3,))
    model, window = world_model(spec), batch(spec)
    truth = torch.cat([window["depth"], window["image"]], -1) / 255
    losses = model.decoder.losses(Decoded(image=truth), window)
    assert losses["image"].max() < 1e-8
    with pytest.raises(UserError, match="one size"):
        WorldModel(StepSpec(images={"a": (16, 16, 1), "b": (8, 8, 1)}, actions=(3,)), config())


def test_image_loss_is_summed_over_pixels() -> None:
    model, window = world_model(SILENT), batch(SILENT)
    wrong = (window["image"] / 255 + 0.5).requires_grad_()
    losses = model.decoder.losses(Decoded(image=wrong), window)
    torch.testing.assert_close(losses["image"], torch.full((BATCH, LENGTH), 16 * 16 * 3 * 0.25))


def test_grids_of_zeros_and_ones_have_a_bernoulli_each() -> None:
    model = world_model(SILENT, replace(config(), decoder=DecoderConfig(units=8, image_loss="bernoulli")))
    window = batch(SILENT)
    window["image"] = window["image"] % 2
    logits = torch.zeros(BATCH, LENGTH, 16, 16, 3)
    losses = model.decoder.losses(Decoded(image=logits), window)
    torch.testing.assert_close(losses["image"], torch.full((BATCH, LENGTH), 16 * 16 * 3 * math.log(2)))
    assert model.decoder.pixels(torch.tensor([-30.0, 30.0])).tolist() == [0, 255]


def test_vectors_and_embeddings_are_scored_by_squared_error_in_symlog() -> None:
    spec = StepSpec(vectors={"a": 3}, token_embed=4, actions=(3,))
    model, window = world_model(spec), batch(spec)
    decoded = Decoded(token=symlog(window["token_embed"]) + 0.5, vectors=symlog(window["a"]) - 2)
    losses = model.decoder.losses(decoded, window)
    torch.testing.assert_close(losses["token"], torch.full((BATCH, LENGTH), 4 * 0.25))
    torch.testing.assert_close(losses["vectors"], torch.full((BATCH, LENGTH), 3 * 4.0))


def test_a_token_is_read_as_a_one_hot_times_a_matrix() -> None:
    model = world_model(replace(SPEC, images={}))
    window = batch()
    assert model.encoder.flat is not None
    flat = model.encoder.flat
    onehot = torch.nn.functional.one_hot(window["token"], SPEC.vocab).float()
    assert flat.bias is not None
    torch.nn.init.normal_(flat.bias)
    x = torch.cat([symlog(window["compass"]), onehot], -1) @ flat.table + flat.bias
    torch.testing.assert_close(flat(window), flat.mlp(flat.norm(x)))
