"""bespokelabs-curator on the benchmark's server: its online route, nothing cached before.

python tests/bench/peers/passages_curator.py PORT PROMPTS CONNECTIONS
"""

import hashlib
import json
import os
import re
import resource
import sys
import tempfile

os.environ |= {
    "TELEMETRY_ENABLED": "false",
    "CURATOR_VIEWER": "0",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "OPENAI_API_KEY": "none",
}


class Words:
    """Stands in for tiktoken's encoding, which is downloaded; faster than it, so to its favour."""

    def encode(self, text: str, **_: object) -> list[str]:
        return text.split()


def main(port: int, prompts: str, connections: int) -> list[int]:
    import tiktoken

    tiktoken.get_encoding = lambda name: Words()
    from bespokelabs import curator

    class Writer(curator.LLM):
        def prompt(self, row: dict) -> list:
            return json.loads(row["messages"])

        def parse(self, row: dict, response: str) -> dict:
            return {"reply": response}

    with open(prompts, encoding="utf-8") as lines:
        rows = [{"messages": line} for line in lines]
    unlimited = 10**12
    writer = Writer(
        model_name="gpt-4o-mini",
        backend="openai",
        backend_params={
            "base_url": f"http://127.0.0.1:{port}/v1",
            "max_concurrent_requests": connections,
            "max_requests_per_minute": unlimited,
            "max_tokens_per_minute": unlimited,
        },
    )
    found = writer(rows)
    dataset = getattr(found, "dataset", found)
    return [int(re.match(r"Reply to (\d+)\.", text)[1]) for text in dataset["reply"]]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CURATOR_CACHE_DIR"] = folder
        os.environ["HF_HOME"] = folder
        replies = sorted(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    digest = hashlib.sha256(json.dumps(replies).encode()).hexdigest()
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    memory = max(usage.ru_maxrss for usage in usages) / 1024
    print(json.dumps({"digest": digest, "memory_mb": round(memory, 1)}))
