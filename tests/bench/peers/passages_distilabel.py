"""distilabel on the benchmark's server: a pipeline of one text generation, cache off.

    python tests/bench/peers/passages_distilabel.py PORT PROMPTS CONNECTIONS

distilabel sends a batch at a time and waits for all of it, so a batch is as large as the number
of connections allowed.
"""

import hashlib
import json
import os
import re
import resource
import sys
import tempfile

os.environ |= {"HF_HUB_OFFLINE": "1", "DISTILABEL_LOG_LEVEL": "ERROR"}


def main(port: int, prompts: str, connections: int, folder: str) -> list[int]:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with open(prompts, encoding="utf-8") as lines:
        messages = [json.loads(line) for line in lines]
    data = [{"system_prompt": m[0]["content"], "instruction": m[1]["content"]} for m in messages]
    with Pipeline(name="bench", cache_dir=folder) as pipeline:
        load = LoadDataFromDicts(data=data, batch_size=connections)
        url = f"http://127.0.0.1:{port}/v1"
        llm = OpenAILLM(model="bench", base_url=url, api_key="none")
        write = TextGeneration(llm=llm, input_batch_size=connections, use_system_prompt=True)
        load >> write
    found = pipeline.run(use_cache=False)
    texts = found["default"]["train"]["generation"]
    return [int(re.match(r"Reply to (\d+)\.", text)[1]) for text in texts]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_HOME"] = folder
        replies = sorted(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), folder))
    digest = hashlib.sha256(json.dumps(replies).encode()).hexdigest()
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    memory = max(usage.ru_maxrss for usage in usages) / 1024
    print(json.dumps({"digest": digest, "memory_mb": round(memory, 1)}))
