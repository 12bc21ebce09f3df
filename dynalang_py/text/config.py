"""Every setting of a run that reads text alone, and the presets of such runs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeAlias

from dynalang_py.bounds import Batch, Duration, Natural, Seed, Share, Steps, Within
from dynalang_py.config import FREE, Device, Precision
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError, nearest
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.sizes import parts
from dynalang_py.text.tokens import TextConfig
from dynalang_py.tokenizers.coverage import MOST_UNKNOWN
from dynalang_py.world_model import WorldModelConfig

Pixels: TypeAlias = Annotated[int, Within(0, 1024)]


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TextConfig):
    tokenizer: str = "english"
    """What turns text into tokens: english, bytes, t5, or the path of a sentencepiece model."""
    most_unknown: Share = MOST_UNKNOWN
    """Share of words that the tokenizer can't say up to which a text is read."""
    model: WorldModelConfig = field(default_factory=WorldModelConfig)
    """What reads."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the weights move."""
    dropout: Annotated[float, Within(0, 1, below=True)] = 0.0
    """Share of what the text encoder and the text decoder pass on that is left out while learning, which a corpus
    that is read many times needs: without, it is learned by heart and held-out text is predicted worse and worse."""
    image: tuple[Pixels, Pixels, Pixels] = (0, 0, 0)
    """Height, width and channels of what a later agent will see. All zeros leave the image's parts out; fine-tuning
    makes them then."""
    actions: Annotated[int, Within(1, 4096)] = 1
    """Choices of the action that a later agent will have; while it reads it takes none."""

    valid: tuple[str, ...] = ()
    """Text that is held out, named like the corpus; none holds out the end of the corpus."""
    valid_share: Annotated[float, Within(0, 1, above=True, below=True)] = 0.05
    """Share of the corpus's documents, counted from its end, that is held out where `valid` is empty."""
    test: tuple[str, ...] = ()
    """Text for the look at the end alone, which then says what unseen text is predicted like though `valid` has chosen
    the weights; none takes `valid` again."""
    run_dir: Path = Path("runs/text")
    """Folder that this run makes and keeps everything in."""
    updates: Steps = 1_000_000
    """Stop after this many updates of the weights."""
    minutes: Duration | None = None
    """Stop after this many minutes of training, if that comes first; evaluations do not count."""
    seed: Seed = 0
    """Decides weights, the order of documents and every random choice."""
    batch_size: Batch = 64
    """Streams that are read side by side (B)."""
    batch_length: Annotated[int, Within(2, 2**20)] = 32
    """Tokens of each stream in an update (T)."""
    eval_every: Annotated[int, Within(0, 10**15)] = 1_000
    """Updates between two looks at held-out text; 0 looks at the end alone."""
    patience: Natural = 5
    """Looks without a better perplexity after which reading ends. A run ends with the weights that predicted held-out
    text best. 0 reads on to the end and keeps the last weights."""
    eval_tokens: Steps = 20_000
    """Held-out text of each look: its first documents, up to this many tokens. The last look takes all."""
    draws: Annotated[int, Within(2, 10_000)] = 16
    """Samples by which the probability of a held-out token is estimated; fewer make the perplexity look worse."""
    checkpoint_minutes: Duration = 10.0
    """Minutes between checkpoints; one is also written at the end and when the run is interrupted."""
    log_every: Duration = 5.0
    """Seconds between two rows of metrics."""
    device: Device = "auto"
    """Where the model computes; auto takes the GPU if there is one."""
    precision: Precision = "auto"
    """Type of the matrix products; auto takes bfloat16 where the hardware multiplies it natively."""

    def spec(self, vocab: int) -> StepSpec:
        """What the model reads and predicts, with so many token ids."""
        images = {"image": self.image} if any(self.image) else {}
        return StepSpec(images=images, vocab=vocab, actions=(self.actions,))


FREE_TO_RESUME = (
    *(*FREE, "updates", "patience", "eval_tokens", "draws"),
    *("tokenizer", "corpus", "valid", "test", "cache", "workers"),
)
"""Settings that may change when a run goes on. Files may have moved; that they hold the same is checked by hashes."""


def text_small() -> PretrainConfig:
    """A world model that reads text alone, of a size for two CPU cores.

    The layers are those of the 2023 family, whose LayerNorm PyTorch computes in one pass on a CPU. The losses are the
    published ones, and one more: what the prior says before a token is heard (`foretell_scale`). Without it the
    posterior learns codes for the tokens that the prior takes very long to predict.
    """
    model: WorldModelConfig = parts("cpu-large")["model"]
    model = replace(
        model,
        family="dreamer2023",
        encoder=replace(model.encoder, layers=1),
        rssm=replace(model.rssm, prior_layers=1),
        decoder=replace(model.decoder, layers=1),
        kl=replace(model.kl, dyn=0.5),
        image_scale=0.0,
        token_scale=1.0,
        foretell_scale=1.0,
        reward_scale=0.0,
        continue_scale=0.0,
    )
    return PretrainConfig(model=model, optimizer=OptimizerConfig(lr=3e-3, warmup=100), dropout=0.3)


def text_debug() -> PretrainConfig:
    """Reads a few pages in seconds: a tiny world model that tries an installation."""
    small = text_small()
    model = replace(
        small.model,
        encoder=replace(small.model.encoder, cnn_depth=2, units=32),
        rssm=replace(small.model.rssm, deter=64, hidden=32, stoch=8, classes=8),
        decoder=replace(small.model.decoder, units=32),
        heads=replace(small.model.heads, units=16),
    )
    return replace(
        small,
        model=model,
        tokenizer="bytes",
        dropout=0.0,
        optimizer=OptimizerConfig(lr=1e-2, warmup=10),
        updates=200,
        batch_size=8,
        batch_length=16,
        eval_every=100,
        eval_tokens=1_000,
        log_every=0.5,
        precision="float32",
    )


def dynalang_text() -> PretrainConfig:
    """Published: a world model that reads text alone, 512 windows of 128 tokens per update, 194M parameters.

    Image and action are Messenger's in shape, since stage 2 is what the release fine-tunes on: the published count of
    193.6M is that of the world model with encoder and decoder of that 16×16×17 image, which reading leaves untouched
    (174.1M without them). Reward, continue flag and image are not learned. T5's vocabulary; the belief is never reset.
    """
    size = parts("xlarge")
    model: WorldModelConfig = size["model"]
    model = replace(
        model,
        decoder=replace(model.decoder, image_loss="bernoulli"),
        image_scale=0.0,
        token_scale=1.0,
        reward_scale=0.0,
        continue_scale=0.0,
    )
    return PretrainConfig(
        model=model,
        optimizer=size["optimizer"],
        tokenizer="t5",
        reset=False,
        patience=0,
        image=(16, 16, 17),
        actions=5,
        batch_size=512,
        batch_length=128,
        checkpoint_minutes=15,
        log_every=300,
    )


READERS: dict[str, Callable[[], PretrainConfig]] = {
    preset.__name__.replace("_", "-"): preset for preset in (text_small, text_debug, dynalang_text)
}


def get(name: str) -> PretrainConfig:
    """The settings behind a name; they put the run into runs/NAME. Raises UserError for a name that there isn't."""
    if name not in READERS:
        raise UserError(
            f"there is no preset {name!r} for reading; there are {', '.join(READERS)}.{nearest(name, READERS)}"
        )
    return replace(READERS[name](), run_dir=Path("runs", name))
