"""Limits that would end a run before it has learned anything."""

import math

from dynalang_py.config import Config
from dynalang_py.errors import UserError


def refuse_without_update(config: Config) -> None:
    """Raise UserError that names the settings by which a new run would never update the agent."""
    envs, batch = config.envs, config.batch_size
    window = config.batch_length + int(config.model.stored_latents)
    held = window - 1 + math.ceil(batch / envs)  # steps of each environment in which that many windows begin
    if config.replay.capacity // envs < held:
        raise UserError(
            f"replay.capacity {config.replay.capacity:,} can't hold the {batch:,} windows of a batch; with batch_size"
            f" {batch:,}, batch_length {config.batch_length:,} and envs {envs:,} it must be at least"
            f" {held * envs:,}, or one of these lower"
        )
    if not config.train_ratio:
        raise UserError("train_ratio is 0, by which the agent would never learn; 32 is usual")
    first = math.ceil(max(config.prefill + 1, held * envs) / envs) * envs
    more = math.ceil(1 / (config.updates_per_step * envs)) * envs  # updates are earned by the steps of all environments
    least = first + more - envs
    if math.ceil(config.steps / envs) * envs < least:
        cause = (
            f"prefill {config.prefill:,}"
            if config.prefill >= held * envs
            else f"batch_size {batch:,} and batch_length {config.batch_length:,}"
        )
        raise UserError(
            f"steps {config.steps:,} would end the run before its first update, which comes after step"
            f" {least - envs:,} with {cause} and train_ratio {config.train_ratio:g}; raise --steps to at least"
            f" {least:,}, or lower --{'prefill' if cause.startswith('prefill') else 'batch-length'}"
        )
