"""Actor and critic: what they learn from, what they are weighed by, and whom their losses leave alone."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from dynalang_py.behavior import ActorCritic, ActorCriticConfig
from dynalang_py.behavior.actor_critic import Dream
from dynalang_py.contract import StepSpec
from dynalang_py.nn.layers import Family
from dynalang_py.nn.random import Noise
from dynalang_py.world_model import RSSMConfig, WorldModel, WorldModelConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.rssm import Policy, State

SPEC = StepSpec(vocab=5, actions=(3,))
FLOATS = StepSpec(vocab=5, continuous=2)
COUNT, HORIZON = 4, 3
CONFIG = ActorCriticConfig(units=8, layers=1, horizon=HORIZON, actor_scale=1.0)
CONFIG_2023 = replace(CONFIG, discounted_continue=False, replay_value=0.0, unimix=0.01)


def world_model(spec: StepSpec = SPEC, family: Family = "dreamer2025") -> WorldModel:
    torch.manual_seed(0)
    settings = WorldModelConfig(
        family=family,
        encoder=EncoderConfig(units=8, layers=1),
        rssm=RSSMConfig(deter=8, hidden=8, stoch=2, classes=4, blocks=2),
    )
    model = WorldModel(spec, settings)
    torch.nn.init.normal_(model.reward.out.weight)
    return model


def actor_critic(model: WorldModel, config: ActorCriticConfig = CONFIG) -> ActorCritic:
    behavior = ActorCritic(model.spec, model.dynamics.feature_size, config, model.config.family)
    torch.nn.init.normal_(behavior.critic.out.weight)
    return behavior


def start(model: WorldModel) -> dict[str, Tensor]:
    torch.manual_seed(1)
    stoch = torch.nn.functional.one_hot(torch.randint(4, (COUNT, 2)), 4).float()
    return {"deter": torch.randn(COUNT, 8, requires_grad=True), "stoch": stoch}


def dream(model: WorldModel, behavior: ActorCritic, is_terminal: Tensor | None = None) -> Dream:
    ends = torch.zeros(COUNT, dtype=torch.bool) if is_terminal is None else is_terminal
    return behavior.dream(model, start(model), ends, Noise(torch.device("cpu"), 0))


def foretold(config: ActorCriticConfig, go_on: Tensor, is_terminal: Tensor) -> Dream:
    """A dream in which this probability (N, H + 1) of going on is foreseen."""
    behavior = ActorCritic(SPEC, 1, config, "dreamer2025")
    states = [{"deter": torch.zeros(len(go_on), 1)}] * go_on.shape[1]

    def imagine(_: State, policy: Policy, horizon: int, noise: Noise) -> tuple[list[State], Tensor]:
        return states, torch.stack([policy(state["deter"], noise) for state in states], 1)

    model = SimpleNamespace(
        dynamics=SimpleNamespace(imagine=imagine),
        foresee=lambda _: (torch.zeros_like(go_on), go_on),
    )
    return behavior.dream(cast(WorldModel, model), {}, is_terminal, Noise(torch.device("cpu"), 0))


# -- dreams ---------------------------------------------------------------------------------------------------------


def test_each_imagined_state_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = world_model()
    behavior = actor_critic(model)
    read, feature = [], model.dynamics.feature

    def reading(state: State) -> Tensor:
        read.append(feature(state))
        return read[-1]

    monkeypatch.setattr(model.dynamics, "feature", reading)
    dreamt = dream(model, behavior)
    assert torch.equal(dreamt.features, torch.stack(read, 1))


def test_a_dream_of_2023_is_weighed_by_the_true_flag_and_the_discount() -> None:
    go_on = torch.tensor([[0.1, 0.5, 0.8], [0.1, 0.5, 0.8]])  # what is foreseen of the root itself counts for nothing
    config = replace(CONFIG_2023, discount_horizon=10)
    told = foretold(config, go_on, torch.tensor([False, True]))
    torch.testing.assert_close(told.weight, torch.tensor([[1, 0.9 * 0.5, 0.9**2 * 0.5 * 0.8], [0, 0, 0]]))
    torch.testing.assert_close(told.discount[:, 1:], 0.9 * go_on[:, 1:])


def test_a_dream_of_2025_is_weighed_by_what_is_foreseen_root_included() -> None:
    go_on = torch.tensor([[0.9, 0.5, 0.8], [0.2, 0.5, 0.8]])
    told = foretold(replace(CONFIG, discount_horizon=10), go_on, torch.tensor([False, True]))
    torch.testing.assert_close(told.weight, torch.tensor([[0.9, 0.45, 0.36], [0.2, 0.1, 0.08]]))
    torch.testing.assert_close(told.discount, go_on)


def test_a_dead_start_teaches_nothing_in_2023() -> None:
    model = world_model(family="dreamer2023")
    behavior = actor_critic(model, CONFIG_2023)
    wants = behavior.want(dream(model, behavior, torch.tensor([True, False, False, False])))
    assert wants.actor[0].abs().max() == wants.critic[0].abs().max() == 0
    assert wants.critic[1:].abs().min() > 0


def test_the_reward_of_a_step_is_that_of_arriving() -> None:
    """reward[t] is read from state t + 1: the start's own reward is in the past."""
    model = world_model()
    behavior = actor_critic(model)
    told = dream(model, behavior)
    assert told.features.shape[:2] == told.action.shape[:2] == told.weight.shape == (COUNT, HORIZON + 1)
    torch.testing.assert_close(told.reward, model.foresee(told.features[:, 1:])[0].detach())
    assert not told.features.requires_grad  # a dream that nobody learns through builds no graph


# -- who learns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, FLOATS])
def test_each_loss_teaches_its_own_part_alone(spec: StepSpec) -> None:
    model = world_model(spec)
    behavior = actor_critic(model)
    wants = behavior.want(dream(model, behavior))
    actor = [*behavior.actor.parameters(), *behavior.actor_out.parameters()]
    critic = list(behavior.critic.parameters())
    for loss, own, other in ((wants.actor, actor, critic), (wants.critic, critic, actor)):
        assert all(grad.abs().max() > 0 for grad in torch.autograd.grad(loss.sum(), own, retain_graph=True))
        strangers = [*other, *model.parameters()]
        grads = torch.autograd.grad(loss.sum(), strangers, retain_graph=True, allow_unused=True)
        assert all(grad is None for grad in grads)


def test_through_the_dynamics_the_critic_still_learns_alone() -> None:
    model = world_model(FLOATS)
    behavior = actor_critic(model, replace(CONFIG, continuous_gradient="dynamics"))
    told = dream(model, behavior)
    strangers = [*behavior.actor.parameters(), *behavior.actor_out.parameters(), *model.parameters()]
    grads = torch.autograd.grad(behavior.want(told).critic.sum(), strangers, allow_unused=True)
    assert all(grad is None for grad in grads)


def test_the_critic_s_loss_on_replay_shapes_the_beliefs() -> None:
    model = world_model()
    behavior = actor_critic(model)
    features = torch.randn(2, 5, model.dynamics.feature_size, requires_grad=True)
    flags = torch.zeros(2, 5, dtype=torch.bool)
    batch = {"reward": torch.randn(2, 5), "is_last": flags, "is_terminal": flags}
    loss = behavior.replay_value_loss(features, batch, torch.randn(2, 5))
    assert loss.shape == (2, 4)
    (grad,) = torch.autograd.grad(loss.sum(), features)
    assert (grad[:, :-1].abs().amax((0, 2)) > 0).all()
    assert grad[:, -1].abs().max() == 0
    assert all(p.grad is None for p in behavior.slow_critic.parameters())


def test_returns_on_replay_end_where_episodes_do() -> None:
    """By hand: rewards as they came, the dreamed return where the window or a cut ends them, nothing after the end."""
    config = replace(CONFIG, discount_horizon=2, return_lambda=0.5)  # discount ½
    model = world_model()
    behavior = actor_critic(model, config)
    targets: list[Tensor] = []
    behavior.critic_loss = lambda values, returns, features: targets.append(returns) or returns  # type: ignore[method-assign, func-returns-value]
    last = torch.tensor([[False, False, True, False, False]] * 2)
    terminal = last.clone()
    terminal[1] = False  # the second row is cut by a time limit there
    reward = torch.tensor([[9.0, 1.0, 2.0, 0.0, 4.0]] * 2)
    dreamed = torch.tensor([[9.0, 10.0, 20.0, 30.0, 40.0]] * 2)
    features = torch.zeros(2, 5, model.dynamics.feature_size)
    loss = behavior.replay_value_loss(features, {"reward": reward, "is_last": last, "is_terminal": terminal}, dreamed)
    # Backwards from R_4 = 40. R_3 = 4 + ½ (½ · 40 + ½ · 40) = 24. R_2 is masked out. R_1 = 2 (the end), or
    # 2 + ½ · 20 = 12 (cut: the dream stands in). R_0 = 1 + ½ (½ · 10 + ½ · R_1).
    (returns,) = targets
    assert returns[:, 0].tolist() == [1 + 0.5 * (5 + 1), 1 + 0.5 * (5 + 6)]
    assert returns[:, 1].tolist() == [2, 12]
    assert returns[:, 3].tolist() == [24, 24]
    assert loss[:, 2].tolist() == [0, 0]


def test_the_expert_is_imitated_where_actions_count() -> None:
    model = world_model()
    behavior = actor_critic(model)
    features = torch.randn(2, 4, model.dynamics.feature_size, requires_grad=True)
    action = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2, 1], [2, 2, 0, 1]]), 3).float()
    reading = torch.tensor([[True, True, False, False], [False, False, False, False]])
    last = torch.tensor([[False, False, False, True], [False, False, False, False]])
    led = torch.tensor([[True] * 4, [False, True, True, True]])
    flags = {"led": led, "is_read_step": reading, "is_last": last}
    loss = behavior.imitation_loss(features, {"action": action, **flags})
    chance = behavior.actor_out(behavior.actor(features)).softmax(-1)
    counts = torch.tensor([[0.0, 0, 1, 0], [0, 1, 1, 1]])
    torch.testing.assert_close(loss, -counts * chance.mul(action).sum(-1).log())
    (grad,) = torch.autograd.grad(loss.sum(), features)
    assert torch.equal(grad.abs().amax(-1) > 0, counts > 0)  # it shapes the beliefs


def test_where_the_expert_turns_to_something_else_counts_more() -> None:
    model = world_model()
    plain, weighed = actor_critic(model), actor_critic(model, replace(CONFIG, inflection=4.0))
    weighed.load_state_dict(plain.state_dict())
    features = torch.randn(1, 5, model.dynamics.feature_size)
    action = torch.nn.functional.one_hot(torch.tensor([[0, 0, 1, 1, 2]]), 3).float()
    none, led = torch.zeros(1, 5, dtype=torch.bool), torch.tensor([[True, True, True, True, False]])
    batch = {"action": action, "led": led, "is_read_step": none, "is_last": none}
    times = torch.tensor([[1.0, 1, 4, 1, 0]])
    torch.testing.assert_close(weighed.imitation_loss(features, batch), times * plain.imitation_loss(features, batch))


def test_reinforce_makes_good_actions_likelier() -> None:
    model = world_model()
    behavior = actor_critic(model, replace(CONFIG, entropy=0.0))
    torch.nn.init.zeros_(behavior.critic.out.weight)  # expects nothing
    told = dream(model, behavior)
    good = torch.zeros(COUNT, HORIZON)
    good[0] = 1.0
    told = replace(told, reward=good, discount=torch.zeros_like(told.discount), weight=torch.ones_like(told.weight))
    wants = behavior.want(told)
    log_prob = behavior.policy(told.features[:, :-1]).log_prob(told.action[:, :-1])
    torch.testing.assert_close(wants.actor, -good * log_prob)


def test_entropy_is_sought_where_nothing_is_gained() -> None:
    model = world_model()
    behavior = actor_critic(model, replace(CONFIG, entropy=0.5))
    torch.nn.init.zeros_(behavior.critic.out.weight)
    told = dream(model, behavior)
    told = replace(told, reward=torch.zeros_like(told.reward))
    entropy = behavior.policy(told.features[:, :-1]).entropy()
    torch.testing.assert_close(behavior.want(told).actor, -told.weight[:, :-1] * 0.5 * entropy)


def test_advantages_are_measured_by_the_scale_with_the_batch_taken_in() -> None:
    model = world_model()
    behavior = actor_critic(model, replace(CONFIG, entropy=0.0))
    torch.nn.init.zeros_(behavior.critic.out.weight)
    behavior.scale.rate = 1.0
    told = dream(model, behavior)
    told = replace(told, reward=100 * torch.randn(COUNT, HORIZON), discount=torch.zeros_like(told.discount))
    log_prob = behavior.policy(told.features[:, :-1]).log_prob(told.action[:, :-1])
    low, high = torch.quantile(told.reward, torch.tensor([0.05, 0.95]))
    expected = -told.weight[:, :-1] * log_prob * told.reward / (high - low)
    torch.testing.assert_close(behavior.want(told).actor, expected)


def test_the_critic_learns_the_returns_and_stays_near_its_slow_self() -> None:
    model = world_model()
    behavior = actor_critic(model, replace(CONFIG, slow_weight=0.5))
    with torch.no_grad():
        behavior.slow_critic.out.weight.normal_()
    told = dream(model, behavior)
    wants = behavior.want(told)
    values = behavior.critic(told.features[:, :-1])
    slow = behavior.slow_critic(told.features[:, :-1]).mean
    expected = told.weight[:, :-1] * (values.loss(wants.returns) + 0.5 * values.loss(slow))
    torch.testing.assert_close(wants.critic, expected)


def test_returns_count_what_is_received_and_expected_from_the_next_step_on() -> None:
    """R_t = r_{t+1} + d_{t+1} [(1 − λ) v_{t+1} + λ R_{t+1}], with R_H = v_H."""
    model = world_model()
    behavior = actor_critic(model, replace(CONFIG, return_lambda=0.6))
    told = dream(model, behavior)
    told = replace(told, reward=torch.randn(COUNT, HORIZON), discount=torch.rand(COUNT, HORIZON + 1))
    value = behavior.critic(told.features).mean.detach()
    expected = value[:, HORIZON]
    returns = behavior.want(told).returns
    for t in reversed(range(HORIZON)):
        expected = told.reward[:, t] + told.discount[:, t + 1] * (0.4 * value[:, t + 1] + 0.6 * expected)
        torch.testing.assert_close(returns[:, t], expected)


def test_returns_are_the_fast_critic_s() -> None:
    model = world_model()
    behavior = actor_critic(model)
    told = dream(model, behavior)
    before = behavior.want(told).returns
    with torch.no_grad():
        behavior.slow_critic.out.weight.normal_()
    assert behavior.want(told).returns.equal(before)
    with torch.no_grad():
        behavior.critic.out.weight.normal_()
    assert not torch.allclose(behavior.want(told).returns, before)


def test_the_slow_critic_follows() -> None:
    behavior = actor_critic(world_model())
    fast, slow = behavior.critic.out.weight, behavior.slow_critic.out.weight
    assert not slow.requires_grad
    behavior.follow(first=True)
    assert slow.equal(fast)
    with torch.no_grad():
        fast.add_(1.0)
    behavior.follow(first=False)
    torch.testing.assert_close(fast - slow, torch.full_like(fast, 0.98))


def test_a_policy_through_the_dynamics_climbs_the_imagined_reward() -> None:
    """In a world whose state is the last action and whose reward is its first number, that number rises."""

    def imagine(
        start: dict[str, Tensor], policy: Policy, horizon: int, noise: Noise
    ) -> tuple[list[dict[str, Tensor]], Tensor]:
        states, actions = [start["deter"]], []
        for _ in range(horizon + 1):
            actions.append(policy(states[-1], noise))
            states.append(actions[-1])
        return [{"deter": state} for state in states[:-1]], torch.stack(actions, 1)

    model = SimpleNamespace(
        dynamics=SimpleNamespace(imagine=imagine),
        foresee=lambda features: (features[..., 0], torch.ones(features.shape[:-1])),
    )
    behavior = ActorCritic(FLOATS, 2, replace(CONFIG, continuous_gradient="dynamics", entropy=0.0), "dreamer2025")
    told = behavior.dream(
        cast(WorldModel, model), {"deter": torch.zeros(COUNT, 2)}, torch.zeros(COUNT), Noise(torch.device("cpu"), 0)
    )
    bias = behavior.actor_out.bias
    (grad,) = torch.autograd.grad(behavior.want(told).actor.mean(), bias)
    assert grad[0] < -1e-3  # of the first number's mean


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("horizon", 0),
        ("return_lambda", 1.5),
        ("slow_rate", -0.1),
        ("starts", 0.0),
        ("discount_horizon", 1),
        ("unimix", 1),
        ("imitation", -1.0),
        ("inflection", 0.5),
    ],
)
def test_wrong_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        replace(CONFIG, **{field: value})  # type: ignore[arg-type]
