"""`dynalang generate`: what a model that has read goes on to say."""

from dataclasses import dataclass
from typing import Annotated

from dynalang_py.bounds import Episodes, Seed, Within, check
from dynalang_py.errors import UserError
from dynalang_py.run.checkpoint import fitting
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.pretrain import build_reader, load_read


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    prompt: str = ""
    """Text that the model goes on from."""
    tokens: Episodes = 40
    """At most this many tokens; fewer if it ends the document."""
    temperature: Annotated[float, Within(0, 1000)] = 0.7
    """Below 1 it says what is likely more often than it would; 0 says the likeliest."""
    seed: Seed = 0
    """Another seed says something else."""
    draws: Annotated[int, Within(1, 10_000)] = 16
    """Samples of the prior that are averaged for each token."""

    def __post_init__(self) -> None:
        check(self)


def generate(folder: RunFolder, config: GenerateConfig) -> str:
    """The prompt and what the newest checkpoint of a run of reading makes of it.

    Raises UserError for a prompt that is empty, a folder that is no such run, or a tokenizer that isn't the run's.
    """
    if not config.prompt.strip():
        raise UserError('the prompt is empty; name one, as in: --prompt "Pick up the"')
    settings, checkpoint, tokenizer = load_read(folder)
    reader = build_reader(settings, tokenizer.size)
    with fitting(checkpoint):
        reader.load_state_dict(checkpoint.tensors, everything=False)
    prompt = tokenizer.encode(config.prompt)
    said = reader.write(
        prompt, config.tokens, config.temperature, end=tokenizer.end, seed=config.seed, draws=config.draws
    )
    return tokenizer.decode([*prompt, *said])
