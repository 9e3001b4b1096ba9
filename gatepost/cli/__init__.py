"""The command line. One module for each command, imported when it is used: `gatepost --help` loads none of them."""

import importlib
import sys
from typing import Any

import click

from gatepost.cli.exits import FAILED, USAGE
from gatepost.cli.layout import colours, visible
from gatepost.version import VERSION
from mail.errors import GatepostError, Misuse

# Command, its module in this package, and the sentence that `gatepost --help` shows.
COMMANDS = {
    "serve": "Run the gateway: an MX on 127.0.0.1:2525 with state in ./var, unless told otherwise.",
    "check": "Validate settings and rules; every error at once, with its place and what to write instead.",
    "replay": "Judge mail files, walk the rules and say what would happen; nothing is sent or stored.",
    "explain": "Say why a message went where it went: every rule, matched or not, with the values it saw.",
    "find": "Find messages and refused sessions: where is the mail from X to Y?",
    "show": "Show one message: its receipt, headers, bytes or one part.",
    "wait": "Wait until the actions of messages have ended.",
    "status": "Say in one line how the gateway stands; exit 0, 1 or 2 as a Nagios plugin.",
    "top": "Show the gateway at work, drawn anew every few seconds.",
    "trace": "Show the dialogue of sessions while it is held.",
    "rules": "List the versions of the rules, activate one, or go back to the one before.",
    "keys": "Make, list, rotate, export and shred the keys under which messages are stored encrypted.",
    "decrypt": "Write the plain message of an encrypted object, from a file, a bucket or by its id.",
    "quarantine": "List, show, release or delete messages that rules hold.",
    "queue": "List, retry, cancel, park or release the jobs that are still to be done.",
    "backup": "Copy the whole state, consistent while the server runs, with a digest of every file.",
    "restore": "Put a backup into an empty state directory, or check that one is whole.",
    "erase": "Erase personal data: messages by id, or everything that names an address.",
    "doctor": "Say what is wrong with this machine as a mail server, and how to mend it.",
    "train": "Teach the built-in spam engine from directories of labelled mail.",
    "score": "Say how often a spam engine agrees with labelled mail: precision, recall and a curve.",
}


class Commands(click.Group):
    """Finds a command's module by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"gatepost.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 ok, 1 findings or failed expectations, 2 usage, 3 target failed, 4 timeout.",
)
@click.version_option(VERSION, "--version", prog_name="gatepost")
def gatepost() -> None:
    """Gatepost is a mail gateway that does for your domain, on your machines, what Amazon SES email receiving does.

    Try it:  `gatepost serve` in one terminal, and in another send a mail to 127.0.0.1:2525 with any SMTP client.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the program and leave with its exit code."""
    try:
        result: Any = gatepost.main(args=arguments, prog_name="gatepost", standalone_mode=False, color=colours())
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        # `gatepost find | head`: the reader has seen enough, which is no failure of ours.
        sys.stderr.close()
        sys.exit(0)
    except Misuse:
        raise  # ours, as all that is not named here: it ends with a traceback
    except (GatepostError, OSError) as error:
        # The world or what it gave us failed, and the text says how.
        raise SystemExit(_failed(str(error))) from None
    sys.exit(result if isinstance(result, int) else 0)


def _failed(said: str) -> int:
    click.echo(f"{click.style('error:', fg='red')} {visible(said)}", err=True)
    return FAILED
