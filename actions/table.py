"""Every action that runs here, by its word in the rules: adding one touches its file and one line of this table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.add_header import AddHeader
from actions.bounce import Bounce, OrganizationalDomain, Relay
from actions.buckets import Buckets
from actions.content_links import ContentLinks
from actions.deliver import Deliver
from actions.disk import Disk
from actions.drop import Drop
from actions.envelope_encryption import Encryption
from actions.forward import Forward
from actions.function_answers import RemoteFunctions
from actions.function_host import FunctionHost
from actions.http_port import HttpClient
from actions.invoke_function import InvokeFunction
from actions.object_store import ObjectStore
from actions.onward import Onward
from actions.plugin import ActionPlugin, Guarded, PluginPorts
from actions.protocol import Action, Context
from actions.quarantine import Quarantine
from actions.s3 import S3, SIZE_LIMIT
from actions.sns import Sns
from actions.stop import Stop
from actions.topic_notification import TYPE as TOPIC_NOTIFICATION
from actions.topic_notification import TopicNotification
from actions.topic_publishing import TopicPublishing
from actions.webhook import Webhook
from mail.errors import Permanent
from mail.outcome import Outcome, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What actions need of the world. `base` is where relative disk paths start; `scratch` holds a function's message file.
    `remote_functions` are called for targets that begin with their key: `arn`, `http`, `https`.

    The owner closes `store`, `functions` and `http`, after the runner has drained.
    """

    store: ObjectStore
    http: HttpClient
    functions: FunctionHost
    remote_functions: Mapping[str, RemoteFunctions] = field(default_factory=dict)
    relay: Relay | None
    hostname: str
    organizational_domain: OrganizationalDomain
    onward: Onward
    topics: TopicPublishing
    links: ContentLinks
    encryption: Encryption | None = None
    buckets: Buckets | None = None
    s3_size_limit: int = SIZE_LIMIT
    base: Path = Path()
    scratch: Path | None = None
    plugins: Mapping[str, ActionPlugin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionKind:
    """One action: what it does, as documentation prints it, and how it is made."""

    description: str
    make: Callable[[Ports], Action]


def _bounce(ports: Ports) -> Bounce:
    return Bounce(ports.relay, hostname=ports.hostname, organizational_domain=ports.organizational_domain)


ACTIONS: dict[str, ActionKind] = {
    "add_header": ActionKind(
        description="Puts a header field above the message, for every later step.", make=lambda _: AddHeader()
    ),
    "bounce": ActionKind(
        description="Refuses the message in the session, or by a delivery status notification to a vouched sender.",
        make=_bounce,
    ),
    "deliver": ActionKind(
        description="Delivers to the message's own recipients: by LMTP, by SMTP or into a Maildir.",
        make=lambda ports: Deliver(ports.onward, ports.base),
    ),
    "disk": ActionKind(
        description="Stores the message as a file, in SES's object layout.",
        make=lambda ports: Disk(ports.store, ports.base, ports.encryption),
    ),
    "drop": ActionKind(description="Lets the message go on purpose.", make=lambda _: Drop()),
    "forward": ActionKind(
        description="Sends the message on to other addresses, through the relay.",
        make=lambda ports: Forward(ports.onward),
    ),
    "lambda": ActionKind(
        description="Calls a function with SES's event; a synchronous one decides how the rule set goes on.",
        make=lambda ports: InvokeFunction(
            ports.functions, ports.scratch, base=ports.base, elsewhere=ports.remote_functions
        ),
    ),
    "sns": ActionKind(
        description="Publishes the message to a topic, in SES's notification with its content.",
        make=lambda ports: Sns(ports.topics, _bounce(ports), ports.links),
    ),
    "s3": ActionKind(
        description="Stores the message in a bucket, in SES's object layout.",
        make=lambda ports: S3(ports.buckets, ports.encryption, size_limit=ports.s3_size_limit),
    ),
    "quarantine": ActionKind(
        description="Keeps the message apart until somebody releases or deletes it.", make=lambda _: Quarantine()
    ),
    "stop": ActionKind(
        description="Ends the evaluation, for the message or for this rule's recipients.", make=lambda _: Stop()
    ),
    "webhook": ActionKind(
        description="Posts the message to a URL, in the form of Gatepost, SES, SendGrid, Mailgun or Postmark, or raw; signed.",
        make=lambda ports: Webhook(ports.http, ports.links),
    ),
}


def make_actions(ports: Ports) -> dict[str, Action]:
    """All actions, ready to run, by the word that the rules use, and the one that only other actions start.

    Raises `Permanent` for a plug-in that cannot be made.
    """
    made: dict[str, Action] = {name: kind.make(ports) for name, kind in ACTIONS.items()}
    made[TOPIC_NOTIFICATION] = TopicNotification(ports.topics)
    return {**made, **{word: _made(word, plugin, ports) for word, plugin in ports.plugins.items()}}


def _made(word: str, plugin: ActionPlugin, ports: Ports) -> Action:
    try:
        return Guarded(word, plugin.make(PluginPorts(http=ports.http, base=ports.base, hostname=ports.hostname)))
    except Exception as error:  # another's code, at the start: it says that it cannot work here
        raise Permanent(f"the plug-in {word} cannot be made: {type(error).__name__}: {error}") from error


class Unmapped:
    """Stands for every action that has no target here, such as one that SES's JSON brought along."""

    def destination(self, parameters: Mapping[str, Any]) -> str:  # noqa: ARG002
        return ""

    async def run(self, context: Context) -> Outcome:
        return Outcome(result=Result.UNMAPPED, detail=f"{context.step.spec.type} has no local target")
