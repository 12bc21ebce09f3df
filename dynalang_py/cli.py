"""`dynalang VERB`: read the command line, then call one function of `dynalang_py.run`."""

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dynalang_py.errors import UserError, nearest
from dynalang_py.options import parse, refuse_options
from dynalang_py.run.machine import keep_freed_memory

HELP = """\
usage: dynalang VERB [options]

Train agents that listen while they act, and see what they learned.

  dynalang presets                          the named experiments, one line each
  dynalang presets babyai                   all settings of one, and how large its agent is
  dynalang presets dynalang-homegrid-task --size small --json     the same of another size, for programs

  dynalang train babyai                     train; everything it makes lies in runs/babyai
  dynalang train babyai --run-dir runs/a --seed 1 --env.task BabyAI-GoToLocalS8N7-v0
  dynalang train babyai --help              every setting that can be changed
  dynalang train homegrid-task --size size12m     the same with a larger agent
  dynalang train --resume runs/a            go on where the run stopped
  dynalang train --resume runs/a --steps 2000000

  dynalang eval runs/a --episodes 100       play episodes with fixed seeds and print a table
  dynalang eval runs/a --env.language shuffled    does it listen? tell it somebody else's sentence
  dynalang eval runs/a --json --video 3     for programs; and film three episodes

  dynalang bench                            how fast this machine trains

  tensorboard --logdir runs                 watch them learn

Ctrl-C saves the run and ends it; a second one ends it at once. Input that makes no sense exits with 2."""

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's) and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows ? instead of failing
    try:
        if not args or args[0] in ("-h", "--help", "help"):
            print(HELP)
            return 0
        if args[0] == "--version":
            from dynalang_py import __version__

            print(f"dynalang {__version__}")
            return 0
        verb = args.pop(0)
        if verb not in VERBS:
            raise UserError(f"there is no verb {verb!r}; there are {', '.join(VERBS)}.{nearest(verb, VERBS)}")
        VERBS[verb](args)
        return 0
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return _fail(
            f"{error.filename or 'the output'} could not be written: {error.strerror}; what was saved before stays"
        )
    except KeyboardInterrupt:
        return 130


def _presets(args: list[str]) -> None:
    if _asks_help(args):
        print(
            "usage: dynalang presets [NAME [--size SIZE]] [--json]\n\n"
            "List the named experiments, or show one: its settings (in another size), and how large its agent is."
        )
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

        config = presets.get(names[0])
        config = config if size is None else resized(config, size)
        describe(names[0], config, presets.summary(names[0]), as_json=as_json)
    elif as_json:
        import json

        print(json.dumps({name: presets.summary(name) for name in presets.PRESETS}, indent=2))
    else:
        width = max(map(len, presets.PRESETS))
        for name in presets.PRESETS:
            print(f"{name:{width}}  {presets.summary(name)}")


def _train(args: list[str]) -> None:
    if _asks_help(args) and args[0].startswith("-"):
        print(
            "usage: dynalang train PRESET [options]       begin a run\n"
            "       dynalang train --resume RUN [options]  go on with one; limits may change, say --steps\n\n"
            "dynalang train PRESET --help lists the options; dynalang presets lists the presets."
        )
        return
    if not args:
        raise UserError("name a preset, as in: dynalang train babyai; dynalang presets lists them")
    from dynalang_py import presets
    from dynalang_py.config import Config, first_difference
    from dynalang_py.run.folder import RunFolder
    from dynalang_py.sizes import resized

    resume, args = _take_option(args, "--resume", "the folder of a run")
    if resume is None:
        if args[0].startswith("-"):
            raise UserError(f"name a preset before {args[0]}, as in: dynalang train babyai {args[0]} ...")
        name = args.pop(0)
        saved = presets.get(name)
        prog, about = f"dynalang train {name}", presets.summary(name)
        size, args = _take_option(args, "--size", "the name of a size")
        if size is not None:
            saved = resized(saved, size)
    else:
        saved = RunFolder(Path(resume)).load()
        prog, about = f"dynalang train --resume {resume}", f"Go on with the run in {resume}."
    config = parse(Config, saved, args, prog, about)
    if resume is not None:
        if config.run_dir != saved.run_dir:
            raise UserError(f"a run goes on where it lies, in {saved.run_dir}; leave out --run-dir")
        difference = first_difference(saved, config)
        if difference:
            raise UserError(
                f"a run that goes on keeps its settings, but {difference}; limits such as --steps may change"
            )
    from dynalang_py.run.train import train

    keep_freed_memory()
    train(config, resume=resume is not None)


def _eval(args: list[str]) -> None:
    if not args or (_asks_help(args) and args[0].startswith("-")):
        if not args:
            raise UserError("name the folder of a run, as in: dynalang eval runs/babyai")
        print("usage: dynalang eval RUN [options]\n\ndynalang eval RUN --help lists the options.")
        return
    if args[0].startswith("-"):
        raise UserError(f"name the folder of a run before {args[0]}, as in: dynalang eval runs/babyai {args[0]} ...")
    from dynalang_py.run.evaluate import EvalConfig, evaluate_run
    from dynalang_py.run.folder import RunFolder

    path = args.pop(0)
    folder = RunFolder(Path(path))
    default = EvalConfig(env=folder.load().env)
    evaluate_run(folder, parse(EvalConfig, default, args, f"dynalang eval {path}", "Play episodes with fixed seeds."))


def _bench(args: list[str]) -> None:
    from dynalang_py.run import bench

    default = bench.BenchConfig()
    bench.main(parse(bench.BenchConfig, default, args, "dynalang bench", "Time one full update on this machine."))


VERBS: dict[str, Callable[[list[str]], None]] = {"presets": _presets, "train": _train, "eval": _eval, "bench": _bench}


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


def _asks_help(args: list[str]) -> bool:
    return any(arg in ("-h", "--help") for arg in args)


def _fail(sentence: str) -> int:
    print("dynalang: " + " ".join(sentence.split()), file=sys.stderr)
    return 2
