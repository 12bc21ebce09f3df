"""`python -m dynalang_py` is `dynalang`."""

import os
import sys

if __name__ == "__main__":
    # Python puts the working directory first, which the command does not. In a checkout, tokenizers/ would then hide
    # Hugging Face's package, and dynalang_py/ without its envs would be taken for the installed whole.
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0], sys.modules["dynalang_py"]

    from dynalang_py.cli import main

    sys.exit(main())
