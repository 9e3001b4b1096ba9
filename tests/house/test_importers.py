"""A third-party name has one importer, two at most: whoever replaces the library, or mends its defect, has one file to open."""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatch

import pytest
from house_tree import FLOORS, imports, project, sources

# The import name: the files that may say it. A pattern stands for the one part that is built on it throughout.
IMPORTERS = {
    "aiodns": ["verdicts/dns_backends.py"],
    "aiohttp": ["gatepost/http_client.py", "gatepost/http_server.py", "gatepost/s3_endpoint_server.py"],
    "aiosmtpd": ["smtp/server.py"],
    "aiosmtplib": ["smtp/client.py"],
    "authres": ["verdicts/auth_results.py"],
    "boto3": ["gatepost/aws.py"],
    "botocore": ["gatepost/aws.py"],
    "clamd": ["verdicts/clamd_scanner.py"],
    "click": ["gatepost/*"],  # the command line, and what `serve` says on a terminal
    "cryptography": [
        "verdicts/dkim_key.py",
        "smtp/tls.py",
        "actions/ciphers.py",
        "gatepost/sns_signer.py",
        "outbound/signing_key.py",
    ],
    "dkim": ["verdicts/check_dkim.py", "verdicts/check_arc.py", "outbound/sign.py"],
    "dns": ["verdicts/dns_backends.py"],
    "idna": ["mail/address.py"],
    "nacl": ["verdicts/dkim_key.py"],
    "publicsuffixlist": ["verdicts/alignment.py"],
    "re2": ["rules/patterns.py"],
    "spf": ["verdicts/check_spf.py"],
    "srslib": ["actions/srs.py"],
    "sqlite3": ["spool/*"],
    "uvloop": ["gatepost/worker.py"],
    "yaml": ["rules/load_yaml.py"],
}
# One importer in each of the packages that may not know each other, or one for each thing it does (dkim: DKIM, ARC, signing).
MORE = {"aiohttp": 3, "cryptography": 5, "dkim": 3}
ANYWHERE = {"msgspec"}  # the types are made of it
NOT_IMPORTED = {"setuptools"}  # clamd needs its pkg_resources
# The distributions whose import name is another.
IMPORTED_AS = {
    "dkimpy": "dkim",
    "dnspython": "dns",
    "google-re2": "re2",
    "pynacl": "nacl",
    "pyspf": "spf",
    "pyyaml": "yaml",
}


def outside(top: str) -> bool:
    """Whether a name is a library's: third party, or one of the standard library that has a row above."""
    return top in IMPORTERS or (top not in sys.stdlib_module_names and top not in FLOORS and top != "")


def test_a_library_is_imported_only_where_the_table_says() -> None:
    wrong = [
        str(found)
        for path in sources()
        for found in imports(path)
        if outside(found.top)
        and found.top not in ANYWHERE
        and not any(fnmatch(found.path, pattern) for pattern in IMPORTERS.get(found.top, []))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", IMPORTERS)
def test_a_library_has_two_importers_at_most(name: str) -> None:
    assert 1 <= len(IMPORTERS[name]) <= MORE.get(name, 2)


def test_every_dependency_has_a_row() -> None:
    names = {re.split(r"[<>=!;~ \[]", line, maxsplit=1)[0].lower() for line in project()["project"]["dependencies"]}
    rows = set(IMPORTERS) | ANYWHERE | NOT_IMPORTED
    assert sorted(name for name in names if IMPORTED_AS.get(name, name.replace("-", "_")) not in rows) == []
