"""Says pip's index, proxy and certificate settings in uv's words, so that a machine on which pip works needs no second set.

uv reads neither pip's files nor its variables. Whatever of uv's own the caller has set is kept. Standard library
only: it runs before there is an environment.
"""

from __future__ import annotations

import ast
import ssl
from collections.abc import Mapping
from pathlib import Path

# Later wins, as pip has it: its files, their section for `pip install`, the environment.
SECTIONS = ("global", "install", ":env:")


def read_settings(listing: str) -> dict[str, str]:
    """The settings in force, by pip's option name, from what `pip config list` prints (`section.option='value'` a line)."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        section, dot, option = key.strip().partition(".")
        if not (equals and dot and section in found):
            continue
        try:
            found[section][option.lstrip(".").replace("_", "-")] = str(ast.literal_eval(value.strip()))
        except (SyntaxError, ValueError):
            continue  # a line of pip's that is not a setting, such as a warning
    return {option: value for section in SECTIONS for option, value in found[section].items()}


def is_on(value: str) -> bool:
    """Whether pip takes `value` as true (distutils' words)."""
    return value.strip().lower() in ("1", "y", "yes", "t", "true", "on")


def uv_environment(
    settings: Mapping[str, str], environment: Mapping[str, str], only_main_index: bool = False
) -> dict[str, str]:
    """The variables to add to `environment` for uv. `only_main_index` leaves out extra indexes and local wheels, for locking."""
    added: dict[str, str] = {}

    def say(option: str, *variables: str, separator: str = " ") -> None:
        if settings.get(option) and not any(variable in environment for variable in variables):
            added[variables[0]] = separator.join(settings[option].split())

    say("index-url", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
    if not only_main_index:
        say("extra-index-url", "UV_INDEX", "UV_EXTRA_INDEX_URL")
        say("find-links", "UV_FIND_LINKS", separator=",")
    say("trusted-host", "UV_INSECURE_HOST")
    say("client-cert", "SSL_CLIENT_CERT")
    say("keyring-provider", "UV_KEYRING_PROVIDER")
    say("timeout", "UV_HTTP_TIMEOUT")
    say("default-timeout", "UV_HTTP_TIMEOUT")
    say("proxy", "HTTPS_PROXY", "https_proxy")
    say("proxy", "HTTP_PROXY", "http_proxy")
    # pip's --cert wins over SSL_CERT_FILE for pip, so it does here.
    if settings.get("cert"):
        bundle = Path(settings["cert"]).expanduser()
        added["SSL_CERT_DIR" if bundle.is_dir() else "SSL_CERT_FILE"] = str(bundle)
    elif (
        not {"SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS"} & set(environment)
        and has_system_certificates()
    ):
        added["UV_SYSTEM_CERTS"] = (
            "1"  # Debian's pip trusts the system's authorities; uv alone trusts only those it brings
        )
    # pip takes a version from any index that has it, uv from the first that knows the name. The hashes make pip's way safe.
    if "UV_INDEX_STRATEGY" not in environment:
        added["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return added


def uv_flags(settings: Mapping[str, str]) -> list[str]:
    """What uv takes on the command line only."""
    return ["--no-index"] if is_on(settings.get("no-index", "")) else []


def has_system_certificates() -> bool:
    """Whether there is a bundle to trust at all: a bare image may have none, and then uv's own is better than nothing."""
    paths = ssl.get_default_verify_paths()
    bundles = [
        paths.cafile,
        paths.openssl_cafile,
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ]
    return any(name is not None and Path(name).is_file() for name in bundles)
