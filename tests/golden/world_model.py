"""The world model's losses, gradients and one step of its optimiser: d_world_model."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynalang_py.agent import Agent
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.world_model import Learned, WorldModel

from .fixtures import Check, Golden, Recorded, draw
from .names import Array, fill, ours, tensor


def world_model(golden: Golden) -> WorldModel:
    model = WorldModel(golden.spec, golden.model)
    fill(model, "world_model/", golden.files["d_world_model"].under("w/"))
    return model


def window_draws(golden: Golden) -> list[Tensor]:
    """What `observe` asks for on the recorded window: the posteriors' numbers, then those of the resets.

    Which prior the resets were drawn from was not recorded, but its deter is a weight: our prior stands in.
    """
    d = golden.files["d_world_model"]
    with torch.no_grad():
        dynamics = world_model(golden).dynamics
        assert dynamics.start is not None
        reset = dynamics.prior(dynamics.start.tanh()).expand_as(d["reset_stoch_samples"])
    return [draw(d["post_logit"], d["post_stoch_samples"]), draw(reset, d["reset_stoch_samples"])]


def learn(golden: Golden, model: WorldModel) -> Learned:
    d = golden.files["d_world_model"]
    batch = {name: d[name] for name in ("image", "token", "action", "reward", "is_first", "is_last", "is_terminal")}
    state = {name: d[f"carry_{name}"] for name in ("deter", "stoch", "action")}
    return model.learn(batch, state, Recorded(window_draws(golden)))


def beliefs(golden: Golden) -> Iterator[Check]:
    d = golden.files["d_world_model"]
    model = world_model(golden)
    learned = learn(golden, model)
    yield d.check("embed", model.encoder({name: d[name] for name in ("image", "token")}), summed=True)
    yield d.check("deter", learned.posterior["deter"])
    yield d.check("post_stoch_samples", learned.posterior["stoch"])
    yield d.check("post_logit", learned.posterior["logit"])
    yield d.check("prior_logit", learned.prior["logit"])
    yield d.check("kl_unclipped", learned.kl, summed=True)
    assert model.dynamics.start is not None
    batch, length = d["is_first"].shape
    start = model.dynamics._start(batch, length, Recorded(window_draws(golden)[1:]))
    yield d.check("reset_stoch_samples", start[1].view_as(d["reset_stoch_samples"]))


def predictions(golden: Golden) -> Iterator[Check]:
    d = golden.files["d_world_model"]
    model = world_model(golden)
    posterior = learn(golden, model).posterior
    decoded = model.decoder(posterior)
    assert decoded.image is not None
    assert decoded.token is not None
    yield d.check("image_recon_t0", decoded.image[:, :1], summed=True)
    yield d.check("token_logits", decoded.token, summed=True)
    features = model.dynamics.feature(posterior)
    reward = model.reward(features)
    # Logits come up to a constant each.
    theirs = d["reward_logits"].log_softmax(-1)
    yield d.check("reward_logits", reward.log_prob, theirs=theirs)
    mean, go_on = model.foresee(features)
    yield d.check("reward_mean", mean, summed=True)
    yield d.check("cont_prob", go_on)


def losses(golden: Golden) -> Iterator[Check]:
    d = golden.files["d_world_model"]
    learned = learn(golden, world_model(golden))
    for name, here in (("image", "image"), ("token", "token"), ("reward", "reward"), ("cont", "continue")):
        yield d.check(f"loss_{name}", learned.losses[here], rtol=1e-4)
    yield d.check("loss_dyn", learned.losses["dyn"], rtol=1e-4)
    yield d.check("loss_rep", learned.losses["rep"], rtol=1e-4)
    yield d.check("scaled_loss", learned.loss, rtol=1e-4)
    yield d.check("total_loss", learned.loss.mean(), rtol=1e-4)


def gradients(golden: Golden) -> Iterator[Check]:
    d = golden.files["d_world_model"]
    model = world_model(golden)
    learn(golden, model).loss.mean().backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    norm = torch.linalg.vector_norm(torch.stack([grad.norm() for grad in grads.values() if grad is not None]))
    yield d.check("grad_global_norm", norm, rtol=1e-4)
    for name, theirs in d.under("grad/").items():
        here, _ = ours(name, _stages(golden))
        grad = grads[here.removeprefix("world_model/")]
        assert grad is not None
        yield d.check(f"grad/{name}", grad, theirs=translate_one(golden, name, theirs), rtol=1e-4, summed=True)


def one_update(golden: Golden) -> Iterator[Check]:
    """The real update of the agent: three optimisers in turn, of which the first is looked at."""
    d = golden.files["d_world_model"]
    lr, eps, clip = golden.said("d_world_model", None, r"lr ([\d.e-]+), eps ([\d.e-]+).* clip ([\d.]+)")
    agent = filled_agent(golden, OptimizerConfig(joint=False, lr=lr, model_norm=clip))
    assert agent.optimizers["model"].param_groups[0]["eps"] == eps
    agent.noise = Recorded([*window_draws(golden), *dream_draws(golden)])
    figures, _ = agent.update(arrays(golden))
    yield d.check("total_loss", _total(figures, agent), rtol=1e-4)
    yield d.check("grad_global_norm", torch.tensor(figures["grad_norm/model"]), rtol=1e-4)
    yield from updated(golden, "d_world_model", agent, lr)


# -- also for e_actor_critic ------------------------------------------------------------------------------------------


def translate_one(golden: Golden, name: str, array: Array) -> Tensor:
    return tensor(ours(name, _stages(golden))[1](array))


def filled_agent(golden: Golden, optimizer: OptimizerConfig) -> Agent:
    agent = Agent(
        golden.spec, model=golden.model, behavior=golden.behavior, optimizer=optimizer, device=torch.device("cpu")
    )
    weights = golden.files["d_world_model"].under("w/")
    fill(agent.model, "world_model/", weights)
    fill(agent.behavior, "behavior/", weights)
    e = golden.files["e_actor_critic"]
    agent.behavior.scale.low.copy_(e["retnorm_low_before"])
    agent.behavior.scale.high.copy_(e["retnorm_high_before"])
    return agent


def arrays(golden: Golden) -> dict[str, np.ndarray[Any, Any]]:
    """The recorded window as replay would give it: behind a step of context, which holds the belief it goes on from."""
    d = golden.files["d_world_model"].arrays
    stoch = golden.config["stoch"]
    window = {name: d[name] for name in ("image", "token", "reward", "is_first", "is_last", "is_terminal")}
    window["action"] = d["action"].argmax(-1)[..., None]
    window["deter"] = np.zeros_like(d["deter"])
    window["stoch"] = np.zeros((*d["is_first"].shape, stoch), np.int64)
    batch = {name: np.concatenate([np.zeros_like(value[:, :1]), value], 1) for name, value in window.items()}
    batch["deter"][:, 0] = d["carry_deter"]
    batch["stoch"][:, 0] = d["carry_stoch"].argmax(-1)
    batch["action"][:, 0, 0] = d["carry_action"].argmax(-1)
    return batch


def dream_draws(golden: Golden) -> list[Tensor]:
    """What a dream asks for: the latents' numbers of all steps, then those of the policy at each state."""
    e = golden.files["e_actor_critic"]
    return [
        draw(e["imag_logit"][1:], e["imag_stoch"]),
        *(draw(logits, action) for logits, action in zip(e["policy_logits"], e["imag_action"], strict=True)),
    ]


def updated(golden: Golden, file: str, agent: Agent, lr: float) -> Iterator[Check]:
    """Weights after an update. Adam's first step is lr whatever the gradient, so the way they went is compared."""
    state = agent.state_dict()
    for name, theirs in golden.files[file].under("after_adam/").items():
        here, _ = ours(name, _stages(golden))
        after = translate_one(golden, name, theirs)
        yield Check(f"{file}/after_adam/{name}", state[here], rtol=1e-5, atol=0.01 * lr, theirs=after)


def _stages(golden: Golden) -> int:
    names = golden.files["d_world_model"].arrays
    return len({name for name in names if re.fullmatch(r"w/wm/dec/cnn/s\d+res/kernel", name)})


def _total(figures: Mapping[str, float], agent: Agent) -> Tensor:
    scales = agent.model.scales()
    return torch.tensor(
        sum(figures[f"loss/{name}"] * scale for name, scale in scales.items() if f"loss/{name}" in figures)
    )


CHECKS = [beliefs, predictions, losses, gradients, one_update]
