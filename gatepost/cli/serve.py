"""`gatepost serve`: run the gateway until SIGINT or SIGTERM."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gatepost.cli.common import Exit, config_options, settings_of
from gatepost.settings import MOST_WORKERS, Settings
from mail.errors import Malformed


@click.command()
@click.option(
    "--rules", type=click.Path(path_type=Path, dir_okay=False), help="Rules file; the setting `rules` otherwise."
)
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Where to take mail; port 0 lets the system choose. May be repeated.",
)
@click.option(
    "--dns", type=click.Path(path_type=Path, dir_okay=False), help="Answer from this zone file instead of DNS."
)
@click.option(
    "--proxy-from", multiple=True, metavar="CIDR", help="Networks whose connections begin with a PROXY header."
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the bound addresses there, as JSON, when ready.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, MOST_WORKERS),
    help="Processes that take mail; 0: one for each core that we may use. The setting `workers` otherwise.",
)
@click.option("--quiet", is_flag=True, help="No line for each message.")
@config_options
def command(config: Path | None, data: Path | None, ready_file: Path | None, *, quiet: bool, **given: Any) -> int:
    """Run the gateway: take mail, judge it, walk the rules, run the actions.

    Without any file it listens on 127.0.0.1:2525, takes mail for every recipient and stores it under ./var/mail. SIGINT and SIGTERM
    end it cleanly, a second one at once; SIGHUP, or a changed file, loads settings, certificates and rules again.
    """
    from gatepost.serve import run  # noqa: PLC0415 - `gatepost serve --help` needs none of it

    def read() -> Settings:
        return _with_options(settings_of(config, data), **given)

    def read_again() -> Settings | None:
        try:
            return read()
        except Exit:
            return None

    return run(read(), again=read_again, ready_file=ready_file, quiet=quiet)


def _with_options(
    settings: Settings,
    rules: Path | None,
    listen: tuple[str, ...],
    dns: Path | None,
    proxy_from: tuple[str, ...],
    workers: int | None = None,
) -> Settings:
    from gatepost.settings_values import parse_address  # noqa: PLC0415 - as above
    from rules.schema_addresses import cidr_of  # noqa: PLC0415 - as above

    for address in listen:
        if parse_address(address) is None:
            raise click.BadParameter(f"{address} is not HOST:PORT, as in 127.0.0.1:2525", param_hint="--listen")
    networks = []
    for text in proxy_from:
        try:
            networks.append(cidr_of(text))
        except Malformed as error:
            raise click.BadParameter(f"{text}: {error}", param_hint="--proxy-from") from None
    changes: dict[str, object] = {}
    if rules is not None:
        changes["rules"] = rules
    if listen:
        changes["listen"] = listen
    if dns is not None:
        changes["dns_zone"] = dns
    if networks:
        changes["proxy_from"] = tuple(networks)
    if workers is not None:
        changes["workers"] = workers
    return replace(settings, **changes)  # type: ignore[arg-type]
