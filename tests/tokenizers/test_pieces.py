"""Models that are trained here, and the one that ships."""

import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynalang_py.errors import UserError
from dynalang_py.tokenizers import ENGLISH, load
from dynalang_py.tokenizers.pieces import SentencePieces, train

RECIPE = Path(__file__).parents[2] / "scripts" / "make_tokenizer.py"
WORDNET = Path("/usr/share/wordnet")


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tokenizer", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def small(recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> SentencePieces:
    path = tmp_path_factory.mktemp("model") / "small.model"
    path.write_bytes(train(recipe.instructions(), 375))
    return SentencePieces(path)


def test_a_trained_model_has_the_asked_size_and_its_marks_first(small: SentencePieces) -> None:
    assert small.size == len(set(small.pieces)) == 375
    assert small.pieces[:4] == ("<pad>", "<unk>", "</s>", "<0x00>")
    assert (small.pad, small.unknown, small.end) == (0, 1, 2)


def test_frequent_words_are_pieces_and_foreign_characters_bytes(small: SentencePieces) -> None:
    assert [small.pieces[i] for i in small.encode("go to the sofa")] == ["▁go", "▁to", "▁the", "▁sofa"]
    ids = small.encode("é")
    assert [small.pieces[i] for i in ids] == ["▁", "<0xC3>", "<0xA9>"]
    assert [small.is_byte(i) for i in ids] == [False, True, True]


@given(st.text())
def test_no_text_is_unknown_and_all_of_it_comes_back(small: SentencePieces, text: str) -> None:
    ids = small.encode(text)
    assert small.unknown not in ids
    assert small.decode(ids) == text.replace("▁", " ")


def test_the_same_text_gives_the_same_bytes_in_any_process(recipe: ModuleType, small: SentencePieces) -> None:
    script = (
        "import hashlib, runpy; from dynalang_py.tokenizers.pieces import train;"
        f"recipe = runpy.run_path({str(RECIPE)!r}); model = train(recipe['instructions'](), 375);"
        "print(hashlib.sha256(model).hexdigest())"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == small.identity
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("documents", "size", "complaint"),
    [
        ([], 300, "there is no text to train a tokenizer on"),
        (["", " \n "], 300, "there is no text to train a tokenizer on"),
        (["the dog is near the cat"] * 5, 4000, "supports a vocabulary of at most 2[67][0-9] pieces, got 4000"),
        (["".join(map(chr, range(0x4E00, 0x4E00 + 200)))], 300, r"need at least 4\d\d pieces, got 300"),
        (["go"], 259, "a vocabulary needs more than 259 pieces, of which 256 are the bytes, got 259"),
    ],
)
def test_text_that_doesn_t_fit_the_size_is_told(documents: list[str], size: int, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        train(documents, size)


def test_without_a_size_it_fits_the_text(tmp_path: Path) -> None:
    poor, rich = ["the dog is near the cat"] * 5, ["".join(map(chr, range(0x4E00, 0x4E00 + 4100)))]
    for documents, low, high in ((poor, 262, 280), (rich, 4100, 4500)):
        (tmp_path / "a.model").write_bytes(train(documents))
        assert low < SentencePieces(tmp_path / "a.model").size < high


def test_characters_that_sentencepiece_keeps_for_itself_cost_no_document(tmp_path: Path) -> None:
    """Lines with U+2585 were left out in silence, though half of all lines had it."""
    changed: Counter[str] = Counter()
    documents = ["the dog is near the cat", "zanzibar \u2585 mombasa\0zanzibar", "\ud800 mombasa"] * 20
    (tmp_path / "a.model").write_bytes(train(documents, changed=changed))
    model = SentencePieces(tmp_path / "a.model")
    assert {"▁zanzibar", "▁mombasa"} <= set(model.pieces)
    assert +changed == {"reserved": 20}
    assert model.decode(model.encode("a \u2585 b")) == "a \u2585 b"
    assert model.decode(model.encode("a\ud800b")) == "a?b"


def test_a_long_line_without_spaces_is_cut(tmp_path: Path) -> None:
    changed: Counter[str] = Counter()
    train(["ab" * 50_000, "a" * 200, "the dog " * 100], changed=changed)
    assert +changed == {"cut": 1}


def test_trouble_with_the_documents_is_the_trouble_that_is_told() -> None:
    def documents() -> Iterator[str]:
        yield "the dog"
        raise UserError("no more")

    with pytest.raises(UserError, match=r"^no more$"):
        train(documents())


@pytest.mark.parametrize("size", [(1 << 20) + 1, 2**31 - 1, 2**31, 10**20])
def test_a_vocabulary_beyond_all_measure_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=r"at most 1,048,576 pieces"):
        train(["the dog is near the cat"], size)


def test_damaged_models_are_refused_or_work(small: SentencePieces, recipe: ModuleType, tmp_path: Path) -> None:
    whole, path, random = train(recipe.instructions(), 375), tmp_path / "a.model", Random(0)
    damaged = [whole.replace("▁sofa".encode(), b"\xff\xfe\xfdsofa"), whole.replace(b"<unk>", b"<unl>")]
    damaged += [whole[: random.randrange(len(whole))] for _ in range(10)]
    for _ in range(40):
        wrong = bytearray(whole)
        for _ in range(random.choice([1, 3, 10])):
            wrong[random.randrange(len(whole))] = random.randrange(256)
        damaged.append(bytes(wrong))
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            model = SentencePieces(path)
        except UserError:
            refused += 1
            continue
        ids = model.encode("go to the Ünï \u2585 sofa")
        assert all(0 <= id < model.size for id in ids)
        model.decode([-1, *range(model.size + 9)])
    assert 10 < refused < len(damaged)


def test_the_size_that_is_named_as_the_largest_can_be_had() -> None:
    documents = ["the dog is near the cat", "the cat sat near the dog"] * 20
    with pytest.raises(UserError) as refused:
        train(documents, 4000)
    most = next(int(word) for word in str(refused.value).split() if word.isdigit())
    assert len(train(documents, most)) > 0


def test_a_phrase_repeated_without_end_is_trained_on_at_once() -> None:
    """Given to sentencepiece as one line, this takes it minutes."""
    with pytest.raises(UserError, match="at most"):
        train(["the cat is there near the dog " * 40_000], 4000)


def test_a_model_without_silence_says_so(tmp_path: Path) -> None:
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the dog is near the cat"] * 50),
        model_prefix=str(tmp_path / "foreign"),
        vocab_size=16,
        minloglevel=2,
    )
    foreign = load(tmp_path / "foreign.model")
    assert (foreign.pad, foreign.unknown, foreign.end) == (None, 0, 2)
    assert foreign.unknown in foreign.encode("xyz")


def test_the_english_that_ships_is_the_recipe_s(recipe: ModuleType) -> None:
    content = ENGLISH.read_bytes()
    assert hashlib.sha256(content).hexdigest() == recipe.MODEL == load("english").identity
    assert len(content) < 1_000_000
    assert load("english").size == recipe.SIZE == 4_000


def test_the_licences_of_its_text_ship_with_it() -> None:
    licence = (ENGLISH.parent / "english.LICENSE.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence
    assert "Copyright (c) 2023 Jessy Lin" in licence


def test_english_has_words_of_homes_and_instructions_as_single_pieces() -> None:
    english = load("english")
    for sentence in ("go to the blue sofa", "put the papers in the recycling bin", "pick up a ball on your left"):
        assert [english.pieces[i] for i in english.encode(sentence)] == [f"▁{word}" for word in sentence.split()]


def test_making_english_anew_gives_the_same_file(recipe: ModuleType, tmp_path: Path) -> None:
    if not WORDNET.exists():
        pytest.skip("WordNet is not installed (Debian: apt-get install wordnet-base)")
    if importlib.util.find_spec("homegrid") is None:
        pytest.skip("homegrid is not installed")
    lines = recipe.text(WORDNET)
    assert recipe.digest_of(lines) == recipe.TEXT
    if importlib.metadata.version("sentencepiece") != "0.2.3":
        pytest.skip("the model was made by sentencepiece 0.2.3")
    assert hashlib.sha256(train(lines, recipe.SIZE)).hexdigest() == recipe.MODEL


def test_the_recipe_refuses_text_that_is_not_the_recorded_one(recipe: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("homegrid", reason="homegrid is not installed")
    with pytest.raises(UserError, match=r"there is no .*data\.noun; name the folder .* --wordnet"):
        recipe.text(tmp_path)
    (tmp_path / "data.noun").write_text("00001740 03 n 01 entity 0 000 | all that is\n")
    with pytest.raises(UserError, match=r"data\.noun is another version: its SHA-256 is"):
        recipe.text(tmp_path)
