"""Runs checks until they have what they need: the only part of judging that waits.

A check is a function of `Ask` (inquiry.py). It is run, and run again with what it lacked; several checks wait side by side.
"""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from mail.octets import Octets
from verdicts.canonical import INLINE_OCTETS, BodyHashes
from verdicts.inquiry import Ask, Inquiry, Need, OverBudget

Result = TypeVar("Result")


async def beside(octets: Octets, work: Callable[[Octets], Result]) -> Result:
    """What `work` finds; in a thread where there are so many that it would hold up all other sessions."""
    if len(octets) > INLINE_OCTETS:
        return await asyncio.to_thread(work, octets)
    return work(octets)


class Run(Generic[Result]):
    """One check of one message. `failed` makes its result from an RFC 8601 word and a reason, when it cannot."""

    def __init__(self, name: str, check: Callable[[Ask], Result], failed: Callable[[str, str], Result]) -> None:
        self.name = name
        self.check = check
        self.failed = failed
        self._result: Result | None = None

    @property
    def result(self) -> Result:
        if self._result is None:
            raise RuntimeError(f"{self.name} has not been run")
        return self._result

    @property
    def is_settled(self) -> bool:
        return self._result is not None

    def settle(self, result: Result) -> None:
        """It has this result and need not be run."""
        self._result = result

    def attempt(self, inquiry: Inquiry, crashes: list[str]) -> Need | None:
        """Run it with what is known; what it needs beyond that, or None when it has its result."""
        try:
            self._result = self.check(inquiry.begin(self.name))
        except Need as need:
            return need
        except OverBudget as error:
            self._result = self.failed("permerror", str(error))
        except Exception as error:  # our own fault: the trace is kept, the result says no more than its kind
            crashes.append(f"{self.name}: {''.join(traceback.format_exception(error))}")
            self._result = self.failed("permerror", f"check crashed ({type(error).__name__})")
        return None


class Driver:
    """What the checks of one message share. The DNS deadline runs from the first wait."""

    def __init__(self, inquiry: Inquiry, bodies: BodyHashes, dns_deadline_seconds: float) -> None:
        self.crashes: list[str] = []
        self._inquiry = inquiry
        self._bodies = bodies
        self._seconds = dns_deadline_seconds
        self._deadline: float | None = None
        self._hashing = asyncio.Lock()

    async def finish(self, *runs: Run[Any], meanwhile: Run[Any] | None = None) -> None:
        """Run these to their results. `meanwhile` is run only where they must wait for something."""
        begun = (run for run in runs if not run.is_settled)
        waiting = [(run, need) for run in begun if (need := run.attempt(self._inquiry, self.crashes)) is not None]
        if not waiting:
            return
        if meanwhile is not None:
            need = meanwhile.attempt(self._inquiry, self.crashes)
            if need is not None:
                waiting.append((meanwhile, need))
        if len(waiting) == 1:
            await self._settle(*waiting[0])
            return
        await asyncio.gather(*(self._settle(run, need) for run, need in waiting))

    async def _settle(self, run: Run[Any], need: Need | None) -> None:
        while need is not None:
            if need.questions:
                if self._deadline is None:
                    self._deadline = asyncio.get_running_loop().time() + self._seconds
                await self._inquiry.fetch(need.questions, self._deadline)
            if need.work:
                async with self._hashing:
                    await asyncio.to_thread(self._bodies.compute, need.work)
            need = run.attempt(self._inquiry, self.crashes)
