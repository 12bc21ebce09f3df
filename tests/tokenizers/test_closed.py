"""Closed vocabularies: homegrid's pieces, LangRoom's words, and the word list that VLN-CE's episodes carry."""

import gzip
import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from dynalang_py.envs.babyai import VOCABULARY
from dynalang_py.envs.homegrid import TOKEN_OF_T5
from dynalang_py.errors import UserError
from dynalang_py.tokenizers import load
from dynalang_py.tokenizers.closed import Vocabulary

EPISODES = Path(__file__).parents[3] / "shared" / "data" / "vlnce"
VALID = ["<pad>", "<unk>", ".", "go", "t-shirts"]


def test_homegrid_s_sentences_have_the_ids_that_its_world_speaks() -> None:
    spec = importlib.util.find_spec("homegrid")
    if spec is None or spec.origin is None:
        pytest.skip("homegrid is not installed")
    ids, _ = pickle.loads((Path(spec.origin).parent / "homegrid_embeds.pkl").read_bytes())
    tokenizer = load("homegrid")
    assert tokenizer.size == 40
    for sentence, t5 in ids.items():
        if sentence != "<pad>":
            assert tokenizer.encode(sentence) == [TOKEN_OF_T5[i] for i in t5.tolist()]
            assert tokenizer.decode(tokenizer.encode(sentence)) == sentence


def test_babyai_s_is_the_one_that_its_world_speaks() -> None:
    assert load("babyai") is VOCABULARY
    assert load("babyai").encode("Go to the sofa") == [*VOCABULARY.encode("go to the"), 1]


def test_a_word_outside_a_list_is_unknown_or_left_out_where_the_list_has_no_id_for_it() -> None:
    words = Vocabulary(["find", "bottle"], unknown=False)
    assert (words.pieces, words.unknown) == (("<pad>", "find", "bottle"), None)
    assert words.encode("Find bottle") == [1, 2]
    assert words.encode("find the botle!") == [1]
    assert Vocabulary(["find", "bottle"]).encode("find the botle!") == [2, 1, 1]


def test_punctuation_is_no_word_in_any_list_unless_the_list_has_it() -> None:
    for name in ("babyai", "houses", "homegrid"):
        tokenizer = load(name)
        assert tokenizer.encode("(Go to — the “room”!)") == tokenizer.encode("go to the room"), name
        assert tokenizer.unknown not in tokenizer.encode("go, to the room!"), name
        assert "," in [tokenizer.pieces[i] for i in tokenizer.encode("go, to")], name
    assert load("babyai").encode("go to the box!") == load("babyai").encode("go to the box")


def test_other_words_are_another_identity() -> None:
    made = [Vocabulary(["a", "b"]), Vocabulary(["b", "a"]), Vocabulary(["a", "b"], unknown=False), Vocabulary(["a"])]
    assert len({one.identity for one in made}) == 4
    assert Vocabulary(["a", "b"]).identity == made[0].identity


@pytest.mark.parametrize(("split", "count"), [("train", 10_819), ("val_seen", 778)])
def test_instructions_of_vln_ce_have_the_ids_that_its_episodes_carry(split: str, count: int) -> None:
    path = EPISODES / f"{split}.json.gz"
    if not path.exists():
        pytest.skip("the episodes of VLN-CE are not on this machine")
    tokenizer = load(str(path))
    assert tokenizer.size == 2_504
    episodes = json.loads(gzip.decompress(path.read_bytes()))["episodes"]
    assert len(episodes) == count
    for episode in episodes:
        instruction = episode["instruction"]
        carried = instruction["instruction_tokens"]  # cut off at 200, then padded
        ids = tokenizer.encode(instruction["instruction_text"])[: len(carried)]
        assert ids == [i for i in carried if i]


@pytest.mark.parametrize("name", ["episodes.json", "episodes.json.gz"])
def test_a_word_list_is_read_from_an_episode_file(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, {"episodes": [], "instruction_vocab": {"word_list": VALID}})
    tokenizer = load(path)
    assert tokenizer.encode('Go, T-shirts? ." go') == [3, 4, 1, 3]  # what stands between two words is one token
    assert tokenizer.identity != Vocabulary(VALID[2:]).identity


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "can't be read as episodes of VLN-CE"),
        ([], "has no instruction_vocab.word_list"),
        ({"episodes": []}, "has no instruction_vocab.word_list"),
        ({"instruction_vocab": {"word_list": "abc"}}, "has no instruction_vocab.word_list"),
        ({"instruction_vocab": {"word_list": [*VALID, "\ud800"]}}, "has no instruction_vocab.word_list of words"),
        (b"[" * 100_000, "can't be read as episodes of VLN-CE.*nested too deeply"),
        (b"\xff", "can't be read as episodes of VLN-CE"),
        ({"instruction_vocab": {"word_list": VALID[1:]}}, "doesn't begin with <pad> and <unk>"),
        ({"instruction_vocab": {"word_list": [*VALID, "go"]}}, "lists a word twice"),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "json.gz"])
def test_a_file_without_a_word_list_is_named(tmp_path: Path, content: Any, complaint: str, suffix: str) -> None:
    path = _write(tmp_path / f"bad.{suffix}", content)
    with pytest.raises(UserError, match=rf"bad\.{suffix} .*{complaint}"):
        load(path)


def test_a_file_that_is_no_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json.gz").write_bytes(b"{}")
    with pytest.raises(UserError, match="can't be read as episodes"):
        load(tmp_path / "bad.json.gz")
    whole = gzip.compress(json.dumps({"instruction_vocab": {"word_list": VALID}}).encode())
    damaged = [whole[:-9], whole[:20] + b"\xff\xff" + whole[22:], whole[:-8] + bytes(8)]  # cut, body, checksum
    for content in damaged:
        (tmp_path / "cut.json.gz").write_bytes(content)
        with pytest.raises(UserError, match=r"can't be read as episodes.*is a damaged gzip file"):
            load(tmp_path / "cut.json.gz")


@pytest.mark.parametrize("name", ["/proc/self/mem", "/dev/zero", "x" * 100_000, "a\0b", "~nobody_of_that_name/x", "."])
def test_what_is_no_file_of_a_tokenizer_is_told_in_a_sentence(name: str) -> None:
    with pytest.raises(UserError) as refused:
        load(name)
    assert len(str(refused.value)) < 400


def _write(path: Path, content: Any) -> Path:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path
