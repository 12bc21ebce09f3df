"""The dynamics: resets, stored beliefs, which action moves which step, and dreams."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.nn.functional import categorical_kl
from dynalang_py.nn.layers import Family
from dynalang_py.nn.patches import Sites
from dynalang_py.nn.random import Noise
from dynalang_py.world_model.rssm import RSSM, RSSMConfig, State

CONFIG = RSSMConfig(deter=8, hidden=6, stoch=3, classes=4, blocks=2)
EMBED, ACTIONS, BATCH, LENGTH = 5, 3, 2, 6


class Chosen(Noise):
    """Hands out given uniform numbers, then half-way ones: so two calls of different lengths draw alike."""

    def __init__(self, *numbers: Tensor) -> None:
        super().__init__(torch.device("cpu"), 0)
        self.numbers = list(numbers)

    def uniform(self, *shape: int) -> Tensor:
        return self.numbers.pop(0) if self.numbers else torch.full(shape, 0.5)


@pytest.fixture(params=["dreamer2023", "dreamer2025"])
def family(request: pytest.FixtureRequest) -> Family:
    family: Family = request.param
    return family


@pytest.fixture
def rssm(family: Family) -> RSSM:
    torch.manual_seed(0)
    rssm = RSSM(EMBED, ACTIONS, CONFIG, family)
    if rssm.start is not None:
        torch.nn.init.normal_(rssm.start)
    return rssm


@pytest.fixture
def window() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "embed": torch.randn(BATCH, LENGTH, EMBED),
        "action": F.one_hot(torch.randint(ACTIONS, (BATCH, LENGTH)), ACTIONS).float(),
        "is_first": torch.zeros(BATCH, LENGTH, dtype=torch.bool),
        "draws": torch.rand(BATCH, LENGTH, CONFIG.stoch, 1),
        "start_draws": torch.rand(BATCH, LENGTH, CONFIG.stoch, 1),
    }


def belief(seed: int = 2) -> State:
    torch.manual_seed(seed)
    return {
        "deter": torch.randn(BATCH, CONFIG.deter),
        "stoch": F.one_hot(torch.randint(CONFIG.classes, (BATCH, CONFIG.stoch)), CONFIG.classes).float(),
        "action": torch.eye(ACTIONS)[:BATCH],
    }


def observe(rssm: RSSM, window: dict[str, Tensor], state: State, steps: slice = slice(None)) -> tuple[State, State]:
    part = {name: value[:, steps] for name, value in window.items()}
    noise = Chosen(part["draws"], part["start_draws"])
    return rssm.observe(part["embed"], part["action"], part["is_first"], state, noise)


def changed(window: dict[str, Tensor], name: str, step: int) -> dict[str, Tensor]:
    """The same window, but for one step of one thing."""
    value = window[name].clone()
    value[:, step] = value[:, step].roll(1, -1) + 0.25
    return {**window, name: value}


# -- resets ---------------------------------------------------------------------------------------------------------


def test_a_reset_inside_a_window_is_the_start_of_another(rssm: RSSM, window: dict[str, Tensor]) -> None:
    """Neither the belief nor the action before a reset reaches what comes after it."""
    window["is_first"][:, 3] = True
    posterior, prior = observe(rssm, window, belief())
    before = observe(rssm, window, belief(), slice(0, 3))
    after = observe(rssm, window, belief(seed=9), slice(3, None))
    for name in ("deter", "stoch", "logit"):
        torch.testing.assert_close(posterior[name], torch.cat([before[0][name], after[0][name]], 1))
    torch.testing.assert_close(prior["logit"], torch.cat([before[1]["logit"], after[1]["logit"]], 1))


def test_a_reset_is_each_row_s_own(rssm: RSSM, window: dict[str, Tensor]) -> None:
    plain, _ = observe(rssm, window, belief())
    window["is_first"][0, 3] = True
    reset, _ = observe(rssm, window, belief())
    torch.testing.assert_close(reset["deter"][1], plain["deter"][1])
    assert not torch.allclose(reset["deter"][0, 3], plain["deter"][0, 3])


def test_without_a_reset_belief_and_action_before_the_window_count(rssm: RSSM, window: dict[str, Tensor]) -> None:
    plain, _ = observe(rssm, window, belief())
    for name in ("deter", "stoch", "action"):
        other = belief()
        other[name] = other[name].roll(1, -1)
        assert not torch.allclose(observe(rssm, window, other)[0]["deter"][:, 0], plain["deter"][:, 0])


def test_the_start_state_of_each_family(rssm: RSSM, window: dict[str, Tensor], family: Family) -> None:
    """2025 starts from zeros; 2023 from a learned deter, and a stoch drawn from its prior, with gradient to both."""
    window["is_first"][:, 0] = True
    posterior, _ = observe(rssm, window, rssm.initial(BATCH), slice(0, 1))
    zeros = {name: torch.zeros_like(value) for name, value in rssm.initial(BATCH).items()}
    if family == "dreamer2025":
        window["is_first"][:, 0] = False
        expected, _ = observe(rssm, window, zeros, slice(0, 1))
        torch.testing.assert_close(posterior["deter"], expected["deter"])
        return
    assert rssm.start is not None
    (grad,) = torch.autograd.grad(posterior["deter"].sum(), rssm.start)
    assert grad.abs().min() > 0
    before = rssm.imagine(zeros, torch.zeros(BATCH, 1, ACTIONS), 1, Chosen())[0][1]["deter"]
    assert not torch.allclose(posterior["deter"][:, 0], before)


# -- what moves what ------------------------------------------------------------------------------------------------


def test_an_action_moves_the_step_after_it(rssm: RSSM, window: dict[str, Tensor]) -> None:
    plain, _ = observe(rssm, window, belief())
    other, _ = observe(rssm, changed(window, "action", 2), belief())
    assert other["deter"][:, :3].equal(plain["deter"][:, :3])
    assert not torch.allclose(other["deter"][:, 3], plain["deter"][:, 3])
    last, _ = observe(rssm, changed(window, "action", LENGTH - 1), belief())
    assert last["deter"].equal(plain["deter"])


def test_an_observation_moves_its_own_posterior_and_the_next_prior(rssm: RSSM, window: dict[str, Tensor]) -> None:
    plain = observe(rssm, window, belief())
    window["draws"][:, 2] = 0.999  # not the same sample in the other world
    other = observe(rssm, {**changed(window, "embed", 2), "draws": window["draws"]}, belief())
    assert other[0]["logit"][:, :2].equal(plain[0]["logit"][:, :2])
    assert other[1]["logit"][:, :3].equal(plain[1]["logit"][:, :3])
    assert not torch.allclose(other[0]["logit"][:, 2], plain[0]["logit"][:, 2])
    assert not torch.allclose(other[1]["logit"][:, 3], plain[1]["logit"][:, 3])


def test_actions_are_not_shifted_in_place(rssm: RSSM, window: dict[str, Tensor]) -> None:
    before = {name: value.clone() for name, value in window.items()}
    posterior, _ = observe(rssm, window, belief())
    assert all(window[name].equal(value) for name, value in before.items())
    assert posterior["action"].equal(before["action"])


def test_actions_beyond_one_are_scaled_back(rssm: RSSM, window: dict[str, Tensor]) -> None:
    window["action"] = torch.tensor([1.0, -1.0, 0.5]).expand(BATCH, LENGTH, ACTIONS)
    within, _ = observe(rssm, window, belief())
    window["action"] = torch.tensor([7.0, -2.0, 0.5]).expand(BATCH, LENGTH, ACTIONS)
    beyond, _ = observe(rssm, window, belief())
    torch.testing.assert_close(within["deter"], beyond["deter"])


def test_every_class_keeps_its_share_of_one_percent(family: Family) -> None:
    """Whatever the nets say: the published mixture is the default, in posterior and prior."""
    torch.manual_seed(0)
    rssm = RSSM(EMBED, ACTIONS, CONFIG, family)
    with torch.no_grad():
        rssm.posterior_out.weight.mul_(1e4)
        rssm.prior_net[-1].weight.mul_(1e4)  # type: ignore[operator]
    embed, action = torch.randn(BATCH, LENGTH, EMBED), torch.zeros(BATCH, LENGTH, ACTIONS)
    flags = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    posterior, prior = rssm.observe(embed, action, flags, belief(), Chosen())
    for logit in (posterior["logit"], prior["logit"]):
        torch.testing.assert_close(logit.exp().amin(), torch.tensor(0.01 / CONFIG.classes), rtol=1e-3, atol=0)
    assert categorical_kl(posterior["logit"], prior["logit"]).isfinite().all()


# -- stored beliefs -------------------------------------------------------------------------------------------------


def test_a_window_goes_on_from_a_stored_belief(rssm: RSSM, window: dict[str, Tensor]) -> None:
    whole, _ = observe(rssm, window, belief())
    first, _ = observe(rssm, window, belief(), slice(0, 4))
    stored = {name: value[:, -1] for name, value in rssm.to_replay(first).items()}
    fields = rssm.replay_fields()
    assert stored.keys() == fields.keys()
    for name, (shape, dtype) in fields.items():
        assert tuple(stored[name].shape) == (BATCH, *shape)
        assert stored[name].numpy().dtype == dtype
    second, _ = observe(rssm, window, rssm.from_replay(stored, window["action"][:, 3]), slice(4, None))
    # deter comes back through float16.
    torch.testing.assert_close(second["deter"], whole["deter"][:, 4:], rtol=0, atol=2e-3)
    assert second["stoch"][:, 0].equal(whole["stoch"][:, 4])
    wrong, _ = observe(rssm, window, rssm.from_replay(stored, window["action"][:, 3].roll(1, -1)), slice(4, None))
    assert not torch.allclose(wrong["deter"][:, 0], whole["deter"][:, 4], atol=2e-3)


def test_a_stored_belief_comes_back(rssm: RSSM) -> None:
    state = belief()
    back = rssm.from_replay(rssm.to_replay(state), state["action"])
    torch.testing.assert_close(back["deter"], state["deter"], rtol=1e-3, atol=1e-3)
    assert back["stoch"].equal(state["stoch"])
    assert back["action"].equal(state["action"])


def test_a_stored_belief_tells_more_classes_apart_than_a_byte_can(family: Family) -> None:
    rssm = RSSM(EMBED, ACTIONS, replace(CONFIG, classes=300), family)
    stoch = F.one_hot(torch.tensor([[0, 255, 256], [44, 299, 1]]), 300).float()
    kept = rssm.to_replay({"deter": torch.zeros(BATCH, CONFIG.deter), "stoch": stoch})
    shape, dtype = rssm.replay_fields()["stoch"]
    stored = kept["stoch"].numpy()
    assert (stored.shape[1:], stored.dtype) == (shape, dtype)
    back = rssm.from_replay({**kept, "stoch": torch.from_numpy(stored)}, torch.zeros(BATCH, ACTIONS))
    assert back["stoch"].equal(stoch)


# -- dreams ---------------------------------------------------------------------------------------------------------


def test_given_actions_and_a_policy_that_takes_them_dream_alike(rssm: RSSM) -> None:
    horizon = 4
    actions = F.one_hot(torch.randint(ACTIONS, (BATCH, horizon + 1)), ACTIONS).float()
    draws = torch.rand(horizon, BATCH, CONFIG.stoch, 1)
    asked = []

    def policy(feature: Tensor, noise: Noise) -> Tensor:
        asked.append(feature)
        return actions[:, len(asked) - 1]

    given, same = rssm.imagine(belief(), actions[:, :horizon], horizon, Chosen(draws))
    chosen, taken = rssm.imagine(belief(), policy, horizon, Chosen(draws))
    assert len(given) == len(chosen) == horizon + 1
    for name in ("deter", "stoch"):
        assert given[0][name].equal(belief()[name])
        for one, other in zip(given, chosen, strict=True):
            torch.testing.assert_close(one[name], other[name])
    assert same.equal(actions[:, :horizon])
    assert taken.equal(actions)
    for feature, state in zip(asked, chosen, strict=True):
        torch.testing.assert_close(feature, rssm.feature(state))


def test_a_dream_is_filtering_where_the_posterior_is_the_prior(rssm: RSSM, window: dict[str, Tensor]) -> None:
    """One step of a dream from a posterior gives the deter and the prior of the step that was observed."""
    posterior, prior = observe(rssm, window, belief())
    start = {name: posterior[name][:, 2] for name in ("deter", "stoch")}
    states, _ = rssm.imagine(start, window["action"][:, 2:3], 1, Chosen())
    torch.testing.assert_close(states[1]["deter"], posterior["deter"][:, 3])
    torch.testing.assert_close(rssm.prior(states[1]["deter"]), prior["logit"][:, 3])


def test_a_dream_draws_from_the_prior(rssm: RSSM) -> None:
    count = 4000
    start = {name: value[:1].expand(count, *value.shape[1:]) for name, value in belief().items()}
    states, _ = rssm.imagine(start, torch.zeros(count, 1, ACTIONS), 1, Noise(torch.device("cpu"), 0))
    prob = rssm.prior(states[1]["deter"][0]).exp()
    assert ((states[1]["stoch"].mean(0) - prob).abs() < 4 * (prob * (1 - prob) / count).sqrt()).all()


def test_gradient_flows_back_through_samples_and_time(rssm: RSSM, window: dict[str, Tensor]) -> None:
    embed = window["embed"].requires_grad_()
    posterior, _ = observe(rssm, window, belief())
    (grad,) = torch.autograd.grad(posterior["stoch"][:, 3].square().sum(), embed)
    assert (grad[:, :4].abs().sum((0, 2)) > 0).all()
    assert grad[:, 4:].abs().max() == 0


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("deter", 0, "deter must be at least 1"),
        ("deter", 9, "divisible by blocks"),
        ("classes", 1, "classes must be at least 2"),
        ("unimix", 1.0, "unimix must be"),
    ],
)
def test_wrong_settings_are_refused_by_name(field: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(CONFIG, **{field: value})


def test_a_patch_has_a_say_in_its_own_latents_alone(family: Family) -> None:
    torch.manual_seed(0)
    sites, width = 3, 4
    rssm = RSSM(sites * width + 2, ACTIONS, CONFIG, family, Sites(1, sites, width))
    assert rssm.latents == sites * CONFIG.patch_stoch + CONFIG.stoch
    torch.nn.init.zeros_(rssm.posterior_out.weight)  # what all features together say
    embed = torch.randn(1, 1, sites * width + 2)
    other = embed.clone()
    other[..., width : 2 * width] += 1  # the second patch
    other[..., -1] += 1  # and what belongs to none

    def logits(seen: Tensor) -> Tensor:
        start = torch.zeros(1, 1, dtype=torch.bool)
        posterior, _ = rssm.observe(
            seen, torch.zeros(1, 1, ACTIONS), start, rssm.initial(1), Noise(torch.device("cpu"), 0)
        )
        return posterior["logit"][0, 0]

    changed = (logits(other) - logits(embed)).abs().amax(-1) > 1e-6
    own = slice(CONFIG.patch_stoch, 2 * CONFIG.patch_stoch)
    assert changed[own].all()
    assert changed.sum() == CONFIG.patch_stoch


def test_stored_beliefs_hold_the_latents_of_patches() -> None:
    rssm = RSSM(14, ACTIONS, CONFIG, "dreamer2023", Sites(1, 3, 4))
    assert rssm.replay_fields()["stoch"][0] == (rssm.latents,)
    assert rssm.feature(rssm.initial(2)).shape == (2, rssm.feature_size)


def test_features_come_in_what_is_multiplied() -> None:
    rssm = RSSM(EMBED, ACTIONS, CONFIG, "dreamer2025")
    state = rssm.initial(BATCH)
    assert rssm.feature(state).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert rssm.feature(state).dtype == torch.bfloat16
