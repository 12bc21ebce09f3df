"""A command line onto a config dataclass: tyro reads it, and what it can't read is told in one sentence."""

import ast
import contextlib
import inspect
import io
import re
import sys
import textwrap
import typing
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dynalang_py.errors import UserError, cut, near, shown

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry

T = TypeVar("T")


def parse(kind: type[T], default: T, args: list[str], prog: str, about: str) -> T:
    """The `default` with what the options change; --help prints them, with their docstrings, and exits.

    Raises UserError that names the option, its value and what is allowed, or the nearest option there is.
    """
    import tyro

    from dynalang_py.config import allowed, flatten, to_dict

    names = [f"--{name.replace('_', '-')}" for name, _ in flatten(to_dict(default)) if not name.endswith("kind")]
    refuse_options(args, names)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                kind,
                default=default,
                args=args,
                prog=prog,
                description=about,
                config=(tyro.conf.AvoidSubcommands,),
                registry=_registry(),
            )
    except SystemExit as end:
        if not end.code:
            raise
    sentence = _sentence(complaint.getvalue())
    if option := re.search(r"(?:Error parsing |for argument ')(--[\w.-]+)", sentence):
        given = _given(args, option[1])
        is_given = f"is {shown(given)}; allowed is" if given else "needs a value:"
        sentence = f"{option[1]} {is_given} {allowed(default, option[1][2:].replace('-', '_'))}"
    elif part := re.match(r"Error parsing ([\w.]+): (.*)", sentence):  # a field's own complaint, with its part's name
        sentence = part[2] if part[1].endswith("Config") or part[2].startswith(part[1]) else f"{part[1]}.{part[2]}"
    raise UserError(f"{sentence}; {prog} --help lists the options" if "nrecognized" in sentence else sentence)


def show(kind: type[T], default: T, prog: str, about: str, examples: str, hidden: Collection[str] = ()) -> None:
    """Print the help of a command: what it is for, examples, and the options but for those that are hidden."""
    import tyro

    page = io.TextIOWrapper(io.BytesIO(), getattr(sys.stdout, "encoding", None) or "utf-8", "replace")
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(page):
        tyro.cli(kind, default=default, args=["--help"], prog=prog, description=about, registry=_registry(hidden))
    page.seek(0)
    usage, rest = page.read().split(about, 1)
    print(f"{usage}{about}\n\n{examples}\n{rest.strip(chr(10))}")


def descriptions(kind: type) -> dict[str, str]:
    """Name → docstring of each field of a dataclass, in one line."""
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__[:-1]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        assert isinstance(body, ast.ClassDef)
        for field, comment in pairwise(body.body):
            match field, comment:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def _registry(hidden: Collection[str] = ()) -> "ConstructorRegistry":
    """How tyro reads paths: as `user_path` does; and the fields of dataclasses: with docstrings free of line breaks."""
    from tyro.constructors import (
        ConstructorRegistry,
        PrimitiveConstructorSpec,
        PrimitiveTypeInfo,
        StructConstructorSpec,
        StructFieldSpec,
        StructTypeInfo,
    )

    from dynalang_py.reading import user_path  # not above: it brings in Pillow

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
        if info.type is not Path:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="PATH",
            instance_from_str=lambda words: user_path(words[0]),
            is_instance=lambda value: isinstance(value, Path),
            str_from_instance=lambda value: [str(value)],
        )

    @registry.struct_rule
    def settings(info: StructTypeInfo) -> StructConstructorSpec | None:
        if not (is_dataclass(info.type) and isinstance(info.default, info.type)):
            return None
        hints, texts = typing.get_type_hints(info.type, include_extras=True), descriptions(info.type)
        names = [item.name for item in fields(info.type) if item.name not in hidden]
        return StructConstructorSpec(
            info.type,
            tuple(StructFieldSpec(name, hints[name], getattr(info.default, name), texts.get(name)) for name in names),
        )

    return registry


def _given(args: Sequence[str], option: str) -> str:
    """The first value that a command line gives to an option."""
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        name, equals, value = arg.partition("=")
        if name.replace("_", "-") == option:
            return value if equals else following
    return ""


def _sentence(box: str) -> str:
    """The first sentence in the box that tyro draws around an error: from below its title to the next rule."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│| ") for line in plain.splitlines()[1:]]
    rules = [not line.strip("─-╰╯+") for line in lines]
    begin = rules.index(False)
    return " ".join(lines[begin : rules.index(True, begin)])


def refuse_options(args: Iterable[str], known: Sequence[str]) -> None:
    """Raise UserError with the nearest name for the first option that there isn't."""
    allowed = {*known, *(_negated(name) for name in known), "--help"}
    for arg in args:
        name = arg.partition("=")[0]
        if name.startswith("--") and name.replace("_", "-") not in allowed:
            raise UserError(f"there is no option {cut(name)}.{_hint(name, known) or ' --help lists them.'}")


def _hint(name: str, known: Sequence[str]) -> str:
    """Name the option that was meant: the parts before its last dot are what people leave out."""
    name = name.replace("_", "-").lstrip("-")
    by_last = {_last(option): option for option in known}
    whole = {option.lstrip("-"): option for option in known}
    if found := near(_last(name), by_last):
        return f" Did you mean {by_last[found]!r}?"
    return f" Did you mean {whole[found]!r}?" if (found := near(name, whole)) else ""


def _last(option: str) -> str:
    return option.removeprefix("--").rpartition(".")[2]


def _negated(option: str) -> str:
    """`--a.b` switched off is `--a.no-b`."""
    head, dot, last = option[2:].rpartition(".")
    return f"--{head}{dot}no-{last}"
