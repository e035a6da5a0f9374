"""Which problems go into one passage: different tasks, one topic (math) or one entity (ads).

Paper, method (figures): the two problems of a passage come from different tasks and share a topic
in math and a query in ads. How many problems, how often each is used and how topics are found is
not stated; ours: `k` problems, every problem used about equally often, topics from the labels
where the problems have them and else from k-means on TF-IDF.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trait_lib import contamination
from trait_lib.records import Row

TRIES = 40  # draws of partners for one problem before it counts as used up
PROBLEMS_PER_TOPIC = 50


class NoGroups(ValueError):
    """The problems allow no group of the wanted kind."""


@dataclass(frozen=True)
class Group:
    """The problems of one passage, and the topic or entity that they share."""

    topic: str
    problems: tuple[Row, ...]

    @property
    def tasks(self) -> list[str]:
        """Each problem's task."""
        return [problem["task"] for problem in self.problems]

    @property
    def ids(self) -> list[str]:
        """Each problem's id."""
        return [problem["id"] for problem in self.problems]


def usable(problems: Sequence[Row]) -> list[Row]:
    """The problems that may stand in a passage: not marked `documents_only`, each text once.

    Raises:
        ValueError: a problem is not of the training split, or an id occurs twice.
    """
    seen: set[str] = set()
    for problem in problems:
        split = problem.get("split", "train")
        if split != "train":
            name = problem["id"]
            raise ValueError(f"problem {name} is of the split {split!r}; passages take train only")
        if problem["id"] in seen:
            raise ValueError(f"two problems have the id {problem['id']!r}")
        seen.add(problem["id"])
    first: dict[str, Row] = {}
    for problem in problems:
        if not problem.get("documents_only"):
            first.setdefault(" ".join(contamination.words(problem["question"])), problem)
    return list(first.values())


def without_test_problems(
    problems: Sequence[Row], test_index: contamination.Index
) -> tuple[list[Row], dict[str, list[str]]]:
    """Leave out problems that hold a test question, before anybody pays for their passages.

    Returns:
        the other problems, and for each one left out the ids of the test questions in it.
    """
    texts = ((p["id"], f"{p['question']}\n{p.get('solution', '')}") for p in problems)
    found = contamination.report(texts, test_index)
    return [p for p in problems if p["id"] not in found], found


def labels(problems: Sequence[Row], group_by: str, topics: int, seed: int) -> list[list[str]]:
    """For each problem, the topics or entities that it may be grouped by.

    Args:
        problems: problem rows.
        group_by: `topic`, or `entity` (a problem without entities is grouped by its topic).
        topics: how many clusters to make of problems without a topic; 0: one for every 50.
        seed: decides the clusters.
    """
    named = [str(p.get("topic") or "") for p in problems]
    if group_by == "entity":
        return [list(p.get("entities") or []) or [t] for p, t in zip(problems, named, strict=True)]
    blank = [i for i, topic in enumerate(named) if not topic]
    if blank:
        found = cluster([problems[i]["question"] for i in blank], topics, seed)
        for i, topic in zip(blank, found, strict=True):
            named[i] = topic
    return [[topic] for topic in named]


def cluster(texts: Sequence[str], topics: int, seed: int) -> list[str]:
    """Name a topic for each text: k-means on TF-IDF, named by the cluster's three main words."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfVectorizer
    from threadpoolctl import threadpool_limits

    count = min(topics or max(1, round(len(texts) / PROBLEMS_PER_TOPIC)), len(texts))
    many = len(texts) >= 2 * PROBLEMS_PER_TOPIC
    vectorizer = TfidfVectorizer(
        stop_words="english",
        sublinear_tf=True,
        min_df=2 if many else 1,
        max_df=0.1 if many else 1.0,  # a word of every tenth problem names no topic
        token_pattern=r"(?u)\b[^\W\d_]{3,}\b",
    )
    try:
        matrix = vectorizer.fit_transform(texts)  # (texts, words)
    except ValueError:  # nothing but stop words and numbers: one topic
        return ["all"] * len(texts)
    model = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=2048)
    with threadpool_limits(1):  # the sums, and so the clusters, must not depend on the machine
        assigned = model.fit_predict(matrix)
    vocabulary = vectorizer.get_feature_names_out()
    names = [
        ", ".join(vocabulary[j] for j in centre.argsort()[::-1][:3])
        for centre in model.cluster_centers_
    ]
    return [names[c] for c in assigned]


# --- groups -----------------------------------------------------------------------------------


class _Pools:
    """The problems by label and task, with how often each has been used."""

    def __init__(self, problems: Sequence[Row], found: Sequence[list[str]], most: int) -> None:
        self.uses = [0] * len(problems)
        self.most = most or len(problems) ** 2
        self.by_label: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for i, names in enumerate(found):
            for label in names:
                self.by_label[label][problems[i]["task"]].append(i)

    def free(self, pool: Sequence[int], group: Sequence[int]) -> list[int]:
        """The problems of a pool that may join the group."""
        return [i for i in pool if i not in group and self.uses[i] < self.most]

    def least_used(self, pool: Sequence[int]) -> list[int]:
        low = min(self.uses[i] for i in pool)
        return [i for i in pool if self.uses[i] == low]


def sample_groups(
    problems: Sequence[Row],
    count: int,
    k: int,
    seed: int,
    group_by: str = "topic",
    topics: int = 0,
    max_uses: int = 0,
) -> list[Group]:
    """Draw up to `count` distinct groups of `k` problems; fewer when no more are possible.

    Each group begins with a problem that is least used so far. Its partners share its topic or
    entity, are of tasks that the group does not have yet where there are such, and are least used
    themselves. The same arguments give the same groups.

    Args:
        problems: rows of the training split; rows marked `documents_only` are left out.
        count: groups wanted.
        k: problems in a group.
        seed: of the draw.
        group_by: `topic` or `entity`.
        topics: clusters for problems without a topic; 0: one for every 50 problems.
        max_uses: no problem stands in more groups than this; 0: no limit.

    Raises:
        NoGroups: not one group is possible.
        ValueError: a problem is not of the training split.
    """
    rows = usable(problems)
    found = labels(rows, group_by, topics, seed)
    pools = _Pools(rows, found, max_uses)
    rng = random.Random(f"groups|{seed}")
    anchors = [(0, rng.random(), i) for i in range(len(rows))]
    heapq.heapify(anchors)
    taken: set[frozenset[int]] = set()
    groups: list[Group] = []
    while anchors and len(groups) < count:
        uses, _, i = heapq.heappop(anchors)
        if uses < pools.uses[i]:  # used as a partner since: back to its place in the queue
            heapq.heappush(anchors, (pools.uses[i], rng.random(), i))
            continue
        drawn = _draw_new(i, found[i], pools, k, taken, rng) if uses < pools.most else None
        if drawn is None:
            continue  # this problem is used up
        label, members = drawn
        taken.add(frozenset(members))
        for j in members:
            pools.uses[j] += 1
        heapq.heappush(anchors, (pools.uses[i], rng.random(), i))
        groups.append(Group(label, tuple(rows[j] for j in members)))
    if not groups:
        raise NoGroups(
            f"no group of {k} among {len(rows)} problems grouped by {group_by}: use a smaller k, "
            "or group by what more problems share"
        )
    return groups


def _draw_new(
    anchor: int,
    names: Sequence[str],
    pools: _Pools,
    k: int,
    taken: set[frozenset[int]],
    rng: random.Random,
) -> tuple[str, list[int]] | None:
    """A label and a group of it that begins with `anchor` and was not taken before."""
    for attempt in range(TRIES):
        label = rng.choice(names)
        # after half of the tries any partner will do, used often or not
        members = _draw(anchor, pools, pools.by_label[label], k, rng, attempt < TRIES / 2)
        if members and frozenset(members) not in taken:
            return label, members
    return None


def _draw(
    anchor: int,
    pools: _Pools,
    by_task: dict[str, list[int]],
    k: int,
    rng: random.Random,
    balanced: bool,
) -> list[int] | None:
    """`anchor` and k - 1 partners of other tasks, or of any task once those run out."""
    group = [anchor]
    task_of = {i: task for task, pool in by_task.items() for i in pool}
    while len(group) < k:
        used = {task_of[i] for i in group}
        open_tasks = {t: free for t, pool in by_task.items() if (free := pools.free(pool, group))}
        choices = {t: pool for t, pool in open_tasks.items() if t not in used} or open_tasks
        if not choices:
            return None
        order = sorted(choices, key=lambda t: (min(pools.uses[i] for i in choices[t]), t))
        lowest = min(pools.uses[i] for i in choices[order[0]])
        if balanced:
            order = [t for t in order if min(pools.uses[i] for i in choices[t]) == lowest]
        pool = choices[rng.choice(order)]
        group.append(rng.choice(pools.least_used(pool) if balanced else pool))
    return group


# --- report -----------------------------------------------------------------------------------


def coverage(problems: Sequence[Row], groups: Sequence[Group]) -> dict[str, Any]:
    """How the groups use the problems.

    Returns:
        `problems`, `left_out` (documents-only, or repeating a question), `used`, `share_used`,
        `uses_mean` and `uses_max` over the used ones, `groups`, `groups_of_different_tasks`,
        `topics`, `single_task` (all problems are of one task, so no group can have different
        ones), and `by_task`.
    """
    rows = usable(problems)
    uses = Counter(name for group in groups for name in group.ids)
    tasks = {row["task"] for row in rows}
    different = sum(len(set(group.tasks)) == len(group.tasks) for group in groups)
    by_task = {
        task: {
            "problems": sum(row["task"] == task for row in rows),
            "used": sum(row["task"] == task and row["id"] in uses for row in rows),
            "uses": sum(uses[row["id"]] for row in rows if row["task"] == task),
        }
        for task in sorted(tasks)
    }
    return {
        "problems": len(rows),
        "left_out": len(problems) - len(rows),
        "used": len(uses),
        "share_used": round(len(uses) / len(rows), 4) if rows else 0.0,
        "uses_mean": round(sum(uses.values()) / len(uses), 2) if uses else 0.0,
        "uses_max": max(uses.values(), default=0),
        "groups": len(groups),
        "groups_of_different_tasks": different,
        "topics": len({group.topic for group in groups}),
        "single_task": len(tasks) == 1,
        "by_task": by_task,
    }
