"""A machine that is not Linux, as far as a Python program can tell: loaded by every process of `test_not_on_linux.py`.

Names that macOS has not are gone, /proc is not there, a limit of address space is refused, and F_FULLFSYNC is known. What cannot be
imitated is the kernel. Libraries choose their system when they are loaded, so all that we use are loaded before.
"""

import asyncio  # noqa: F401
import ctypes.util  # noqa: F401
import fcntl
import os
import pathlib
import resource
import select
import socket
import sqlite3  # noqa: F401
import subprocess  # noqa: F401
import sys
import urllib.request  # noqa: F401

import aiodns  # noqa: F401
import aiohttp  # noqa: F401
import aiosmtpd.smtp  # noqa: F401
import aiosmtplib  # noqa: F401
import boto3  # noqa: F401
import dns.resolver  # noqa: F401
import uvloop  # noqa: F401

ABSENT = {
    os: "posix_fallocate posix_fadvise sched_getaffinity fdatasync memfd_create eventfd pidfd_open splice O_PATH O_TMPFILE",
    socket: "SO_PEERCRED SOCK_NONBLOCK SOCK_CLOEXEC MSG_NOSIGNAL MSG_ERRQUEUE",
    select: "epoll",
    resource: "prlimit",
}
FULL = 51
control, listing, limiting, reading = fcntl.fcntl, os.listdir, resource.setrlimit, pathlib.Path.read_text


def full_sync(descriptor, command, *more):
    if command != FULL:
        return control(descriptor, command, *more)
    with open(os.environ["FULL_SYNCS"], "ab") as count:
        count.write(b".")
    os.fsync(descriptor)
    return 0


def without_proc(real):
    def found(path=".", *more, **named):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path, *more, **named)

    return found


def limit(what, values):
    if what == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")
    limiting(what, values)


for module, names in ABSENT.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
fcntl.F_FULLFSYNC, fcntl.fcntl = FULL, full_sync
os.listdir, pathlib.Path.read_text = without_proc(listing), without_proc(reading)
resource.setrlimit = limit
sys.platform = "darwin"
