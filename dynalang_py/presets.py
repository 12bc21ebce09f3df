"""Named experiments: functions that return a Config. `dynalang presets` shows the first line of each docstring."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dynalang_py.behavior import ActorCriticConfig
from dynalang_py.config import Config
from dynalang_py.envs import BabyAIConfig, DummyConfig, HomeGridConfig, LangRoomConfig, VLNConfig
from dynalang_py.errors import UserError, nearest
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.published import PUBLISHED
from dynalang_py.replay import ReplayConfig
from dynalang_py.sizes import parts
from dynalang_py.text.config import READERS
from dynalang_py.world_model import RSSMConfig, WorldModelConfig
from dynalang_py.world_model.decoder import DecoderConfig
from dynalang_py.world_model.encoder import EncoderConfig
from dynalang_py.world_model.model import HeadConfig

PRESETS: dict[str, Callable[[], Config]] = {}


def get(name: str) -> Config:
    """The settings behind a name; they put the run into runs/NAME. Raises UserError for a name that there isn't."""
    if name in READERS:
        raise UserError(f"{name} reads text alone; it is trained by: dynalang pretrain {name}")
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise UserError(f"there is no preset {name!r}; there are {known}.{nearest(name, PRESETS)}")
    return replace(PRESETS[name](), run_dir=Path("runs", name))


def summary(name: str) -> str:
    """What a preset is, in one line."""
    return ((PRESETS | READERS)[name].__doc__ or "").strip().splitlines()[0]


def names() -> list[str]:
    """All presets, of agents and of what reads alone."""
    return [*PRESETS, *READERS]


def _preset(function: Callable[[], Config]) -> Callable[[], Config]:
    PRESETS[function.__name__.replace("_", "-")] = function
    return function


def _listener() -> Config:
    """A small agent of convolutions, whose windows of 32 steps hear a mission several times: it is kept in memory.

    The layers are those of the 2023 family: on a CPU an update takes about three fifths of the time that it takes with
    the 2025 layers. How it learns is 2025's: one optimiser, critic trained on replay, replayed latents. Reward and end
    of an episode are rare and small beside an image; they weigh ten times as much as usual, without which the model
    took longer to see that they depend on the sentence. Colours weigh little in an image of few pixels, hence the
    image's weight.
    """
    size = parts("cpu")
    model: WorldModelConfig = size["model"]
    return Config(
        env=BabyAIConfig(task="MiniGrid-GoToDoor-5x5-v0"),
        model=replace(
            model,
            family="dreamer2023",
            encoder=replace(model.encoder, cnn_depth=16),
            image_scale=3.0,
            token_scale=3.0,
            reward_scale=10.0,
            continue_scale=10.0,
        ),
        behavior=replace(size["behavior"], horizon=10, starts=0.25, discount_horizon=50, entropy=1e-2),
        optimizer=OptimizerConfig(lr=3e-3, warmup=100),
        replay=ReplayConfig(capacity=200_000),
        envs=16,
        batch_size=8,
        batch_length=32,
        train_ratio=24,
        steps=200_000,
        minutes=15,
        eval_every=0,
    )


def _tiles(side: int, kinds: int) -> Config:
    """The listener, in a world of tiles of `side` pixels and of up to `kinds` kinds, of which it keeps a map.

    The classes' share of chance is a hundredth of the usual one: of fifty names one would be wrong in every other
    image. A map that is learned before the actor is keeps it from a habit, such as turning one way; hence the steps at
    random. Of what is expected the reward is foreseen too: a dream hears no more than that.
    """
    agent = _listener()
    model = agent.model
    return replace(
        agent,
        model=replace(
            model,
            encoder=replace(model.encoder, patch=side, prototypes=True),
            rssm=replace(model.rssm, patch_stoch=1, stoch=8, classes=kinds, unimix=1e-4),
            foresee_scale=1.0,
        ),
        behavior=replace(agent.behavior, entropy=3e-3, unimix=0.01),
        optimizer=replace(agent.optimizer, actor_lr=2e-4),
        prefill=8192,
    )


@_preset
def babyai() -> Config:
    """Go to the one of two things that is named, in a room of 5×5 cells; learned in minutes on two CPU cores.

    In so few minutes words are not learned to be kept in memory: hence their echo. Little is ever out of view, and
    fewer dreams make more updates; larger rooms want babyai-local.
    """
    agent = babyai_local()
    rssm = agent.model.rssm
    return replace(
        agent,
        env=BabyAIConfig(task="BabyAI-GoToLocalS5N2-v0", tile_size=4),
        model=replace(agent.model, rssm=replace(rssm, echo=32, map=replace(rssm.map, beyond=16))),
        behavior=replace(agent.behavior, starts=0.25),
        replay=ReplayConfig(capacity=200_000),
        steps=100_000,
        minutes=5,
        eval_every=0,
    )


@_preset
def gotodoor() -> Config:
    """Walk to the door of the named colour and say done, where a wrong done ends the episode: deaf agents fail."""
    return _tiles(side=5, kinds=48)


@_preset
def babyai_local() -> Config:
    """Go to one of eight things in a room of 8×8 cells, seven of them in the way."""
    agent = _tiles(side=4, kinds=48)
    return replace(
        agent,
        behavior=replace(agent.behavior, starts=0.5),
        optimizer=replace(agent.optimizer, actor_lr=5e-4),
        env=BabyAIConfig(task="BabyAI-GoToLocal-v0", tile_size=4),
        replay=ReplayConfig(capacity=500_000),
        steps=1_000_000,
        minutes=120,
        eval_every=25_000,
    )


def _homegrid(task: str) -> Config:
    """The image keeps eight pixels of each cell, and each cell has latents of its own, learned from all cells at once.

    The classes' share of chance is a tenth of the usual one: many latents would be wrong in every image. The actor's
    rate and entropy are near the published ones: rewards are a few hundredths apart. A sentence of up to 18 words is
    said again and again, so that windows of 64 steps hear it several times. A task that is done is followed by the next
    one's first word, which gives the reward away: hence foresee_scale.
    """
    agent = _listener()
    model = agent.model
    return replace(
        agent,
        model=replace(
            model,
            encoder=replace(model.encoder, patch=8),
            rssm=replace(model.rssm, patch_stoch=4, classes=8, unimix=1e-3),
            foresee_scale=1.0,
        ),
        behavior=replace(agent.behavior, entropy=1e-3, unimix=0.01),
        optimizer=replace(agent.optimizer, actor_lr=2e-4),
        env=HomeGridConfig(task=task, image_size=24),
        replay=ReplayConfig(capacity=500_000),
        batch_length=64,
        train_ratio=16,
        steps=1_000_000,
        minutes=60,
        timeout_is_terminal=True,  # as in the paper (arXiv 2308.01399)
        curve="return",
    )


@_preset
def homegrid_task() -> Config:
    """Tidy a home as told: find, carry and bin things."""
    return _homegrid("homegrid-task")


@_preset
def homegrid_future() -> Config:
    """Tidy a home, with hints about where things are and will be."""
    return _homegrid("homegrid-future")


@_preset
def homegrid_dynamics() -> Config:
    """Tidy a home, with hints about how its bins open."""
    return _homegrid("homegrid-dynamics")


@_preset
def homegrid_corrections() -> Config:
    """Tidy a home, and be told when going astray."""
    return _homegrid("homegrid-corrections")


@_preset
def langroom() -> Config:
    """Walk about a room and answer questions about the colours of things: moves and talks at once."""
    size = parts("cpu-large")
    return Config(
        env=LangRoomConfig(),
        model=size["model"],
        behavior=size["behavior"],
        optimizer=OptimizerConfig(lr=3e-4, warmup=100),
        steps=1_000_000,
        train_ratio=16,
        curve="return",
        eval_every=50_000,
    )


@_preset
def vln() -> Config:
    """Walk through houses as instructions say, and stop where they end; `dynalang houses` makes the houses.

    The agent has latents for every patch of what it sees, a map of them, which is asked for things larger than a patch,
    and an echo of the words. A stop is worth as much as a walk of ten metres, where the paper has a thousand: rewards
    of a step are then not lost beside it. By chance hardly anybody stops at the goal: an expert walks before the first
    update, and a quarter of the episodes after it, and is imitated, most where it does something new. Its walks are
    cheap, and many different ones are what it takes not to learn a few by heart. Colours are Habitat's, for the agent
    may be tested there. As measured, it listens a little after an hour: results/README.md.
    """
    agent = _listener()
    model = agent.model
    return replace(
        agent,
        env=VLNConfig(image_size=32, render_size=32, shade=False, stop_reward=10.0, stop_penalty=-2.0, max_steps=120),
        model=replace(
            model,
            encoder=replace(model.encoder, patch=4),
            rssm=replace(
                model.rssm,
                stoch=8,
                classes=16,
                patch_stoch=2,
                unimix=1e-3,
                mapped=True,
                map=replace(model.rssm.map, around=16),
                echo=64,
            ),
            token_scale=10.0,
            foresee_scale=1.0,
        ),
        behavior=replace(agent.behavior, imitation=100.0, inflection=4.0),
        optimizer=replace(agent.optimizer, actor_lr=1e-3),
        replay=ReplayConfig(capacity=600_000),
        steps=1_000_000,
        minutes=60,
        batch_size=16,
        train_ratio=16,
        prefill=250_000,
        expert_prefill=1.0,
        expert_share=0.25,
        greedy_eval=True,
    )


@_preset
def debug() -> Config:
    """Everything once, in half a minute (minutes where no core is free): a tiny agent that learns little."""
    return Config(
        env=DummyConfig(),
        model=WorldModelConfig(
            encoder=EncoderConfig(cnn_depth=2, units=16, layers=1),
            rssm=RSSMConfig(deter=32, hidden=16, stoch=4, classes=4, blocks=2),
            decoder=DecoderConfig(units=16, layers=1),
            heads=HeadConfig(units=16),
        ),
        behavior=ActorCriticConfig(units=16, layers=1, horizon=3),
        optimizer=OptimizerConfig(lr=1e-3, warmup=10),
        replay=ReplayConfig(capacity=4_000),
        steps=600,
        envs=4,
        batch_size=4,
        batch_length=8,
        train_ratio=8,
        prefill=100,
        eval_every=300,
        eval_episodes=8,
        baseline_episodes=8,
        log_every=0.5,
        precision="float32",
    )


PRESETS |= PUBLISHED
