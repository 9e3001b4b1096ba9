"""Root's rights are given up for good, and what cannot work is said before mail comes."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from gatepost.privileges import check_state_directory, identity_of, make_state_directory
from gatepost.settings import Settings
from mail.errors import Permanent

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = replace(Settings(), user="nobody")


def test_without_a_user_we_stay_who_we_are():
    assert identity_of(Settings()) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (replace(Settings(), user="no-such-user"), "no-such-user"),
        (replace(NOBODY, group="no-such-group"), "no-such-group"),
        (replace(Settings(), group="nogroup"), "there is no setting user"),
    ],
)
def test_a_name_that_nobody_has_is_said(settings, said):
    with pytest.raises(Permanent, match=said):
        identity_of(settings)


def test_who_is_not_root_cannot_become_somebody_else(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(Permanent, match="only root can become nobody"):
        identity_of(NOBODY)


BECOME = """\
import os, socket, sys
from dataclasses import replace
from pathlib import Path
from gatepost.privileges import become, check_state_directory, identity_of, make_state_directory
from gatepost.settings import Settings
identity = identity_of(replace(Settings(), user="nobody"))
state = Path(sys.argv[1])
make_state_directory(state, identity)
become(identity)
check_state_directory(state)
(state / "file").write_text("ours")
print(os.getuid() == os.geteuid() == identity.uid, os.getgid() == identity.gid, 0 in os.getgroups())
for back in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0)):
    try:
        back()
    except PermissionError:
        print("for good")
"""


@root_only
def test_root_is_given_up_for_good_and_the_state_directory_is_the_users():
    with tempfile.TemporaryDirectory() as directory:  # pytest's own directories are closed to everybody else
        os.chmod(directory, 0o755)
        state = Path(directory) / "var"
        done = subprocess.run([sys.executable, "-c", BECOME, str(state)], capture_output=True, text=True, check=False)
        assert done.stdout.split("\n")[:4] == ["True True False", "for good", "for good", "for good"], done.stderr
        assert state.stat().st_mode & 0o777 == 0o700


@root_only
def test_a_state_directory_that_is_there_is_left_as_it_is(tmp_path):
    (tmp_path / "var").mkdir(mode=0o750)
    make_state_directory(tmp_path / "var", identity_of(NOBODY))
    assert ((tmp_path / "var").stat().st_uid, (tmp_path / "var").stat().st_mode & 0o777) == (0, 0o750)


def test_a_state_directory_that_cannot_be_used_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(Permanent, match=r"chown -R \w+ " + str(tmp_path)):
        check_state_directory(Path(tmp_path))
