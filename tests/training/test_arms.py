import pytest

from trait_lib.training import arms

SETTINGS = {
    "tokens_stage1": 600,
    "tokens_stage2": 400,
    "replay_stage1": 0.25,
    "replay_stage2": 0.2,
    "seed_share": 0.1,
    "finetune_tokens": 500,
    "passages_share": 0.5,
}
FILES = {source: f"{source}.jsonl" for source in arms.FILES}


def tokens_of(name):
    """Tokens of each source over the whole run."""
    total = {}
    for stage in arms.stages(name, SETTINGS, FILES):
        for source in stage["sources"]:
            share = source["weight"] * stage["tokens"]
            total[source["name"]] = round(total.get(source["name"], 0) + share, 2)
    return total


EVERY = arms.ARMS | arms.CONTROLS
EQUAL = [name for name, arm in EVERY.items() if not (arm.finetunes or arm.as_often_as)]


@pytest.mark.parametrize("name", EQUAL)
def test_every_arm_has_the_same_budget_and_whole_stages(name):
    stages = arms.stages(name, SETTINGS, FILES)
    assert sum(stage["tokens"] for stage in stages) == 1000
    for stage in stages:
        assert sum(source["weight"] for source in stage["sources"]) == pytest.approx(1, abs=1e-5)
        assert all(source["file"] == f"{source['name']}.jsonl" for source in stage["sources"])


@pytest.mark.parametrize("name", EVERY)
def test_an_arm_reads_the_sources_that_it_names(name):
    used = {s["name"] for stage in arms.stages(name, SETTINGS, FILES) for s in stage["sources"]}
    assert used == set(arms.sources(name))


def test_trait_is_documents_then_passages_both_with_replay():
    first, second = arms.stages("trait", SETTINGS, FILES)
    assert (first["name"], second["name"]) == ("stage 1", "stage 2")
    weights = {s["name"]: s["weight"] for s in first["sources"]}
    assert weights == pytest.approx({"selected": 0.675, "seed": 0.075, "replay": 0.25})
    weights = {s["name"]: s["weight"] for s in second["sources"]}
    assert weights == pytest.approx({"passages": 0.8, "replay": 0.2})


def test_trait_mined_is_trait_on_other_documents():
    own, other = tokens_of("trait"), tokens_of("trait_mined")
    assert other.pop("mined") == own.pop("selected")
    assert own == other
    assert arms.FILES["mined"] == ("01_data_selection", "mined.jsonl.zst")


def test_the_mixed_stage_has_the_tokens_of_both():
    assert len(arms.stages("one_mixed_stage", SETTINGS, FILES)) == 1
    assert tokens_of("one_mixed_stage") == pytest.approx(tokens_of("trait"), abs=0.01)


def test_without_replay_the_domain_fills_each_stage():
    assert tokens_of("no_replay") == {"selected": 540, "seed": 60, "passages": 400}


def test_an_arm_of_one_part_gets_all_tokens():
    assert tokens_of("stage2_only") == {"passages": 800, "replay": 200}
    assert tokens_of("random") == {"random": 750, "replay": 250}
    assert tokens_of("stage1_only") == {"selected": 675, "seed": 75, "replay": 250}


def test_shorter_passages_are_read_as_often_and_not_more_often():
    equal, fewer = (tokens_of(f"no_enlightenment{end}") for end in ("", "_equal_passages"))
    assert equal["passages_no_enlightenment"] == tokens_of("trait")["passages"]
    assert fewer["passages_no_enlightenment"] == equal["passages_no_enlightenment"] / 2
    assert fewer["selected"] == equal["selected"]


@pytest.mark.parametrize("name", ["random_passages", "dsir_passages", "no_quality_filter"])
def test_other_documents_come_before_the_same_passages(name):
    assert tokens_of(name)["passages"] == tokens_of("trait")["passages"]
    assert arms.find(name).documents in tokens_of(name)


def test_a_control_differs_from_trait_in_one_source():
    for name, control in arms.CONTROLS.items():
        own, whole = tokens_of(name), tokens_of("trait")
        assert len(own.keys() - whole.keys()) == len(whole.keys() - own.keys()) == 1
        assert sum(own.values()) == sum(whole.values()), control.meaning
    assert not (arms.ARMS.keys() | arms.CONTROLS.keys()) & arms.ANSWERERS.keys()


def test_fine_tuning_reads_the_training_problems_and_starts_where_another_arm_ended():
    for name in ("base_finetuned", "trait_finetuned"):
        (only,) = arms.stages(name, SETTINGS, FILES)
        assert only == {
            "name": "fine-tuning",
            "tokens": 500,
            "sources": [{"name": "tasks", "file": "tasks.jsonl", "weight": 1.0}],
        }
    assert arms.find("base_finetuned").finetunes == arms.BASE
    assert arms.find("trait_finetuned").finetunes in arms.ARMS
    assert arms.BASE not in arms.ARMS


def test_an_unknown_arm_and_a_missing_file_are_named():
    with pytest.raises(ValueError, match="trait, trait_mined, stage1_only"):
        arms.find("best")
    with pytest.raises(ValueError, match=r"needs the files of \['passages'\]"):
        files = {name: file for name, file in FILES.items() if name != "passages"}
        arms.stages("trait", SETTINGS, files)


def test_the_notebooks_offer_these_arms():
    from trait_lib import params

    for notebook in ("03_two_stage_training", "04_evaluation"):
        allowed = params.declared(notebook)["arm"].allowed
        assert allowed == "{" + ", ".join(arms.ARMS) + "}"
