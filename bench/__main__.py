"""All benchmarks, one after the other: `make bench`. Each runs alone as `python -m bench.NAME`, and takes --help."""

import subprocess
import sys

NAMES = ("verdicts", "sign", "stall", "smtp_edge", "spool", "encryption", "runner", "gateway")

for name in NAMES:
    print(f"== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)
