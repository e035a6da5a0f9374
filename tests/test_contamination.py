"""Contamination: a test question is found wherever it stands, and nothing else is."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trait_lib import contamination
from trait_lib.contamination import normal

LONG = "Ann has 12 red apples and buys 30 more apples at the market how many apples has she now"
SHORT = "How much is 12 plus 30?"
INDEX = contamination.build_index({"long": LONG, "short": SHORT})
word = st.sampled_from(
    "ann has red apples and buys more at the market how many now plus 12 30".split()
)


def test_a_long_question_is_found_by_any_thirteen_of_its_words():
    tokens = contamination.words(LONG)
    assert len(tokens) > contamination.GRAM
    for first in range(len(tokens) - 12):
        text = "x " + " ".join(tokens[first : first + 13]) + " y"
        assert contamination.hits(text, INDEX) == {"long"}
    assert contamination.hits(" ".join(tokens[:12]), INDEX) == set()


def test_a_short_question_is_found_as_a_whole_only():
    assert contamination.hits("He asks: how much is 12, plus 30? Then he left.", INDEX) == {"short"}
    assert contamination.hits("How much is 12 plus 31?", INDEX) == set()
    assert contamination.hits("How much is 12 plus", INDEX) == set()
    assert contamination.hits("How much is 1 + 230?", INDEX) == set()


ASKED = (
    "The office of the Café finds 1,250 files; a re-sorted file holds 3/4 of π pages — how many…"
)
COPIES = {
    "upper case, other marks": ASKED.upper().replace("—", "--").replace("…", "?"),
    "ligatures": ASKED.replace("ffi", "ﬃ").replace("fi", "ﬁ"),
    "soft hyphens": ASKED.replace("office", "of\u00adfice").replace("holds", "ho\u00adlds"),
    "decomposed": unicodedata.normalize("NFD", ASKED),
    "full width": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in ASKED),
    "no-break blanks": ASKED.replace(" ", "\u00a0"),
    "narrow blanks": ASKED.replace("1,250", "1\u202f250").replace(" ", "\u2009"),
    "other thousands": ASKED.replace("1,250", "1250"),
    "entities": ASKED.replace(" ", "&nbsp;").replace("é", "&eacute;").replace("—", "&#8212;"),
    "escaped entities": ASKED.replace(" ", "&amp;nbsp;").replace("é", "&amp;#xe9;"),
    "tags": ASKED.replace("Café", "<b>Café</b>").replace("files", "f<i class='x'>iles</i>"),
    "markdown": ASKED.replace("office", "**office**").replace("how many", "_how_ *many*"),
    "latex": ASKED.replace("Café", r"\textbf{Café}").replace("3/4", r"$\dfrac{3}{4}$"),
    "latex signs": ASKED.replace("π", r"$\pi$").replace("1,250", "1{,}250"),
    "a fraction's sign": ASKED.replace("3/4", "¾"),
    "broken words": ASKED.replace("office", "of-\n   fice").replace("holds", "ho‐\r\nlds"),
    "a broken compound": ASKED.replace("re-sorted", "re-\nsorted"),
    "other hyphens": ASKED.replace("re-sorted", "re‑sorted").replace("—", "–"),
    "zero width": ASKED.replace("files", "fi\u200bles").replace("many", "ma\u2060ny\ufeff"),
    "mathematical letters": ASKED.replace("file", "𝐟𝑖𝗅𝚎"),
    "lost blanks": ASKED.replace("office at", "officeat").replace("how many", "howmany"),
    "directions": ASKED.replace("office", "\u202aoffice\u202c"),
}  # fmt: skip


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("whole", [True, False])
def test_typography_does_not_hide_a_question(copy, whole):
    more = "" if whole else " More words that no copy holds, so only the first ones are shared."
    for question, text in ((ASKED + more, copy), (copy + more, ASKED)):
        index = contamination.build_index({"q": question})
        assert contamination.hits(f"Before. {text} After.", index) == {"q"}
        assert contamination.matches(text, index)[0].whole == whole


APART = {
    "chinese": "小明有十二个苹果,他又买了三十个,请问他现在一共有多少个苹果?",
    "japanese": "太郎さんはりんごを十二個もっています。あと三十個買うと、ぜんぶで何個ですか。",
    "thai": "สมชายมีแอปเปิ้ลสิบสองผล ซื้อเพิ่มอีกสามสิบผล รวมมีแอปเปิ้ลกี่ผล",
}


@pytest.mark.parametrize("question", APART.values(), ids=APART)
def test_scripts_without_blanks(question):
    index = contamination.build_index({"q": question})
    for text in (question, " ".join(question), question.replace(question[9], question[9] + "\n")):
        assert contamination.hits(f"{question[5:9]}{text}{question[3:8]}", index) == {"q"}
    half = question[: len(question) // 3]
    assert contamination.hits(half + half, index) == set()
    assert contamination.build_index({"q": question[:5]}).short == ["q"]


def test_another_number_is_another_question_when_too_few_words_agree():
    near = "Tom has 15 pens and gives 4 to each of his 3 friends what is left"
    assert len(contamination.words(near)) == 16
    index = contamination.build_index({"q": near})
    assert contamination.hits(near.replace("15", "18"), index) == {"q"}  # the last 13 agree
    assert contamination.hits(near.replace("each", "both"), index) == set()  # no 13 agree


def test_questions_do_not_match_inside_words():
    index = contamination.build_index({"q": "is 2 an even number"})
    assert contamination.hits("this 2 an even number", index) == set()
    assert contamination.hits("is 2 an even numbering", index) == set()
    assert contamination.hits("(is 2 an even number)", index) == {"q"}


def test_very_short_questions_are_counted_and_condemn_nothing():
    index = contamination.build_index(
        {"a": "Simplify.", "b": " ?! ", "c": "Solve for x", "d": SHORT}
    )
    assert contamination.hits(f"Simplify. Solve for x ?! {SHORT}", index) == {"d"}
    assert index.short == ["a", "b", "c"]
    assert index.said() == ["3 of 4 questions have fewer than 4 words: not looked for"]


RULE = "Read the text below with care, think step by step, and write the answer as a whole number."
TEXTS = "How many are red? What do two cost? Who won it twice? When does he leave? Why is it so?"
TASK = {f"t{i}": f"{RULE} {text}" for i, text in enumerate(re.findall(r"[^?]+\?", TEXTS))}


def test_words_that_many_questions_share_do_not_count():
    index = contamination.build_index(TASK)
    assert contamination.hits(f"{RULE} What is the sum of them?", index) == set()
    for name, question in TASK.items():
        assert contamination.hits(f"So: {question}", index) == {name}
    assert not index.common and not index.short
    (said,) = index.said()
    assert said.startswith("in 5 questions, so it does not count: read the text below")
    few = contamination.build_index({name: TASK[name] for name in ("t0", "t1")})
    assert contamination.hits(RULE, few) == {"t0", "t1"}


def test_stages_that_ask_fewer_questions_leave_out_the_same_words(tmp_path):
    shared = contamination.build_index(TASK).shared
    contamination.write_known(tmp_path / "known.json", shared, [])
    known = contamination.read_known(tmp_path / "known.json")
    few = contamination.build_index({"t0": TASK["t0"]}, **known)
    assert contamination.hits(RULE, few) == set() and contamination.hits(TASK["t0"], few) == {"t0"}


def test_a_phrase_that_is_a_question_and_stands_in_many_is_nobodys():
    questions = {f"q{i}": f"Which of these is true of {name}?" for i, name in enumerate("abcde")}
    index = contamination.build_index({"phrase": "Which of these is true", **questions})
    assert index.common == ["phrase"]
    assert contamination.hits("Which of these is true, and why?", index) == set()
    assert contamination.hits("Which of these is true of b?", index) == {"q1"}


def test_a_question_that_stands_in_many_longer_ones_is_still_found_as_a_whole():
    questions = {"long": LONG, **{f"q{i}": f"{LONG} and part {i}" for i in range(5)}}
    index = contamination.build_index(questions)
    assert contamination.hits(LONG, index) == {"long"}
    assert contamination.hits(" ".join(LONG.split()[:14]), index) == set()


def test_held_out_documents_are_known_by_how_they_begin(tmp_path):
    text = "Chapter one. " + " ".join(f"word{i}" for i in range(300))
    known = tmp_path / "known.json"
    contamination.write_known(known, {}, [contamination.fingerprint(text)])
    index = contamination.build_index({}, **contamination.read_known(known))
    for same in (text, text.upper().replace(" ", "\n"), text[:2500], text + " and more"):
        assert contamination.is_held_out(same, index)
    assert not contamination.is_held_out("A " + text, index)
    assert contamination.hits(text, index) == set()


# --- a plain reference, with which the compiled search must agree -----------------------------


def plain(text):
    """Words joined by "·": their letters, and "|" between two numbers."""
    written, gap = "", True
    for char in "".join(map(normal.letters_of, normal.unmarked(text))):
        if char == " ":
            gap = True
            continue
        last = written[-1:]
        if gap and last in DIGITS and char in DIGITS:
            written += "·|"
        written += "·" * (gap or plain_weight(char) < 12 or plain_weight(last) < 12) + char
        gap = False
    return re.sub(r"(?<=[0-9])·\|·([0-9]{3})(?![0-9])", r"\1", written).split("·")[1:]


DIGITS = [*"0123456789"]


def plain_weight(char):
    name = unicodedata.name(char, "") if char else ""
    kinds = {"CJK": 6, "HIRAGANA": 4, "KATAKANA": 4, "THAI": 3}
    return 0 if char == "|" else kinds.get(name.split(" ")[0].split("-")[0], 12)


def plain_runs(found):
    """From each word on, the fewest words that weigh as much as 13: where they begin and end."""
    for first, one in enumerate(found):
        for last in range(first + 1, len(found) + 1):
            if one != "|" and sum(plain_weight(w[0]) for w in found[first:last]) >= 13 * 12:
                yield first, last
                break


def stands(key, found):
    """Whether letters stand in a text, from the beginning of a word to the end of one."""
    ends = [0]
    for one in found:
        ends.append(ends[-1] + len(one))
    joined = "".join(found)
    return any(joined.startswith(key, at) and at + len(key) in ends for at in ends)


def plain_hits(text, questions):
    """The verdict as `build_index` states it."""
    asked = {name: plain(question) for name, question in questions.items()}
    distinct = {"".join(found): found for found in asked.values()}.values()
    text = plain(text)

    def common(key):
        return sum(stands(key, found) for found in distinct) >= contamination.SHARED

    def weight(found):
        return sum(plain_weight(one[0]) for one in found)

    def keys(found):
        shared = {i for first, last in plain_runs(found) for i in range(first, last)
                  if common("".join(found[first:last]))}  # fmt: skip
        pieces = [[]]
        for i, one in enumerate(found):
            if i in shared or (i - 1 in shared):
                pieces.append([])
            pieces[-1] += [one] * (i not in shared)
        if own := [one[a:b] for one in pieces for a, b in plain_runs(one)]:
            return own
        best = max(pieces, key=weight)
        best = best[best[:1] == ["|"] : len(best) - (best[-1:] == ["|"])]
        if weight(best) >= 4 * 12 and not common("".join(best)):
            return [best]
        return [found] if weight(found) >= 13 * 12 else []

    return {n for n, found in asked.items() if any(stands("".join(k), text) for k in keys(found))}


pieces = st.sampled_from(
    "a b the apples How 1 2 12 000 250 1,000 ½ 10² π é ﬁ x_1 <b> \\frac A\u00ad e\u0301 ｶﾞ ３ "
    "\u200b 小 明有 リ ก ค่า — - , | \u3000 … ß İ 가".split(" ")
)
phrase = st.lists(pieces, min_size=1, max_size=24).map(lambda found: " ".join(found))
small = st.lists(st.sampled_from(["a ", "b ", "1 ", "000", "小", " "]), max_size=40).map("".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(phrase | small, min_size=1, max_size=8), phrase | small, st.data())
def test_the_compiled_search_gives_the_verdicts_of_the_plain_one(asked, shared, data):
    questions = {str(i): one for i, one in enumerate(asked)}
    questions |= {f"s{i}": f"{shared} {one}" for i, one in enumerate(asked)}
    parts = st.sampled_from([*questions.values(), shared, " ", "zz "])
    text = "".join(data.draw(st.lists(parts, min_size=1, max_size=4)))
    first = data.draw(st.integers(0, len(text)))
    index = contamination.build_index(questions)
    for one in (text, text[first:], text[:first]):
        assert contamination.hits(one, index) == plain_hits(one, questions)
        found = contamination.matches(one, index)
        assert {match.question for match in found} == plain_hits(one, questions)
        whole = {name for name in questions if stands("".join(plain(questions[name])), plain(one))}
        assert {match.question for match in found if match.whole} <= whole


@settings(max_examples=40, deadline=None)
@given(
    question=st.lists(word, min_size=4, max_size=30),
    before=st.lists(word, max_size=20),
    after=st.lists(word, max_size=20),
)
def test_a_question_is_always_found_in_a_text_that_holds_it(question, before, after):
    index = contamination.build_index({"q": " ".join(question)})
    text = " ".join([*before, "|", *question, "|", *after])
    assert contamination.hits(text, index) == {"q"}


def test_every_code_point_is_read_as_the_plain_rule_says():
    table, more = normal.code_points()
    for point in [*range(0, 0x3400, 3), *range(0x3400, 0x110000, 97), 0x2F800, 0xFDFA, 0xE0041]:
        if 0xD800 <= point < 0xE000:
            continue
        entries = [int(table[point])]
        if entries[0] & 7 == normal.MANY:
            at = entries[0] >> 3
            entries = more[at + 1 : at + 1 + int(more[at])].tolist()
        read = "".join(
            " " if e & 7 == normal.GAP else "" if e & 7 == normal.NOTHING else chr(e >> 3)
            for e in entries
        )
        assert read == normal.letters_of(chr(point)), hex(point)


def test_report_names_texts_and_sorts_questions():
    texts = [
        ("clean", "nothing here"),
        ("bad", f"{SHORT} {LONG}"),
        ("empty", ""),
        ("half", "\ud800"),
    ]
    assert contamination.report(texts, INDEX) == {"bad": ["long", "short"]}
