"""erase through a running server with several workers: what it forgets is in no file of any shard, and mail goes on."""

from __future__ import annotations

from pathlib import Path

from gateway_process import Start
from sample_gateway import ZONE, small_settings

RULES = "version: 1\ndomains: [example.com]\nrule_sets: {default: [{name: all, actions: [{disk: {path: mail}}]}]}\n"
SECRET = b"only-ann-knows"


def mail(sender: str, secret: bytes, octets: int) -> bytes:
    return b"From: %b\r\nSubject: %b\r\n\r\n" % (sender.encode(), secret) + (secret + b"\r\n") * (octets // len(secret))


def octets_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_a_person_is_forgotten_in_every_shard_while_mail_comes(gateway: Start, tmp_path: Path) -> None:
    config = small_settings(tmp_path, workers="2", dns=f"{{zone: {ZONE}}}")
    live = gateway(rules=RULES, config=config)
    ann, other = "ann@persons.example", "bob@persons.example"
    sizes = (100, 9_000, 60_000, 300_000)
    gone = [live.deliver(mail(ann, SECRET, octets), mail_from=ann, rcpt_to=["x@example.com"]) for octets in sizes * 4]
    kept = [
        live.deliver(mail(other, b"public", octets), mail_from=other, rcpt_to=["x@example.com"]) for octets in sizes * 2
    ]
    with live.connected() as wire:
        assert wire.transaction(ann, ["x@elsewhere.example"], b"").code == 550
    live.wait_done(*gone, *kept)
    assert SECRET in octets_of(live.data / "shards")

    done = live.cli("erase", "--address", ann, "--stored", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{len(gone) + 1} transactions erased, {len(gone)} files deleted." in done.stdout.decode()
    left = octets_of(live.data)
    assert SECRET not in left
    assert ann.encode() not in left
    said = live.output.partition("erased at an operator's word")[2]
    assert all(message_id in said for message_id in gone)
    assert ann not in said
    rows = live.objects("find", "--limit", "100")
    assert sum(row["detail"] == "erased" for row in rows) == len(gone) + 1
    for message_id, octets in zip(kept, sizes * 2, strict=True):
        assert live.cli("show", message_id, "--raw").stdout == mail(other, b"public", octets)
    live.wait_done(live.deliver(mail(ann, b"again", 100), mail_from=ann, rcpt_to=["x@example.com"]))
