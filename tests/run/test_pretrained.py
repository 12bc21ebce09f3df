"""Runs that begin with a world model that has read, and runs that read beside their life."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dynalang_py import cli, presets
from dynalang_py.config import Config
from dynalang_py.contract import StepSpec
from dynalang_py.envs import DummyConfig
from dynalang_py.envs.dummy import Dummy
from dynalang_py.errors import UserError
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.build import build_agent
from dynalang_py.run.checkpoint import Checkpoint
from dynalang_py.run.console import Face
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import read_metrics
from dynalang_py.run.pretrain import pretrain
from dynalang_py.run.pretrained import adopt, begin_with, merge
from dynalang_py.run.signals import StopRequest
from dynalang_py.run.train import Trainer, train
from dynalang_py.text import config as readers
from dynalang_py.text.mixing import world_tokenizer
from dynalang_py.tokenizers.pieces import train as train_pieces

WORLD = DummyConfig()
PIECES = Dummy(WORLD).vocabulary


def sentences(path: Path) -> str:
    words = PIECES[2:]
    path.write_text(
        "\n".join(f"go to {words[i % len(words)]} and {words[(i * 7 + 3) % len(words)]}" for i in range(60))
    )
    return str(path)


@pytest.fixture(scope="module", params=["dreamer2023", "dreamer2025"])
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has read a little, by a tokenizer whose words the dummy world says too."""
    folder = tmp_path_factory.mktemp("read")
    corpus, tokenizer = sentences(folder / "corpus.txt"), folder / "tok.model"
    tokenizer.write_bytes(train_pieces(Path(corpus).read_text().splitlines() * 5, 280))
    config = readers.get("text-debug")
    model = replace(config.model, family=request.param, rssm=replace(config.model.rssm, blocks=2))
    pretrain(
        replace(
            config,
            corpus=(corpus,),
            tokenizer=str(tokenizer),
            model=model,
            updates=20,
            eval_every=0,
            run_dir=folder / "run",
        )
    )
    return folder / "run"


def settings(run: Path, **changes: Any) -> Config:
    config = replace(presets.get("debug"), run_dir=run, steps=200, eval_every=0, eval_episodes=2, baseline_episodes=0)
    return replace(config, **changes)


def newest(run: Path) -> Checkpoint:
    found = checkpoints.load(RunFolder(run).checkpoints)
    assert found is not None
    return found


def fresh(read: Path, run: Path) -> Config:
    return adopt(settings(run, remap_vocabulary=True), read)


def test_what_was_read_is_taken_over_and_what_differs_is_listed(read: Path, tmp_path: Path) -> None:
    config = fresh(read, tmp_path)
    agent = build_agent(config, StepSpec.from_spaces(*WORLD.spaces()))
    before = {name: value.clone() for name, value in agent.state_dict().items()}
    begin_with(agent, config, PIECES, RunFolder(tmp_path), Face())
    after, theirs = agent.state_dict(), newest(read).tensors
    told = json.loads((tmp_path / "pretrained.json").read_text())
    assert sorted([*told["loaded"], *told["partly"], *told["fresh"]]) == sorted(agent.model.state_dict())
    for name in told["loaded"]:
        assert torch.equal(after[f"world_model/{name}"], theirs[f"world_model/{name}"])
    for name in told["fresh"]:
        assert torch.equal(after[f"world_model/{name}"], before[f"world_model/{name}"])
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("behavior/"))
    parts = {name.split(".")[0] + "." + name.split(".")[1] for name in told["fresh"]}
    assert parts >= {"encoder.image", "decoder.image", "reward.mlp", "go_on.out"}
    assert {name.split(".")[0] for name in told["loaded"]} == {"encoder", "dynamics", "decoder"}
    assert "the columns that read the image are fresh" in told["partly"].values()


def test_the_columns_of_image_and_action_alone_are_fresh(read: Path, tmp_path: Path) -> None:
    config = fresh(read, tmp_path)
    agent = build_agent(config, StepSpec.from_spaces(*WORLD.spaces()))
    own = {name: value.clone() for name, value in agent.model.state_dict().items()}
    begin_with(agent, config, PIECES, RunFolder(tmp_path), Face())
    merged = agent.model.state_dict()
    theirs = {name.removeprefix("world_model/"): value for name, value in newest(read).tensors.items()}
    name, deter, units = "dynamics.posterior_in.linear.weight", 64, 32
    assert torch.equal(merged[name][:, :deter], theirs[name][:, :deter])
    assert torch.equal(merged[name][:, -units:], theirs[name][:, -units:])
    assert torch.equal(merged[name][:, deter:-units], own[name][:, deter:-units])
    if config.model.family == "dreamer2023":
        name, stoch = "dynamics.cell.inputs.linear.weight", 64
        assert torch.equal(merged[name][:, :stoch], theirs[name][:, :stoch])
        assert torch.equal(merged[name][:, stoch:], own[name][:, stoch:])
    else:
        name = "dynamics.cell.from_action.linear.weight"
        assert torch.equal(merged[name], own[name])


def test_tokens_are_remapped_by_their_pieces(read: Path, tmp_path: Path) -> None:
    config = fresh(read, tmp_path)
    agent = build_agent(config, StepSpec.from_spaces(*WORLD.spaces()))
    own = agent.model.state_dict()["encoder.flat.table"].clone()
    begin_with(agent, config, PIECES, RunFolder(tmp_path), Face())
    from sentencepiece import SentencePieceProcessor

    theirs = SentencePieceProcessor(model_file=str(read / "tokenizer" / "tokenizer.model"))
    table, learned = (
        agent.model.state_dict()["encoder.flat.table"],
        newest(read).tensors["world_model/encoder.flat.table"],
    )
    known = 0
    for i, piece in enumerate(PIECES):
        names = [name for name in (piece, f"▁{piece}") if name in {theirs.id_to_piece(j) for j in range(len(theirs))}]
        expected = learned[theirs.piece_to_id(names[0])] if names else own[i]
        assert torch.equal(table[i], expected), piece
        known += bool(names)
    assert known >= 3


def test_another_tokenizer_is_refused_unless_asked_for(
    read: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "debug", "--pretrained", str(read), "--run-dir", str(tmp_path / "run"), "--steps", "120"]
    assert cli.main(command) == 2
    assert f"the world speaks by another tokenizer than {read} has read with, which knows" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()
    assert cli.main([*command, "--remap-vocabulary", "--model.rssm.deter", "32"]) == 2
    assert "in the pretrained world model" in capsys.readouterr().err
    assert cli.main([*command[:3], str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_fine_tuned_run_trains_and_never_loads_the_pretrained_weights_again(read: Path, tmp_path: Path) -> None:
    """The release loads them once more when a fine-tuned run goes on, and begins its actor and critic anew."""
    config = fresh(read, tmp_path / "run")
    train(config)
    assert (tmp_path / "run" / "pretrained.json").exists()
    saved = newest(tmp_path / "run").tensors
    (tmp_path / "run" / "pretrained.json").unlink()
    with ExitStack() as stack:
        folder = RunFolder(tmp_path / "run")
        config = replace(folder.load(), pretrained=tmp_path / "gone")  # what isn't there can't be loaded
        resumed = Trainer(config, folder, newest(tmp_path / "run"), Face(), StopRequest(), stack)
        state = resumed.agent.state_dict()
        assert all(torch.equal(state[name], saved[name]) for name in state)
    assert not (tmp_path / "run" / "pretrained.json").exists()
    read_weights = newest(read).tensors["world_model/dynamics.prior_net.1.weight"]
    assert not torch.equal(state["world_model/dynamics.prior_net.1.weight"], read_weights)


def test_the_same_tokens_need_no_remapping(read: Path) -> None:
    vocab = newest(read).tensors["world_model/encoder.flat.table"].shape[0]
    spec = StepSpec(images={"image": (16, 16, 3)}, vocab=vocab, actions=(3,))
    agent = build_agent(adopt(settings(Path("run")), read), spec)
    theirs = {name.removeprefix("world_model/"): value for name, value in newest(read).tensors.items()}
    merged, taken = merge(agent, theirs, None, vocab)
    assert {"encoder.flat.table", "decoder.outs.token.weight", "decoder.outs.token.bias"} <= set(taken.loaded)
    assert torch.equal(merged["encoder.flat.table"], theirs["encoder.flat.table"])
    with pytest.raises(UserError, match=r"the pretrained world model has no 'dynamics"):
        merge(agent, {name: value for name, value in theirs.items() if "dynamics" not in name}, None, vocab)


@pytest.mark.parametrize("prototypes", [False, True])
def test_what_was_read_replaces_the_patches_of_a_preset(read: Path, tmp_path: Path, prototypes: bool) -> None:
    config = settings(tmp_path, remap_vocabulary=True)
    model = config.model
    tiles = replace(model.encoder, patch=8, prototypes=prototypes)
    adopted = adopt(replace(config, model=replace(model, encoder=tiles, rssm=replace(model.rssm, patch_stoch=1))), read)
    agent = build_agent(adopted, StepSpec.from_spaces(*WORLD.spaces()))
    begin_with(agent, adopted, PIECES, RunFolder(tmp_path), Face())
    assert agent.model.dynamics.sites.patches == 0


@pytest.mark.parametrize(("pieces", "text", "ids"), [(PIECES, f"{PIECES[2]} {PIECES[3]}", [2, 3])])
def test_text_is_turned_into_the_words_of_the_world(pieces: Sequence[str], text: str, ids: list[int]) -> None:
    assert world_tokenizer(WORLD, tuple(pieces)).encode(text) == ids
    with pytest.raises(UserError, match="gives embeddings instead of token ids"):
        world_tokenizer(WORLD, ())


@pytest.mark.parametrize("joint", [True, False])
def test_one_update_learns_from_experience_and_from_text(tmp_path: Path, joint: bool) -> None:
    config = settings(tmp_path / "run")
    if not joint:
        config = replace(
            config,
            optimizer=replace(config.optimizer, joint=False),
            behavior=replace(config.behavior, replay_value=0.0),
        )
    text = replace(config.text, corpus=(sentences(tmp_path / "corpus.txt"),))
    train(replace(config, text=text, text_ratio=0.5, most_unknown=0.6))
    train(replace(config, run_dir=tmp_path / "deaf"))
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "train/text/token" in row]
    assert rows
    assert all("train/loss/image" in row for row in rows)
    assert not any(name.startswith("train/text/image") for row in rows for name in row)
    ours, deaf = newest(tmp_path / "run"), newest(tmp_path / "deaf")
    name = "world_model/encoder.flat.table"
    assert not torch.equal(ours.tensors[name], deaf.tensors[name])
    streams = ours.tensors["beside/deter"].shape[0]
    assert streams == 2  # half as many windows as of experience
    train(replace(config, text=text, text_ratio=0.5, most_unknown=0.6, steps=240), resume=True)
    assert newest(tmp_path / "run").state["text"] != ours.state["text"]


def test_text_teaches_what_experience_never_says(tmp_path: Path) -> None:
    """Experience is silent here, yet the text beside it is predicted better and better."""
    config = settings(tmp_path / "run", env=replace(WORLD, language="none"), steps=500, log_every=0.2)
    text = replace(config.text, corpus=(sentences(tmp_path / "corpus.txt"),))
    train(replace(config, text=text, text_ratio=2.0, most_unknown=0.6, optimizer=replace(config.optimizer, lr=1e-2)))
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "train/text/token" in row]
    assert rows[-1]["train/text/token"] < 0.7 * rows[0]["train/text/token"]


def test_a_ratio_without_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "debug", "--text-ratio", "0.5"]) == 2
    assert "text_ratio is 0.5, but text.corpus names no text" in capsys.readouterr().err
