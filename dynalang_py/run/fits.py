"""Whether an agent can play in a world that is set otherwise than its own, and if not, which setting is to blame."""

from dataclasses import fields, replace
from typing import Any

from dynalang_py.contract import StepSpec
from dynalang_py.envs import EnvConfig
from dynalang_py.errors import UserError, shown


def refuse_what_does_not_fit(learned: EnvConfig, played: EnvConfig) -> None:
    """Raise UserError that names the option of `dynalang eval` by which a step looks otherwise than to the agent."""
    known = _spec(learned)
    found = _spec(played)
    if known == found:
        return
    changed = {item.name: getattr(played, item.name) for item in fields(played)}
    changed = {name: value for name, value in changed.items() if value != getattr(learned, name)}
    blamed = [name for name, value in changed.items() if _differs(learned, known, name, value)] or list(changed)
    options = " and ".join(f"--env.{name.replace('_', '-')} {shown(changed[name])}" for name in blamed)
    raise UserError(
        f"{options}: with that a step has {_words(found, known)}, and the agent of this run learned from"
        f" {_words(known, found)}; leave it out, or train a run of its own"
    )


def _differs(learned: EnvConfig, known: StepSpec, name: str, value: Any) -> bool:
    """Whether this one setting makes the difference."""
    try:
        return _spec(replace(learned, **{name: value})) != known
    except (UserError, ValueError):  # settings that only make sense together
        return False


def _spec(config: EnvConfig) -> StepSpec:
    return StepSpec.from_spaces(*config.spaces())


def _words(spec: StepSpec, other: StepSpec) -> str:
    """What a step has that the other one has not, or has otherwise."""
    words = [
        f"{name} of {' x '.join(map(str, shape))}"
        for name, shape in spec.images.items()
        if other.images.get(name) != shape
    ]
    if spec.vocab != other.vocab and spec.vocab:
        words.append(f"{spec.vocab:,} token ids")
    if spec.token_embed != other.token_embed and spec.token_embed:
        words.append(f"word vectors of {spec.token_embed:,} numbers")
    if (spec.actions, spec.continuous) != (other.actions, other.continuous):
        choices = " and ".join(map(str, spec.actions))
        words.append(f"actions of {choices} choices" if choices else f"actions of {spec.continuous} numbers")
    return ", ".join(words) or "no such thing"
