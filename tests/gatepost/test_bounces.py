"""SendBounce from the spool: the message that is bounced, and what may be sent about it."""

from __future__ import annotations

from acting import ID, House, Told, book_of, rule, webhook

from actions.bounce_request import bounce_request
from gatepost import wire
from gatepost.bounces import bounce_sending_of, original_of
from gatepost.settings import Settings
from mail.ids import message_id
from spool.ports import MessageState


async def test_a_message_of_the_spool_is_bounced_with_its_header_as_actions_saw_it() -> None:
    house = House(book_of(rule("all", webhook())), {"webhook": Told()}).start()
    await house.deliver()
    settings = Settings(hostname="mx.example.com")
    found = await original_of(house.spool.message, wire.prepend_of(settings), ID)
    assert found is not None
    assert not found.refused
    assert found.header.startswith(b"Return-Path: <alice@sender.example>\r\nReceived: from mx.sender.example")
    assert found.header.endswith(b"Message-ID: <1@sender.example>\r\n\r\n")
    sending = bounce_sending_of(settings, house.book, None, "mx.example.com")
    assert sending.is_ours("any.example") is house.book.is_ours("any.example")
    assert sending.entropy() != sending.entropy()
    for other in ("", "../x", message_id(found.receipt.received_at, 0, b"another one here.")):
        assert await original_of(house.spool.message, wire.prepend_of(settings), other) is None
    await house.stop()


async def test_a_message_that_was_refused_in_the_session_is_known_as_that() -> None:
    house = House(book_of(rule("all", webhook())), {"webhook": Told()}).start()
    await house.deliver(state=MessageState.REJECTED)
    found = await original_of(house.spool.message, lambda receipt, step: b"", ID)
    assert found is not None
    assert found.refused
    assert (
        bounce_request(
            {
                "OriginalMessageId": ID,
                "BounceSender": "a@b.example",
                "BouncedRecipientInfoList": [{"Recipient": "support@example.com", "BounceType": "Undefined"}],
            }
        ).original_message_id
        == ID
    )
    await house.stop()
