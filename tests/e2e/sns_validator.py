"""A validator of SNS messages as consumers have it, written from AWS's page "Verifying the signatures of Amazon SNS messages".

It knows nothing of Gatepost but a message: it pins the scheme and host of the certificate's URL, fetches the certificate, builds
the string to sign in the documented order and checks the signature with OpenSSL's library.
"""

from __future__ import annotations

import base64
import re
import urllib.request
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ALGORITHMS = {"1": hashes.SHA1(), "2": hashes.SHA256()}
CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-zA-Z]{16,}\.pem")
REQUIRED = ("Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL")


class Invalid(Exception):
    """The message is not what its topic sent."""


def string_to_sign(message: dict[str, str]) -> str:
    if message["Type"] == "Notification":
        names = ["Message", "MessageId"]
        if "Subject" in message:
            names.append("Subject")
        names += ["Timestamp", "TopicArn", "Type"]
    elif message["Type"] in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    else:
        raise Invalid(f"unknown type {message['Type']}")
    return "".join(f"{name}\n{message[name]}\n" for name in names)


def validate(message: dict[str, str], *, host: str) -> None:
    """Raises `Invalid`. `host` is the one that the consumer trusts for certificates."""
    missing = [name for name in REQUIRED if not isinstance(message.get(name), str)]
    if missing:
        raise Invalid(f"lacks {missing}")
    url = urlsplit(message["SigningCertURL"])
    if url.netloc != host or not CERTIFICATE.fullmatch(url.path) or url.query:
        raise Invalid(f"certificate from {message['SigningCertURL']}")
    with urllib.request.urlopen(message["SigningCertURL"], timeout=10) as reply:
        certificate = x509.load_pem_x509_certificate(reply.read())
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or message["SignatureVersion"] not in ALGORITHMS:
        raise Invalid("no RSA key, or a version of another day")
    text = string_to_sign(message).encode()
    try:
        key.verify(
            base64.b64decode(message["Signature"], validate=True),
            text,
            padding.PKCS1v15(),
            ALGORITHMS[message["SignatureVersion"]],
        )
    except Exception as error:
        raise Invalid("the signature is of something else") from error
