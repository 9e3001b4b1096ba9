"""Who holds which shard, and how an operator's request finds the worker that holds what it is about (semantics.md §6). Pure.

Worker i holds shard i, where it takes mail. A shard that is left from a time with more workers is dealt to one of them, which only
runs its jobs.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gatepost.control import NO_MESSAGE, Answer, Request, Skipped
from mail.ids import is_message_id, shard_of
from spool.jobs import shard_of_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one worker holds: `shards` begins with its own, in which it takes mail."""

    worker: int
    workers: int  # how many there are
    shards: tuple[int, ...]

    @property
    def is_first(self) -> bool:
        """Whether it also does what only one of all workers may do."""
        return self.worker == 0


def deal(existing: Iterable[int], workers: int) -> tuple[Share, ...]:
    """Every shard to one worker; `existing` are those with files."""
    left = sorted(shard for shard in set(existing) if shard >= workers)
    return tuple(
        Share(worker=number, workers=workers, shards=(number, *(shard for shard in left if shard % workers == number)))
        for number in range(workers)
    )


def holders(shares: Iterable[Share]) -> dict[int, int]:
    """The worker of each shard."""
    return {shard: share.worker for share in shares for shard in share.shards}


_OF_ALL = ("erase", "scrub")  # a session's id does not say in which shard it is


def split(request: Request, holder_of: Mapping[int, int]) -> dict[int, Request]:
    """What to ask each worker; an id of no shard that we hold goes to the first, which says that it is none."""
    if request.operation in _OF_ALL:
        return dict.fromkeys(sorted(set(holder_of.values())), request)
    jobs: dict[int, list[int]] = {}
    messages: dict[int, list[str]] = {}
    for job in request.jobs:
        jobs.setdefault(holder_of.get(shard_of_job(job), 0), []).append(job)
    for message in request.messages:
        shard = shard_of(message) if is_message_id(message) else 0
        messages.setdefault(holder_of.get(shard, 0), []).append(message)
    return {
        worker: replace(request, jobs=tuple(jobs.get(worker, ())), messages=tuple(messages.get(worker, ())))
        for worker in sorted({*jobs, *messages})
    }


def merged(request: Request, answers: Sequence[Answer]) -> Answer:
    """One answer of all; what was skipped stands in the order in which it was asked for.

    Where all were asked the same, one that has a message speaks for those that have not.
    """
    skipped: dict[int | str, list[Skipped]] = {}
    for each in (skip for answer in answers for skip in answer.skipped):
        skipped.setdefault(each.id, []).append(each)
    if request.operation in _OF_ALL:
        missing = Counter(each.id for found in skipped.values() for each in found if each.why == NO_MESSAGE)
        known = {name for name, count in missing.items() if count < len(answers)}
        skipped = {
            name: [each for each in found if each.why != NO_MESSAGE] if name in known else found[:1]
            for name, found in skipped.items()
        }
    asked: list[int | str] = [*request.jobs, *request.messages]
    ordered = [skip for name in dict.fromkeys(asked) for skip in skipped.pop(name, [])]
    ordered += [skip for left in skipped.values() for skip in left]
    return Answer(
        changed=sum(answer.changed for answer in answers),
        skipped=tuple(ordered),
        rule_book=next((answer.rule_book for answer in answers if answer.rule_book), ""),
    )
