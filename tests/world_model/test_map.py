"""The map: how places move, what is asked of them, and the belief that it is a part of."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dynalang_py.contract import StepSpec
from dynalang_py.nn.layers import Family
from dynalang_py.nn.patches import Sites
from dynalang_py.nn.random import Noise
from dynalang_py.nn.unrolled import Shared
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.map import Map, MapConfig
from dynalang_py.world_model.model import WorldModel, WorldModelConfig
from dynalang_py.world_model.rssm import RSSM, RSSMConfig, State

PATCHES, NAMES, ACTIONS, BATCH, LENGTH, HEARD = 3, 4, 2, 2, 6, 5
CONFIG = RSSMConfig(
    deter=8,
    hidden=6,
    stoch=2,
    classes=NAMES,
    patch_stoch=1,
    blocks=2,
    unimix=1e-6,
    map=MapConfig(width=3, beyond=2, motions=2, questions=2),
)


@pytest.fixture
def mapped() -> Map:
    torch.manual_seed(0)
    return Map((1, PATCHES), NAMES, CONFIG.deter, CONFIG.deter, CONFIG.map, "dreamer2023")


@pytest.fixture(params=["dreamer2023", "dreamer2025"])
def rssm(request: pytest.FixtureRequest) -> RSSM:
    family: Family = request.param
    torch.manual_seed(0)
    return RSSM(PATCHES * NAMES + HEARD, ACTIONS, CONFIG, family, Sites(1, PATCHES, NAMES), named=True)


def window() -> dict[str, Tensor]:
    torch.manual_seed(1)
    names = F.one_hot(torch.randint(NAMES, (BATCH, LENGTH, PATCHES)), NAMES).float()
    return {
        "embed": torch.cat([names.flatten(-2), torch.randn(BATCH, LENGTH, HEARD)], -1),
        "action": F.one_hot(torch.randint(ACTIONS, (BATCH, LENGTH)), ACTIONS).float(),
        "is_first": torch.zeros(BATCH, LENGTH, dtype=torch.bool),
    }


def observe(rssm: RSSM, given: dict[str, Tensor], state: State | None = None) -> tuple[State, State]:
    noise = Noise(torch.device("cpu"), 3)
    return rssm.observe(given["embed"], given["action"], given["is_first"], state or rssm.initial(BATCH), noise)


def certainly(mapped: Map, motions: list[list[int]]) -> None:
    """motions: for each motion the place that each place's content comes from."""
    sources = F.one_hot(torch.tensor(motions), mapped.places).float()
    mapped.sources.data = 10 * sources


# -- the map by itself ----------------------------------------------------------------------------------------------


def test_a_motion_moves_contents_and_what_is_seen_counts_more_than_what_was_expected(mapped: Map) -> None:
    certainly(mapped, [[1, 2, 3, 4, 0], [4, 0, 1, 2, 3]])
    mapped.choose.weight.data.zero_()
    known, seen = torch.randn(2, mapped.size), torch.randn(2, mapped.view)
    truth = torch.cat([seen, known[:, mapped.view :]], -1).view(2, 5, 3)
    for motion, order in enumerate([[1, 2, 3, 4, 0], [4, 0, 1, 2, 3]]):
        mapped.choose.bias.data = 50 * F.one_hot(torch.tensor(motion), 2).float()
        moved = mapped.move(seen, known, torch.randn(2, CONFIG.deter), Shared(mapped.weights(), 1, 2).at(0))
        torch.testing.assert_close(moved.view(2, 5, 3), truth[:, order])


def test_the_cell_mixes_the_motions(mapped: Map) -> None:
    certainly(mapped, [[0, 1, 2, 3, 4], [4, 0, 1, 2, 3]])
    cell, known, seen = torch.randn(1, CONFIG.deter), torch.randn(1, mapped.size), torch.randn(1, mapped.view)
    stays = mapped.choose(cell).softmax(-1)[0, 0]
    truth = torch.cat([seen, known[:, mapped.view :]], -1).view(5, 3)
    moved = mapped.move(seen, known, cell, Shared(mapped.weights(), 1, 1).at(0)).view(5, 3)
    torch.testing.assert_close(moved, stays * truth + (1 - stays) * truth[[4, 0, 1, 2, 3]])


def test_a_name_is_read_and_told_alike_in_every_patch(mapped: Map) -> None:
    read = mapped.enter(torch.eye(NAMES)[[2, 0, 2]])
    assert torch.equal(read[0], read[2])
    assert not torch.allclose(read[0], read[1])
    told = mapped.expect(torch.cat([read.flatten(), torch.randn(2 * 3)])[None]).view(PATCHES, NAMES)
    torch.testing.assert_close(told[0], told[2])
    torch.testing.assert_close(told, read @ mapped.tell.weight.T)


def test_all_places_are_asked_the_same(mapped: Map) -> None:
    """The content of the first patch, put anywhere, in view or beyond, gets the first patch's answers."""
    cell, contents = torch.randn(1, CONFIG.deter), torch.randn(1, mapped.places, mapped.width)
    contents[:, 4] = contents[:, 1] = contents[:, 0]

    def answers(cell: Tensor) -> Tensor:
        seen, beyond = contents[:, :PATCHES].flatten(1), contents[:, PATCHES:].flatten(1)
        return mapped.answers(seen, beyond, cell).view(mapped.places, mapped.questions)

    told = answers(cell)
    torch.testing.assert_close(told[[1, 4]], told[[0, 0]])
    assert not torch.allclose(told[2], told[0])
    torch.testing.assert_close(told.mean(0), torch.zeros(mapped.questions))  # what is everywhere is nowhere
    assert not torch.allclose(answers(torch.randn(1, CONFIG.deter)), told)  # what is asked depends on the cell


def around(side: int = 5) -> Map:
    torch.manual_seed(0)
    return Map((side, side), NAMES, CONFIG.deter, CONFIG.deter, replace(CONFIG.map, around=4), "dreamer2023")


def test_a_place_is_asked_for_with_its_neighbours_two_places_far() -> None:
    """What changes in the middle of one row of patches changes the answers of the places within two of it; and beyond
    the view only what everything is compared with."""
    mapped = around(side=7)
    cell, seen = torch.randn(1, CONFIG.deter), torch.randn(1, 49, mapped.width)
    other = seen.clone()
    other[0, 3 * 7 + 1] += 1  # fourth row, second column

    def answers(seen: Tensor) -> Tensor:
        return mapped.answers(seen.flatten(1), torch.zeros(1, 2 * mapped.width), cell).view(mapped.places, -1)

    change = answers(other) - answers(seen)
    own = change[:49] - change[-1]  # but for what a place out of view has of it
    near = torch.zeros(7, 7, dtype=torch.bool)
    near[1:6, :4] = True
    assert (own[near.flatten()].abs() > 1e-6).any(-1).all()
    torch.testing.assert_close(own[~near.flatten()], torch.zeros(49 - 20, mapped.questions), atol=1e-5, rtol=0)


def test_places_of_one_content_differ_by_their_neighbours() -> None:
    mapped, cell = around(), torch.randn(1, CONFIG.deter)
    contents = torch.randn(1, 25, mapped.width)
    contents[0, 12] = contents[0, 6]

    def answers() -> Tensor:
        return mapped.answers(contents.flatten(1), torch.zeros(1, 2 * mapped.width), cell).view(mapped.places, -1)

    told = answers()
    assert not torch.allclose(told[12], told[6], atol=1e-3)
    for asked in mapped.ask.parameters():  # nothing about neighbours
        asked.data.unflatten(0, (mapped.questions, -1))[:, mapped.width :] = 0
    told = answers()
    torch.testing.assert_close(told[12], told[6])


def test_steps_of_a_window_look_around_each_for_itself() -> None:
    mapped = around()
    cell, seen, beyond = torch.randn(2, 3, CONFIG.deter), torch.randn(2, 3, mapped.view), torch.randn(2, 3, 2 * 3)
    together = mapped.answers(seen, beyond, cell)
    alone = mapped.answers(seen[1, 2][None], beyond[1, 2][None], cell[1, 2][None])
    torch.testing.assert_close(together[1, 2], alone[0])


# -- in the belief --------------------------------------------------------------------------------------------------


def test_patches_are_what_they_are_named(rssm: RSSM) -> None:
    given = window()
    posterior, prior = observe(rssm, given)
    names = given["embed"][..., : PATCHES * NAMES].view(BATCH, LENGTH, PATCHES, NAMES)
    assert torch.equal(posterior["stoch"][:, :, :PATCHES], names)
    assert posterior["logit"].shape == (BATCH, LENGTH, CONFIG.stoch, NAMES)
    assert prior["logit"].shape == posterior["stoch"].shape == (BATCH, LENGTH, PATCHES + CONFIG.stoch, NAMES)


def test_nothing_seen_is_nothing_on_the_map(rssm: RSSM) -> None:
    """Where there is no image, as while reading, all names are zeros."""
    given = window()
    given["embed"][..., : PATCHES * NAMES] = 0
    posterior, _ = observe(rssm, given)
    assert rssm.map is not None
    features = rssm.feature(posterior)
    assert features[..., CONFIG.deter : CONFIG.deter + rssm.map.view].abs().max() == 0


def test_what_the_map_expects_is_what_the_prior_says(rssm: RSSM) -> None:
    posterior, prior = observe(rssm, window())
    assert rssm.map is not None
    cell, known = posterior["deter"].split(rssm.widths, -1)
    plain = rssm.prior_net(cell).unflatten(-1, (rssm.latents, NAMES))
    told = rssm.map.expect(known).unflatten(-1, (PATCHES, NAMES))
    want = torch.cat([plain[..., :PATCHES, :] + told, plain[..., PATCHES:, :]], -2).log_softmax(-1)
    torch.testing.assert_close(prior["logit"], want, atol=1e-3, rtol=1e-3)


def test_features_show_what_is_seen_instead_of_what_was_expected(rssm: RSSM) -> None:
    posterior, _ = observe(rssm, window())
    features = rssm.feature(posterior)
    assert features.shape == (BATCH, LENGTH, rssm.feature_size)
    assert rssm.map is not None
    other = {**posterior, "deter": posterior["deter"].clone()}
    view = slice(CONFIG.deter, CONFIG.deter + rssm.map.view)
    other["deter"][..., view] += 1
    torch.testing.assert_close(rssm.feature(other), features)
    seen = rssm.map.enter(posterior["stoch"][..., :PATCHES, :]).flatten(-2)
    torch.testing.assert_close(features[..., view], seen)


@pytest.mark.parametrize("family", ["dreamer2023", "dreamer2025"])
def test_a_map_of_latents_that_are_learned(family: Family) -> None:
    """Two for each patch: the posterior infers them, the map keeps them, the prior expects what the map expects."""
    torch.manual_seed(0)
    config = replace(CONFIG, mapped=True, patch_stoch=2)
    rssm = RSSM(PATCHES * NAMES + HEARD, ACTIONS, config, family, Sites(1, PATCHES, NAMES))
    assert rssm.map is not None
    posterior, prior = observe(rssm, window())
    assert posterior["logit"].shape == prior["logit"].shape == (BATCH, LENGTH, 2 * PATCHES + CONFIG.stoch, NAMES)
    cell, known = posterior["deter"].split(rssm.widths, -1)
    plain = rssm.prior_net(cell).unflatten(-1, (rssm.latents, NAMES))
    told = F.pad(rssm.map.expect(known).unflatten(-1, (2 * PATCHES, NAMES)), (0, 0, 0, CONFIG.stoch))
    torch.testing.assert_close(prior["logit"].exp(), (plain + told).softmax(-1), atol=1e-4, rtol=1e-3)
    features = rssm.feature(posterior)
    own = posterior["stoch"][..., : 2 * PATCHES, :].reshape(BATCH, LENGTH, PATCHES, -1)
    view = slice(CONFIG.deter, CONFIG.deter + rssm.map.view)
    torch.testing.assert_close(features[..., view], rssm.map.enter(own).flatten(-2))
    free = posterior["stoch"][..., 2 * PATCHES :, :].flatten(-2)
    start = CONFIG.deter + rssm.map.size
    assert torch.equal(features[..., start : start + free.shape[-1]], free)


def test_a_map_needs_patches() -> None:
    with pytest.raises(ValueError, match=r"rssm.mapped needs encoder.patch, the side of what the map is of, got 0"):
        WorldModelConfig(rssm=replace(CONFIG, mapped=True))


def test_a_word_is_not_told_by_patches_that_the_map_keeps() -> None:
    spec = StepSpec(images={"image": (8, 8, 3)}, vocab=5, actions=(2,))
    torch.manual_seed(0)
    model = WorldModel(spec, WorldModelConfig(encoder=EncoderConfig(patch=4), rssm=replace(CONFIG, mapped=True)))
    state = model.dynamics.initial(1)
    own = 4 * CONFIG.patch_stoch
    other = state | {"stoch": state["stoch"].clone()}
    other["stoch"][:, :own] = 1
    said, image = (getattr(model.decoder(state), name) for name in ("token", "image"))
    assert torch.equal(model.decoder(other).token, said)
    assert not torch.equal(model.decoder(other).image, image)


def test_a_reset_empties_the_map(rssm: RSSM) -> None:
    given = window()
    given["is_first"][0] = True
    empty, full = rssm.initial(BATCH), rssm.initial(BATCH)
    full["deter"] = full["deter"] + 1
    one, _ = observe(rssm, given, empty)
    other, _ = observe(rssm, given, full)
    assert torch.equal(one["deter"][0], other["deter"][0])
    assert not torch.allclose(one["deter"][1, :, CONFIG.deter :], other["deter"][1, :, CONFIG.deter :])


def test_nothing_was_seen_before_an_episode_begins(rssm: RSSM) -> None:
    given = window()
    given["is_first"][:, 0] = True
    posterior, _ = observe(rssm, given)
    known = posterior["deter"][..., CONFIG.deter :]
    assert known[:, 0].abs().max() == 0
    assert known[:, 1].abs().max() > 0


def test_a_dream_is_filtering_where_the_posterior_is_the_prior(rssm: RSSM) -> None:
    given = window()
    posterior, prior = observe(rssm, given)
    start = {name: posterior[name][:, 2] for name in ("deter", "stoch")}
    states, _ = rssm.imagine(start, given["action"][:, 2:3], 1, Noise(torch.device("cpu"), 0))
    torch.testing.assert_close(states[1]["deter"], posterior["deter"][:, 3])
    torch.testing.assert_close(rssm.prior(states[1]["deter"]), prior["logit"][:, 3])


def test_an_actor_is_asked_what_the_heads_read(rssm: RSSM) -> None:
    posterior, _ = observe(rssm, window())
    start = {name: posterior[name][:, 2] for name in ("deter", "stoch")}
    asked: list[Tensor] = []

    def policy(features: Tensor, noise: Noise) -> Tensor:
        asked.append(features)
        return torch.eye(ACTIONS)

    states, _ = rssm.imagine(start, policy, 3, Noise(torch.device("cpu"), 0))
    for features, state in zip(asked, states, strict=True):
        torch.testing.assert_close(features, rssm.feature(state))


def test_replay_keeps_the_map(rssm: RSSM) -> None:
    posterior, _ = observe(rssm, window())
    state = {name: posterior[name][:, 2] for name in ("deter", "stoch", "action")}
    fields = rssm.replay_fields()
    kept = rssm.to_replay(state)
    for name, (shape, dtype) in fields.items():
        assert tuple(kept[name].shape[1:]) == shape
        assert kept[name].numpy().dtype == dtype
    back = rssm.from_replay(kept, state["action"])
    assert torch.equal(back["stoch"], state["stoch"])
    torch.testing.assert_close(back["deter"], state["deter"], atol=1e-3, rtol=1e-3)


def test_what_was_seen_is_found_again() -> None:
    """A tape of six names passes a window of two, back and forth: what comes back into view is known, all else is not.

    Learned from nothing but the KL of what is seen from what is expected.
    """
    torch.manual_seed(0)
    config = RSSMConfig(deter=16, hidden=16, stoch=1, classes=4, patch_stoch=1, map=MapConfig(width=4, beyond=6))
    rssm = RSSM(2 * 4, 3, config, "dreamer2023", Sites(1, 2, 4), named=True)
    optimizer = torch.optim.Adam(rssm.parameters(), 1e-2)
    noise = Noise(torch.device("cpu"), 0)
    batch, length = 32, 10

    def surprise() -> tuple[Tensor, Tensor]:
        """Cross entropy (B, T, 2) of what is seen, and whether it was seen before."""
        tape = torch.randint(4, (batch, 7))
        steps = torch.randint(-1, 2, (batch, length))
        at = torch.full((batch,), 3)
        places, moves = [], []
        for t in range(length):
            places.append(torch.stack([at, at + 1], -1).clamp(max=6))
            at_next = (at + steps[:, t]).clamp(0, 5)
            moves.append(at_next - at)
            at = at_next
        where = torch.stack(places, 1)  # (B, T, 2)
        names = F.one_hot(tape[:, None].expand(-1, length, -1).gather(2, where), 4).float()
        action = F.one_hot(torch.stack(moves, 1) + 1, 3).float()
        first = torch.arange(length)[None] == 0
        _, prior = rssm.observe(names.flatten(-2), action, first.expand(batch, -1), rssm.initial(batch), noise)
        seen = F.one_hot(where, 7).amax(2).cumsum(1) > 0
        before = seen[:, :-1, None].expand(-1, -1, 2, -1).gather(3, where[:, 1:, :, None])[..., 0]
        return -(prior["logit"][:, 1:, :2] * names[:, 1:]).sum(-1), before

    for _ in range(400):
        loss, _ = surprise()
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    loss, before = surprise()
    assert loss[before].mean() < 0.3
    assert loss[~before].mean() > 1.2  # ln 4 is 1.39
