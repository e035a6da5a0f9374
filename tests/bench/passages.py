"""Requests a second of the teacher client, beside bespokelabs-curator and distilabel.

    make bench-passages                     (or BENCH_ARGS=--quick)
    BENCH_PEERS=path/to/python python tests/bench/passages.py

All clients ask one server on this machine for the same replies, one client after the other in one
run, each with the same number of connections. The server answers after a fixed delay; what it can
give to anybody is measured by a bare client, before and after the others. Seconds run from the
first request that the server sees to its last reply, so starting up counts for nobody. Targets:
at least 95 % of the lower of the ideal (connections / delay) and the bare client, under 300 MB,
and no slower than the fastest peer.
"""

import argparse
import datetime
import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PEERS = {"curator": "bespokelabs-curator", "distilabel": "distilabel"}
SHARE, MEMORY_MB = 0.95, 300
REQUESTS = 10_000


def write_prompts(path: Path, count: int) -> None:
    """One JSON list of messages a line; about 2,500 characters each, all different."""
    system = {"role": "system", "content": "You are a patient teacher of mathematics."}
    story = "A man has dorns and tosks, and one dorn is six pims. How many pims are they? " * 32
    with open(path, "w", encoding="utf-8") as lines:
        for i in range(count):
            lines.write(json.dumps([system, {"role": "user", "content": f"#{i}# {story}"}]) + "\n")


def stats(port: int) -> dict[str, Any]:
    """The server's counts since it was last asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/stats")
    found = json.loads(connection.getresponse().read())
    connection.close()
    return found


def measure(name: str, command: list[str], port: int, prompts: Path, options: Any) -> dict:
    """Run one client; its requests a second as the server saw them, and its peak memory."""
    stats(port)
    environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    where = [str(port), str(prompts), str(options.connections)]
    done = subprocess.run(
        [*command, *where], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    seen = stats(port)
    about = json.loads(done.stdout.strip().splitlines()[-1])
    rate = seen["completions"] / seen["seconds"]
    return {
        "client": name,
        "requests": seen["completions"],
        "requests_per_second": round(rate, 1),
        "most_open": seen["most_open"],
        **about,
    }


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All clients on one server."""
    peer_python = "" if options.no_peers else os.environ.get("BENCH_PEERS", "")
    bare = [sys.executable, str(HERE / "passages_bare.py")]
    order = [("bare", bare), ("ours", [sys.executable, str(HERE / "passages_ours.py")])]
    if peer_python:
        order += [(n, [peer_python, str(HERE / f"peers/passages_{n}.py")]) for n in PEERS]
    order.append(("bare again", bare))
    server = subprocess.Popen(
        [sys.executable, str(HERE / "passages_server.py"), "--delay", str(options.delay)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(server.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            prompts = Path(folder) / "prompts.jsonl"
            write_prompts(prompts, options.requests)
            return [measure(n, command, port, prompts, options) for n, command in order]
    finally:
        server.kill()
        server.wait()


def compare(rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The ratios that the targets are about."""
    rates = {row["client"]: row["requests_per_second"] for row in rows}
    ideal = options.connections / options.delay
    can_give = min(ideal, (rates["bare"] + rates["bare again"]) / 2)
    peers = {name: rate for name, rate in rates.items() if name in PEERS}
    memory = next(row["memory_mb"] for row in rows if row["client"] == "ours")
    found = {
        "ideal": ideal,
        "server_can_give": round(can_give, 1),
        "share_of_what_the_server_can_give": round(rates["ours"] / can_give, 4),
        "share_of_the_ideal": round(rates["ours"] / ideal, 4),
        "memory_mb": memory,
        "same_replies": len({row["digest"] for row in rows}) == 1,
        "none_more_than_allowed": all(r["most_open"] <= options.connections for r in rows),
    }
    if peers:
        found["ratio_to_fastest_peer"] = round(rates["ours"] / max(peers.values()), 3)
    return found


def show(rows: list[dict[str, Any]], found: dict[str, Any]) -> None:
    """Print the table and the targets."""
    print(f"{'client':12} {'requests/s':>10} {'most open':>10} {'peak MB':>8}")
    for row in rows:
        memory = "" if row["memory_mb"] is None else f"{row['memory_mb']:8.0f}"
        rate, most = row["requests_per_second"], row["most_open"]
        print(f"{row['client']:12} {rate:10.1f} {most:10} {memory:>8}")
    share, memory = found["share_of_what_the_server_can_give"], found["memory_mb"]
    print(f"ideal {found['ideal']:.0f} requests/s; server gives {found['server_can_give']}")
    print(f"ours / the lower of the two: {share:.3f}   target: at least {SHARE}")
    print(f"memory: {memory:.0f} MB   target: under {MEMORY_MB}")
    if "ratio_to_fastest_peer" in found:
        print(f"ours / fastest peer: {found['ratio_to_fastest_peer']:.2f}   target: at least 1")
    else:
        print("peers: not run (make bench-passages makes their environment)")
    print(f"same replies from all clients: {found['same_replies']}")


def versions(peer_python: str) -> dict[str, str]:
    """What was compared."""
    found = {"python": platform.python_version(), "openai": metadata.version("openai")}
    code = "import sys; from importlib.metadata import version as v; print(v(sys.argv[1]))"
    for package in PEERS.values() if peer_python else ():
        command = [peer_python, "-c", code, package]
        found[package] = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.strip()
    return found


def arguments_text(options: argparse.Namespace) -> str:
    """What the command had beside its defaults."""
    found = "" if options.requests == REQUESTS else f" --requests {options.requests}"
    found += " --no-peers" if options.no_peers else ""
    return f' BENCH_ARGS="{found.strip()}"' if found else ""


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds before each reply")
    parser.add_argument("--quick", action="store_true", help="1,000 requests, not kept")
    parser.add_argument("--no-peers", action="store_true", help="ours and the bare client only")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "passages.json")
    options = parser.parse_args(arguments)
    if options.quick:
        options.requests = min(options.requests, 1000)
    busy = os.getloadavg()[0]
    rows = run(options)
    found = compare(rows, options)
    show(rows, found)
    if busy > 0.5:
        print(f"the machine was busy before the run (load {busy:.1f}): the ratios are too low")
    result = {
        "command": "make bench-passages" + arguments_text(options),
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "load_before": round(busy, 2),
        "settings": {k: getattr(options, k) for k in ("requests", "connections", "delay")},
        "versions": versions("" if options.no_peers else os.environ.get("BENCH_PEERS", "")),
        "clients": rows,
        **found,
    }
    if not options.quick:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    main()
