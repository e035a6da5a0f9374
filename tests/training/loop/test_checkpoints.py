import pytest

from trait_lib.training.loop import checkpoints

WHO = {"plan": "abc", "learning_rate": 0.1}


def make(root, step, complete=True):
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text(str(step))
    if complete:
        checkpoints.mark(folder, step, WHO)
    return folder


def test_the_newest_complete_one_is_taken(tmp_path):
    make(tmp_path, 9)
    newest = make(tmp_path, 10)
    make(tmp_path, 100, complete=False)
    assert checkpoints.latest(tmp_path, WHO) == newest
    assert checkpoints.discard_incomplete(tmp_path) == ["checkpoint-100"]
    assert not (tmp_path / "checkpoint-100").exists()


def test_no_checkpoint_is_no_error(tmp_path):
    assert checkpoints.latest(tmp_path / "none", WHO) is None
    assert checkpoints.discard_incomplete(tmp_path / "none") == []


def test_a_different_run_is_refused_with_each_reason(tmp_path):
    make(tmp_path, 5)
    with pytest.raises(
        checkpoints.ResumeRefused, match=r"learning_rate was 0\.1, is 0\.2; plan was"
    ):
        checkpoints.latest(tmp_path, {"plan": "xyz", "learning_rate": 0.2})


def test_old_ones_go_only_when_newer_ones_are_complete(tmp_path):
    for step in (1, 2, 3):
        make(tmp_path, step)
    make(tmp_path, 4, complete=False)
    checkpoints.prune(tmp_path, keep=2)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["2", "3", "4"]
