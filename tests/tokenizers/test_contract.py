"""What holds for every tokenizer, whatever it is made of."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynalang_py.errors import UserError
from dynalang_py.tokenizers import Tokenizer, load
from dynalang_py.tokenizers.bytewise import Bytes
from dynalang_py.tokenizers.pieces import SentencePieces

DATA = Path(__file__).parents[3] / "shared" / "data"
FILES = {"t5": DATA / "t5" / "spiece.model", "vlnce": DATA / "vlnce" / "train.json.gz"}
SENTENCE = {"homegrid": "find the bottle", "langroom": "what color is the ball ?", "vlnce": "go past the table ."}


@pytest.fixture(scope="module", params=["english", "bytes", "babyai", "homegrid", "langroom", "t5", "vlnce"])
def tokenizer(request: pytest.FixtureRequest) -> tuple[Tokenizer, str]:
    """A tokenizer, and a sentence that it can say."""
    name = request.param
    if name in FILES:
        if not FILES[name].exists():
            pytest.skip(f"{FILES[name].name} is not on this machine")
        return load(FILES[name]), SENTENCE.get(name, "go to the blue sofa")
    if name == "langroom":
        pytest.importorskip("langroom", reason="langroom is not installed")
    return load(name), SENTENCE.get(name, "go to the red ball")


def test_a_sentence_goes_there_and_back(tokenizer: tuple[Tokenizer, str]) -> None:
    made, sentence = tokenizer
    assert isinstance(made, Tokenizer)
    ids = made.encode(sentence)
    assert all(isinstance(i, int) and 0 <= i < made.size for i in ids)
    assert not {made.pad, made.end, made.unknown} & set(ids)
    assert made.decode(ids) == sentence
    marks = [mark for mark in (made.pad, made.end) if mark is not None]
    assert made.decode([*ids, *marks]) == sentence
    assert made.encode("") == []
    assert made.decode([]) == ""


def test_every_id_has_a_piece_and_the_marks_have_their_places(tokenizer: tuple[Tokenizer, str]) -> None:
    made, _ = tokenizer
    assert made.size == len(made.pieces)
    assert all(made.pieces)
    assert made.pad == 0  # what the worlds are silent with
    for mark in (made.end, made.unknown):
        assert mark is None or 0 < mark < made.size


def test_no_two_have_one_identity() -> None:
    made = [load(name) for name in ("english", "bytes", "babyai", "homegrid")]
    identities = {one.identity for one in made}
    assert len(identities) == len(made)
    assert all(len(identity) == 64 for identity in identities)


def test_the_identity_is_the_content_s_wherever_it_lies(tmp_path: Path) -> None:
    from dynalang_py.tokenizers import ENGLISH

    copied = tmp_path / "copied.model"
    copied.write_bytes(ENGLISH.read_bytes())
    assert load(copied).identity == load("english").identity == load("english").identity


@given(st.text())
@example(" two  spaces ")
@example("a\nb\t\0\ufeff\u2028")
@example("<pad></s><unk><0x41>")
@example("漢字 😀 e\u0301")
def test_any_text_goes_there_and_back_in_bytes_and_pieces(text: str) -> None:
    plain = Bytes()
    assert plain.decode(plain.encode(text)) == text
    english = _english()
    ids = english.encode(text)
    assert english.unknown not in ids
    assert english.decode(ids) == text.replace("▁", " ")  # sentencepiece's sign for a space


@given(st.lists(st.integers(0, 257)))
def test_any_bytes_a_model_says_can_be_shown(ids: list[int]) -> None:
    said = Bytes().decode(ids)
    assert said.encode().decode() == said


def test_what_there_isn_t_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer 'babyia'.*english, bytes, t5.*Did you mean 'babyai'\?"):
        load("babyia")
    with pytest.raises(UserError, match=r"no tokenizer '.*nowhere\.model'"):
        load(tmp_path / "nowhere.model")
    with pytest.raises(UserError, match="no tokenizer"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"words\n", b"\x00" * 100])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tok.model").write_bytes(content)
    with pytest.raises(UserError, match=r"tok\.model is no sentencepiece model; dynalang tokenizer train makes one"):
        load(tmp_path / "tok.model")


def test_a_path_is_a_file_even_if_it_is_called_like_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bytes").write_bytes(Path(load.__globals__["ENGLISH"]).read_bytes())
    assert isinstance(load("bytes"), Bytes)
    assert isinstance(load("./bytes"), SentencePieces)
    assert isinstance(load(Path("bytes")), SentencePieces)


def test_a_missing_package_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langroom", None)
    with pytest.raises(UserError, match="pip install --no-deps langroom"):
        load("langroom")


def test_all_of_them_load_without_torch() -> None:
    script = (
        "import sys; from dynalang_py.tokenizers import load;"
        "[load(name).encode('go to') for name in ('english', 'bytes', 'babyai')]; load('homegrid');"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def _english(kept: list[Tokenizer] = []) -> Tokenizer:  # noqa: B006
    """Loaded once: hypothesis calls a test many times, and takes no fixtures of the function."""
    if not kept:
        kept.append(load("english"))
    return kept[0]
