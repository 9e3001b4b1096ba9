"""A function's process: the program that the host runs by path. It imports nothing of ours and knows only its pipes.

Frames on stdin and stdout are four octets of length, big-endian, and JSON. The first frame is `{path, packages, memory_octets}`,
every other a call; each call is answered by one frame: `{result}`, `{error: {type, message}}`, or `{stale: true}` when a file that
was loaded before has changed, after which the process ends and the host asks a new one. User code never sees the pipes:
descriptor 0 becomes /dev/null, 1 and 2 the output pipe. A fork of the process that comes back from user code ends silently.
"""

import contextlib
import faulthandler
import importlib
import importlib.machinery
import io
import json
import os
import resource
import struct
import sys
import time
import types
from typing import Any, BinaryIO

_GRACE_SECONDS = 5.0


class _Refused(Exception):
    """The function cannot be called at all; its first argument is AWS's error type."""


class _Lent:
    """Finds what AWS's own runtime brings along, the SDK: by name, behind everything of the user's and of Python's.

    A package of these names in the user's directories comes first, as it does there.
    """

    def __init__(self, packages: dict[str, str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> "importlib.machinery.ModuleSpec | None":
        if path is not None or name not in self._packages:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [self._packages[name]], target)


def main() -> None:
    requests, replies = _take_pipes()
    settings = _read(requests)
    if settings is None:
        return
    path = [os.path.realpath(entry) for entry in settings["path"]]
    sys.path[:0] = path
    sys.meta_path.append(_Lent(settings["packages"]))
    # A .pyc is trusted by whole seconds and size: a quick edit would run the old code.
    sys.dont_write_bytecode = True
    _limit_memory(settings["memory_octets"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    process = os.getpid()
    loaded: dict[str, tuple[int, int]] = {}
    while (call := _read(requests)) is not None:
        if any(_mark(file) != mark for file, mark in loaded.items()):
            _write(replies, {"stale": True})
            return
        # The host kills this process at the limit; this is for a host that died first.
        faulthandler.dump_traceback_later(call["timeout_seconds"] + _GRACE_SECONDS, exit=True, file=2)
        reply = _answer(call, path)
        if os.getpid() != process:
            os._exit(0)  # before anything that waits for a thread, which no fork has
        faulthandler.cancel_dump_traceback_later()
        _flush()
        loaded.update(_loaded_files(path, loaded))
        _write(replies, reply)


def _limit_memory(octets: int) -> None:
    """macOS maps more than any useful limit from the start, and refuses one; there functions have none."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (octets, octets))
    except (ValueError, OSError):
        if sys.platform == "linux":
            raise


def _close_inherited() -> None:
    """Every descriptor but the three pipes: uvloop, for one, starts processes with all that are inheritable."""
    try:
        names = os.listdir("/proc/self/fd")
    except FileNotFoundError:
        names = os.listdir("/dev/fd")  # macOS, the BSDs
    found = [int(name) for name in names]
    for descriptor in found:
        if descriptor > 2:
            # The listing's own descriptor is gone by now.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    _close_inherited()
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb", closefd=False))
    return requests, replies


def _read(stream: BinaryIO) -> Any:
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    body = stream.read(length)
    return json.loads(body) if len(body) == length else None


def _write(stream: BinaryIO, value: Any) -> None:
    body = json.dumps(value).encode("ascii")
    rest = memoryview(struct.pack(">I", len(body)) + body)
    while rest:
        rest = rest[stream.write(rest) :]


def _answer(call: dict[str, Any], path: list[str]) -> dict[str, Any]:
    try:
        function = _load(call["module"], call["function"], path)
        result = function(call["event"], _context(call))
        try:
            json.dumps(result)
        except (TypeError, ValueError, RecursionError) as error:
            raise _Refused("Runtime.MarshalError", f"the result is no JSON: {error}") from error
        return {"result": result}
    except _Refused as error:
        return {"error": {"type": error.args[0], "message": error.args[1]}}
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        return {"error": {"type": _type_name(error), "message": _text(error)}}


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)[:4000].encode("utf-8", "replace").decode()
    except Exception:
        return "its message cannot be shown"


def _load(module: str, function: str, path: list[str]) -> Any:
    """The function. Its top-level module must lie in the user's directories: `python:os:system` is refused, and not imported."""
    top = module.partition(".")[0]
    importlib.invalidate_caches()
    spec = importlib.machinery.PathFinder.find_spec(top, path)
    if spec is None:
        raise _Refused("Runtime.ImportModuleError", f"no module {top!r} in functions.path")
    known = sys.modules.get(top)
    if known is not None and _origin(known) not in (spec.origin, *(spec.submodule_search_locations or ())):
        raise _Refused(
            "Runtime.ImportModuleError", f"module {top!r} of functions.path is hidden by one of Python's own"
        )
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _Refused("Runtime.ImportModuleError", str(error)) from error
    for name in function.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise _Refused("Runtime.HandlerNotFound", f"{module} has no function {function}")
    return found


def _origin(module: types.ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return str(file) if file else str(next(iter(getattr(module, "__path__", ())), ""))


def _context(call: dict[str, Any]) -> types.SimpleNamespace:
    """The object that AWS gives to Python handlers, with `gatepost` added."""
    deadline = time.monotonic() + call["timeout_seconds"]
    context = types.SimpleNamespace(**call["context"])
    context.gatepost = types.SimpleNamespace(**call["gatepost"])
    context.get_remaining_time_in_millis = lambda: max(0, int((deadline - time.monotonic()) * 1000))
    context.log = sys.stdout.write
    context.identity = None
    context.client_context = None
    return context


def _loaded_files(path: list[str], known: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The user's modules that are loaded and not yet known, with what changes when their file does."""
    roots = tuple(entry.rstrip("/") + "/" for entry in path)
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {file: _mark(file) for file in files if file and file.startswith(roots) and file not in known}


def _mark(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # User code may have closed or replaced it; its output is its own affair.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


if __name__ == "__main__":
    main()
