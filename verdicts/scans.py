"""The spam and virus scans of one message, beside the other checks, each with its own time and its own `on_error`.

*Failure.* Whatever a scanner does, there is a `ScanResult`: what was not scanned is PROCESSING_FAILED and never reads as clean.
"""

import asyncio
import traceback

from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent, Temporary
from mail.octets import Octets
from mail.verdict import ScanResult, Status
from verdicts.null_scanners import bounded
from verdicts.policy import Policy
from verdicts.ports import Scanner


class Scans:
    """Started at once, awaited at the end; `cancel` leaves nothing running."""

    def __init__(self, raw: Octets, envelope: Envelope, client: Client, policy: Policy, message_id: str) -> None:
        self.crashes: list[str] = []
        self._raw = raw
        self._envelope = envelope
        self._client = client
        self._message_id = message_id
        self._on_error = {"spam": policy.spam_on_error, "virus": policy.virus_on_error}
        self._tasks: dict[str, asyncio.Task[ScanResult]] = {}
        self._results: dict[str, ScanResult] = {}

    def start(self, method: str, scanner: Scanner, seconds: float) -> None:
        self._tasks[method] = asyncio.create_task(self._scan(scanner, seconds))

    async def _scan(self, scanner: Scanner, seconds: float) -> ScanResult:
        is_temporary = True
        try:
            async with asyncio.timeout(seconds):
                return bounded(await scanner.scan(self._raw, self._envelope, self._client, self._message_id))
        except TimeoutError:
            reason = f"no answer within {seconds:g} s"
        except Temporary as error:
            reason = str(error)
        except Permanent as error:
            reason, is_temporary = str(error), False
        except Exception as error:  # an engine's fault must not cost the other verdicts
            self.crashes.append(f"{scanner.name}: {''.join(traceback.format_exception(error))}")
            reason = f"engine crashed ({type(error).__name__})"
        return bounded(
            ScanResult(status=Status.PROCESSING_FAILED, engine=scanner.name, reason=reason, is_temporary=is_temporary)
        )

    def settle(self, method: str, result: ScanResult) -> None:
        """A result that needs no engine."""
        self._results[method] = result

    async def results(self) -> dict[str, ScanResult]:
        for method, task in self._tasks.items():
            self._results[method] = await task
        return self._results

    def cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def failure(self, on_error: str) -> str | None:
        """Why the message must be answered as this `on_error` says, None if it need not."""
        for method, result in self._results.items():
            if result.status is Status.PROCESSING_FAILED and self._on_error[method] == on_error:
                return f"{method} scan failed: {result.reason}"
        return None
