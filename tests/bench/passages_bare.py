"""What the benchmark's server can give: the least that a client can do, over raw sockets.

    python tests/bench/passages_bare.py PORT PROMPTS CONNECTIONS

Reads no JSON, keeps no ledger, checks nothing. Prints the digest of the replies' first words.
"""

import asyncio
import hashlib
import json
import re
import sys

LENGTH = re.compile(rb"Content-Length: (\d+)")
SAYS = re.compile(rb"Reply to (\d+)\.")


async def worker(port: int, bodies: list[bytes], replies: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while bodies:
        body = bodies.pop()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        content = await reader.readexactly(int(LENGTH.search(head)[1]))
        replies.append(int(SAYS.search(content)[1]))
    writer.close()


async def main(port: int, prompts: str, connections: int) -> list[int]:
    with open(prompts, "rb") as lines:
        bodies = [b'{"model": "bench", "messages": %s}' % line.strip() for line in lines][::-1]
    replies: list[int] = []
    await asyncio.gather(*(worker(port, bodies, replies) for _ in range(connections)))
    return replies


if __name__ == "__main__":
    found = sorted(asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    print(json.dumps({"digest": digest, "memory_mb": None}))
