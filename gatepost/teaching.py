"""What the engine `builtin` is taught: whole corpora at once, and single messages by an operator's word.

A message that is taught alone is kept in `taught/spam` or `taught/ham` of the state directory: by its digest, so that it counts
once, and for `gatepost train`, which would forget it otherwise. Whoever deletes the file takes it back at the next training.

*Failure.* OSError of the file system; `Permanent` for a model that cannot be read, with what to do.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from gatepost.corpus import LABELS
from gatepost.kept_file import replace_whole
from gatepost.scanners import model_path
from gatepost.settings import Settings
from verdicts.token_model import TokenModel, Trained, encode
from verdicts.token_training import with_one


def taught_path(settings: Settings, *, is_spam: bool) -> Path:
    return settings.data / "taught" / next(name for name, spam in LABELS.items() if spam is is_spam)


def teach(settings: Settings, raw: bytes, *, is_spam: bool) -> bool:
    """Count one message, as on the wire. False: it was taught already, and nothing is changed."""
    directory = taught_path(settings, is_spam=is_spam)
    for each in (directory.parent.parent, directory.parent, directory):  # mkdir gives its mode to the last one alone
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = directory / f"{sha256(raw).hexdigest()}.eml"
    with alone(settings):
        if copy.exists():
            return False
        path = model_path(settings)
        model = TokenModel(path) if path.exists() else None
        try:
            write_model(path, with_one(model, raw, is_spam=is_spam))
        finally:
            if model is not None:
                model.close()
        replace_whole(copy, raw)
    return True


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Nobody else changes the model meanwhile."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(settings.data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_model(path: Path, trained: Trained) -> str:
    """Write the model whole or not at all; a reader has the old one or the new one. Returns its version."""
    replace_whole(path, encode(trained))
    model = TokenModel(path)
    model.close()
    return model.version
