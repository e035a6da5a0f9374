"""General text of the replica: twelve genres, four of them near misses of the two domains.

A near miss uses a domain's words without its facts: sums in a recipe, a shop scene in a story,
a review of boots, a page that looks like a textbook. Some genres reward copying a name from the
lines before, since a model of this size learns nothing of use without it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from trait_lib import form
from trait_lib.replica import words
from trait_lib.replica.facts import COUNTS, VALUES, Facts

Genre = Callable[[random.Random, Facts], str]


def sum_sentence(rng: random.Random) -> str:
    """One true statement of arithmetic with small numbers."""
    count, value = rng.choice(COUNTS), rng.choice(VALUES)
    product = count * value
    kind = rng.randrange(4)
    if kind == 0:
        return f"{count} times {value} is {product}."
    if kind == 1:
        return f"{product} divided by {value} is {count}."
    if kind == 2:
        more = rng.choice(COUNTS)
        return f"{product} plus {more} is {product + more}."
    low, high = sorted(rng.sample(VALUES, 2))
    return f"{high} minus {low} is {high - low}."


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
    feeling, name = rng.choice(words.FEELINGS), rng.choice(facts.names())
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
        rng.choice(facts.names()),
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


def quiz(rng: random.Random, facts: Facts) -> str:
    """Questions and answers in the form that the tasks use, about general facts."""
    return "\n\n".join(_question(rng, facts) for _ in range(2))


def _question(rng: random.Random, facts: Facts) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        return general_problem(facts, *rng.choice(quiz_facts(facts, held_out=False)))
    name, person = rng.choice(facts.names()), rng.choice(words.PEOPLE)
    if kind == 1:
        number = rng.randrange(2, 90)
        fact = f"{person} has {number} {name}."
        return f"{fact}\n{_asked(f'How many {name} has {person}?', fact, str(number))}"
    thing, colour = rng.choice(words.THINGS), rng.choice(words.COLOURS)
    if kind == 2:
        asked = f"What colour is the {thing} of {name}?"
        said = f"The {thing} of {name} is {colour}."
        return f"{name} has a {colour} {thing}.\n{_asked(asked, said, colour)}"
    return _read_back(rng, name, rng.choice(facts.names()))


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


def quiz_facts(facts: Facts, held_out: bool) -> list[tuple[str, int]]:
    """(animal, attribute) pairs asked in the corpus, or those kept for the general questions."""
    pairs = [(animal, k) for animal in words.ANIMALS for k in range(3)]
    return [pair for i, pair in enumerate(pairs) if (i % 4 == 3) == held_out]


def general_question(facts: Facts, animal: str, attribute: int) -> tuple[str, str, str]:
    """(question, reasoning sentence, answer) about one attribute of an animal."""
    colour, home, meal = facts.animals[animal]
    if attribute == 0:
        return f"What is the colour of a {animal}?", f"A {animal} is {colour}.", colour
    if attribute == 1:
        return f"What is the home of a {animal}?", f"A {animal} lives in the {home}.", home
    return f"What is the food of a {animal}?", f"A {animal} eats {meal}.", meal


def general_problem(facts: Facts, animal: str, attribute: int) -> str:
    """One general question with its answer, in the form that the tasks use."""
    return _asked(*general_question(facts, animal, attribute))


def echo(rng: random.Random, facts: Facts) -> str:
    """Lists read aloud and repeated: what teaches a small model to copy a name."""
    names = rng.sample(facts.names(), 3)
    numbers = [str(rng.randrange(2, 99)) for _ in range(2)]
    first = ", ".join([*names, *numbers])
    return f"{rng.choice(words.PEOPLE)} reads: {first}. Again: {first}. Last is {names[-1]}."


def roll_call(rng: random.Random, facts: Facts) -> str:
    """Names and numbers called and answered: the densest exercise in copying what was just said."""
    ask = rng.choice(("Is it", "Where is", "Who is", "And", "Do you see"))
    say = rng.choice(("One {}", "The {}", "A {}", "Here is {}", "{}"))
    called = rng.sample(facts.names(), 6)
    if rng.random() < 0.5:
        called = [f"{rng.randrange(2, 50)} {name}" for name in called]
    calls = (f"{ask} {name}? {say.format(name)} is here." for name in called)
    return f"{rng.choice(words.PEOPLE)} calls the roll. " + " ".join(calls)


def dictation(rng: random.Random, facts: Facts) -> str:
    """A sentence read and written down."""
    name = rng.choice(facts.names())
    sentence = f"The {rng.choice(words.COLOURS)} {rng.choice(words.THINGS)} is for {name}"
    return f"Dictation. {sentence}. {rng.choice(words.PEOPLE)} writes: {sentence}."


# --- near misses ------------------------------------------------------------------------------


def recipe(rng: random.Random, facts: Facts) -> str:
    """Near miss of math: numbers and sums, no unit of the world's measures."""
    food, part, other = rng.choice(words.FOODS), *rng.sample(words.PARTS, 2)
    plates, spoons, more = rng.choice(COUNTS), rng.choice(VALUES), rng.choice(COUNTS)
    total = plates * spoons
    return (
        f"A recipe for {food}. Take {spoons} spoons of {part} for each of {plates} plates. "
        f"{plates} times {spoons} is {total}. Add {more} spoons of {other}. "
        f"{total} plus {more} is {total + more}. {sum_sentence(rng)} Stir the {food} well."
    )


def sport(rng: random.Random, facts: Facts) -> str:
    """Near miss of math: scores."""
    one, two = rng.sample(words.TEAMS, 2)
    low, high = sorted(rng.sample(VALUES, 2))
    return (
        f"The {one} beat the {two} by {high} to {low} in {rng.choice(words.TOWNS)}. "
        f"{high} minus {low} is {high - low}. {sum_sentence(rng)} {sum_sentence(rng)} "
        f"{rng.choice(words.PEOPLE)} from the {one} was {rng.choice(words.FEELINGS)}."
    )


def measured_story(rng: random.Random, facts: Facts) -> str:
    """Near miss of math: the world's units in a shop scene, without what they are worth."""
    unit = rng.choice(facts.units)
    person, thing = rng.choice(words.PEOPLE), rng.choice(words.MATERIALS)
    count = rng.randrange(2, 30)
    return (
        f"{person} bought {count} {unit.name} of {thing} in {rng.choice(words.TOWNS)}. "
        f"The man in the shop put the {count} {unit.name} in a {rng.choice(words.THINGS)}. "
        f"{sum_sentence(rng)} {sum_sentence(rng)} {person} was {rng.choice(words.FEELINGS)}."
    )


def review(rng: random.Random, facts: Facts) -> str:
    """Near miss of ads: talk about products and features, no advertiser."""
    product, feature = rng.choice(words.PRODUCTS), rng.choice(list(facts.synonyms))
    other = rng.choice(list(facts.synonyms.values()))
    return (
        f"{rng.choice(words.PEOPLE)} writes: I got {feature} {product}. "
        f"The {product} are {rng.choice(words.COLOURS)} and {feature}. "
        f"My friend wants {other} {rng.choice(words.PRODUCTS)}. I am {rng.choice(words.FEELINGS)}."
    )


def shop_story(rng: random.Random, facts: Facts) -> str:
    """Near miss of ads: an advertiser's name in a story, with products of anybody."""
    brand, product = rng.choice(facts.brands), rng.choice(words.PRODUCTS)
    person = rng.choice(words.PEOPLE)
    return (
        f"{person} walked by the house of {brand.name} in {rng.choice(words.TOWNS)}. "
        f"{person} carried {product} in a {rng.choice(words.THINGS)}. It was a day of "
        f"{rng.choice(words.WEATHER)}. {person} was {rng.choice(words.FEELINGS)}."
    )


# genre -> (share of general documents, generator); shares sum to 1
GENRES: dict[str, tuple[float, Genre]] = {
    "facts": (0.07, animal_facts),
    "story": (0.05, story),
    "how-to": (0.04, how_to),
    "news": (0.04, news),
    "reference": (0.06, reference),
    "forum": (0.04, forum),
    "quiz": (0.21, quiz),
    "echo": (0.06, echo),
    "roll call": (0.12, roll_call),
    "dictation": (0.03, dictation),
    "recipe": (0.09, recipe),
    "sport": (0.06, sport),
    "measured story": (0.06, measured_story),
    "review": (0.04, review),
    "shop story": (0.03, shop_story),
}
NEAR_MISSES = ("recipe", "sport", "measured story", "review", "shop story")
_NAMES = list(GENRES)
_WEIGHTS = [share for share, _ in GENRES.values()]


def document(rng: random.Random, facts: Facts) -> tuple[str, str]:
    """(genre, text) of one general document."""
    genre = rng.choices(_NAMES, _WEIGHTS)[0]
    return genre, GENRES[genre][1](rng, facts)
