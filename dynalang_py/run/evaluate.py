"""Episodes with fixed seeds: every seed is played to its end exactly once, so short episodes get no extra weight."""

import json
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from dynalang_py import config as configs
from dynalang_py import envs, files
from dynalang_py.bounds import Episodes, Seed, Share, Within, check
from dynalang_py.config import Device
from dynalang_py.contract import StepSpec
from dynalang_py.envs import EnvConfig
from dynalang_py.errors import UserError
from dynalang_py.reading import is_finite, read_json
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run import film, identity
from dynalang_py.run.build import build_agent
from dynalang_py.run.console import Face, Progress
from dynalang_py.run.driver import GreedyPolicy, GuidedPolicy, Policy, RandomPolicy, env_action, visible
from dynalang_py.run.episodes import Episode, EpisodeMeter, Movie
from dynalang_py.run.fits import refuse_what_does_not_fit
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.signals import StopRequest
from dynalang_py.run.state import check_training
from dynalang_py.tokenizers.coverage import MOST_UNKNOWN

FIRST_SEED = 1_000_000
"""Seed of the first evaluation episode where none is given. Training draws its seeds at random from 2³¹."""

ATTEMPTS = 3
"""How often an episode is tried before an environment that keeps failing ends the evaluation."""

Summary = dict[str, dict[str, float]]
"""Name of a number → its mean, 95 % interval (low, high) and how many episodes it applies to."""

_ENTRY = {"mean", "low", "high", "episodes"}

EPISODES = 100
"""Of `dynalang eval`, where the world has no fixed number of them."""

SLOTS = 16
"""Environments that `dynalang eval` plays in at most."""

log = logging.getLogger("dynalang.evaluate")


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    env: EnvConfig
    """The world and its instructions: those of the run, unless changed."""
    episodes: Episodes | None = None
    """How many episodes; episode k is drawn with seed + k. None: each one of the split once where the world has splits
    (vln), else 100."""
    seed: Seed = FIRST_SEED
    """Seed of the first episode."""
    policy: Literal["agent", "random", "expert"] = "agent"
    """Who plays: the agent of the newest checkpoint, chance, or the world's expert (vln)."""
    greedy: bool = False
    """The agent takes the likeliest action instead of drawing one; as the run's greedy_eval, unless changed."""
    video: Annotated[int, Within(0, 1000)] = 0
    """Film this many episodes, side by side in one GIF."""
    most_unknown: Share = MOST_UNKNOWN
    """Share of words that the agent's tokenizer can't say up to which it is told a world's sentences."""
    device: Device = "auto"
    """Where the agent computes; auto takes the GPU if there is one."""
    json: bool = False
    """Print one JSON object instead of a table."""

    def __post_init__(self) -> None:
        check(self)


def evaluate_run(folder: RunFolder, options: EvalConfig) -> dict[str, Any]:
    """Play episodes with the agent of a run, print what came of them and keep it in the run's folder.

    Returns what `--json` prints. Raises UserError if the run has no whole checkpoint or does not fit the environment;
    KeyboardInterrupt if SIGINT or SIGTERM broke it off, once what was played until then is printed and kept.
    """
    face = Face(quiet=options.json)
    saved = folder.load()
    config = replace(saved, device=options.device, compile=False)
    env = identity.own(folder, options.env)
    if options.policy == "agent":
        refuse_what_does_not_fit(identity.own(folder, saved.env), env)
    if options.policy == "expert":
        env = envs.with_expert(env)
    heard = envs.coverage(env)
    instead = "let the agent hear other sentences, as by --split or --env.data"
    heard.check(options.most_unknown, getattr(env, "tokenizer", ""), env.task, instead)
    if heard.words:
        face.say(f"unknown words: {heard}")
    example = envs.make(env)
    spec = StepSpec.from_spaces(example.observation_space, example.action_space)
    if options.policy == "agent":
        identity.check_vocabulary(folder, example.get_wrapper_attr("vocabulary"))
    count = getattr(example.unwrapped, "episodes", EPISODES) if options.episodes is None else options.episodes
    example.close()
    chance = RandomPolicy(spec, options.seed)
    policy: Policy = GuidedPolicy(chance, 1, options.seed) if options.policy == "expert" else chance
    step = 0
    if options.policy == "agent":
        checkpoint = checkpoints.load(folder.checkpoints, check_training)
        if checkpoint is None:
            raise UserError(f"{folder.path} has no checkpoint yet")
        for notice in checkpoint.damaged.values():
            face.say(f"dynalang: {notice}; going back to {checkpoint.path}")
        agent = build_agent(config, spec)
        with checkpoints.fitting(checkpoint):
            agent.load_state_dict(checkpoint.tensors)
        policy = GreedyPolicy(agent) if options.greedy else agent
        step = checkpoint.state["counters"]["steps"]
    evaluator = Evaluator(env, spec, min(SLOTS, count), render=options.video > 0)
    seeds = range(options.seed, options.seed + count)
    with closing(evaluator), StopRequest() as stop, Progress(face) as progress:
        found = evaluator.play(
            policy,
            seeds,
            movies=options.video,
            stop=lambda: stop.received,
            progress=progress.counting("episodes", count),
        )
    played = len(found.episodes)
    stopped = played < count
    if not played:
        face.say("Stopped before the first episode had ended; nothing is kept.")
        raise KeyboardInterrupt
    summary = summarise(found.episodes)
    result: dict[str, Any] = {
        "run": str(folder.path),
        "step": step,
        "policy": options.policy,
        "greedy": options.greedy and options.policy == "agent",
        "env": configs.to_dict(options.env),
        "words": heard.state(),
        "summary": summary,
    }
    if stopped:
        result["stopped"] = {"asked": count, "played": played}
    if not options.json:
        columns: dict[str, Summary] = {options.policy: summary}
        baseline = load_summary(folder.eval / "random.json")
        if options.policy == "agent" and options.env == saved.env and baseline:
            columns["random policy"] = baseline
        episodes_played = f"{played} of {count} episodes; stopped" if stopped else f"{count} episodes"
        face.results(f"{told(options.env)}, {episodes_played}, mean and 95 % interval", columns)
        if found.later:
            face.say(
                f"{len(found.later)} more had ended, but stand in the file alone, as `later`: "
                "the short ones end first, so with them the table would not be about all."
            )
    episodes = {"episodes": found.episodes} | ({"later": found.later} if stopped else {})
    kept = _keep(folder.eval / f"{datetime.now():%Y%m%d-%H%M%S}-{options.policy}.json", result | episodes, found.movies)
    result |= kept
    if options.json:
        print(json.dumps(result))
    elif kept:
        face.say("\n".join(f"{name:8} {path}" for name, path in kept.items()))
    if stopped:
        raise KeyboardInterrupt
    return result


def _keep(path: Path, result: Mapping[str, Any], movies: Sequence[Movie]) -> dict[str, str]:
    """Save what can be saved, and return where; what was played is worth telling on a disk that takes nothing, too."""
    kept = {}
    try:
        path = files.write_new(path, json.dumps(result, indent=1))
        kept["results"] = str(path)
        if movies:
            kept["video"] = str(files.write_new(path.with_suffix(".gif"), film.episodes(movies)))
    except OSError as error:
        print(f"dynalang: {error.filename} could not be written: {error.strerror}", file=sys.stderr)
    return kept


def load_summary(path: Path) -> Summary | None:
    """The summary that an evaluation left in a file; None where there is no file, or one of other things."""
    if not path.exists():
        return None
    try:
        found = read_json(path)["summary"]
        whole = all(set(entry) >= _ENTRY and all(map(is_finite, entry.values())) for entry in found.values())
    except (UserError, KeyError, TypeError, AttributeError):
        return None
    return found if whole and found else None


def told(env: EnvConfig) -> str:
    """What is played, and what the agent is told there, for the heading of a table."""
    split = getattr(env, "split", None)
    title = getattr(env, "title", f"{env.task} {split}" if split else env.task)
    heard = {"true": "", "shuffled": ", told another episode's sentence", "none": ", told nothing"}
    return title + heard[env.language]


@dataclass(frozen=True)
class Evaluation:
    episodes: list[Episode]
    """In the order of their seeds, each with its `seed`. Where it was broken off: up to the first that had not ended,
    since of those that run at the same time the short ones end first."""
    later: list[Episode]
    """What had ended of the seeds behind that one."""
    movies: list[Movie]
    """Of the first seeds, as many as were asked for."""


class Evaluator:
    """Plays episodes in a few environments of its own, with one policy call for all of them at a time."""

    def __init__(self, config: EnvConfig, spec: StepSpec, slots: int, render: bool = False) -> None:
        """render: make environments that can be filmed."""
        self._spec = spec
        self._slots = [_Slot(config, "rgb_array" if render else None) for _ in range(slots)]

    def close(self) -> None:
        for slot in self._slots:
            slot.env.close()

    def play(
        self,
        policy: Policy,
        seeds: Sequence[int],
        *,
        movies: int = 0,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int, float], None] = lambda done, share: None,
    ) -> Evaluation:
        """Play the episode of each seed once and film the first `movies`; `stop` breaks off what is not finished.

        progress: is told after each step how many episodes have ended, and about what share of the work is done.
        """
        slots = self._slots[: len(seeds)]
        steps = finished_steps = 0
        meter, state = EpisodeMeter(len(slots)), policy.initial(len(slots))
        todo, done = deque(seeds), dict[int, Episode]()
        films = {seed: Movie() for seed in seeds[:movies]}
        while not stop():
            for slot in slots:
                if slot.seed is None and todo:
                    slot.begin(todo.popleft())
            playing = np.array([slot.seed is not None for slot in slots])
            if not playing.any():
                break
            obs = _stack([slot.obs for slot in slots])
            is_first = np.array([slot.is_first for slot in slots])
            is_last = np.array([slot.is_last for slot in slots])
            reward = np.array([slot.reward for slot in slots], np.float32)
            for slot in slots:
                if slot.seed in films:
                    slot.film(films[slot.seed])
            for i, episode in meter.add(obs, reward, is_first, is_last, playing).items():
                seed = slots[i].seed
                assert seed is not None
                done[seed] = {"seed": seed, **episode}
                slots[i].seed = None
                finished_steps += episode["length"] + 1
            steps += int(playing.sum())
            # By steps, so that it goes on between the ends of long episodes.
            progress(len(done), min(1.0, len(done) * steps / (finished_steps * len(seeds))) if done else 0.0)
            action, state, _ = policy.act(visible(obs), is_first, state)
            for slot, move in zip(slots, env_action(self._spec, action), strict=True):
                if slot.seed is not None:
                    slot.step(move)
        for seed, movie in films.items():
            movie.episode = done.get(seed, {})
        first = [done[seed] for seed in takewhile(done.__contains__, seeds)]
        later = [done[seed] for seed in seeds[len(first) :] if seed in done]
        return Evaluation(first, later, [movie for seed, movie in films.items() if seed in done])


class _Slot:
    """One environment and the episode in it; an environment that raises is made anew and the episode begun again."""

    def __init__(self, config: EnvConfig, render_mode: str | None) -> None:
        self._config, self._render_mode = config, render_mode
        self.env = envs.make(config, render_mode)
        self._vocabulary: tuple[str, ...] = self.env.get_wrapper_attr("vocabulary")
        self.seed: int | None = None

    def begin(self, seed: int) -> None:
        self.seed, self._failures = seed, 0
        self._guarded(lambda: self._set(self.env.reset(seed=seed)[0], is_first=True))

    def step(self, action: Any) -> None:
        self._guarded(lambda: self._set(*self.env.step(action)[:4]))

    def film(self, movie: Movie) -> None:
        if self.is_first:  # also where the episode was begun again
            movie.frames, movie.sentences, movie.words, movie.tasks = [], [], [], []
        token = int(self.obs.get("token", 0))
        movie.frames.append(np.asarray(self.env.render()))
        task = str(self.obs.get("log_text", ""))
        movie.tasks.append(task)
        movie.sentences.append(getattr(self.env.unwrapped, "told", task))
        movie.words.append(self._vocabulary[token] if token else "")

    def _set(
        self,
        obs: Mapping[str, Any],
        reward: Any = 0.0,
        terminated: bool = False,
        truncated: bool = False,
        is_first: bool = False,
    ) -> None:
        self.obs, self.reward, self.is_first, self.is_last = obs, float(reward), is_first, terminated or truncated

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # whatever a world of other people may raise
            self._failures += 1
            if self._failures == ATTEMPTS:
                raise UserError(f"the environment failed {ATTEMPTS} times at seed {self.seed}: {error!r}") from error
            log.warning("the environment failed at seed %s and was restarted: %r", self.seed, error)
            self.env.close()
            self.env = envs.make(self._config, self._render_mode)
            seed = self.seed
            self._guarded(lambda: self._set(self.env.reset(seed=seed)[0], is_first=True))


def _stack(obs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: np.stack([np.asarray(item[name]) for item in obs]) for name in obs[0]}


def interval(values: Sequence[float], seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean by the percentile bootstrap."""
    data = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    drawn = np.sort([rng.choice(data, len(data)).mean() for _ in range(resamples)])
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def summarise(episodes: Sequence[Episode]) -> Summary:
    """The table of some episodes."""
    names = {name: None for episode in episodes for name in episode if name not in ("text", "seed")}
    table = {}
    for name in names:
        values = [episode[name] for episode in episodes if not np.isnan(episode.get(name, np.nan))]
        if values:
            low, high = interval(values)
            table[name] = {"mean": float(np.mean(values)), "low": low, "high": high, "episodes": len(values)}
    return table
