"""The echo of words against its recursion, and in a belief: what resets it, what carries it, who hears it."""

import pytest
import torch
from torch import Tensor

from dynalang_py.nn.layers import Family
from dynalang_py.nn.patches import Sites
from dynalang_py.nn.random import Noise
from dynalang_py.world_model.echo import FADE, Echo
from dynalang_py.world_model.map import MapConfig
from dynalang_py.world_model.rssm import RSSM, RSSMConfig, State

B, T, WORDS, WIDTH, ACTIONS, PATCHES, PIXELS = 3, 7, 5, 4, 2, 6, 8


@pytest.fixture(params=["dreamer2023", "dreamer2025"])
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


@pytest.fixture(params=[False, True], ids=["plain", "mapped"])
def rssm(request: pytest.FixtureRequest, family: Family) -> RSSM:
    torch.manual_seed(0)
    config = RSSMConfig(
        deter=8,
        hidden=8,
        stoch=2,
        classes=3,
        patch_stoch=1,
        blocks=2,
        mapped=request.param,
        map=MapConfig(width=3, beyond=2, motions=2, questions=2),
        echo=WIDTH,
    )
    return RSSM(PATCHES * PIXELS + WORDS, ACTIONS, config, family, Sites(1, PATCHES, PIXELS), words=WORDS)


def window() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    first = torch.zeros(B, T, dtype=torch.bool)
    first[0, 3] = first[1, 0] = True
    return torch.randn(B, T, PATCHES * PIXELS + WORDS), torch.rand(B, T, ACTIONS), first


def observed(rssm: RSSM, state: State | None = None) -> State:
    posterior, _ = rssm.observe(*window(), state or rssm.initial(B), Noise(torch.device("cpu"), 0))
    return posterior


def echo_of(rssm: RSSM, state: State) -> Tensor:
    return state["deter"][..., -WIDTH:]


def test_an_echo_fades_step_by_step_and_ends_with_the_episode(family: Family) -> None:
    torch.manual_seed(0)
    echo = Echo(WORDS, WIDTH, family)
    words, first, before = torch.randn(B, T, WORDS), window()[2], torch.randn(B, WIDTH)
    left, expected = before, []
    for t in range(T):
        left = torch.where(first[:, t, None], torch.zeros(()), FADE * left) + echo.word(words[:, t])
        expected.append(left)
    torch.testing.assert_close(echo(words, first, before), torch.stack(expected, 1))


def test_a_window_in_two_parts_is_heard_as_one(rssm: RSSM) -> None:
    embed, action, first = window()
    whole = observed(rssm)
    noise = Noise(torch.device("cpu"), 0)
    early, _ = rssm.observe(embed[:, :4], action[:, :4], first[:, :4], rssm.initial(B), noise)
    last = {name: early[name][:, -1] for name in ("deter", "stoch", "action")}
    late, _ = rssm.observe(embed[:, 4:], action[:, 4:], first[:, 4:], last, noise)
    torch.testing.assert_close(echo_of(rssm, late), echo_of(rssm, whole)[:, 4:])


def test_replay_keeps_the_echo(rssm: RSSM) -> None:
    state = {name: value[:, -1] for name, value in observed(rssm).items()}
    kept = rssm.to_replay(state)
    assert kept["deter"].shape[1:] == rssm.replay_fields()["deter"][0]
    back = rssm.from_replay(kept, state["action"])
    torch.testing.assert_close(echo_of(rssm, back), echo_of(rssm, state), atol=1e-2, rtol=1e-2)


def test_a_dream_goes_on_hearing_it(rssm: RSSM) -> None:
    start = {name: value[:, -1] for name, value in observed(rssm).items()}
    states, _ = rssm.imagine(start, torch.rand(B, 3, ACTIONS), 3, Noise(torch.device("cpu"), 0))
    for state in states:
        assert torch.equal(echo_of(rssm, state), echo_of(rssm, start))


def test_heads_and_questions_hear_it_at_one_loudness_and_the_cell_does_not(rssm: RSSM) -> None:
    state = {name: value[:, -1] for name, value in observed(rssm).items()}
    feature = rssm.feature(state)
    assert feature.shape == (B, rssm.feature_size)
    louder = state | {"deter": torch.cat([state["deter"][:, :-WIDTH], 1000 * echo_of(rssm, state)], -1)}
    assert (rssm.feature(louder) - feature).abs().max() < 0.1
    other = state | {"deter": torch.cat([state["deter"][:, :-WIDTH], torch.randn(B, WIDTH)], -1)}
    changed = (rssm.feature(other) - feature).abs().amax(0) > 1e-6
    answers = PATCHES * 2 + 2 * 2 if rssm.map else 0
    assert changed.sum() == WIDTH + answers
    assert changed[8 : 8 + WIDTH].all()
    assert changed[feature.shape[-1] - answers :].all()
    moved = [rssm.imagine(s, torch.ones(B, 1, ACTIONS), 1, Noise(torch.device("cpu"), 0))[0][1] for s in (state, other)]
    assert torch.equal(moved[0]["deter"][:, :-WIDTH], moved[1]["deter"][:, :-WIDTH])


def test_where_nobody_speaks_there_is_no_echo(family: Family) -> None:
    config = RSSMConfig(deter=8, hidden=8, stoch=2, classes=3, blocks=2, echo=WIDTH)
    silent = RSSM(PIXELS, ACTIONS, config, family)
    assert silent.initial(B)["deter"].shape == (B, 8)
    with pytest.raises(ValueError, match=r"echo must be at least 0 .*, got -1"):
        RSSMConfig(echo=-1)
