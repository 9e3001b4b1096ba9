"""A gateway that runs under strace."""

import contextlib
import json
import os
import signal

from gateway_process import GatewayProcess


class Straced(GatewayProcess):
    """Strace keeps signals to itself, so they are sent to the gateway."""

    def signal(self, number: signal.Signals) -> None:
        os.kill(json.loads(self.ready_file.read_text())["pid"], number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            if self.running.poll() is None:
                self.signal(signal.SIGKILL)
        super().kill()
