"""The benchmark's code: a small run without the peers."""

import importlib.util
import json

from trait_lib import ROOT


def test_the_benchmark_compares_what_it_says(tmp_path, capsys, monkeypatch):
    path = ROOT / "tests" / "bench" / "passages.py"
    spec = importlib.util.spec_from_file_location("bench_passages", path)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    small = ["--requests", "60", "--connections", "8", "--delay", "0.02", "--no-peers"]
    found = bench.main([*small, "--out", str(tmp_path / "results.json")])
    assert found["same_replies"] and found["none_more_than_allowed"]
    assert [row["requests"] for row in found["clients"]] == [60, 60, 60]
    assert found["ideal"] == 400
    kept = (tmp_path / "results.json").read_text()
    assert json.loads(kept) == found
    assert str(ROOT) not in kept and str(tmp_path) not in kept
    assert "target: at least 0.95" in capsys.readouterr().out
