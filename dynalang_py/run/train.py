"""Training: live, remember, learn, and be evaluated now and then."""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynalang_py import config as configs
from dynalang_py import envs, files
from dynalang_py.agent import NonFiniteError
from dynalang_py.config import Config
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError, command
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run import identity, telling
from dynalang_py.run.build import build_agent, build_replay
from dynalang_py.run.checkpoint import Checkpoint
from dynalang_py.run.compiling import compiling
from dynalang_py.run.console import Face
from dynalang_py.run.counters import Counters
from dynalang_py.run.driver import Driver, GreedyPolicy, GuidedPolicy, RandomPolicy
from dynalang_py.run.episodes import Episode, means
from dynalang_py.run.evaluate import FIRST_SEED, Evaluator, Summary, load_summary, summarise
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.gallery import Gallery
from dynalang_py.run.limits import refuse_without_update
from dynalang_py.run.loop import Loop
from dynalang_py.run.pretrained import begin_with
from dynalang_py.run.signals import StopRequest
from dynalang_py.run.state import check_same, check_training
from dynalang_py.text.mixing import Beside, world_tokenizer
from dynalang_py.text.tokens import tokenise

FILMED = 3
"""Episodes of each evaluation that are filmed."""
ACTING = "acting/"
"""Prefix of the tensors of a checkpoint that the policy remembers of the running episodes."""
RECENT = 100
"""Episodes that the live line averages over."""


def train(config: Config, *, resume: bool = False) -> None:
    """Train an agent as `config` says, in `config.run_dir`; with `resume`, go on with the run that lies there.

    Returns when the run is finished, or when SIGINT or SIGTERM asked for its end; either way it is saved.
    Raises UserError for whatever its user can put right.
    """
    folder = RunFolder(config.run_dir)
    if not resume:
        refuse_without_update(config)
        folder.check_new()
    face = Face()
    with ExitStack() as stack:
        stack.enter_context(folder.locked())
        stop = stack.enter_context(StopRequest())
        if resume:
            face.say(f"Loading {config.run_dir} ...")
        checkpoint = checkpoints.load(folder.checkpoints, check_training) if resume else None
        if checkpoint:
            check_same(checkpoint, config)
            for notice in checkpoint.damaged.values():
                face.say(f"dynalang: {notice}; going back to {checkpoint.path}")
            checkpoints.set_aside(checkpoint)
        Trainer(config, folder, checkpoint, face, stop, stack).run()


class Trainer(Loop):
    """Everything that a run of training needs while it lasts."""

    verb, unit = "train", "step"
    config: Config
    counters: Counters

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        checkpoint: Checkpoint | None,
        face: Face,
        stop: StopRequest,
        stack: ExitStack,
    ) -> None:
        """checkpoint: where to go on. stack: closes what is opened here."""
        counters = Counters(**checkpoint.state["counters"]) if checkpoint else Counters()
        super().__init__(config, folder, counters, face)
        self.stop = stop
        guided = max(config.expert_prefill, config.expert_share) > 0
        if not folder.config.exists():
            identity.forget(folder)
        self.env = identity.own(folder, config.env)
        world = envs.with_expert(self.env) if guided else self.env
        self.told = envs.coverage(self.env)
        self.told.check(
            config.most_unknown,
            getattr(config.env, "tokenizer", ""),
            config.env.task,
            "choose another tokenizer by --env.tokenizer",
        )
        vector = envs.make_vector(world, config.envs, config.processes)
        stack.callback(vector.close)
        self.spec = StepSpec.from_spaces(vector.single_observation_space, vector.single_action_space)
        self.agent = build_agent(config, self.spec, learns=True)
        if config.pretrained and not checkpoint:
            begin_with(self.agent, config, vector.vocabulary, folder, face)
        self.replay = build_replay(config, self.spec, self.agent, folder.replay)
        # So that a disk that fills up by the replay still takes the checkpoint: weights and what optimisers remember.
        self.replay.room.spare = 16 * self.agent.parameter_table()["total"] + 1_000_000
        self.random = RandomPolicy(self.spec, config.seed, self.agent.replay_fields())
        self.beside = self._text(vector.vocabulary) if config.text_ratio else None
        if checkpoint:
            with checkpoints.fitting(checkpoint):
                self.agent.load_state_dict(checkpoint.tensors)
                if self.beside:
                    self._same_text(checkpoint)
                    self.beside.load(checkpoint.tensors, checkpoint.state["text"], self.agent.device)
                replay = checkpoint.state["replay"]
                self.replay.rewind(replay.get("heads") or self.replay.state()["heads"])
                self.replay.load_state(replay)
                self.random.rng.bit_generator.state = checkpoint.state["random"]
        else:
            self.replay.rewind([0] * config.envs)  # what a run without a checkpoint has lived, it lives again
        self.evaluator = Evaluator(self.env, self.spec, min(config.envs, config.eval_episodes), render=True)
        stack.callback(self.evaluator.close)
        here = checkpoint.state.get("driver") if checkpoint else None
        self.driver = Driver(
            vector,
            self.spec,
            self.replay,
            seed=_world_seed(config.seed, self.counters.sessions),
            timeout_is_terminal=config.timeout_is_terminal,
            clock=self.clock,
            counters=self.counters,
            state=here and here["worlds"],
        )
        # Who acts before the first update, and who acts then.
        self.beginner, self.actor = (
            GuidedPolicy(policy, share, config.seed + 1) if share else policy
            for policy, share in ((self.random, config.expert_prefill), (self.agent, config.expert_share))
        )
        self.compiled = not config.compile  # or to be compiled by the first update
        self.ended: list[Episode] = []  # since the last row of metrics
        self.recent: deque[Episode] = deque(maxlen=RECENT)
        self.timed_updates = counters.updates  # when the clock was restarted
        self.summary: Summary = {}  # of the last evaluation
        self.baseline: Summary = {}  # of the random policy
        if checkpoint and here:
            self._go_on(checkpoint.tensors, here)
        if checkpoint:
            telling.admit(self, checkpoint)
        identity.keep(folder, config.env, vector.vocabulary)
        self.begin(checkpoint)
        self.gallery = Gallery(folder, self.logger, vector.vocabulary)

    def _same_text(self, checkpoint: Checkpoint) -> None:
        """Raise UserError if what is read beside life is not what the checkpoint has read."""
        assert self.beside is not None
        if checkpoint.state["text"].get("key", self.beside.key) != self.beside.key:
            raise UserError(
                f"text.corpus is not the text that {self.folder.path} began with; a run goes on with its own, which may"
                " lie elsewhere"
            )

    def _go_on(self, tensors: Mapping[str, Tensor], here: Mapping[str, Any]) -> None:
        """Act and tell as if the run had never been interrupted. here: `_here` of then."""
        self.ended, self.recent = list(here["ended"]), deque(here["recent"], maxlen=RECENT)
        memory = {name.removeprefix(ACTING): value for name, value in tensors.items() if name.startswith(ACTING)}
        if here["policy"] is not None:
            self.driver.act_by((self.beginner, self.actor)[here["policy"]], memory, self.agent.device)
        for policy, state in zip((self.beginner, self.actor), here["guided"], strict=True):
            if isinstance(policy, GuidedPolicy) and state:
                policy.load_state(state)

    def _here(self) -> dict[str, Any]:
        """Where acting and telling stand, as plain JSON values."""
        policies = [self.beginner, self.actor]
        return {
            "worlds": self.driver.state(),
            "policy": policies.index(self.driver.policy) if self.driver.policy in policies else None,
            "guided": [policy.state() if isinstance(policy, GuidedPolicy) else None for policy in policies],
            "ended": self.ended,
            "recent": list(self.recent),
            "threads": torch.get_num_threads(),
        }

    def _text(self, vocabulary: tuple[str, ...]) -> Beside:
        """What is read beside experience, in the tokens of the world."""
        config, text = self.config, self.config.text
        tokenizer = world_tokenizer(self.env, vocabulary)
        cache = self.folder.tokens_in(text.cache)
        with self.progress:
            tokens = tokenise(text, text.corpus, tokenizer, cache, self.progress.counting)
        self.read = tokens.coverage
        self.read.check(
            config.most_unknown,
            f"of {config.env.task}",
            ", ".join(text.corpus),
            "choose a corpus in the words of the world, or another tokenizer by --env.tokenizer",
        )
        return Beside(
            self.agent,
            tokens,
            streams=max(1, round(config.text_ratio * config.batch_size)),
            length=config.batch_length,
            weight=config.text_ratio,
            seed=config.seed,
            reset=text.reset,
        )

    def run(self) -> None:
        telling.introduce(self)
        self.baseline = self._baseline()
        where = "step {:,}"
        try:
            with self.progress:
                self.loop()
        except NonFiniteError as error:
            raise self.stopped(error) from error
        except (KeyboardInterrupt, Exception):
            # Ctrl-C ends compilers too, which PyTorch takes for an error. The update is half done, so none is saved.
            if not (self.config.compile and self.stop.received):
                raise
            where = "an update that was being compiled, after step {:,}; what was saved before stays"
        if self.stop.received:
            path = self.folder.path
            again = command("dynalang", "train", "--resume", path)
            self.face.say(f"Stopped at {where.format(self.counters.steps)}. Go on with: {again}")
        else:
            telling.conclude(self)

    @property
    def at(self) -> int:
        return self.counters.steps

    @property
    def goal(self) -> int:
        return self.config.steps

    def step(self) -> None:
        """One step of every environment, and the updates that it earns."""
        config, counters = self.config, self.counters
        before = counters.steps
        try:
            ended = self.driver.step(self.beginner if counters.steps < config.prefill else self.actor)
        except UserError:  # the worlds gave up, not the agent
            self.save()
            raise
        self.ended += ended
        self.recent += ended
        if counters.steps <= config.prefill or not self.replay.ready(config.batch_size):
            return
        counters.credit += (counters.steps - before) * config.updates_per_step
        self._learn_what_is_earned()

    def make_up(self) -> None:
        self._learn_what_is_earned()

    def _learn_what_is_earned(self) -> None:
        if self.counters.credit >= 1 and not self.compiled and not self.stop.received:
            self.save()
            with self.stop.at_once(), compiling():
                self.keep(self.learn())
            self.counters.credit -= 1
            self.compiled = True
        while self.counters.credit >= 1 and not self.stop.received:
            self.keep(self.learn())
            self.counters.credit -= 1

    def learn(self) -> dict[str, float]:
        """One update from replay; returns its figures."""
        with self.clock("replay"):
            batch, index = self.replay.sample(self.config.batch_size)
        with self.clock("update"):
            metrics, latent = self.agent.update(batch, self.beside)
        if latent:
            with self.clock("replay"):
                self.replay.update(index, latent)
        self.counters.updates += 1
        return metrics

    def row(self, seconds: float) -> dict[str, float]:
        counters, updates = self.counters, self.counters.updates - self.timed_updates
        self.timed_updates = counters.updates
        return {
            **{f"episode/{name}": value for name, value in means(self.ended).items()},
            "episode/count": len(self.ended),
            "speed/steps_per_s": self.speed,
            "speed/updates_per_s": updates / seconds,
            "replay/steps": len(self.replay),
            "acting_steps": counters.acting_steps,
            "episodes": counters.episodes,
            "updates": counters.updates,
        }

    def begin_row(self) -> None:
        super().begin_row()
        self.ended = []

    def save(self) -> None:
        with self.clock.paused():
            checkpoints.save(
                self.folder.checkpoints,
                self.at,
                {
                    **self.agent.state_dict(),
                    **(self.beside.tensors() if self.beside else {}),
                    **{ACTING + name: value for name, value in self.driver.tensors().items()},
                },
                {
                    "config": configs.to_dict(self.config),
                    "counters": asdict(self.counters) | {"seconds": self.seconds},
                    "replay": self.replay.state(),
                    "text": {**self.beside.windows.state(), "key": self.beside.key} if self.beside else None,
                    "random": self.random.rng.bit_generator.state,
                    "driver": self._here(),
                    "loop": self.state(),
                },
            )

    def _baseline(self) -> Summary:
        """What the random policy reaches in the episodes of the evaluations; measured once per run."""
        path, episodes = self.folder.eval / "random.json", self.config.baseline_episodes
        if known := load_summary(path):
            return known
        if not episodes:
            return {}
        self.face.say(f"Measuring the random policy in {episodes} episodes ...")
        with self.progress:
            found = self.evaluator.play(
                RandomPolicy(self.spec, seed=0),
                range(FIRST_SEED, FIRST_SEED + episodes),
                stop=lambda: self.stop.received,
                progress=self.progress.counting("episodes", episodes, "random policy: "),
            )
        if self.stop.received:  # measured anew when the run goes on
            return {}
        summary = summarise(found.episodes)
        files.write(path, json.dumps({"summary": summary, "episodes": found.episodes}, indent=1))
        return summary

    def look(self, last: bool) -> None:
        """Play the evaluation episodes; log, film and draw what came of them."""
        step, count = self.counters.steps, self.config.eval_episodes
        with self.clock.paused(), self._unnoticed():
            policy = GreedyPolicy(self.agent) if self.config.greedy_eval else self.agent
            found = self.evaluator.play(
                policy,
                range(FIRST_SEED, FIRST_SEED + count),
                movies=FILMED,
                stop=lambda: self.stop.received,
                progress=self.progress.counting("episodes", count, f"{step:,}/{self.goal:,} steps | evaluating: "),
            )
            if self.stop.received:
                return
            self.summary = summarise(found.episodes)
            row = {f"eval/{name}": entry["mean"] for name, entry in self.summary.items()}
            row |= {f"eval/{name}_{end}": entry[end] for name, entry in self.summary.items() for end in ("low", "high")}
            self.logger.scalars({**row, "minutes": self.seconds / 60, "episodes": self.counters.episodes}, step)
            result = {"step": step, "summary": self.summary, "episodes": found.episodes}
            files.write(self.folder.eval / f"step-{step:012d}.json", json.dumps(result, indent=1))
            self.progress.draw(f"{step:,}/{self.goal:,} steps | drawing")
            self.gallery.episodes(found.movies, step)
            if why := self.gallery.open_loop(self.agent, self.replay, step):
                self.face.say(f"There is no picture of what the agent imagines: {why}.")
            metric = self.config.curve if self.config.curve in self.summary else "return"
            title = f"{self.config.env.task}, seed {self.config.seed}"
            self.gallery.learning_curve(metric, self.baseline.get(metric, {}).get("mean"), title)

    @contextmanager
    def _unnoticed(self) -> Iterator[None]:
        """Draw numbers and windows without changing what training will draw: a look must not change what is seen."""
        generators = self.agent.noise.generator, self.agent.acting_noise.generator
        noise, replay = [generator.get_state() for generator in generators], self.replay.state()
        yield
        for generator, state in zip(generators, noise, strict=True):
            generator.set_state(state)
        self.replay.load_state(replay)

    def standing(self, speed: float) -> list[str]:
        recent = means(list(self.recent))
        parts = [f"{self.at:,}/{self.goal:,} steps", f"{speed:,.0f} steps/s"]
        if self.at < self.config.prefill:
            parts.append("filling the replay")
        if "return" in recent:
            parts.append(f"return {recent['return']:.2f}")
        if "success" in recent:
            parts.append(f"success {recent['success']:.0%}")
        return parts


def _world_seed(seed: int, session: int) -> int:
    """Seed of the worlds' episodes: another one where a run can't go on in its own, or it would see its first again."""
    return int(np.random.SeedSequence([seed, session]).generate_state(1)[0] >> 1)
