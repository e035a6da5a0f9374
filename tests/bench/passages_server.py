"""The benchmark's server: bare asyncio, a chat completion after a fixed delay, and little else.

    python tests/bench/passages_server.py --delay 0.2

Prints its port. `GET /stats` tells how many completions it gave since the last such question, the
seconds from the first request to the last reply, and the most requests that were open at a time.
"""

import argparse
import asyncio
import json
import re
import time

NUMBER = re.compile(rb"#(\d+)#")  # each prompt names itself; the reply names the prompt
STATS = {"completions": 0, "first": 0.0, "last": 0.0, "open": 0, "most_open": 0}


def completion(number: bytes) -> bytes:
    """The response to prompt `number`, head and body; about 1,500 characters of text."""
    text = f"Reply to {number.decode()}. " + "One dorn is six pims, so four dorns are 24. " * 33
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 600, "completion_tokens": 400, "total_tokens": 1000}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "bench"}
    body |= {"choices": [choice | {"finish_reason": "stop"}], "usage": usage}
    return response(json.dumps(body).encode())


def response(content: bytes) -> bytes:
    """An HTTP response with a JSON body."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(content) + content


class Connection(asyncio.Protocol):
    """One connection; requests are answered in the order of their arrival."""

    def __init__(self, delay: float) -> None:
        self.delay, self.received = delay, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            length = re.search(rb"content-length: *(\d+)", head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.received) < size:
                return
            body, self.received = self.received[end + 4 : size], self.received[size:]
            self.request(head, body)

    def request(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /stats"):
            about = dict(STATS, seconds=STATS["last"] - STATS["first"])
            STATS.update(completions=0, first=0.0, last=0.0, most_open=0)
            return self.transport.write(response(json.dumps(about).encode()))
        STATS["first"] = STATS["first"] or time.monotonic()
        STATS["open"] += 1
        STATS["most_open"] = max(STATS["most_open"], STATS["open"])
        number = NUMBER.search(body)
        asyncio.get_running_loop().call_later(self.delay, self.answer, number)

    def answer(self, number: re.Match[bytes] | None) -> None:
        STATS["open"] -= 1
        if number:  # a client's question about limits has none, and is not counted
            STATS["completions"] += 1
            STATS["last"] = time.monotonic()
        if not self.transport.is_closing():
            self.transport.write(completion(number[1] if number else b"0"))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds before each reply")
    delay = parser.parse_args().delay
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(delay), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
