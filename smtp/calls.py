"""From the machine's events to the session's methods, and coroutines that are started before they are given to a task."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from mail.reply import Reply
from smtp.backend import Session
from smtp.events import Arrived, Close, Data, Denied, Event, Greet, Hello, Mail, Rcpt, Refused, Reset

T = TypeVar("T")
Answer = Coroutine[Any, Any, Reply | None]

_CALLS: dict[type, Callable[[Session, Any], Answer]] = {
    Rcpt: lambda session, event: session.rcpt(event.mailbox),
    Mail: lambda session, event: session.mail(event.reverse_path, event.declared_size, smtputf8=event.smtputf8),
    Arrived: lambda session, event: session.arrived(event.octets),
    Data: lambda session, event: session.data(event.envelope, event.rest),
    Hello: lambda session, event: session.hello(event.client),
    Greet: lambda session, event: session.greet(event.client),
    Reset: lambda session, event: session.reset(),  # noqa: ARG005
    Refused: lambda session, event: session.refused(event.command, event.reply, event.limit, event.sender),
    Denied: lambda session, event: session.denied(event.client, event.reply, event.limit),
    Close: lambda session, event: session.close(),  # noqa: ARG005
}


def call(session: Session, event: Event) -> Answer:
    """The coroutine that answers this event, not started."""
    return _CALLS[type(event)](session, event)


class _Rest(Generic[T]):
    """What is left of a coroutine that was started by hand and then yielded `waiting`, for a task to await."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], waiting: Any) -> None:
        self._coroutine = coroutine
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            yield self._waiting
        except BaseException as error:  # what the task throws in belongs to the coroutine
            return (yield from _thrown(self._coroutine, error))
        return (yield from self._coroutine.__await__())


def _thrown(coroutine: Coroutine[Any, Any, T], error: BaseException) -> Generator[Any, Any, T]:
    try:
        waiting = coroutine.throw(error)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    yield waiting
    return (yield from coroutine.__await__())


async def resumed(coroutine: Coroutine[Any, Any, T], waiting: Any) -> T:
    """Await the rest of `coroutine`, whose first `send` gave `waiting`."""
    return await _Rest(coroutine, waiting)


def begun(coroutine: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    """The rest of a coroutine that is started here and now, for a task."""
    try:
        waiting = coroutine.send(None)
    except StopIteration:
        return _ended()
    return resumed(coroutine, waiting)


def started(coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
    """What a coroutine that is started here and now comes to; a task only where it must wait."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    try:
        waiting = coroutine.send(None)
    except StopIteration as done:
        future.set_result(done.value)
    except Exception as error:
        future.set_exception(error)
    else:
        return asyncio.ensure_future(resumed(coroutine, waiting))
    return future


async def _ended() -> None:
    pass
