"""Rights that a process gives up for good. Linux alone.

It lets processes of one user read each other's environment, memory and open files, and end each other: an
image that has taken its decoder over could take the server's keys.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38  # prctl(2)

# landlock(7): the system calls have the same numbers on all processors.
CREATE_RULESET, RESTRICT_SELF, GET_VERSION = 444, 446, 1
EXECUTE, WRITE_FILE, MAKE_AND_REMOVE, TRUNCATE = 1 << 0, 1 << 1, 0b1_1111_1111 << 4, 1 << 14
TCP = 0b11  # bind and connect
SCOPED = 0b11  # abstract sockets and signals


class Ruleset(ctypes.Structure):
    """Accesses that are forbidden, since no rule of ours allows any."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def hide() -> None:
    """Shuts environment, memory and open files, its forks' too, to other processes of its user."""
    if sys.platform.startswith("linux"):
        _checked(_libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))


def confine() -> None:
    """Keeps this thread, and those that it starts, from gaining rights and reaching others.

    How far depends on the kernel's version of Landlock: from 1 on (Linux 5.13) it may look into no other
    process, start no program and write no file, from 4 on (6.7) use no TCP, from 6 on (6.12) send no signal.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = _libc()
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    version = libc.syscall(CREATE_RULESET, None, 0, GET_VERSION)
    if version > 0:
        rules = _ruleset(version)
        number = _checked(libc.syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.sizeof(rules), 0))
        _checked(libc.syscall(RESTRICT_SELF, number, 0, 0))
        os.close(number)


def _ruleset(version: int) -> Ruleset:
    files = EXECUTE | WRITE_FILE | MAKE_AND_REMOVE | (TRUNCATE if version >= 3 else 0)
    return Ruleset(files, TCP if version >= 4 else 0, SCOPED if version >= 6 else 0)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    libc.syscall.argtypes = (ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
