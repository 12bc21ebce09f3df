"""Actor and critic on one imagined trajectory: e_actor_critic."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dynalang_py.behavior import ActorCritic
from dynalang_py.behavior.actor_critic import Dream
from dynalang_py.behavior.returns import lambda_returns
from dynalang_py.nn.functional import unimix
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.world_model import WorldModel

from .fixtures import Check, Golden, Recorded
from .names import fill, ours
from .world_model import (
    arrays,
    dream_draws,
    filled_agent,
    learn,
    translate_one,
    updated,
    window_draws,
    world_model,
)


def actor_critic(golden: Golden) -> tuple[WorldModel, ActorCritic]:
    model = world_model(golden)
    e = golden.files["e_actor_critic"]
    behavior = ActorCritic(golden.spec, model.dynamics.feature_size, golden.behavior, "dreamer2023")
    fill(behavior, "behavior/", golden.files["d_world_model"].under("w/"))
    behavior.scale.low.copy_(e["retnorm_low_before"])
    behavior.scale.high.copy_(e["retnorm_high_before"])
    return model, behavior


def dreamt(golden: Golden, model: WorldModel, behavior: ActorCritic) -> Dream:
    e = golden.files["e_actor_critic"]
    start = {"deter": e["start_deter"], "stoch": e["start_stoch"]}
    return behavior.dream(model, start, e["start_is_terminal"] > 0, Recorded(dream_draws(golden)))


def dream(golden: Golden) -> Iterator[Check]:
    e = golden.files["e_actor_critic"]
    model, behavior = actor_critic(golden)
    posterior = learn(golden, model).posterior
    for name in ("deter", "stoch"):
        yield e.check(f"start_{name}", posterior[name].flatten(0, 1))
    ours = dreamt(golden, model, behavior)
    deter, stoch = ours.features.split([golden.config["deter"], golden.config["stoch"] * golden.config["classes"]], -1)
    yield e.check("imag_action", steps_first(ours.action))
    yield e.check("imag_deter", steps_first(deter))
    yield e.check("imag_stoch", steps_first(stoch)[1:].view_as(e["imag_stoch"]))
    logit = torch.cat([posterior["logit"].flatten(0, 1)[:, None], model.dynamics.prior(deter[:, 1:])], 1)
    yield e.check("imag_logit", steps_first(logit))
    policy = unimix(behavior.actor_out(behavior.actor(ours.features)), golden.config["unimix"])
    yield e.check("policy_logits", steps_first(policy))
    yield e.check("imag_cont", steps_first(ours.discount) / golden.behavior.discount)
    yield e.check("imag_weight", steps_first(ours.weight))
    yield e.check("reward", steps_first(ours.reward), summed=True)


def opinions(golden: Golden) -> Iterator[Check]:
    """Each function on what was recorded of the one before it."""
    e = golden.files["e_actor_critic"]
    _, behavior = actor_critic(golden)
    recorded = [e["imag_deter"], e["imag_stoch"].flatten(-2)]
    recorded[1] = torch.cat([e["start_stoch"].flatten(-2)[None], recorded[1]])
    features = steps_first(torch.cat(recorded, -1))
    values, slow = behavior.critic(features), behavior.slow_critic(features)
    yield e.check("value", steps_first(values.mean), summed=True)
    yield e.check("slow_value", steps_first(slow.mean), summed=True)
    yield e.check("base", steps_first(values.mean)[:-1], summed=True)
    value, reward, cont = (steps_first(e[name]) for name in ("value", "reward", "imag_cont"))
    discount = cont[:, 1:] * golden.behavior.discount
    ret = lambda_returns(reward, discount, value[:, 1:], golden.behavior.return_lambda, last=value[:, -1])
    yield e.check("ret", steps_first(ret), summed=True)
    scale = behavior.scale
    size = scale.update(steps_first(e["ret"]))
    yield e.check("retnorm_low_after", scale.low)
    yield e.check("retnorm_high_after", scale.high)
    yield e.check("adv", (e["ret"] - e["base"]) / size, summed=True)
    policy = behavior.policy(features[:, :-1])
    yield e.check("logpi", steps_first(policy.log_prob(steps_first(e["imag_action"])[:, :-1])))
    yield e.check("entropy", steps_first(policy.entropy()))
    early = behavior.critic(features[:, :-1])
    yield e.check("critic_ce", steps_first(early.loss(steps_first(e["ret"]))))
    yield e.check("critic_slowreg", steps_first(early.loss(steps_first(e["slow_value"])[:, :-1])))


def losses(golden: Golden) -> Iterator[Check]:
    """The whole chain, from the beliefs that start a dream to the losses."""
    e = golden.files["e_actor_critic"]
    model, behavior = actor_critic(golden)
    dream = dreamt(golden, model, behavior)
    wants = behavior.want(dream)
    yield e.check("ret", steps_first(wants.returns), rtol=1e-4)
    yield e.check("actor_loss_per_step", steps_first(wants.actor), rtol=1e-4, summed=True)
    yield e.check("critic_loss_per_step", steps_first(wants.critic), rtol=1e-4)
    yield e.check("actor_loss", wants.actor.mean(), rtol=1e-4)
    yield e.check("critic_loss", wants.critic.mean(), rtol=1e-4)
    yield e.check("retnorm_low_after", behavior.scale.low)
    yield e.check("retnorm_high_after", behavior.scale.high)
    # The advantage that the actor's loss was made of, solved for.
    policy = behavior.policy(dream.features[:, :-1])
    weight = dream.weight[:, :-1]
    gain = -wants.actor / weight - golden.behavior.entropy * policy.entropy()
    advantage = torch.where(weight > 0, gain / policy.log_prob(dream.action[:, :-1]), steps_first(e["adv"]))
    yield e.check("adv", steps_first(advantage), rtol=1e-4, summed=True)


def gradients(golden: Golden) -> Iterator[Check]:
    e = golden.files["e_actor_critic"]
    model, behavior = actor_critic(golden)
    wants = behavior.want(dreamt(golden, model, behavior))
    (wants.actor.mean() + wants.critic.mean()).backward()
    assert all(p.grad is None for p in model.parameters())
    grads = {f"behavior/{name}": p.grad for name, p in behavior.named_parameters() if p.requires_grad}
    for part in ("actor", "critic"):
        parts = [
            grad.norm() for name, grad in grads.items() if name.startswith(f"behavior/{part}") and grad is not None
        ]
        yield e.check(f"{part}_grad_norm", torch.stack(parts).norm(), rtol=1e-4)
    for name, theirs in e.under("grad/").items():
        grad = grads[ours(name, 0)[0]]
        assert grad is not None
        yield e.check(f"grad/{name}", grad, theirs=translate_one(golden, name, theirs), rtol=1e-4, summed=True)


def one_update(golden: Golden) -> Iterator[Check]:
    """The real update of the agent, its world model held still: it steps first, and these dreams are from before."""
    e = golden.files["e_actor_critic"]
    lr, eps, clip = golden.said("e_actor_critic", None, r"Adam lr ([\d.e-]+), eps ([\d.e-]+), clip (\d+)")
    agent = filled_agent(golden, OptimizerConfig(joint=False, lr=1e-30, behavior_lr=lr, behavior_norm=clip))
    assert {agent.optimizers[name].param_groups[0]["eps"] for name in ("actor", "critic")} == {eps}
    agent.noise = Recorded([*window_draws(golden), *dream_draws(golden)])
    figures, _ = agent.update(arrays(golden))
    for name, here in (
        ("actor_loss", "loss/actor"),
        ("critic_loss", "loss/critic"),
        ("actor_grad_norm", "grad_norm/actor"),
        ("critic_grad_norm", "grad_norm/critic"),
    ):
        yield e.check(name, torch.tensor(figures[here]), rtol=1e-4)
    yield from updated(golden, "e_actor_critic", agent, lr)


def slow_critic(golden: Golden) -> Iterator[Check]:
    e = golden.files["e_actor_critic"]
    for key, theirs in e.under("slow_after_update_counter_").items():
        count, _, rest = key.partition("/")
        name = f"task_behavior/critic/slow/{rest}"
        _, behavior = actor_critic(golden)
        behavior.follow(first=count == "0")
        weight = behavior.get_parameter(ours(name, 0)[0].removeprefix("behavior/"))
        yield e.check(f"slow_after_update_counter_{key}", weight, theirs=translate_one(golden, name, theirs))


def steps_first(x: Tensor) -> Tensor:
    """(N, H, …) → (H, N, …), as they lay it out."""
    return x.transpose(0, 1)


CHECKS = [dream, opinions, losses, gradients, one_update, slow_critic]
