"""The agent as a whole: it learns from windows, is saved and goes on, and refuses what is not finite."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dynalang_py.agent import NonFiniteError
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError
from dynalang_py.nn.layers import Family
from dynalang_py.world_model.rssm import State

from .tiny import BATCH, FAMILIES, FLOATS, LENGTH, MULTI, SPEC, Arrays, agent, steps, weights, window

# -- learning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "family", "behavior"),
    [
        (SPEC, "dreamer2025", {}),
        (SPEC, "dreamer2023", {}),
        (MULTI, "dreamer2025", {}),
        (MULTI, "dreamer2023", {"unimix": 0.01}),
        (FLOATS, "dreamer2025", {}),
        (FLOATS, "dreamer2023", {"continuous_gradient": "dynamics"}),
        (replace(SPEC, images={"image": (13, 22, 1)}), "dreamer2025", {"starts": 0.5}),
        (replace(SPEC, images={"depth": (16, 16, 1), "image": (16, 16, 3)}), "dreamer2025", {"starts": 0.01}),
    ],
)
def test_an_update_moves_every_part(spec: StepSpec, family: Family, behavior: dict[str, Any]) -> None:
    own = agent(spec, family, **behavior)
    before = weights(own)
    for seed in range(2):
        figures, latent = own.update(window(own, seed))
    assert all(np.isfinite(value) for value in figures.values())
    still = [
        name
        for name, value in weights(own).items()
        if value.equal(before[name]) and not name.startswith("world_model/dynamics.prior_net")  # the KL is free yet
    ]
    assert still == []
    assert own.updates == 2
    assert {"loss/reward", "loss/actor", "loss/critic", "behavior/entropy"} <= figures.keys()
    for name, (shape, dtype) in own.replay_fields().items():
        assert (latent[name].shape, latent[name].dtype) == ((BATCH, LENGTH, *shape), dtype)


@pytest.mark.parametrize("spec", [SPEC, MULTI, FLOATS])
def test_an_agent_comes_to_do_what_the_expert_does(spec: StepSpec) -> None:
    own = agent(spec, lr=1e-2, imitation=1.0)
    batch = window(own) | {"led": np.ones((BATCH, own.replay_context + LENGTH), bool)}
    losses = [own.update(batch)[0]["loss/imitation"] for _ in range(100)]
    assert min(losses[-10:]) < losses[0] - 0.4


def test_features_of_a_window_s_beliefs_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    own = agent(SPEC, imitation=1.0)
    shapes, feature = [], own.model.dynamics.feature

    def making(state: State) -> torch.Tensor:
        shapes.append(feature(state).shape[:-1])
        return feature(state)

    monkeypatch.setattr(own.model.dynamics, "feature", making)
    own.update(window(own))
    assert [shape for shape in shapes if len(shape) == 2] == [(BATCH, LENGTH)]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_update_moves_every_part_of_a_map(family: Family) -> None:
    own = agent(family=family, tiles=True)
    before = weights(own)
    for seed in range(2):
        figures, _ = own.update(window(own, seed))
    assert all(np.isfinite(value) for value in figures.values())
    still = {name for name, value in weights(own).items() if value.equal(before[name])}
    assert {name for name in still if not name.startswith("world_model/dynamics.prior_net")} == set()
    assert figures["model/prototypes"] == 4  # as many as there may be: noise is unlike all other noise


def test_a_joint_step_never_goes_through_the_dynamics() -> None:
    with pytest.raises(UserError, match=r"optimizer\.joint"):
        agent(FLOATS, continuous_gradient="dynamics")


def test_the_optimizers_in_turn_each_keep_to_their_part() -> None:
    own = agent(family="dreamer2023")
    names = {id(p): name for name, p in own._named_parameters()}
    parts = {
        part: {names[id(p)] for group in optimizer.param_groups for p in group["params"]}
        for part, optimizer in own.optimizers.items()
    }
    assert parts["model"] == {name for name in names.values() if name.startswith("world_model/")}
    assert parts["actor"] == {name for name in names.values() if name.startswith("behavior/actor")}
    assert parts["critic"] == {name for name in names.values() if name.startswith("behavior/critic")}


def test_in_turn_dreams_come_from_the_updated_world_model() -> None:
    """2023: the world model steps first, and the rollouts use its new weights."""
    returns = []
    for lr in (1e-30, 1e-2):
        own = agent(family="dreamer2023")
        own.optimizers["model"].param_groups[0]["lr"] = lr
        figures, _ = own.update(window(own))
        returns.append(figures["behavior/reward"])
    assert returns[0] == 0  # a fresh reward head says nothing
    assert returns[1] != 0


def test_refreshed_latents_are_the_beliefs_along_the_window() -> None:
    own = agent(lr=1e-30)
    batch = window(own)
    _, latent = own.update(batch)
    # Another window that starts one step later, from the refreshed latent, sees the same.
    later = {name: value[:, 1:] for name, value in batch.items()}
    for name in own.replay_fields():
        later[name] = later[name].copy()
        later[name][:, 0] = latent[name][:, 0]
    tensors, state = own._window(later)
    torch.testing.assert_close(state["deter"], torch.from_numpy(latent["deter"][:, 0]).float())
    assert state["action"].argmax(-1).tolist() == batch["action"][:, 1, 0].tolist()
    posterior, _ = own.model.dynamics.observe(
        own.model.encoder(tensors), tensors["action"], tensors["is_first"], state, own.noise
    )
    torch.testing.assert_close(
        posterior["deter"][:, 0], torch.from_numpy(latent["deter"][:, 1]).float(), rtol=0, atol=3e-3
    )


def test_without_stored_latents_a_window_starts_from_nothing() -> None:
    own = agent(family="dreamer2023")
    tensors, _ = own._window(window(own))
    assert tensors["is_first"][:, 0].all()
    assert tensors["is_first"][:, 1:].sum() == 1
    modern = agent()
    tensors, _ = modern._window(window(modern))
    assert not tensors["is_first"][:, 0].any()


def test_starts_are_the_last_steps_of_each_window() -> None:
    own = agent(starts=0.5)
    asked: list[torch.Tensor] = []
    dream = own.behavior.dream

    def record(model: Any, start: Any, is_terminal: torch.Tensor, noise: Any) -> Any:
        asked.append(is_terminal)
        return dream(model, start, is_terminal, noise)

    own.behavior.dream = record  # type: ignore[method-assign]
    batch = window(own)
    batch["is_terminal"][...] = False
    batch["is_terminal"][:, -3] = True  # the first of the last three
    own.update(batch)
    assert asked[0].tolist() == [True, False, False] * BATCH


def test_the_first_update_of_a_warm_up_moves_nothing() -> None:
    own = agent()
    own.optimizers["joint"].warmup = 10  # type: ignore[attr-defined]
    before = weights(own, "world_model")
    own.update(window(own))
    assert all(value.equal(before[name]) for name, value in weights(own, "world_model").items())
    own.update(window(own))
    assert not all(value.equal(before[name]) for name, value in weights(own, "world_model").items())


@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_every_part_learns(family: Family, tiles: bool) -> None:
    """Weights that were cast without gradient while dreaming must not be found again while learning."""
    own = agent(family=family, precision="bfloat16", tiles=tiles)
    before = weights(own)
    own.behavior.actor_out.weight.data.normal_()
    figures, _ = own.update(window(own))
    named = dict(own._named_parameters())
    for name in ("actor.0.linear.weight", "actor_out.weight", "critic.mlp.0.linear.weight", "critic.out.weight"):
        grad = named[f"behavior/{name}"].grad
        assert grad is not None
        assert grad.dtype == torch.float32
        if name != "critic.mlp.0.linear.weight":  # behind an output layer of zeros
            assert grad.abs().max() > 0, name
    assert all(np.isfinite(value) for value in figures.values())
    assert all(value.dtype == before[name].dtype for name, value in weights(own).items())


def test_bfloat16_computes_about_the_same() -> None:
    plain, fast = agent(), agent(precision="bfloat16")
    figures = [own.update(window(own))[0] for own in (plain, fast)]
    for name in ("loss/image", "loss/token", "loss/reward"):
        assert figures[1][name] == pytest.approx(figures[0][name], rel=0.05), name


def test_the_seed_decides_everything() -> None:
    def run(seed: int) -> dict[str, torch.Tensor]:
        own = agent(seed=seed)
        torch.rand(5)  # somebody else draws
        own.update(window(own))
        return weights(own)

    first, second, other = run(1), run(1), run(2)
    assert all(value.equal(second[name]) for name, value in first.items())
    name = "world_model/dynamics.posterior_out.weight"
    assert not first[name].equal(other[name])


# -- saving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_agent_goes_on_bit_by_bit(family: Family, tiles: bool) -> None:
    own = agent(family=family, tiles=tiles)
    own.update(window(own, 0))
    own.update(window(own, 1))
    saved = {name: value.clone() for name, value in own.state_dict().items()}
    other = agent(family=family, seed=5, tiles=tiles)
    other.update(window(other, 7))  # it has a past of its own, to be forgotten
    other.load_state_dict(saved)
    assert other.updates == 2
    for seed in range(2, 4):
        expected, _ = own.update(window(own, seed))
        figures, _ = other.update(window(other, seed))
        assert figures == expected
    assert own.state_dict().keys() == other.state_dict().keys()
    for name, value in own.state_dict().items():
        assert value.equal(other.state_dict()[name]), name
    obs, first = steps(own, 2), np.array([True, True])
    assert (own.act(obs, first, own.initial(2))[0] == other.act(obs, first, other.initial(2))[0]).all()


def test_a_state_is_tensors_alone() -> None:
    own = agent()
    own.update(window(own))
    assert all(isinstance(value, torch.Tensor) and not value.requires_grad for value in own.state_dict().values())


@pytest.mark.parametrize("kind", ["missing", "shape", "strange", "random"])
def test_a_state_of_another_agent_is_refused_by_name(kind: str) -> None:
    own = agent()
    state = own.state_dict()
    name = "world_model/dynamics.posterior_out.weight"
    if kind == "missing":
        del state[name]
    elif kind == "shape":
        state[name] = torch.zeros(2, 2)
    elif kind == "random":
        name = "random/learning"
        del state[name]
    else:
        name = "behavior/planner.weight"
        state[name] = torch.zeros(1)
    with pytest.raises(UserError, match=name):
        own.load_state_dict(state)


# -- what is not finite ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loss_that_is_not_finite_is_named_and_moves_nothing(family: Family) -> None:
    own = agent(family=family)
    own.update(window(own))
    batch = window(own, 1)
    batch["reward"][1, 4] = np.nan
    before = weights(own)
    updates = own.updates
    with pytest.raises(NonFiniteError, match="loss/reward is not finite") as error:
        own.update(batch)
    assert error.value.tensor == "loss/reward"
    after = weights(own)
    assert all(torch.equal(value, before[name]) for name, value in after.items() if "scale." not in name)
    assert own.updates == updates
    figures, _ = own.update(window(own, 2))
    assert all(np.isfinite(value) for value in figures.values())


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    own = agent()
    before = weights(own)
    own.model.dynamics.posterior_out.weight.register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(NonFiniteError, match="gradient of the joint loss"):
        own.update(window(own))
    assert all(value.equal(before[name]) for name, value in weights(own).items() if "scale." not in name)


# -- showing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_open_loop_reconstructs_and_then_predicts(family: Family) -> None:
    own = agent(family=family)
    batch = window(own)
    batch["is_first"][...] = False
    context = 3

    def film(batch: Arrays) -> Any:
        own.noise.generator.manual_seed(0)
        return own.open_loop(batch, context)

    shown = film(batch)
    assert shown.context == context
    assert shown.truth.shape == shown.prediction.shape == (BATCH, LENGTH, 16, 16, 3)
    assert shown.prediction.dtype == np.uint8
    assert (shown.truth == batch["image"][:, own.replay_context :]).all()
    assert (shown.token_true == batch["token"][:, own.replay_context :]).all()
    assert shown.token_predicted.shape == (BATCH, LENGTH)
    # What it does not watch it cannot know; what it watches it may.
    hidden = {**batch, "image": batch["image"].copy(), "token": batch["token"].copy()}
    hidden["image"][:, own.replay_context + context :] = 0
    hidden["token"][:, own.replay_context + context :] = 0
    blind = film(hidden)
    assert (blind.prediction == shown.prediction).all()
    assert (blind.token_predicted == shown.token_predicted).all()
    hidden["image"][:, own.replay_context : own.replay_context + context] = 0
    assert (film(hidden).prediction[:, :context] != shown.prediction[:, :context]).any()
    # The reconstructions are the decoder's of the filtered beliefs.
    tensors, state = own._window(batch)
    own.noise.generator.manual_seed(0)
    with torch.no_grad():
        seen = {name: value[:, :context] for name, value in tensors.items()}
        posterior, _ = own.model.dynamics.observe(
            own.model.encoder(seen), seen["action"], seen["is_first"], state, own.noise
        )
        image = own.model.decoder(posterior).image
    assert image is not None
    assert (own.model.decoder.pixels(image).numpy() == shown.prediction[:, :context]).all()


def test_open_loop_follows_the_actions_as_they_were_taken() -> None:
    """The action at the last watched step moves the first predicted one; the window's last action moves nothing."""
    own = agent()
    for net in (own.model.dynamics, own.model.decoder):
        for param in net.parameters():
            param.data.mul_(3)
    batch = window(own)
    batch["is_first"][...] = False

    def film(batch: Arrays) -> Any:
        own.noise.generator.manual_seed(0)
        return own.open_loop(batch, 3).prediction

    shown = film(batch)
    for step, moved in ((3, 3), (4, 4), (LENGTH, LENGTH)):  # steps of the batch, which holds one step of context
        other = {**batch, "action": batch["action"].copy()}
        other["action"][:, step] = 2
        differs = (film(other) != shown).any((0, 2, 3, 4))
        assert differs.tolist() == [t >= moved for t in range(LENGTH)]


def test_open_loop_needs_images() -> None:
    own = agent(FLOATS)
    with pytest.raises(UserError, match="images"):
        own.open_loop(window(own))
