"""Data sets of the Hub, from a server on loopback that speaks as the Hub does."""

import io
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trait_lib import ROOT

COMMIT = "a" * 40
FILES = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]


def parquet(first):
    out = io.BytesIO()
    rows = [{"id": str(n), "text": f"text {n} " + "x" * 50} for n in range(first, first + 40)]
    pq.write_table(pa.Table.from_pylist(rows), out, compression="none")
    return out.getvalue()


CONTENT = {name: parquet(40 * number) for number, name in enumerate(FILES)}


class Hub(BaseHTTPRequestHandler):
    """me/rows is open, me/old is called me/rows now, me/shut is gated, others are not there."""

    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b"{}", cut=False, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def do_GET(self):
        path = self.path.partition("?")[0]
        kind, name = re.match(r"/(api/datasets|datasets)?/?(\w+/\w+)?", path).groups()
        if name == "me/old":
            return self.reply(307, Location=self.path.replace("me/old", "me/rows"))
        if name not in ("me/rows", "me/shut"):
            return self.reply(404, X_Error_Code="RepoNotFound")
        if kind == "api/datasets" and "/tree/" in path:
            files = [{"type": "file", "path": f, "oid": "b" * 40, "size": 9} for f in FILES]
            folder = [{"type": "directory", "path": "data", "oid": "c" * 40, "size": 0}]
            return self.reply(200, json.dumps(files if path.endswith("data") else folder).encode())
        if kind == "api/datasets":
            about = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": f} for f in FILES]}
            about |= {"private": False, "gated": name == "me/shut" and "auto", "tags": []}
            return self.reply(200, json.dumps(about).encode())
        if name == "me/shut":
            return self.reply(403, X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
        file = path.partition(f"/{COMMIT}/")[2]
        if file not in CONTENT:
            return self.reply(404, X_Error_Code="EntryNotFound")
        self.send_file(file)

    do_HEAD = do_GET  # noqa: N815

    def send_file(self, name):
        body, headers = CONTENT[name], {"ETag": f'"{name}"', "X_Repo_Commit": COMMIT}
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        first = int(wanted[1]) if wanted else 0
        if self.command == "GET":
            self.server.got.append((name, first))
        if wanted:
            headers["Content_Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        cut = self.command == "GET" and len(self.server.got) == 1  # the first download breaks off
        self.reply(206 if wanted else 200, body[first:], cut, Accept_Ranges="bytes", **headers)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What reading each data set gave, and what was fetched: all in one process, for its start."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads, server.got = True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = """
import itertools, json
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 256  # of files of some kilobytes
from trait_lib import hub
told = {"some": list(itertools.islice(hub.read("hub://me/rows"), 10))}
told["all"] = list(hub.read("hub://me/rows"))
for name in ("me/old", "me/shut", "me/gone"):
    try:
        told[name] = next(hub.read(f"hub://{name}"))
    except hub.HubError as error:
        told[name] = str(error)
print(json.dumps(told))
"""
    place = f"http://127.0.0.1:{server.server_address[1]}"
    env = {**os.environ, "HF_ENDPOINT": place, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HOME": str(tmp_path_factory.mktemp("hub")), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"got": server.got}


def test_a_broken_download_goes_on_where_it_stopped_and_nothing_is_fetched_twice(told):
    assert [row["id"] for row in told["all"]] == [str(n) for n in range(80)]
    (first, again, second), half = told["got"], len(CONTENT[FILES[0]]) // 2
    assert (first, second) == ((FILES[0], 0), (FILES[1], 0))
    assert again[0] == FILES[0] and half - 256 < again[1] <= half  # whole blocks are kept


def test_only_the_files_that_are_read_are_fetched(told):
    assert told["some"] == told["all"][:10]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("me/old", "is called me/rows now; write that name"),
        ("me/shut", "is gated: accept its terms on the page of me/shut on the Hub, then `hf auth"),
        ("me/gone", "shows no data set me/gone: check the spelling"),
    ],
)
def test_a_renamed_gated_or_missing_data_set_is_an_error_that_says_what_to_do(told, name, words):
    assert words in told[name]
