"""The loop of reading, through the real command line where it speaks: learned, interrupted, resumed, refused."""

import json
import shutil
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynalang_py import cli
from dynalang_py.errors import UserError
from dynalang_py.nn.optim import OptimizerConfig
from dynalang_py.run import checkpoint as checkpoints
from dynalang_py.run.console import Face
from dynalang_py.run.folder import RunFolder
from dynalang_py.run.logger import read_metrics
from dynalang_py.run.pretrain import Pretrainer, build_reader, pretrain
from dynalang_py.text import config as readers
from dynalang_py.text.config import PretrainConfig


def grammar(path: Path, documents: int = 400) -> str:
    """Sentences in which nearly every letter follows from those before it."""
    rng = np.random.default_rng(0)
    who, what, where = ("the cat", "a dog", "my son"), ("sees", "takes", "finds"), ("a red key", "the blue box")
    lines = [f"{rng.choice(who)} {rng.choice(what)} {rng.choice(where)}." for _ in range(documents)]
    path.write_text("\n".join(lines))
    return str(path)


def settings(tmp_path: Path, name: str = "run", **changes: Any) -> PretrainConfig:
    corpus = grammar(tmp_path / "corpus.txt")
    config = replace(readers.get("text-debug"), corpus=(corpus,), run_dir=tmp_path / name, updates=30, eval_every=0)
    return replace(config, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run by the command line, and what it printed. Tests copy what they change."""
    folder = tmp_path_factory.mktemp("text")
    corpus, run = grammar(folder / "corpus.txt"), folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr(Face, "say", lambda self, sentence: said.append(sentence))
        patch.setattr(Face, "table", lambda self, title, rows: said.extend([title, *map(" ".join, rows)]))
        assert cli.main(["pretrain", "text-debug", "--corpus", corpus, "--run-dir", str(run), "--updates", "150"]) == 0
    return run, "\n".join(said)


def test_what_was_learned_beats_counting_letters(finished: tuple[Path, str]) -> None:
    run, said = finished
    rows = read_metrics(run / "metrics.jsonl")
    (final,) = [row for row in rows if "final/perplexity" in row]
    assert 1 < final["final/perplexity"] < 0.7 * final["final/unigram_perplexity"]
    assert final["final/perplexity"] <= final["final/perplexity_one_draw"]
    assert final["final/perplexity_per_character"] == pytest.approx(final["final/perplexity"], rel=0.01)  # bytes
    looked = [row["valid/perplexity"] for row in rows if "valid/perplexity" in row]
    assert looked[0] > final["final/perplexity"]
    names = {name for row in rows for name in row}
    assert names >= {
        "train/loss/token",
        "train/loss/foretell",
        "train/loss/dyn",
        "train/model/kl",
        "train/grad_norm/model",
    }
    assert names >= {"speed/tokens_per_s", "time/update", "time/text", "tokens", "minutes", "epoch"}
    assert f"dynalang generate {run}" in said
    assert "tokens/s | perplexity" in said
    assert list((run / "events").iterdir())


def test_the_baselines_are_measured_on_the_same_tokens(finished: tuple[Path, str]) -> None:
    pytest.importorskip("kaldingram")
    (final,) = [row for row in read_metrics(finished[0] / "metrics.jsonl") if "final/perplexity" in row]
    assert final["final/trigram_perplexity"] < final["final/unigram_perplexity"]
    assert "trigram, held out" in finished[1]


def test_a_run_generates_text(finished: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = finished
    command = ["generate", str(run), "--prompt", "the c", "--tokens", "12"]
    said = []
    for extra in ([], [], ["--seed", "1"], ["--temperature", "0"]):
        assert cli.main([*command, *extra]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]
    assert all(line.startswith("the c") and 5 < len(line.encode()) <= 5 + 3 * 12 + 1 for line in said)


@pytest.mark.parametrize("prompt", ["", "  "])
def test_an_empty_prompt_is_refused(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str], prompt: str
) -> None:
    assert cli.main(["generate", str(finished[0]), "--prompt", prompt]) == 2
    assert "the prompt is empty" in capsys.readouterr().err


def test_reading_resumes_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """Losses and weights are those of the run that was not interrupted, bit for bit, over the end of an epoch."""
    pretrain(settings(tmp_path, "whole"))
    pretrain(settings(tmp_path, "parts", updates=11))
    pretrain(settings(tmp_path, "parts", updates=30), resume=True)
    found = [checkpoints.load(RunFolder(tmp_path / name).checkpoints) for name in ("whole", "parts")]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].state["windows"] == found[1].state["windows"]
    assert found[0].tensors.keys() == found[1].tensors.keys()
    assert all(torch.equal(found[0].tensors[name], found[1].tensors[name]) for name in found[0].tensors)


def test_the_same_is_learned_after_a_resume(tmp_path: Path) -> None:
    config = settings(tmp_path, documents="lines", updates=5)
    pretrain(config)
    learned = []
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for name in ("run", "copy"):
        folder = RunFolder(tmp_path / name)
        with ExitStack() as stack:
            again = Pretrainer(
                replace(config, run_dir=folder.path), folder, checkpoints.load(folder.checkpoints), Face(), stack
            )
            learned.append([again.learn() for _ in range(4)])
    assert learned[0] == learned[1]
    assert len({row["loss/token"] for row in learned[0]}) == 4


def test_to_look_does_not_change_what_is_learned(tmp_path: Path) -> None:
    for name, every in (("blind", 0), ("seen", 5)):
        pretrain(settings(tmp_path, name, eval_every=every, updates=20))
    found = [checkpoints.load(RunFolder(tmp_path / name).checkpoints) for name in ("blind", "seen")]
    assert found[0] is not None
    assert found[1] is not None
    assert all(torch.equal(found[0].tensors[name], found[1].tensors[name]) for name in found[0].tensors)


def test_what_is_not_there_learns_nothing(tmp_path: Path) -> None:
    """Image, reward and continuation have parts in the published model, and reading leaves them as they were."""
    config = replace(settings(tmp_path, updates=3), image=(16, 16, 3), actions=5)
    pretrain(config)
    found = checkpoints.load(RunFolder(tmp_path / "run").checkpoints)
    assert found is not None
    before = build_reader(config, 258).state_dict()
    same = {
        name for name in before if name.startswith("world_model/") and torch.equal(before[name], found.tensors[name])
    }
    still = ("world_model/encoder.image", "world_model/decoder.image", "world_model/reward", "world_model/go_on")
    untouched = {name for name in before if name.startswith(still)}
    assert untouched
    assert same == untouched


def test_the_tokenizer_goes_into_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dynalang_py.tokenizers.pieces import train

    corpus = grammar(tmp_path / "corpus.txt")
    model = tmp_path / "tok.model"
    model.write_bytes(train(Path(corpus).read_text().splitlines(), 290))
    pretrain(settings(tmp_path, tokenizer=str(model), updates=3))
    model.unlink()
    assert cli.main(["generate", str(tmp_path / "run"), "--prompt", "the cat", "--tokens", "3"]) == 0
    capsys.readouterr()
    (tmp_path / "run/tokenizer/tokenizer.model").write_bytes(train(["another text", "of other words"] * 50, 275))
    assert cli.main(["generate", str(tmp_path / "run"), "--prompt", "the cat"]) == 2
    assert "was changed or is damaged" in capsys.readouterr().err


def by_heart(tmp_path: Path, **changes: Any) -> PretrainConfig:
    """A run that learns a few lines of noise by heart, held-out noise being predicted worse and worse."""
    rng = np.random.default_rng(0)
    lines = ["".join(rng.choice(list("abcdefgh"), 40)) for _ in range(12)]
    (tmp_path / "noise.txt").write_text("\n".join(lines))
    noise = str(tmp_path / "noise.txt")
    return settings(tmp_path, **{"corpus": (noise,), "updates": 400, "eval_every": 20, "patience": 2, **changes})


def test_a_run_ends_with_the_weights_that_predicted_held_out_text_best(tmp_path: Path) -> None:
    config = by_heart(tmp_path)
    pretrain(config)
    run = RunFolder(tmp_path / "run")
    checkpoint, best = checkpoints.load(run.checkpoints), checkpoints.load(run.path / "best")
    assert checkpoint is not None
    assert best is not None
    rows = [row for row in read_metrics(run.metrics) if "valid/perplexity" in row]
    looks = [row["valid/perplexity"] for row in rows]
    assert len(looks) == looks.index(min(looks)) + 3, "two looks without a better one end it"
    progress = checkpoint.state["progress"]
    assert (progress["best"], progress["best_at"]) == (min(looks), rows[looks.index(min(looks))]["step"])
    assert progress["updates"] == progress["best_at"] + 40 < 400
    assert all(torch.equal(checkpoint.tensors[name], value) for name, value in best.tensors.items())
    (final,) = [row for row in read_metrics(run.metrics) if "final/perplexity" in row]
    assert final["final/perplexity"] == pytest.approx(min(looks), rel=0.05)
    pretrain(replace(config, patience=3), resume=True)
    again = checkpoints.load(run.checkpoints)
    assert again is not None
    assert again.state["progress"]["updates"] > progress["updates"]


def test_a_killed_run_takes_no_best_weights_from_after_where_it_goes_on(tmp_path: Path) -> None:
    config = by_heart(tmp_path)
    pretrain(config)
    run = RunFolder(tmp_path / "run")
    best = checkpoints.load(run.path / "best")
    assert best is not None
    # As if it had found better weights at update 390, been killed, and gone on from the checkpoint before.
    later = {name: torch.zeros_like(value) for name, value in best.tensors.items()}
    checkpoints.save(run.path / "best", 390, later, {})
    pretrain(replace(config, patience=3), resume=True)
    ended, best = checkpoints.load(run.checkpoints), checkpoints.load(run.path / "best")
    assert ended is not None
    assert best is not None
    assert best.path.stem == f"step-{ended.state['progress']['best_at']:012d}"
    assert all(torch.equal(ended.tensors[name], value) for name, value in best.tensors.items())


def test_a_run_that_is_killed_after_its_best_look_knows_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(self: Pretrainer, perplexity: float) -> None:
        remember(self, perplexity)
        raise Killed

    remember = Pretrainer._remember
    monkeypatch.setattr(Pretrainer, "_remember", kill)
    with pytest.raises(Killed):
        pretrain(by_heart(tmp_path))
    checkpoint = checkpoints.load(RunFolder(tmp_path / "run").checkpoints)
    assert checkpoint is not None
    assert checkpoint.state["progress"]["best_at"] == 20


def test_without_patience_the_last_weights_stay(tmp_path: Path) -> None:
    pretrain(by_heart(tmp_path, patience=0, updates=100))
    assert not (tmp_path / "run" / "best").exists()
    checkpoint = checkpoints.load(RunFolder(tmp_path / "run").checkpoints)
    assert checkpoint is not None
    assert checkpoint.state["progress"]["updates"] == 100


def test_the_last_look_may_have_text_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("the cat sees a red key.\n" * 3)
    pretrain(settings(tmp_path, test=(str(tmp_path / "test.txt"),), eval_every=10))
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["final/tokens"] for row in rows if "final/tokens" in row] == [3 * 24]
    assert all(row["valid/tokens"] > 100 for row in rows if "valid/tokens" in row)


def test_numbers_that_run_away_end_the_run_and_name_the_way_back(tmp_path: Path) -> None:
    wild = OptimizerConfig(joint=False, lr=1e30)
    with pytest.raises(UserError, match=r"training stopped at update 1: .* not finite; there is no checkpoint yet"):
        pretrain(settings(tmp_path, "new", optimizer=wild))
    pretrain(settings(tmp_path, updates=1, optimizer=wild))
    with pytest.raises(UserError, match=r"last good checkpoint is .*; go on from it by: dynalang pretrain --resume"):
        pretrain(settings(tmp_path, optimizer=wild), resume=True)


def test_who_comes_with_other_settings_moves_no_damaged_checkpoint(tmp_path: Path) -> None:
    config = settings(tmp_path, updates=3)
    pretrain(config)
    bad = tmp_path / "run" / "checkpoints" / "step-000000000009.safetensors"
    bad.write_bytes(b"half")
    with pytest.raises(UserError, match="made by other settings"):
        pretrain(replace(config, batch_size=4), resume=True)
    assert bad.exists()
    pretrain(replace(config, updates=4), resume=True)
    assert not bad.exists()


def test_other_text_is_not_what_a_run_goes_on_with(tmp_path: Path) -> None:
    config = settings(tmp_path, updates=3)
    pretrain(config)
    moved = tmp_path / "moved.txt"
    shutil.move(config.corpus[0], moved)
    pretrain(replace(config, corpus=(str(moved),), updates=5), resume=True)
    moved.write_text(moved.read_text().replace("cat", "cow"))
    with pytest.raises(UserError, match=r"the text is not the one that .* began with"):
        pretrain(replace(config, corpus=(str(moved),), updates=7), resume=True)
    with pytest.raises(UserError, match=r"made by other settings: batch_size \(was 8, is 4\)"):
        pretrain(replace(config, batch_size=4), resume=True)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("pretrain text-debug --run-dir {tmp}/r", "name a corpus, as in: dynalang pretrain text-small --corpus"),
        ("pretrain text-debug --corpus {tmp}/empty.txt --run-dir {tmp}/r", "has no text in it"),
        ("pretrain text-debug --corpus {tmp}/bad.txt --run-dir {tmp}/r", "byte 3 of {tmp}/bad.txt is 0xff"),
        ("pretrain text-debug --corpus {tmp}/nowhere --run-dir {tmp}/r", "there is no corpus {tmp}/nowhere"),
        ("pretrain text-debug --corpus {tmp}/one.txt --run-dir {tmp}/r", "nothing can be held out"),
        (
            "pretrain text-debug --corpus {tmp}/one.txt --tokenizer {tmp}/one.txt --run-dir {tmp}/r",
            "one.txt is no sentencepiece model",
        ),
        (
            "pretrain text-debug --corpus {tmp}/one.txt --valid-share 2",
            "valid_share must be above 0 and below 1, got 2",
        ),
        ("pretrain text-smal --corpus x", "Did you mean 'text-small'?"),
        ("pretrain text-debug --corpsu x", "Did you mean '--corpus'?"),
        ("pretrain", "name a preset, as in: dynalang pretrain text-small"),
        ("pretrain --resume {tmp}/nowhere", "there is no folder {tmp}/nowhere"),
        ("train text-small", "text-small reads text alone; it is trained by: dynalang pretrain text-small"),
        ("generate", "name the folder of a run, as in: dynalang generate runs/text"),
        ("generate {tmp} --prompt x", "{tmp} is not a run"),
        ("generate {tmp} --prompt x --temperature -1", "temperature must be at least 0"),
    ],
)
def test_bad_input_gets_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, sentence: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "bad.txt").write_bytes(b"ok\n\xff\n")
    (tmp_path / "one.txt").write_text("one document\n")
    assert cli.main(command.format(tmp=tmp_path).split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert sentence.format(tmp=tmp_path) in err
    assert not (tmp_path / "r" / "config.json").exists()


def test_runs_of_both_kinds_know_each_other(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["train", "--resume", str(finished[0])]) == 2
    assert "is a run of dynalang pretrain, and a run of dynalang train is needed" in capsys.readouterr().err
    assert cli.main(["pretrain", "text-debug", "--corpus", "x", "--run-dir", str(finished[0])]) == 2
    assert f"dynalang pretrain --resume {finished[0]}" in capsys.readouterr().err


def test_without_the_package_for_trigrams_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kaldingram.prune", None)
    pretrain(settings(tmp_path, updates=2))
    said = capsys.readouterr()
    assert (said.out + said.err).count("pip install 'dynalang_py[text]'") == 1
    assert "trigram, held out" in said.out
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert "final/unigram_perplexity" in rows[-1]
    assert "final/trigram_perplexity" not in rows[-1]


def test_held_out_text_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "valid.txt").write_text("the cat sees a red key.\n")
    pretrain(settings(tmp_path, updates=2, valid=(str(tmp_path / "valid.txt"),)))
    (final,) = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "final/perplexity" in row]
    assert final["final/tokens"] == len("the cat sees a red key.") + 1


def test_a_reading_run_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["presets", "text-small", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["model"]["image_scale"] == 0
    assert not {"actor", "critic"} & shown["parameters"].keys()
    assert shown["parameters"]["total"] > 1e6
