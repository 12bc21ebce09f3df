"""What a run of training says of itself before it begins and when it is over."""

import shutil
from typing import TYPE_CHECKING

import torch

from dynalang_py import config as configs
from dynalang_py.errors import command
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.build import computes
from dynalang_py.run.checkpoint import Checkpoint
from dynalang_py.run.console import duration
from dynalang_py.run.machine import threads
from dynalang_py.run.slim import SLIMMED, slimmed

if TYPE_CHECKING:
    from dynalang_py.run.train import Trainer


def introduce(run: "Trainer") -> None:
    """Say what is about to run."""
    config = run.config
    agent = configs.resolve_device(config.device)
    precision = configs.resolve_precision(config.precision, agent)
    parts = run.agent.parameter_table()
    rows = [(f"parameters: {name}", f"{count:,}") for name, count in parts.items()]
    rows += [
        (
            "replay",
            f"{run.replay.room.bytes / 1e9:.3g} GB on disk, {run.replay.gigabytes:.3g} when full;"
            f" {len(run.replay):,} steps held",
        ),
        ("updates per environment step", f"{config.updates_per_step:.4g}"),
        ("environments", f"{config.envs} x {config.env.task}" + (", a process each" if config.processes else "")),
        *([("unknown words, world", str(run.told))] if run.told.words else []),
        *([("unknown words, text", str(run.read))] if run.beside else []),
        ("device", computes(agent, precision, compiled=config.compile)),
        ("threads", threads()),
        ("folder", str(run.folder.path)),
    ]
    to_come = run.replay.nbytes * min(1, config.steps / config.replay.capacity) - run.replay.room.bytes
    free = shutil.disk_usage(run.folder.path).free
    if to_come > free:
        run.face.say(
            f"dynalang: the replay will grow by {to_come / 1e9:.3g} GB, and only {free / 1e9:.3g} GB are free; once"
            " the disk is full the run is saved and ends. A new run with a lower --replay.capacity takes less"
        )
    begun = f"Going on at step {run.counters.steps:,}"
    run.face.table("Training" if run.counters.sessions == 1 else begun, rows)


def admit(run: "Trainer", checkpoint: Checkpoint) -> None:
    """Say where a run that goes on can't go on as if it had never stopped."""
    back, here = run.driver.back, run.replay.state()["heads"]
    heads = checkpoint.state["replay"].get("heads") or here
    missing = sum(max(0, known - found) for known, found in zip(heads, here, strict=True))
    if not len(run.replay) and run.counters.steps:
        run.face.say("dynalang: the replay of this run is not here; it goes on with an empty one")
    elif missing:
        run.face.say(f"dynalang: the replay lacks {missing:,} steps that the checkpoint knows; is it an older copy?")
    elif lost := int((~back).sum()):
        run.face.say(
            f"dynalang: {lost} of {len(back)} worlds did not come back to where they were by their seeds and actions;"
            " they begin new episodes, and the run goes on otherwise than it would have"
        )
    before, now = (checkpoint.state.get("driver") or {}).get("threads"), torch.get_num_threads()
    if before and before != now and run.agent.device.type == "cpu":
        run.face.say(
            f"dynalang: this run computed with {before} threads and goes on with {now}, which rounds otherwise;"
            f" OMP_NUM_THREADS={before} goes on as it would have"
        )
    if slimmed(checkpoint):
        run.face.say(SLIMMED)


def conclude(run: "Trainer") -> None:
    """Say what came of it and where it lies."""
    path = run.folder.path
    if not run.counters.updates:
        run.face.say(
            f"Not one update was made: the run's limits were reached before prefill ({run.config.prefill:,} steps)"
            " was over; the agent is as it began."
        )
    columns = {"agent": run.summary} | ({"random policy": run.baseline} if run.baseline else {})
    run.face.results(f"{run.config.eval_episodes} evaluation episodes, mean and 95 % interval", columns)
    drawn = sorted(run.folder.pictures.glob("*.*"))
    more = ["--steps", 2 * run.counters.steps]
    more += ["--minutes", f"{2 * run.config.minutes:g}"] if run.config.minutes else []
    run.face.table(
        f"Finished: {run.counters.steps:,} steps, {run.counters.episodes:,} episodes,"
        f" {duration(run.counters.seconds)} of training",
        [
            ("TensorBoard", command("tensorboard", "--logdir", path)),
            ("metrics", str(run.folder.metrics)),
            *((picture.stem.replace("_", " "), str(picture)) for picture in drawn),
            ("checkpoint", str(checkpoints.find(run.folder.checkpoints)[0])),
            ("evaluate", command("dynalang", "eval", path)),
            ("go on", command("dynalang", "train", "--resume", path, *more)),
        ],
    )
