"""The quality report: what was accepted and rejected, with examples, and the checks at work.

The paper reports no quality of its passages; ours because a filter that nobody sees at work is
not to be trusted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trait_lib.passages.anatomy import length_summary
from trait_lib.passages.checks import REASONS, Rejected, Rules
from trait_lib.passages.parse import as_reply
from trait_lib.passages.sampling import Group
from trait_lib.passages.write import Written
from trait_lib.records import Row

EXAMPLES = 3  # of each reason
EXAMPLE_CHARACTERS = 600
GERMAN = (
    "Beide Aufgaben beruhen auf derselben Tatsache, die man zuerst nachschlagen muss. Danach "
    "verlangt jede von ihnen einen eigenen Schritt, den die andere nicht braucht."
)


def report(written: Written, groups: int, rules: Rules) -> dict[str, Any]:
    """What became of the replies.

    Args:
        written: passages and rejections.
        groups: how many passages were asked for.
        rules: that judged them.

    Returns:
        `groups`, `replies`, `passages`, `share_accepted` (of the groups), `wrong_answers` (seen,
        kept or not), `replies_with_thoughts`, `by_attempt`, `lengths` in words, and `reasons`:
        for every reason its meaning, count and up to three examples.
    """
    return {
        "groups": groups,
        "replies": len(written.replies),
        "passages": len(written.passages),
        "share_accepted": round(len(written.passages) / groups, 4),
        "wrong_answers": rules.wrong_answers,
        "wrong_answers_kept": rules.keep_wrong_answers,
        "replies_with_thoughts": rules.replies_with_thoughts,
        "by_attempt": _by_attempt(written, groups),
        "lengths": length_summary(written.passages),
        "reasons": {
            reason: _reason(meaning, [r for r in written.rejected if r["reason"] == reason])
            for reason, meaning in REASONS.items()
        },
    }


def _reason(meaning: str, rows: Sequence[Row]) -> dict[str, Any]:
    examples = [
        {"id": row["id"], "detail": row["detail"], "reply": row["reply"][:EXAMPLE_CHARACTERS]}
        for row in rows[:EXAMPLES]
    ]
    return {"means": meaning, "count": len(rows), "examples": examples}


def _by_attempt(written: Written, groups: int) -> list[dict[str, int]]:
    """How many replies each attempt had and how many were accepted; only the rejected go on."""
    rejected = Counter(int(row["id"].rpartition("-")[2]) for row in written.rejected)
    found, asked, left = [], groups, len(written.replies)
    while left > 0:
        attempt = len(found)
        good = asked - rejected[attempt]
        found.append({"attempt": attempt, "replies": asked, "accepted": good})
        asked, left = rejected[attempt], left - asked
    return found


def damaged(row: Row, rules: Rules, test_question: str) -> Iterator[tuple[str, str, str]]:
    """A good passage spoiled on purpose, once for each reason of rejection that a reply can have.

    Yields:
        what was done, the reply, its finish reason.
    """
    good = as_reply(row)
    first, last = row["paragraphs"][0], row["paragraphs"][-1]
    extra = f'<paragraph problem="{len(row["paragraphs"])}">\n{last}\n</paragraph>\n'
    instruction = max((x for x in rules.instructions.splitlines() if "<" not in x), key=len)
    yield "cut at the token limit", good[: len(good) // 2], "length"
    yield "thoughts and no more", f"<think>{good}", "stop"
    yield "stopped by a content filter", good[: len(good) // 2], "content_filter"
    yield "a refusal", "I'm sorry, but I cannot help with that.", "stop"
    yield "half of it gone", good[: good.index("</paragraph>")], "stop"
    yield "a paragraph twice", good.replace("<enlightenment>", extra + "<enlightenment>"), "stop"
    yield "no last paragraph", good.partition("<enlightenment>")[0], "stop"
    yield "a paragraph too long", good.replace(first, "so " * rules.max_words + first, 1), "stop"
    yield "an instruction in the text", good.replace(first, f"{instruction} {first}", 1), "stop"
    yield "German at the end", good.replace(row["enlightenment"] or last, GERMAN), "stop"
    yield "no final answer", good.replace("The answer is ", "That makes "), "stop"
    yield "another answer", good.replace("The answer is ", "The answer is 9"), "stop"
    yield "a test question in it", good.replace(first, f"{test_question} {first}", 1), "stop"
    yield "the same once more", good, "stop"
    yield "a word more at the end", good.replace("\n</enl", " So.\n</enl"), "stop"


def verdicts(
    replies: Iterator[tuple[str, str, str]], rules: Rules, group: Group
) -> list[Mapping[str, str]]:
    """What the checks say of each damaged reply: `what`, `reason` (or accepted), `detail`."""
    found = []
    for what, reply, finish_reason in replies:
        try:
            rules.accept(reply, finish_reason, group)
        except Rejected as rejection:
            found.append({"what": what, "reason": rejection.reason, "detail": rejection.detail})
        else:
            found.append({"what": what, "reason": "accepted", "detail": ""})
    return found
