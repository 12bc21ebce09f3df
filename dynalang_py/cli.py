"""`dynalang VERB`: call the verb, and whatever way it ends, end with one sentence at most and a code that tells it."""

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from dynalang_py import help
from dynalang_py.errors import UserError, cut, nearest, shown
from dynalang_py.verbs import VERBS

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "Cannot allocate memory", "std::bad_alloc")
"""What PyTorch says of it, which raises a RuntimeError."""
LESS = "a smaller --size, batch_size or image takes less"
UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's) and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        signal.signal(signal.SIGINT, INTERRUPT)
    code = _run(args)
    if argv is None:  # nothing is left to be unwound: the interpreter's own farewell would be, with a traceback
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    return code


def _run(args: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows ? instead of failing
    try:
        try:
            _dispatch(args)
        finally:
            sys.stdout.flush()  # at exit nobody would catch what a closed pipe raises
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
    except MemoryError as error:
        return _fail(f"there is not enough memory{f': {error}' if str(error) else ''}; {LESS}")
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if INTERRUPT.received:  # and whatever came of it, as of a compiler that it ended, too
            return 130
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        return _fail(f"there is not enough memory: {str(error).splitlines()[0]}; {LESS}")


class Interrupt:
    """Ctrl-C: a KeyboardInterrupt, but where modules are being imported, for C code turns it into other errors."""

    received = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        while frame:
            if "importlib._bootstrap" in frame.f_code.co_filename:
                os._exit(130)
            frame = frame.f_back
        raise KeyboardInterrupt


INTERRUPT = Interrupt()


def _dispatch(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help", "help"):
        print(help.HELP)
        return
    if args[0] == "--version":
        from dynalang_py import __version__

        print(f"dynalang {__version__}")
        return
    verb = args.pop(0)
    if verb not in VERBS:
        raise UserError(f"there is no verb {shown(verb)}; there are {', '.join(VERBS)}.{nearest(verb, VERBS)}")
    VERBS[verb](args)


def _fail(sentence: str) -> int:
    print("dynalang: " + cut(" ".join(sentence.split()), 2000), file=sys.stderr)
    return 2
