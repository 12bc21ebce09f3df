"""What each verb does: read the rest of the command line, then call one function of `dynalang_py.run`.

Modules are imported where they are needed: most of them bring torch, which takes seconds.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeVar

from dynalang_py import help
from dynalang_py.errors import UserError, nearest
from dynalang_py.options import parse, refuse_options
from dynalang_py.run.machine import prepare

if TYPE_CHECKING:
    from dynalang_py.config import Config
    from dynalang_py.run.evaluate import EvalConfig
    from dynalang_py.text.config import PretrainConfig

    Kind = TypeVar("Kind", Config, PretrainConfig)


def _presets(args: list[str]) -> None:
    if _asks_help(args):
        print(help.PRESETS)
        return
    from dynalang_py import presets

    size, args = _take_option(args, "--size", "the name of a size")
    as_json = "--json" in args
    names = [arg for arg in args if arg != "--json"]
    refuse_options(names, ["--json", "--size"])
    if len(names) > 1:
        raise UserError(f"name one preset, got {' '.join(names)}")
    if size is not None and not names:
        raise UserError(f"name the preset whose size shall be {size}, as in: dynalang presets babyai --size {size}")
    if names:
        from dynalang_py.run.describe import describe
        from dynalang_py.sizes import resized
        from dynalang_py.text import config as readers

        find = readers.get if names[0] in readers.READERS else presets.get
        config = find(names[0]) if size is None else resized(find(names[0]), size)
        describe(names[0], config, presets.summary(names[0]), as_json=as_json)
    elif as_json:
        import json

        print(json.dumps({name: presets.summary(name) for name in presets.names()}, indent=2))
    else:
        width = max(map(len, presets.names()))
        for name in presets.names():
            print(f"{name:{width}}  {presets.summary(name)}")


def _train(args: list[str]) -> None:
    if _asks_help(args) and _bare(args):
        help.bare("train")
        return
    if not args:
        raise UserError("name a preset, as in: dynalang train babyai; dynalang presets lists them")
    from dynalang_py import presets
    from dynalang_py.config import FREE, Config

    resume, args = _take_option(args, "--resume", "the folder of a run")
    if resume is None:
        name, preset, args = _named_preset("train babyai", presets.get, args)
        pretrained, args = _take_option(args, "--pretrained", "the folder of a run of dynalang pretrain")
        if pretrained is not None:
            from dynalang_py.reading import user_path
            from dynalang_py.run.pretrained import adopt

            preset = adopt(preset, user_path(pretrained))
        config = parse(Config, preset, args, f"dynalang train {name}", presets.summary(name))
    else:
        config = _resumed("train", Config, resume, args, FREE, "--steps")
    from dynalang_py.run.train import train

    prepare()
    train(config, resume=resume is not None)


def _pretrain(args: list[str]) -> None:
    if _asks_help(args) and _bare(args):
        help.bare("pretrain")
        return
    if not args:
        raise UserError("name a preset, as in: dynalang pretrain text-small --corpus corpus.txt")
    from dynalang_py import presets
    from dynalang_py.text import config as readers

    resume, args = _take_option(args, "--resume", "the folder of a run")
    if resume is None:
        name, preset, args = _named_preset("pretrain text-small", readers.get, args)
        config = parse(readers.PretrainConfig, preset, args, f"dynalang pretrain {name}", presets.summary(name))
    else:
        config = _resumed("pretrain", readers.PretrainConfig, resume, args, readers.FREE_TO_RESUME, "--updates")
    from dynalang_py.run.pretrain import pretrain

    prepare()
    pretrain(config, resume=resume is not None)


def _named_preset(example: str, find: "Callable[[str], Kind]", args: list[str]) -> tuple[str, "Kind", list[str]]:
    """The preset that the first argument names, in the size that is asked for, and the arguments that are left."""
    from dynalang_py.sizes import resized

    if args[0].startswith("-"):
        raise UserError(f"name a preset before {args[0]}, as in: dynalang {example} {args[0]} ...")
    name = args[0]
    preset = find(name)
    size, args = _take_option(args[1:], "--size", "the name of a size")
    return name, preset if size is None else resized(preset, size), args


def _resumed(verb: str, kind: "type[Kind]", run: str, args: list[str], free: Collection[str], limit: str) -> "Kind":
    """The settings of a run that goes on. free: those that may change. limit: the option that names one of them."""
    from dynalang_py.config import first_difference
    from dynalang_py.reading import user_path
    from dynalang_py.run.folder import RunFolder

    saved = RunFolder(user_path(run)).load_as(kind)
    config = parse(kind, saved, args, f"dynalang {verb} --resume {run}", f"Go on with the run in {run}.")
    if config.run_dir != saved.run_dir:
        raise UserError(f"a run goes on where it lies, in {saved.run_dir}; leave out --run-dir")
    if difference := first_difference(saved, config, free):
        raise UserError(f"a run that goes on keeps its settings, but {difference}; limits such as {limit} may change")
    return config


def _generate(args: list[str]) -> None:
    if _asks_help(args) and _bare(args):
        help.generate()
        return
    if not args or args[0].startswith("-"):
        raise UserError('name the folder of a run, as in: dynalang generate runs/text --prompt "Pick up the"')
    from dynalang_py.reading import user_path
    from dynalang_py.run.folder import RunFolder
    from dynalang_py.run.generate import GenerateConfig, generate

    path = args.pop(0)
    about = "Let a model that has read go on from a prompt."
    config = parse(GenerateConfig, GenerateConfig(), args, f"dynalang generate {path}", about)
    prepare()
    print(generate(RunFolder(user_path(path)), config))


def _eval(args: list[str]) -> None:
    if not args:
        raise UserError("name the folder of a run, as in: dynalang eval runs/babyai")
    if _asks_help(args) and _bare(args):
        help.evaluate()
        return
    if args[0].startswith("-"):
        raise UserError(f"name the folder of a run before {args[0]}, as in: dynalang eval runs/babyai {args[0]} ...")
    from dynalang_py.reading import user_path
    from dynalang_py.run.evaluate import EvalConfig, evaluate_run
    from dynalang_py.run.folder import RunFolder

    path = args.pop(0)
    folder = RunFolder(user_path(path))
    run = folder.load()
    default = EvalConfig(env=run.env, greedy=run.greedy_eval, most_unknown=run.most_unknown)
    args = [_long(arg, default) for arg in args]
    options = parse(EvalConfig, default, args, f"dynalang eval {path}", "Play episodes with fixed seeds.")
    prepare()
    evaluate_run(folder, options)


def _slim(args: list[str]) -> None:
    if _asks_help(args):
        print(help.SLIM)
        return
    refuse_options(args, [])
    if len(args) != 1:
        raise UserError(f"name the folder of one run, as in: dynalang slim runs/babyai; got {len(args)}")
    from dynalang_py.reading import user_path
    from dynalang_py.run.folder import RunFolder
    from dynalang_py.run.slim import slim

    slim(RunFolder(user_path(args[0])))


def _bench(args: list[str]) -> None:
    from dynalang_py.run import bench

    default = bench.BenchConfig()
    bench.main(parse(bench.BenchConfig, default, args, "dynalang bench", "Time one full update on this machine."))


def _tokenizer(args: list[str]) -> None:
    deeds = {"train": _train_tokenizer, "show": _show_tokenizer}
    if args and args[0] in deeds:
        deeds[args[0]](args[1:])
    elif _asks_help(args):
        print(help.TOKENIZER)
    else:
        given = f"; there is no {args[0]!r}.{nearest(args[0], deeds)}" if args else ""
        raise UserError(f"dynalang tokenizer can train and show, as in: dynalang tokenizer train corpus.txt{given}")


def _train_tokenizer(args: list[str]) -> None:
    from dynalang_py.run.tokenizer import TrainTokenizerConfig, train_tokenizer

    corpus, options = _split_options(args)
    about = "Learn the pieces of words from text files, also gzipped, and folders of them; one document a line."
    config = parse(TrainTokenizerConfig, TrainTokenizerConfig(), options, "dynalang tokenizer train CORPUS...", about)
    if not corpus:
        raise UserError("name a text file or a folder of them, as in: dynalang tokenizer train corpus.txt")
    train_tokenizer(corpus, config)


def _show_tokenizer(args: list[str]) -> None:
    from dynalang_py.run.tokenizer import ShowTokenizerConfig, show_tokenizer

    words, options = _split_options(args)
    about = "Show the ids and pieces of a text, and what becomes of it on the way there and back."
    config = parse(ShowTokenizerConfig, ShowTokenizerConfig(), options, "dynalang tokenizer show TEXT", about)
    show_tokenizer(" ".join(words), config)


def _houses(args: list[str]) -> None:
    from dynalang_py.envs.vln.houses.dataset import HousesConfig
    from dynalang_py.run.houses import make_houses

    about = "Make houses and instructions for ways through them, in the format of VLN-CE."
    make_houses(parse(HousesConfig, HousesConfig(), args, "dynalang houses", about))


def _vln(args: list[str]) -> None:
    if _asks_help(args):
        print(help.VLN)
        return
    if args[:1] != ["check"]:
        given = f", got {args[0]!r}.{nearest(args[0], ['check'])}" if args else ""
        raise UserError(f"vln can check a folder, as in: dynalang vln check data/houses{given}")
    scenes, args = _take_option(args[1:], "--scenes", "a folder")
    tokenizer, args = _take_option(args, "--tokenizer", "a name or a file")
    folders = [arg for arg in args if arg != "--json"]
    refuse_options(folders, ["--json", "--scenes", "--tokenizer"])
    if len(folders) != 1:
        raise UserError(f"name one folder of episodes, as in: dynalang vln check data/houses; got {len(folders)}")
    from dynalang_py.reading import user_path
    from dynalang_py.run.vln import check

    scenes_folder = user_path(scenes) if scenes else None
    check(user_path(folders[0]), scenes_folder, tokenizer or "houses", as_json="--json" in args)


def _worlds(args: list[str]) -> None:
    if _asks_help(args):
        print(help.WORLDS)
        return
    families = [arg for arg in args if arg != "--json"]
    refuse_options(families, ["--json"])
    if len(families) > 1:
        raise UserError(f"name one family of worlds, got {' '.join(families)}")
    from dynalang_py.run.worlds import show_worlds

    show_worlds(families[0] if families else None, as_json="--json" in args)


def _split_options(args: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first option, and the rest."""
    first = next((i for i, arg in enumerate(args) if arg.startswith("-")), len(args))
    return args[:first], args[first:]


def _long(arg: str, options: "EvalConfig") -> str:
    """--split as --env.split, and so on: evaluation changes little else than the world."""
    name = arg[2:].partition("=")[0].replace("-", "_") if arg.startswith("--") else ""
    return f"--env.{arg[2:]}" if hasattr(options.env, name) and not hasattr(options, name) else arg


def _take_option(args: list[str], name: str, needs: str) -> tuple[str | None, list[str]]:
    """Value of one option, and the arguments without it."""
    for i, arg in enumerate(args):
        if arg == name:
            if i + 1 == len(args):
                raise UserError(f"{name} needs {needs}")
            return args[i + 1], args[:i] + args[i + 2 :]
        if arg.startswith(f"{name}="):
            return arg.removeprefix(f"{name}="), args[:i] + args[i + 1 :]
    return None, args


def _bare(args: list[str]) -> bool:
    """Whether nothing is named before the options."""
    return args[0].startswith("-")


def _asks_help(args: list[str]) -> bool:
    return any(arg in ("-h", "--help") for arg in args)


VERBS: dict[str, Callable[[list[str]], None]] = {
    "presets": _presets,
    "train": _train,
    "eval": _eval,
    "pretrain": _pretrain,
    "generate": _generate,
    "tokenizer": _tokenizer,
    "houses": _houses,
    "vln": _vln,
    "worlds": _worlds,
    "slim": _slim,
    "bench": _bench,
}
