"""When a certificate ends is read from its file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mail.errors import Permanent
from smtp.tls import expires_at, self_signed

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_our_own_certificate_ends_in_ten_years(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    path.write_bytes(self_signed("mx.example.com", NOW))
    assert expires_at(path) == NOW + timedelta(days=3650)


def test_a_file_without_a_certificate_is_permanent(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("not a certificate")
    for name in ("key.pem", "absent.pem"):
        with pytest.raises(Permanent, match=name):
            expires_at(tmp_path / name)
