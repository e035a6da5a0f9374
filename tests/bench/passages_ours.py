"""Our client on the benchmark's server: every request and reply through the ledger.

python tests/bench/passages_ours.py PORT PROMPTS CONNECTIONS
"""

import asyncio
import hashlib
import json
import re
import resource
import sys
import tempfile
from pathlib import Path

from trait_lib.teacher import client, ledger, prices


async def main(port: int, prompts: str, connections: int, folder: str) -> list[int]:
    with open(prompts, "rb") as lines:
        requests = [ledger.Request(json.loads(line)) for line in lines]
    price = prices.Price("bench", "USD", "2026-01-01", 1.0, 2.0)
    limits = client.Limits(concurrency=connections, budget=1e6)
    server = client.Server(f"http://127.0.0.1:{port}/v1", needs_key=False)
    with ledger.Ledger(Path(folder) / "ledger.sqlite") as book:
        settings = client.Settings("bench", seed=0)
        replies = await client.ask(requests, settings, limits, book, price, server)
    return [int(re.match(r"Reply to (\d+)\.", reply.text)[1]) for reply in replies]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=Path(sys.argv[2]).parent) as folder:
        found = asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), folder))
    digest = hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"digest": digest, "memory_mb": round(memory, 1)}))
