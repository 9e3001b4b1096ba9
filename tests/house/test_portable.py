"""What only Linux has is used in named places, each of which knows another way; nothing is called durable but by one function."""

from __future__ import annotations

import ast

from house_tree import shown, sources

# The names, and the files that look first whether they are there.
GUARDED: dict[str, set[str]] = {
    "os.copy_file_range": set(),
    "os.eventfd": set(),
    "os.fdatasync": set(),
    "os.fsync": {"spool/durable.py"},  # which macOS needs something stronger for
    "os.memfd_create": set(),
    "os.pidfd_open": set(),
    "os.posix_fadvise": set(),
    "os.posix_fallocate": {"spool/ballast.py"},
    "os.sched_getaffinity": {"gatepost/serve.py"},
    "os.splice": set(),
    "os.O_PATH": set(),
    "os.O_TMPFILE": set(),
    "resource.prlimit": set(),
    "select.epoll": set(),
    "socket.MSG_NOSIGNAL": set(),
    "socket.SO_PEERCRED": {"spool/control.py"},
    "socket.SO_REUSEPORT": {"gatepost/listening.py"},
    "socket.SOCK_CLOEXEC": set(),
    "socket.SOCK_NONBLOCK": set(),
}


def test_what_only_linux_has_is_used_where_that_is_known() -> None:
    used = {
        (f"{node.value.id}.{node.attr}", shown(path))
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    found = {(name, path) for name, path in used if name in GUARDED}
    assert found == {(name, path) for name, paths in GUARDED.items() for path in paths}
