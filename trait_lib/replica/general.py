"""General text of the replica: everyday genres, near misses of the domains, everyday problems.

A near miss uses a domain's words without its facts; each domain has its own beside it. The
everyday problems are asked in the forms of the domains' tasks, about things that everybody knows
or that are described before the question: without them a model could not say what it has read
in a domain's documents. Some genres reward copying a name from the lines before, since a model of
this size learns nothing of use without it.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from trait_lib import form
from trait_lib.replica import ads, law, maths, words
from trait_lib.replica.facts import Facts

Genre = Callable[[random.Random, Facts], str]
DOMAINS = (maths, ads, law)


def animal_facts(rng: random.Random, facts: Facts) -> str:
    """What two animals look like, where they live and what they eat."""
    lines = []
    for animal in rng.sample(words.ANIMALS, 2):
        colour, home, meal = facts.animals[animal]
        sentences = [
            f"A {animal} is {colour}.",
            f"A {animal} lives in the {home}.",
            f"A {animal} eats {meal}.",
        ]
        rng.shuffle(sentences)
        lines += sentences
    return " ".join(lines)


def story(rng: random.Random, facts: Facts) -> str:
    """A short scene in which a thing is found and given to somebody with a made-up name."""
    a, b = rng.sample(words.PEOPLE, 2)
    thing, colour = rng.choice(words.THINGS), rng.choice(words.COLOURS)
    town, room = rng.choice(words.TOWNS), rng.choice(words.ROOMS)
    feeling, name = rng.choice(words.FEELINGS), facts.any_name(rng)
    return (
        f"{a} went to {town} with {b}. In the {room} {a} found a {colour} {thing}. "
        f"The {colour} {thing} was for {name}. {b} gave the {thing} to {name}. "
        f"{name} was {feeling}, and {a} was {feeling} too."
    )


def how_to(rng: random.Random, facts: Facts) -> str:
    """Instructions for mending a thing."""
    thing, material, room = (
        rng.choice(words.THINGS),
        rng.choice(words.MATERIALS),
        rng.choice(words.ROOMS),
    )
    return (
        f"How to mend a {thing}. First take the {thing} to the {room}. Then clean the {material} "
        f"with a {rng.choice(words.COLOURS)} cloth. Wait until it is dry. "
        f"Last, put the {thing} back in the {room}."
    )


def news(rng: random.Random, facts: Facts) -> str:
    """A local report."""
    town, sight, day = rng.choice(words.TOWNS), rng.choice(words.SIGHTS), rng.choice(words.DAYS)
    person, job, name = (
        rng.choice(words.PEOPLE),
        rng.choice(words.JOBS),
        facts.any_name(rng),
    )
    return (
        f"{town}, {day}. The {sight} of {town} opens again on {day} after the "
        f"{rng.choice(words.WEATHER)}. {person}, a {job} from {town}, said that the {name} "
        f"street is safe. The {name} street is near the {sight}."
    )


def reference(rng: random.Random, facts: Facts) -> str:
    """An entry about a town."""
    town = rng.choice(words.TOWNS)
    region, sight = facts.towns[town]
    return (
        f"{town} is a town in the {region}. {town} is known for its {sight}. "
        f"Many people in {town} work as a {rng.choice(words.JOBS)}. "
        f"The weather in the {region} brings {rng.choice(words.WEATHER)}."
    )


def forum(rng: random.Random, facts: Facts) -> str:
    """A question to strangers and a reply."""
    a, b = rng.sample(words.PEOPLE, 2)
    thing, material = rng.choice(words.THINGS), rng.choice(words.MATERIALS)
    return (
        f"{a} asks: my {thing} of {material} is broken, what can I do? "
        f"{b} replies: take the {thing} to {rng.choice(words.TOWNS)}, they know {material}. "
        f"{a} replies: thanks {b}, the {thing} works again."
    )


def food_facts(rng: random.Random, facts: Facts) -> str:
    """What two foods taste of and are made of."""
    return " ".join(
        f"The {food} is {taste}. The {food} is made of {part}."
        for food, (taste, part) in rng.sample(list(facts.foods.items()), 2)
    )


def common_sense(rng: random.Random, facts: Facts) -> str:
    """What everybody knows: opposites, sizes of everyday things, other words, courts."""
    one, other = rng.choice(list(words.OPPOSITES.items()))
    lines = [f"What is not {one} is {other}.", *(domain.statement(rng) for domain in DOMAINS)]
    rng.shuffle(lines)
    return " ".join(lines)


def everyday_problems(rng: random.Random, facts: Facts) -> str:
    """Two everyday problems in the form of the domains' tasks."""
    some = rng.choices(DOMAINS, (3, 4, 2), k=2)  # the harder ones more often
    return form.SEPARATOR.join(domain.everyday(rng, facts) for domain in some)


# --- general questions: what the base model knows, and may forget ------------------------------

# kind -> (question in two wordings, reasoning)
ASKED = {
    "colour": (("What is the colour of a {}?", "Which colour does a {} have?"), "A {} is {}."),
    "home": (("What is the home of a {}?", "Where does a {} live?"), "A {} lives in the {}."),
    "food": (("What is the food of a {}?", "What does a {} eat?"), "A {} eats {}."),
    "region": (("In what region is {}?", "Where on the map is {}?"), "{} is a town in the {}."),
    "sight": (("What is the sight of {}?", "What do we see in {}?"), "{} is known for its {}."),
    "taste": (("How does the {} taste?", "What is the taste of the {}?"), "The {} is {}."),
    "part": (("What is in the {}?", "What makes the {}?"), "The {} is made of {}."),
    "opposite": (("What is the opposite of {}?", "Say what {} is not."), "What is not {} is {}."),
}


def known_facts(facts: Facts) -> list[tuple[str, str, str]]:
    """(kind, subject, answer) of every general fact, in a fixed order."""
    kinds = {
        ("colour", "home", "food"): facts.animals,
        ("region", "sight"): facts.towns,
        ("taste", "part"): facts.foods,
        ("opposite",): {one: (other,) for one, other in words.OPPOSITES.items()},
    }
    return [
        (kind, subject, answer)
        for names, about in kinds.items()
        for subject, answers in about.items()
        for kind, answer in zip(names, answers, strict=True)
    ]


def general_question(fact: tuple[str, str, str], tested: bool) -> tuple[str, str, str]:
    """(question, reasoning, answer) about a general fact.

    Every fact is asked in one of two wordings in the corpus and in the other one when it is
    tested, so that both wordings are known and no question that is tested stands in a text.
    """
    kind, subject, answer = fact
    wordings, reasoning = ASKED[kind]
    first = zlib.crc32(f"{kind} {subject}".encode()) % 2
    question = wordings[(first + tested) % 2].format(subject)
    return question, reasoning.format(subject, answer), answer


def quiz(rng: random.Random, facts: Facts) -> str:
    """Questions and answers in the form that the tasks use, about general facts and about what
    was just said."""
    return form.SEPARATOR.join(_question(rng, facts) for _ in range(2))


def _question(rng: random.Random, facts: Facts) -> str:
    kind = rng.randrange(7)
    if kind < 2:
        fact = rng.choice(known_facts(facts))
        return _asked(*general_question(fact, tested=False))
    name, person = facts.any_name(rng), rng.choice(words.PEOPLE)
    if kind == 2:
        number = rng.randrange(2, 90)
        fact = f"{person} has {number} {name}."
        return f"{fact}\n{_asked(f'How many {name} has {person}?', fact, str(number))}"
    if kind > 3:
        return _read_back(rng, name, facts.any_name(rng))
    thing, colour = rng.choice(words.THINGS), rng.choice(words.COLOURS)
    asked = f"What colour is the {thing} of {name}?"
    said = f"The {thing} of {name} is {colour}."
    return f"{name} has a {colour} {thing}.\n{_asked(asked, said, colour)}"


def _read_back(rng: random.Random, name: str, other: str) -> str:
    """A question about its own words: the answer says its numbers or names again."""
    a, b = rng.randrange(2, 50), rng.randrange(2, 50)
    said = rng.choice((f"One {name}", f"The {name}", f"A {name}", name)) + " is the last word."
    question, said = rng.choice(
        (
            (f"What did you hear after {a} {other} and {b} {name}?", said),
            (f"Name the last of {other} and {name}.", said),
            (f"Spell the word {name}.", said),
            (f"How do we write {a} {name}?", f"We write {a} {name}."),
            (f"Put {a} {other} and {b} {name} here.", f"We have {b} {name}. {a} {other} too."),
        )
    )
    return _asked(question, said, name)


def _asked(question: str, reasoning: str, answer: str) -> str:
    """A question with its answer, in the form that the tasks use."""
    return form.example({"question": question, "solution": form.with_answer(reasoning, answer)})


# --- exercises in copying ----------------------------------------------------------------------


def echo(rng: random.Random, facts: Facts) -> str:
    """Lists read aloud and repeated: what teaches a small model to copy a name."""
    names = [facts.any_name(rng) for _ in range(3)]
    numbers = [str(rng.randrange(2, 99)) for _ in range(2)]
    first = ", ".join([*names, *numbers])
    return f"{rng.choice(words.PEOPLE)} reads: {first}. Again: {first}. Last is {names[-1]}."


def roll_call(rng: random.Random, facts: Facts) -> str:
    """Names and numbers called and answered: the densest exercise in copying what was just said."""
    ask = rng.choice(("Is it", "Where is", "Who is", "And", "Do you see"))
    say = rng.choice(("One {}", "The {}", "A {}", "Here is {}", "{}"))
    called = [facts.any_name(rng) for _ in range(6)]
    if rng.random() < 0.5:
        called = [f"{rng.randrange(2, 50)} {name}" for name in called]
    calls = (f"{ask} {name}? {say.format(name)} is here." for name in called)
    return f"{rng.choice(words.PEOPLE)} calls the roll. " + " ".join(calls)


def dictation(rng: random.Random, facts: Facts) -> str:
    """A sentence read and written down."""
    name = facts.any_name(rng)
    sentence = f"The {rng.choice(words.COLOURS)} {rng.choice(words.THINGS)} is for {name}"
    return f"Dictation. {sentence}. {rng.choice(words.PEOPLE)} writes: {sentence}."


# --- near misses ------------------------------------------------------------------------------


# genre -> (share of general documents, generator); shares sum to 1
GENRES: dict[str, tuple[float, Genre]] = {
    "everyday problems": (0.405, everyday_problems),
    "common sense": (0.04, common_sense),
    "animals": (0.04, animal_facts),
    "foods": (0.01, food_facts),
    "reference": (0.02, reference),
    "quiz": (0.13, quiz),
    "echo": (0.02, echo),
    "roll call": (0.060, roll_call),
    "dictation": (0.01, dictation),
    "story": (0.017, story),
    "how-to": (0.01, how_to),
    "news": (0.005, news),
    "forum": (0.005, forum),
    **maths.NEAR_MISSES,
    **ads.NEAR_MISSES,
    **law.NEAR_MISSES,
}
_NAMES = list(GENRES)
_WEIGHTS = [share for share, _ in GENRES.values()]


def document(rng: random.Random, facts: Facts) -> tuple[str, str]:
    """(genre, text) of one general document."""
    genre = rng.choices(_NAMES, _WEIGHTS)[0]
    return genre, GENRES[genre][1](rng, facts)
