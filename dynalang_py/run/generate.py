"""`dynalang generate`: what a model that has read goes on to say."""

from dataclasses import dataclass
from typing import Annotated

from dynalang_py.bounds import Episodes, Seed, Share, Within, check
from dynalang_py.errors import UserError, shown
from dynalang_py.run.checkpoint import fitting
from dynalang_py.run.console import Face
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.pretrain import build_reader, load_read
from dynalang_py.tokenizers.coverage import MOST_UNKNOWN, measure


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

    most_unknown: Share = MOST_UNKNOWN
    """Share of the prompt's words that the tokenizer can't say up to which the model goes on from it."""

    def __post_init__(self) -> None:
        check(self)


def generate(folder: RunFolder, config: GenerateConfig) -> str:
    """The prompt and what the newest checkpoint of a run of reading makes of it.

    Raises UserError for a prompt that is empty, a folder that is no such run, or a tokenizer that isn't the run's.
    """
    if not config.prompt.strip():
        raise UserError('the prompt is empty; name one, as in: --prompt "Pick up the"')
    settings, checkpoint, tokenizer = load_read(folder)
    heard = measure(tokenizer, [config.prompt])
    heard.check(config.most_unknown, settings.tokenizer, "the prompt", "say it in other words")
    if heard.unknown:
        Face(quiet=True).say(f"dynalang: unknown in the prompt: {heard}")
    prompt = tokenizer.encode(config.prompt)
    if not prompt:
        raise UserError(
            f"the prompt {shown(config.prompt)} holds nothing that the tokenizer {settings.tokenizer} can say"
        )
    reader = build_reader(settings, tokenizer.size)
    with fitting(checkpoint):
        reader.load_state_dict(checkpoint.tensors, everything=False)
    said = reader.write(
        prompt, config.tokens, config.temperature, end=tokenizer.end, seed=config.seed, draws=config.draws
    )
    return tokenizer.decode([*prompt, *said])
