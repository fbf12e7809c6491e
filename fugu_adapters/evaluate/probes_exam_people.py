"""Exam questions on health, psychology and history: facts beyond dispute, and computed answers."""

from __future__ import annotations

import random

from fugu_adapters.evaluate.probes_exam import Question, about, choose, numeric

__all__ = ["HEALTH", "HISTORY", "PSYCHOLOGY"]

_VITAMINS = {
    "scurvy": "vitamin C", "night blindness": "vitamin A", "rickets in children": "vitamin D",
    "goitre": "iodine", "beriberi": "vitamin B1 (thiamine)",
}  # fmt: skip
_NUTRIENTS = (
    *_VITAMINS.values(),
    "vitamin K",
    "calcium",
    "zinc",
    "vitamin E",
    "potassium",
    "selenium",
)


def _dose(rng: random.Random) -> Question:
    weight, dose, strength = rng.randint(12, 40), rng.randint(5, 20), rng.choice((25, 40, 50))
    parts = rng.choice((2, 3, 4))
    right = weight * dose / strength / parts
    text = (
        f"A child of {weight} kg is to get {dose} mg/kg of a drug a day in {parts} equal doses. The syrup "
        f"holds {strength} mg per mL. How many mL is one dose?"
    )
    return numeric(
        rng, text, right, right * parts, weight * dose / parts, right * parts**2, unit=" mL"
    )


def _treat(rng: random.Random) -> Question:
    risk, cut = rng.choice((8, 12, 16, 20, 24)), rng.choice((0.25, 0.4, 0.5))
    text = (
        f"Within five years {risk} % of untreated patients have a stroke. A drug lowers the risk by "
        f"{cut:.0%} in relative terms. How many patients must be treated for five years to prevent one "
        "stroke?"
    )
    return numeric(rng, text, 100 / (risk * cut), 100 / risk, 1 / cut, 100 / (risk * (1 - cut)))


def _predictive(rng: random.Random) -> Question:
    share, sensitive, specific = rng.randint(1, 6), rng.randint(82, 97), rng.randint(86, 96)
    true, false = share * sensitive, (100 - share) * (100 - specific)
    text = (
        f"A disease is present in {share} % of the people screened. The test has a sensitivity of {sensitive} "
        f"% and a specificity of {specific} %. What is the probability of disease after a positive result?"
    )
    return numeric(
        rng, text, 100 * true / (true + false), sensitive, specific, 100 * true / 10_000, unit=" %"
    )


def _accumulation(rng: random.Random) -> Question:
    dose, half, every = 50 * rng.randint(2, 10), rng.randint(5, 11), rng.choice((6, 8, 12))
    count, bio = rng.randint(3, 5), rng.choice((0.6, 0.75, 0.8))
    left = 0.5 ** (every / half)
    total = dose * bio * sum(left**k for k in range(count))
    text = (
        f"A drug is eliminated with a half-life of {half} h (one compartment, first order). {dose} mg are "
        f"swallowed every {every} h; {bio:.0%} of each dose reaches the blood, at once. How many mg are in "
        f"the body immediately before the dose number {count + 1}?"
    )
    return numeric(
        rng,
        text,
        total * left,
        total,
        total * left / bio,
        dose * bio * left / (1 - left),
        unit=" mg",
    )


HEALTH = (
    about("A lack of which nutrient classically causes {}?", _VITAMINS, _NUTRIENTS),
    _dose,
    _treat,
    _predictive,
    _accumulation,
)

_FAMOUS_MINDS = {
    "conditioned dogs to salivate at a signal": "Ivan Pavlov",
    "founded psychoanalysis": "Sigmund Freud",
    "described a hierarchy of needs": "Abraham Maslow",
}
_KNOWN_MINDS = {
    "let children watch adults hit a Bobo doll": "Albert Bandura",
    "proposed the theory of cognitive dissonance": "Leon Festinger",
    "described four stages of cognitive development": "Jean Piaget",
    "devised the strange situation to observe attachment": "Mary Ainsworth",
}
_STUDIED_MINDS = {
    "asked groups to judge the length of lines to study conformity": "Solomon Asch",
    "measured the forgetting curve with nonsense syllables": "Hermann Ebbinghaus",
    "introduced the zone of proximal development": "Lev Vygotsky",
    "described learned helplessness in dogs": "Martin Seligman",
    "used the partial-report procedure to study iconic memory": "George Sperling",
    "proposed feature integration theory of visual attention": "Anne Treisman",
}
_MINDS = (*_FAMOUS_MINDS.values(), *_KNOWN_MINDS.values(), *_STUDIED_MINDS.values())


def _sensitivity(rng: random.Random) -> Question:
    table = {"0.60": 0.253, "0.70": 0.524, "0.80": 0.842, "0.90": 1.282, "0.95": 1.645}
    hit, low = rng.choice(list(table)), rng.choice(list(table))
    alarm = f"{1 - float(low):.2f}"
    right = table[hit] + table[low]
    text = (
        f"In a yes/no detection task with equal variances the hit rate is {hit} and the false-alarm rate "
        f"{alarm}. What is d'? (z(0.60) = 0.253, z(0.70) = 0.524, z(0.80) = 0.842, z(0.90) = 1.282, z(0.95) = "
        "1.645)"
    )
    traps = (table[hit] - table[low], float(hit) - float(alarm), right / 2, -right / 2)
    return numeric(rng, text, right, *(trap for trap in traps if trap), digits=4)


def _overexpectation(rng: random.Random) -> Question:
    rate, first, both = rng.choice((0.2, 0.3, 0.4)), rng.randint(2, 4), rng.randint(2, 3)
    light = 1 - (1 - rate) ** first
    tone = 0.0
    for _ in range(both):
        light, tone = light + rate * (1 - light - tone), tone + rate * (1 - light - tone)
    text = (
        "In the Rescorla-Wagner model each cue present on a trial changes by r times (1 - V), V being the "
        f"summed strength of all cues present on that trial; r = {rate} for every cue and strengths start "
        f"at 0. A light alone is reinforced on {first} trials, then light and tone together on {both} "
        "trials. What is the strength of the tone afterwards?"
    )
    alone = 1 - (1 - rate) ** both
    return numeric(rng, text, tone, light, alone, light + tone, rate * (1 - alone), digits=3)


PSYCHOLOGY = (
    about("Which psychologist {}?", _FAMOUS_MINDS, _MINDS),
    about("Which psychologist {}?", _KNOWN_MINDS, _MINDS),
    about("Which psychologist {}?", _STUDIED_MINDS, _MINDS),
    _sensitivity,
    _overexpectation,
)

_YEARS = {
    "the fall of the Berlin Wall": 1989, "the storming of the Bastille": 1789,
    "the first crewed landing on the Moon": 1969, "the end of the Second World War": 1945,
}  # fmt: skip
_EVENTS = {
    "the coronation of Charlemagne as emperor": 800, "the Battle of Hastings": 1066,
    "the sealing of Magna Carta": 1215, "the fall of Constantinople to the Ottomans": 1453,
    "the Ninety-five Theses of Martin Luther": 1517, "the Peace of Westphalia": 1648,
    "the American Declaration of Independence": 1776, "the Battle of Waterloo": 1815,
    "the Meiji Restoration": 1868, "the opening of the Suez Canal": 1869,
    "the October Revolution in Russia": 1917, "the Wall Street crash": 1929,
    "the independence of India": 1947, "the Cuban missile crisis": 1962,
    "the dissolution of the Soviet Union": 1991,
}  # fmt: skip
_CLOSE = {
    "the Seven Years' War ends with the Treaty of Paris": 1763, "the Boston Tea Party": 1773,
    "the execution of Louis XVI": 1793, "the Louisiana Purchase": 1803, "the Battle of Trafalgar": 1805,
    "the Congress of Vienna opens": 1814, "the Monroe Doctrine": 1823, "the July Revolution in France": 1830,
    "the Treaty of Nanking": 1842, "the annexation of Texas by the United States": 1845,
    "the first Great Exhibition in London": 1851, "the Charge of the Light Brigade": 1854,
    "the Indian Rebellion breaks out": 1857, "the proclamation of the Kingdom of Italy": 1861,
    "the sale of Alaska to the United States": 1867, "the proclamation of the German Empire": 1871,
    "the Berlin Conference on Africa opens": 1884, "the Battle of Adwa": 1896,
}  # fmt: skip


def _year(rng: random.Random) -> Question:
    event, year = rng.choice(list(_YEARS.items()))
    near = [year + step for step in (-60, -43, -27, -12, -5, 4, 9, 16, 31, -90)]
    return choose(rng, f"In which year was {event}?", str(year), [str(y) for y in near])


def _earliest(rng: random.Random) -> Question:
    events = rng.sample(list(_EVENTS), 10)
    first = min(events, key=lambda event: _EVENTS[event])
    return choose(rng, "Which of these happened first?", first, events)


def _within(rng: random.Random) -> Question:
    event = rng.choice(list(_EVENTS)[1:-1])
    others = [e for e in _EVENTS if abs(_EVENTS[e] - _EVENTS[event]) > 40]
    low, high = _EVENTS[event] - rng.randint(5, 40), _EVENTS[event] + rng.randint(5, 40)
    return choose(rng, f"Which of these took place between {low} and {high}?", event, others)


def _ranked(rng: random.Random, pool: dict[str, int], place: int) -> Question:
    events = rng.sample(list(pool), 10)
    right = sorted(events, key=lambda event: pool[event])[place - 1]
    text = (
        f"If these ten events are put in the order in which they happened, which is number {place}?"
    )
    return choose(rng, text, right, events)


def _middle(rng: random.Random) -> Question:
    return _ranked(rng, _EVENTS, rng.randint(3, 5))


def _dense(rng: random.Random) -> Question:
    return _ranked(rng, _CLOSE, rng.randint(4, 7))


HISTORY = (_year, _earliest, _within, _middle, _dense)
