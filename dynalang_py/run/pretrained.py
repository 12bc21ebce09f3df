"""A run that begins with a world model that has read: what is taken over, what is made fresh, what is refused."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dynalang_py import files
from dynalang_py.agent import Agent
from dynalang_py.config import Config
from dynalang_py.errors import UserError
from dynalang_py.run.console import Face
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.pretrain import load_read
from dynalang_py.text.config import PretrainConfig
from dynalang_py.text.mixing import world_tokenizer
from dynalang_py.tokenizers import Tokenizer

FRESH = ("encoder.image", "encoder.absent_image", "decoder.image", "reward.", "go_on.", "decoder.outs.vectors")
"""What reading alone doesn't teach: these parts begin anew, whatever the checkpoint has for them."""
EMBED = "dynamics.posterior_in.linear.weight"
STOCH_AND_ACTION = "dynamics.cell.inputs.linear.weight"
ACTION = "dynamics.cell.from_action.linear.weight"
TABLE = "encoder.flat.table"
PER_TOKEN = (TABLE, "decoder.outs.token.weight", "decoder.outs.token.bias")


@dataclass
class Taken:
    """What became of each tensor of the world model."""

    loaded: list[str] = field(default_factory=list)
    partly: dict[str, str] = field(default_factory=dict)
    """Name → what of it is new."""
    fresh: list[str] = field(default_factory=list)


def adopt(config: Config, run: Path) -> Config:
    """The settings with the sizes of the world model that `run` made; what belongs to the task stays as it was.

    Images are read by convolutions: the latents that patches of an image have to themselves mean nothing in reading.
    """
    old, read = config.model, RunFolder(run).load_as(PretrainConfig).model
    model = replace(
        old,
        family=read.family,
        encoder=replace(
            old.encoder,
            patch=0,
            prototypes=False,
            units=read.encoder.units,
            layers=read.encoder.layers,
            learned_absence=read.encoder.learned_absence,
        ),
        rssm=read.rssm,
        decoder=replace(old.decoder, units=read.decoder.units, layers=read.decoder.layers),
    )
    return replace(config, model=model, pretrained=run)


def begin_with(agent: Agent, config: Config, vocabulary: tuple[str, ...], folder: RunFolder, face: Face) -> None:
    """Put the world model of `config.pretrained` into an untrained agent, and list what was done.

    The list is also kept in the run's folder, as pretrained.json. Raises UserError where tokenizer, vocabulary or
    shapes don't fit.
    """
    assert config.pretrained is not None
    source = RunFolder(config.pretrained)
    _, checkpoint, theirs = load_read(source)
    rows = _rows(world_tokenizer(config.env, vocabulary), theirs, source.path, config.remap_vocabulary)
    read = {name.removeprefix("world_model/"): value for name, value in checkpoint.tensors.items()}
    merged, taken = merge(agent, read, rows, theirs.size)
    agent.model.load_state_dict(merged)
    what = {"checkpoint": str(checkpoint.path), "loaded": taken.loaded, "partly": taken.partly, "fresh": taken.fresh}
    files.write(folder.path / "pretrained.json", json.dumps(what, indent=1) + "\n")
    face.table(
        f"The world model of {checkpoint.path}",
        [
            ("taken over", ", ".join(_parts(taken.loaded))),
            *((f"in part: {name}", new) for name, new in taken.partly.items()),
            ("fresh", ", ".join(_parts(taken.fresh))),
        ],
    )


def merge(
    agent: Agent, read: dict[str, Tensor], rows: list[int] | None, their_vocab: int
) -> tuple[dict[str, Tensor], Taken]:
    """The agent's world model with what was read, and what became of each tensor.

    rows: for each of our ids the id that it had in reading, −1 for none; None where all ids are the same.
    """
    merged, taken = {name: value.clone() for name, value in agent.model.state_dict().items()}, Taken()
    dynamics, encoder = agent.model.dynamics, agent.model.encoder
    heard = encoder.flat.mlp.width if encoder.flat is not None else 0
    stoch = dynamics.config.stoch * dynamics.config.classes
    for name, own in merged.items():
        if name.startswith(FRESH) or name == ACTION:
            taken.fresh.append(name)
            continue
        if name not in read:
            raise UserError(f"the pretrained world model has no {name!r}; was it made by another family or depth?")
        value = read[name]
        if name == EMBED and own.shape[0] == value.shape[0] and own.shape[1] > dynamics.config.deter:
            # [deter, image, token]: what was seen in reading was nothing.
            _fits(name, own[:, : dynamics.config.deter + heard], value[:, -(dynamics.config.deter + heard) :])
            own[:, : dynamics.config.deter] = value[:, : dynamics.config.deter]
            own[:, -heard:] = value[:, -heard:]
            if own.shape[1] > dynamics.config.deter + heard:
                taken.partly[name] = "the columns that read the image are fresh"
                continue
        elif name == STOCH_AND_ACTION:
            _fits(name, own[:, :stoch], value[:, :stoch])
            own[:, :stoch] = value[:, :stoch]
            taken.partly[name] = "the columns that read the action are fresh"
            continue
        elif name in PER_TOKEN:
            here, there = own[-agent.spec.vocab :], value[-their_vocab:]
            if rows is not None:
                known = torch.tensor([i for i, row in enumerate(rows) if row >= 0])
                _fits(name, here[:1], there[:1])
                here[known] = there[[rows[i] for i in known.tolist()]]
                taken.partly[name] = f"{len(rows) - len(known)} of {len(rows)} tokens are fresh"
                continue
            _fits(name, here, there)
            here.copy_(there)
        else:
            _fits(name, own, value)
            own.copy_(value)
        taken.loaded.append(name)
    return merged, taken


def _rows(ours: Tokenizer, theirs: Tokenizer, run: Path, remap: bool) -> list[int] | None:
    """Which id each of our ids had in reading; None if all are the same. Raises UserError unless they may differ."""
    if ours.identity == theirs.identity:
        return None
    ids = {piece: i for i, piece in enumerate(theirs.pieces)}
    # Closed vocabularies list words as they are; in sentencepiece models ▁ begins a word.
    rows = [ids.get(piece, ids.get(f"▁{piece}", -1)) for piece in ours.pieces]
    known = sum(row >= 0 for row in rows)
    if not remap:
        raise UserError(
            f"the world speaks by another tokenizer than {run} has read with, which knows {known} of its {len(rows)}"
            " pieces; give the world the same one (--env.tokenizer), or keep what was learned of those by"
            " --remap-vocabulary"
        )
    if not known:
        raise UserError(f"none of the world's {len(rows)} tokens is a piece of the tokenizer of {run}")
    return rows


def _fits(name: str, own: Any, value: Any) -> None:
    if own.shape != value.shape:
        raise UserError(
            f"{name!r} has shape {tuple(value.shape)} in the pretrained world model, {tuple(own.shape)} here; leave out"
            " settings of the model's size"
        )


def _parts(names: list[str]) -> list[str]:
    """The parts that tensors belong to, each once."""
    return list(dict.fromkeys(".".join(name.split(".")[:2]) if "." in name else name for name in names))
