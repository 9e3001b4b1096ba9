"""Root opens the ports, a user with fewer rights does everything else (settings `user` and `group`).

*Failure.* `Permanent`, in words that say what to change.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from gatepost.settings import Settings
from mail.errors import Permanent


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom to become; `groups` are the supplementary ones."""

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def identity_of(settings: Settings) -> Identity | None:
    """None: we stay who we are. Only root may become somebody else."""
    if not settings.user:
        if settings.group:
            raise Permanent(f"the setting group is {settings.group}, but there is no setting user")
        return None
    try:
        user = pwd.getpwnam(settings.user)
        gid = grp.getgrnam(settings.group).gr_gid if settings.group else user.pw_gid
    except KeyError as error:
        raise Permanent(f"the settings name somebody who is not here: {error.args[0]}") from None
    if os.geteuid() != 0:
        if os.geteuid() == user.pw_uid:
            return None
        raise Permanent(
            f"only root can become {settings.user}: start as root or as {settings.user}, or leave the setting user out"
        )
    groups = (gid,) if settings.group else tuple(os.getgrouplist(user.pw_name, gid))
    return Identity(user=user.pw_name, uid=user.pw_uid, gid=gid, groups=groups)


def make_state_directory(path: Path, identity: Identity | None) -> None:
    """Make it, 0700, as the user's own; one that is there is left as it is."""
    if path.is_dir():
        return
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Permanent(
            f"the state directory {path} cannot be made: {error.strerror}; choose one with --data"
        ) from None
    if identity is not None:
        os.chown(path, identity.uid, identity.gid)


def become(identity: Identity) -> None:
    """For good: neither we nor a worker can go back."""
    os.setgroups(identity.groups)
    os.setgid(identity.gid)
    os.setuid(identity.uid)


def check_state_directory(path: Path) -> None:
    """Whether who we are now may work in it."""
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        name = pwd.getpwuid(os.geteuid()).pw_name
        raise Permanent(f"{path} cannot be used by {name}: chown -R {name} {path}")
