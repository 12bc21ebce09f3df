"""What a process should be told about the machine it runs on."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # names of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let malloc reuse freed memory instead of giving it back to the system.

    By default glibc maps every large tensor afresh, and the kernel clears its pages anew at each update; keeping them
    made updates on the CPU about 1.6 times as fast where this was measured. Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
