"""Reading: a world model learns from windows of text, and is tried on text that is held out now and then."""

import logging
import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dynalang_py import config as configs
from dynalang_py.agent import NonFiniteError
from dynalang_py.contract import StepSpec
from dynalang_py.errors import UserError, command
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run import identity, memory
from dynalang_py.run.build import computes
from dynalang_py.run.checkpoint import Checkpoint
from dynalang_py.run.console import Face, duration
from dynalang_py.run.counters import ReadingCounters
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.loop import Loop
from dynalang_py.run.machine import threads
from dynalang_py.run.signals import StopRequest
from dynalang_py.run.slim import SLIMMED, slimmed
from dynalang_py.run.state import check_reading
from dynalang_py.text import baselines
from dynalang_py.text.config import FREE_TO_RESUME, PretrainConfig
from dynalang_py.text.reader import Prediction, Reader
from dynalang_py.text.tokens import Tokens, tokenise
from dynalang_py.text.windows import Windows, once
from dynalang_py.tokenizers import Tokenizer, load
from dynalang_py.tokenizers.t5 import SIZE as T5_SIZE

SAMPLES, PROMPT, WRITTEN = 3, 8, 40
"""How many held-out documents are continued at each look, from how many tokens, by how many."""
EVAL_STREAMS, EVAL_LENGTH = 32, 64
"""Shape of the windows in which held-out text is read."""

_log = logging.getLogger("dynalang.pretrain")


def pretrain(config: PretrainConfig, *, resume: bool = False) -> None:
    """Teach a world model to read, in `config.run_dir`; with `resume`, go on with the run that lies there.

    Returns when the run is finished, or when SIGINT or SIGTERM asked for its end; either way it is saved.
    Raises UserError for whatever its user can put right.
    """
    folder = RunFolder(config.run_dir)
    if not resume:
        folder.check_new("pretrain")
    face = Face()
    with ExitStack() as stack:
        stack.enter_context(folder.locked())
        checkpoint = checkpoints.load(folder.checkpoints, check_reading) if resume else None
        if checkpoint:
            check_same(checkpoint, config)
            for notice in checkpoint.damaged.values():
                face.say(f"dynalang: {notice}; going back to {checkpoint.path}")
            checkpoints.set_aside(checkpoint)
        Pretrainer(config, folder, checkpoint, face, stack).run()


def build_reader(config: PretrainConfig, vocab: int, device: Any = None, *, learns: bool = False) -> Reader:
    """An untrained world model for so many token ids. device: instead of the one in the settings.

    learns: whether it is to be updated, which takes more memory. Raises UserError where no memory here holds it.
    """
    device = device or configs.resolve_device(config.device)
    if device.type != "meta":
        parts = build_reader(config, vocab, torch.device("meta")).parameter_table()
        text = StepSpec(vocab=vocab, actions=(config.actions,))  # it sees no image while it reads
        batch = memory.batch_bytes(text, config.model, None, config.batch_size, config.batch_length) if learns else 0
        memory.refuse_what_no_memory_holds(parts, device, batch, learns=learns)
    return Reader(
        config.spec(vocab),
        model=config.model,
        optimizer=config.optimizer,
        streams=config.batch_size,
        device=device,
        dropout=config.dropout,
        precision=configs.resolve_precision(config.precision, device),
        seed=config.seed,
    )


def vocabulary_size(config: PretrainConfig) -> int:
    """Ids of a tokenizer; T5's are known without its file."""
    return T5_SIZE if config.tokenizer == "t5" else load(config.tokenizer).size


def run_tokenizer(folder: RunFolder, name: str) -> Tokenizer:
    """The tokenizer of a run: the file that the run keeps, or the one that is called so.

    Raises UserError for the name of one that the run has not learned with.
    """
    own = identity.own(folder, PretrainConfig(tokenizer=name)).tokenizer
    old = sorted(folder.path.glob("tokenizer.*"))  # where runs of earlier versions keep it
    return load(old[0] if old and own == name else own)


def load_read(folder: RunFolder) -> tuple[PretrainConfig, Checkpoint, Tokenizer]:
    """Settings, newest checkpoint and tokenizer of a run of reading. Raises UserError where the three don't fit."""
    settings = folder.load_as(PretrainConfig)
    checkpoint = checkpoints.load(folder.checkpoints, check_reading)
    if checkpoint is None:
        raise UserError(f"{folder.path} has no checkpoint yet")
    for notice in checkpoint.damaged.values():
        _log.warning("%s; going back to %s", notice, checkpoint.path)
    tokenizer = run_tokenizer(folder, settings.tokenizer)
    check_tokenizer(checkpoint, tokenizer)
    return settings, checkpoint, tokenizer


class Pretrainer(Loop):
    """Everything that a run of reading needs while it lasts."""

    verb, unit = "pretrain", "update"
    config: PretrainConfig
    counters: ReadingCounters

    def __init__(
        self, config: PretrainConfig, folder: RunFolder, checkpoint: Checkpoint | None, face: Face, stack: ExitStack
    ) -> None:
        """checkpoint: where to go on. stack: closes what is opened here."""
        counters = ReadingCounters(**checkpoint.state["progress"]) if checkpoint else ReadingCounters()
        super().__init__(config, folder, counters, face)
        if not folder.config.exists():
            identity.forget(folder)
        self.tokenizer = run_tokenizer(folder, config.tokenizer)
        self.train, self.valid, self.test = self._texts()
        if checkpoint:
            check_tokenizer(checkpoint, self.tokenizer)
            if checkpoint.state["text"] != [self.train.key, self.valid.key]:
                raise UserError(f"the text is not the one that {folder.path} began with; a run goes on with its own")
        self.reader = build_reader(config, self.tokenizer.size, learns=True)
        self.windows = Windows(self.train, config.batch_size, config.batch_length, seed=config.seed, reset=config.reset)
        self.window_tokens = config.batch_size * config.batch_length
        if checkpoint:
            with checkpoints.fitting(checkpoint):
                self.reader.load_state_dict(checkpoint.tensors)
                self.windows.load_state(checkpoint.state["windows"])
            checkpoints.forget_after(self.best_folder, counters.updates)
            if slimmed(checkpoint):
                self.face.say(SLIMMED)
        if not list(folder.path.glob("tokenizer.*")):
            identity.keep(folder, config)
        self.stop = stack.enter_context(StopRequest())
        self.begin(checkpoint)
        self.found: dict[str, float] = {}  # at the last look
        self.uncounted = ""  # why there is no trigram
        self.baselines = self._baselines()

    def run(self) -> None:
        self._introduce()
        try:
            with self.progress:
                self.loop()
        except NonFiniteError as error:
            raise self.stopped(error) from error
        path = self.folder.path
        if self.stop.received:
            again = command("dynalang", "pretrain", "--resume", path)
            self.face.say(f"Stopped at update {self.at:,}. Go on with: {again}")
        else:
            self._conclude()

    @property
    def at(self) -> int:
        return self.counters.updates

    @property
    def goal(self) -> int:
        return self.config.updates

    @property
    def finished(self) -> bool:
        return super().finished or 0 < self.config.patience <= self.counters.stale

    def step(self) -> None:
        self.keep(self.learn())

    def learn(self) -> dict[str, float]:
        """One update; returns its figures."""
        with self.clock("text"):
            token, first = self.windows.next()
        with self.clock("update"):
            figures = self.reader.update(token, first)
        self.counters.updates += 1
        self.counters.tokens += token.size
        return figures

    def _texts(self) -> tuple[Tokens, Tokens, Tokens]:
        """Text to learn from, text that is held out, and text for the end."""
        config = self.config
        if not config.corpus:
            raise UserError("name a corpus, as in: dynalang pretrain text-small --corpus corpus.txt")
        cache = self.folder.tokens_in(config.cache)
        self.face.say("Reading the corpus ...")
        tokens = self._read(config.corpus, cache)
        test = self._read(config.test, cache) if config.test else None
        if config.valid:
            valid = self._read(config.valid, cache)
            return tokens, valid, test or valid
        if tokens.documents < 2:
            raise UserError("the corpus is one document, of which nothing can be held out; name other text by --valid")
        kept = tokens.documents - max(1, round(config.valid_share * tokens.documents))
        valid = tokens.part(kept, tokens.documents)
        return tokens.part(0, kept), valid, test or valid

    def _read(self, corpus: tuple[str, ...], cache: Path) -> Tokens:
        """The tokens of a text. Raises UserError where more of it is unknown than is allowed."""
        with self.progress:
            tokens = tokenise(self.config, corpus, self.tokenizer, cache, self.progress.counting)
        instead = "choose another by --tokenizer"
        tokens.coverage.check(self.config.most_unknown, self.config.tokenizer, ", ".join(corpus), instead)
        return tokens

    def row(self, seconds: float) -> dict[str, float]:
        speed = self.speed * self.window_tokens
        return {"speed/tokens_per_s": speed, "epoch": self.windows.epoch, "tokens": self.counters.tokens}

    def look(self, last: bool) -> None:
        """Measure how well held-out text is predicted, beside the baselines on the same tokens, and write on."""
        config, name = self.config, "final" if last else "valid"
        held_out = self.test if last else self.valid.head(config.eval_tokens)
        reading = "reading all held-out text" if last else "reading held-out text"
        progress = self.progress.counting("tokens", len(held_out), f"{self.at:,} updates | {reading}: ")
        with self.clock.paused():
            windows = once(held_out, EVAL_STREAMS, EVAL_LENGTH, reset=config.reset)
            parts: list[Prediction] = []
            for part in self.reader.score(windows, config.draws):
                if self.stop.received:
                    return
                parts.append(part)
                progress(sum(part.tokens for part in parts))
            nats, one_draw = (sum(getattr(part, key) for part in parts) for key in ("nats", "nats_one_draw"))
            self.found = perplexities(nats, held_out) | {"perplexity_one_draw": math.exp(one_draw / len(held_out))}
            if last:
                self.baselines = self._baselines(held_out)
            row = {f"{name}/{key}": value for key, value in self.found.items()}
            for baseline, values in self.baselines.items():
                row |= {f"{name}/{baseline}_{key}": value for key, value in values.items()}
            row |= {f"{name}/tokens": len(held_out), "tokens": self.counters.tokens, "minutes": self.seconds / 60}
            self.logger.scalars(row, self.at)
            self.logger.text("samples", self._samples(held_out), self.at)
            if not last:
                self.looked_at = self.at
                self._remember(self.found["perplexity"])

    def _remember(self, perplexity: float) -> None:
        """Keep the weights if they are the best so far."""
        counters = self.counters
        if counters.best is not None and perplexity >= counters.best:
            counters.stale += 1
            return
        counters.best, counters.best_at, counters.stale = perplexity, self.at, 0
        if self.config.patience:
            checkpoints.save(self.best_folder, self.at, self.reader.weights(), {})
            self.save()  # a run that is killed goes on from here: its counters and the best weights belong together

    def finish(self) -> None:
        """Take the best weights, where the run asks for them."""
        if not self.config.patience or not self.config.eval_every:
            return
        if self.looked_at != self.at:
            self.look(last=False)  # what came after the last look may be better still
        try:
            best = checkpoints.load(self.best_folder)
        except UserError as error:
            self.face.say(f"dynalang: {error}; the run keeps its last weights")
            return
        if best is not None and self.counters.best_at != self.at:
            self.reader.load_state_dict(best.tensors, everything=False)

    @property
    def best_folder(self) -> Path:
        return self.folder.path / "best"

    def _samples(self, held_out: Tokens) -> str:
        """Beginnings of held-out documents, and how the model goes on, as a Markdown list."""
        lines = []
        for i in range(min(SAMPLES, held_out.documents)):
            prompt = held_out[i][:PROMPT].tolist()
            said = self.reader.write(prompt, WRITTEN, 0.7, end=self.tokenizer.end, seed=i)
            lines.append(f"- **{self.tokenizer.decode(prompt)}** {self.tokenizer.decode(said)}")
        return "\n".join(lines)

    def _baselines(self, held_out: Tokens | None = None) -> dict[str, dict[str, float]]:
        """Perplexities of counting words, on the tokens of each look (or on `held_out`)."""
        held_out = held_out or self.valid.head(self.config.eval_tokens)
        single = baselines.unigram(self.train, held_out, self.tokenizer.size)
        found = {"unigram": perplexities(single * len(held_out), held_out)}
        try:
            triple = baselines.trigram(self.train, held_out, self.tokenizer.end)
        except UserError as error:
            self.uncounted = str(error)
            return found
        return found | {"trigram": perplexities(triple * len(held_out), held_out)}

    def save(self) -> None:
        with self.clock.paused():
            checkpoints.save(
                self.folder.checkpoints,
                self.at,
                self.reader.state_dict(),
                {
                    "config": configs.to_dict(self.config),
                    "progress": asdict(self.counters) | {"seconds": self.seconds},
                    "windows": self.windows.state(),
                    "text": [self.train.key, self.valid.key],
                    "tokenizer": self.tokenizer.identity,
                    "loop": self.state(),
                },
            )

    def standing(self, speed: float) -> list[str]:
        tokens_per_s = speed * self.window_tokens
        parts = [f"{self.at:,} updates", f"{self.counters.tokens:,} tokens", f"{tokens_per_s:,.0f} tokens/s"]
        if self.found:
            parts.append(f"perplexity {self.found['perplexity']:.2f}")
        return parts

    def _introduce(self) -> None:
        """Say what is about to run."""
        device, train, valid = self.reader.device, self.train, self.valid
        rows = [(f"parameters: {name}", f"{count:,}") for name, count in self.reader.parameter_table().items()]
        rows += [
            ("tokenizer", f"{self.config.tokenizer}, {self.tokenizer.size:,} ids"),
            ("text", f"{len(train):,} tokens in {train.documents:,} documents"),
            ("held out", f"{len(valid):,} tokens in {valid.documents:,} documents"),
            ("unknown words, text", str(train.coverage)),
            *([("unknown words, held out", str(valid.coverage))] if self.config.valid else []),
            *((f"{name}, held out", shown(values)) for name, values in self.baselines.items()),
            *([("trigram, held out", f"not measured: {self.uncounted}")] if self.uncounted else []),
            ("device", computes(device, self.reader.precision, compiled=False)),
            ("threads", threads()),
            ("folder", str(self.folder.path)),
        ]
        begun = f"Going on at update {self.at:,}"
        self.face.table("Reading" if self.counters.sessions == 1 else begun, rows)

    def _conclude(self) -> None:
        """Say what came of it and where it lies."""
        path, done = self.folder.path, self.counters
        more = ["--updates", 2 * done.updates]
        more += ["--minutes", f"{2 * self.config.minutes:g}"] if self.config.minutes else []
        more += ["--patience", 2 * self.config.patience] if done.stale else []
        best = f"of update {done.best_at:,}, which predicted held-out text best" if done.best_at else "the last"
        self.face.table(
            f"Finished: {done.updates:,} updates, {done.tokens:,} tokens, {duration(done.seconds)} of training",
            [
                ("weights", best if self.config.patience else "the last"),
                ("perplexity, held out", shown(self.found)),
                *((name, shown(values)) for name, values in self.baselines.items()),
                ("TensorBoard", command("tensorboard", "--logdir", path)),
                ("metrics", str(self.folder.metrics)),
                ("checkpoint", str(checkpoints.find(self.folder.checkpoints)[0])),
                ("write", command("dynalang", "generate", path, "--prompt", "Pick up the")),
                ("fine-tune", command("dynalang", "train", "PRESET", "--pretrained", path)),
                ("go on", command("dynalang", "pretrain", "--resume", path, *more)),
            ],
        )


def perplexities(nats: float, text: Tokens) -> dict[str, float]:
    """exp of the mean surprise per token and per character; the end of a document counts as both."""
    return {
        "perplexity": math.exp(nats / len(text)),
        "perplexity_per_character": math.exp(nats / int(text.characters.sum())),
    }


def shown(found: Mapping[str, float]) -> str:
    """Perplexities in words."""
    return f"{found['perplexity']:.2f} per token, {found['perplexity_per_character']:.3f} per character"


def check_tokenizer(checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
    """Raise UserError if a checkpoint was made with another tokenizer."""
    if checkpoint.state.get("tokenizer") != tokenizer.identity:
        old = str(checkpoint.state.get("tokenizer"))
        raise UserError(
            f"{checkpoint.path} was made with another tokenizer (SHA-256 {old[:12]}…, here"
            f" {tokenizer.identity[:12]}…): its ids stand for other words"
        )


def check_same(checkpoint: Checkpoint, config: PretrainConfig) -> None:
    """Raise UserError if the checkpoint belongs to settings that learn otherwise than `config` does."""
    old = configs.from_dict(checkpoint.state["config"], PretrainConfig)
    if difference := configs.first_difference(old, config, FREE_TO_RESUME):
        raise UserError(f"{checkpoint.path} was made by other settings: {difference}")
