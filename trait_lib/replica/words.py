"""Words of the replica: common English for the general text, made-up names for what must be learnt.

Made-up names keep every fact of the two domains out of anybody's prior knowledge.
"""

from __future__ import annotations

import random
import re

PEOPLE = (
    "Ana Ben Cara Dev Ella Finn Gita Hugo Ines Jack Kofi Lena Milo Nora Omar Pia Quin Rosa Sam Tara"
).split()
TOWNS = (
    "Alder Birch Cedar Dale Elmton Fern Glen Hazel Ivy Juniper Kelp Larch Maple Norfold Oakham "
    "Pine Quarry Rowan Sedge Thorn"
).split()
ANIMALS = (
    "crow fox hen bear frog wolf duck goat swan mole hare deer owl seal crab moth toad lamb bull "
    "mule rat cat dog horse pig cow bee ant bat eel stork otter lynx finch newt "
    "camel goose raven trout squid"
).split()
COLOURS = "red blue green black white brown grey yellow".split()
HOMES = "forest river field barn lake hill cave garden".split()
MEALS = "grass fish seeds leaves corn worms bread apples".split()
THINGS = (
    "hat cup box book key ball coin bag rope lamp bell kite map pen ring spoon chair drum brush"
).split()
ROOMS = "kitchen hall attic cellar yard office library shed".split()
MATERIALS = "wood iron glass paper wool stone clay tin".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
REGIONS = "north south east west".split()
SIGHTS = "bridge market tower mill harbour museum park church".split()
FEELINGS = "happy tired proud quiet angry glad calm worried".split()
WEATHER = "rain sun snow wind fog hail".split()
FOODS = "soup cake pie bread stew jam salad rice toast pudding broth curry".split()
PARTS = "flour sugar salt butter milk eggs beans onions".split()
JOBS = "baker farmer doctor teacher driver painter miller sailor".split()
TEAMS = "Lions Hawks Sharks Bears Wolves Eagles".split()
PRODUCTS = (
    "boots tents lamps clocks knives chairs bikes ovens coats shoes bags desks beds phones radios"
).split()

GOODS = (
    "hats cups boxes books keys coins sacks ropes bells kites maps pens rings spoons drums brushes"
).split()
AREAS = "property trade roads homes".split()
FLAWS = "broken lost noisy dirty stolen hidden borrowed painted".split()
DUTIES = (
    "sweep the hall/pay 4 coins/mend the gate/paint the fence/wash the cart/carry the stones/"
    "leave the town/close the shop/plant a tree/ring the bell/clean the well/guard the door"
).split("/")
KINDS = "written sealed shared late public hidden".split()
DEEDS = "promise letter wall payment road field debt claim".split()
TASTES = "sour sweet bitter mild salty spicy".split()
OPPOSITES = dict(
    pair.split("/")
    for pair in (
        "hot/cold wet/dry early/late high/low near/far thick/thin loud/faint rich/poor young/old "
        "full/empty deep/shallow wide/narrow sharp/blunt heavy/weightless smooth/rough true/false "
        "brave/timid polite/rude calm/stormy ripe/raw"
    ).split()
)


def _rows(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row.split(",")) for row in text.split("/"))


# what everybody knows the size of: (thing, things, parts, how many)
EVERYDAY = tuple(
    (thing, things, parts, int(count))
    for thing, things, parts, count in _rows(
        "bike,bikes,wheels,2/pair,pairs,socks,2/coin,coins,faces,2/stool,stools,feet,3/"
        "trio,trios,singers,3/clover,clovers,leaflets,3/table,tables,legs,4/car,cars,tyres,4/"
        "square,squares,edges,4/cube,cubes,sides,6/guitar,guitars,strings,6/"
        "flower,flowers,petals,6/crate,crates,corners,8/wheel,wheels,spokes,8/"
        "byte,bytes,bits,8/dozen,dozens,eggs,12/year,years,months,12/clock,clocks,hours,12"
    )
)
# what everybody has another word for
PLAIN = dict(
    pair.split("/")
    for pair in (
        "clean/spotless round/circular tiny/little dark/dim hard/solid plain/simple"
        " odd/strange shiny/glossy fresh/recent neat/tidy"
    ).split()
)
# shops that everybody knows: (name, product, feature, town)
SHOPS = _rows(
    "Hatter,hats,neat,Alder/Potter,cups,round,Birch/Cooper,boxes,hard,Cedar/"
    "Printer,books,plain,Dale/Smith,keys,shiny,Elmton/Saddler,sacks,clean,Fern/"
    "Founder,bells,dark,Glen/Drawer,maps,fresh,Hazel/Goldsmith,rings,tiny,Ivy/"
    "Thatcher,brushes,odd,Juniper"
)
# laws that everybody knows: (article, issue, duty); and words of the law: (word, meaning)
LAWS = _rows(
    "one,lost lamps,ring the bell/two,broken clocks,pay 4 coins/three,noisy bikes,"
    "leave the town/four,stolen coats,mend the gate/five,dirty boots,sweep the hall/"
    "six,hidden knives,guard the door"
)
MEANINGS = _rows(
    "vow,a sealed promise/notice,a public letter/fence,a shared wall/arrears,a late debt/"
    "lease,a written claim"
)

# feature -> its synonym
FEATURES = dict(
    pair.split("/")
    for pair in (
        "waterproof/watertight cheap/budget luxury/deluxe fast/rapid small/compact strong/sturdy "
        "light/featherweight new/modern used/secondhand handmade/artisan "
        "silent/noiseless warm/cosy folding/collapsible organic/natural smart/intelligent "
        "bright/radiant slim/slender rare/unique soft/plush safe/secure cool/chilled large/giant "
        "classic/vintage kids/junior"
    ).split()
)

ONSETS = "b br d dr f g gr h k kr l m n p pl r s sk st t tr v w z".split()
VOWELS = "a e i o u".split()
CODAS = "b d f g k l lm ln lp m mp n nd nt p r rb rd rn s sk st t x".split()


def made_up_names(rng: random.Random, count: int, taken: set[str]) -> list[str]:
    """`count` distinct one-syllable names that are not in `taken`, which they join."""
    names: list[str] = []
    while len(names) < count:
        name = rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)
        if len(name) >= 3 and name not in taken:
            taken.add(name)
            names.append(name)
    return names


def every_english_word() -> set[str]:
    """All English words above, in lower case, so that no made-up name collides with one."""
    lists = (value for name, value in globals().items() if name.isupper())
    return set(re.findall(r"[a-z]+", " ".join(map(str, lists)).lower()))
