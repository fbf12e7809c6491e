"""Tasks about words and facts: sentiment, knowledge, translation, spelling, formats, writing code."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from fugu_adapters.evaluate import tasks_data as data
from fugu_adapters.evaluate.tasks_numbers import Draft

__all__ = [
    "capitals",
    "code_writing",
    "formats",
    "json_extraction",
    "knowledge",
    "sentiment",
    "strings",
    "translation",
    "yes_no",
]


def _each_once(rng: random.Random, facts: Sequence[Any], count: int) -> list[Any]:
    """Facts without repetition, so that none is in two splits under different wordings."""
    return rng.sample(list(facts), min(count, len(facts)))


def sentiment(rng: random.Random, count: int) -> list[Draft]:
    """Whether a remark is positive or negative."""
    asks = (
        "Is this review positive or negative? '{text}' Answer with one word.",
        'Does the writer sound positive or negative here: "{text}"',
        "'{text}'\nWould you call that positive or negative?",
        "Classify the mood of this comment as positive or negative: {text}",
    )
    chosen = _each_once(rng, data.REMARKS, count)
    return [Draft(rng.choice(asks).format(text=text), mood) for text, mood in chosen]


def yes_no(rng: random.Random, count: int) -> list[Draft]:
    """Common facts as yes/no questions."""
    asks = ("{q}", "{q} Answer yes or no.", "Yes or no: {q}", "Quick question: {q}")
    chosen = _each_once(rng, data.YES_NO, count)
    return [Draft(rng.choice(asks).format(q=question), answer) for question, answer in chosen]


def capitals(rng: random.Random, count: int) -> list[Draft]:
    """Capitals of countries."""
    asks = (
        "What is the capital of {country}?",
        "Which city is the capital of {country}? Answer with just the city.",
        "I'm flying to the capital of {country}. Where am I landing?",
        "Name {country}'s capital city.",
    )
    chosen = _each_once(rng, data.CAPITALS, count)
    return [Draft(rng.choice(asks).format(country=land), city) for land, city in chosen]


def translation(rng: random.Random, count: int) -> list[Draft]:
    """Single words and short phrases from English."""
    asks = (
        "Translate '{text}' into {language}.",
        "How do you say '{text}' in {language}?",
        "What's the {language} for '{text}'? Only the translation, please.",
        "{language} word for '{text}'?",
    )
    drafts = []
    for text, by_language in _each_once(rng, data.TRANSLATIONS, count):
        language = rng.choice(list(by_language))
        ask = rng.choice(asks).format(text=text, language=language)
        drafts.append(Draft(ask, by_language[language]))
    return drafts


def knowledge(rng: random.Random, count: int) -> list[Draft]:
    """Multiple choice over general knowledge."""
    asks = (
        "{q}\n{options}\nAnswer with the letter.",
        "{q} Pick one:\n{options}",
        "Which option is right?\n{q}\n{options}",
    )
    drafts = []
    for question, right, *wrong in _each_once(rng, data.KNOWLEDGE, count):
        options = rng.sample([right, *wrong], 4)
        lines = "\n".join(f"{letter}) {text}" for letter, text in zip("ABCD", options, strict=True))
        answer = {"letter": "ABCD"[options.index(right)], "text": right}
        drafts.append(Draft(rng.choice(asks).format(q=question, options=lines), json.dumps(answer)))
    return drafts


def strings(rng: random.Random, count: int) -> list[Draft]:
    """Spelling backwards, counting and picking letters, sorting words."""
    return [_string_task(rng, word) for word in _each_once(rng, data.WORDS, count)]


def _string_task(rng: random.Random, word: str) -> Draft:
    letter, place = rng.choice(word), rng.randint(2, len(word) - 1)
    others = rng.sample([other for other in data.WORDS if other != word], 4)
    shuffled = ", ".join(rng.sample([word, *others], 5))
    in_order = ", ".join(sorted([word, *others]))
    return rng.choice(
        (
            Draft(f"Spell the word '{word}' backwards.", word[::-1]),
            Draft(f"Reverse the string '{word}'. Reply with only the result.", word[::-1]),
            Draft(
                f"How many times does the letter '{letter}' appear in '{word}'?",
                str(word.count(letter)),
            ),
            Draft(f"What is letter number {place} of the word '{word}'?", word[place - 1]),
            Draft(f"How many letters does '{word}' have?", str(len(word))),
            Draft(f"Put these words in alphabetical order: {shuffled}", in_order),
        )
    )


def json_extraction(rng: random.Random, count: int) -> list[Draft]:
    """Facts of a sentence as a JSON object with given keys."""
    return [_json_task(rng) for _ in range(count)]


def _json_task(rng: random.Random) -> Draft:
    name, city = rng.choice(data.NAMES), rng.choice(data.CAPITALS)[1]
    age, price, number = rng.randint(18, 79), rng.randint(3, 400), rng.randint(2, 60)
    thing = rng.choice(data.GOODS)
    sentence, fields = rng.choice(
        (
            (f"{name}, who is {age}, moved to {city} last spring.",
             {"name": name, "age": age, "city": city}),
            (f"Order: {number} x {thing} at {price} dollars each.",
             {"item": thing, "quantity": number, "price": price}),
            (f"Our office in {city} is run by {name} and has {number} people.",
             {"city": city, "manager": name, "staff": number}),
            (f"The {thing} costs {price} euros at {name}'s shop.",
             {"product": thing, "price": price, "seller": name}),
        )
    )  # fmt: skip
    keys = ", ".join(fields)
    ask = rng.choice(
        (
            f"Extract {keys} from this sentence as JSON: {sentence}",
            f'"{sentence}"\nGive me a JSON object with the keys {keys}.',
            f"Turn this into JSON with fields {keys}. Output only the JSON.\n{sentence}",
        )
    )
    return Draft(ask, json.dumps(fields))


def formats(rng: random.Random, count: int) -> list[Draft]:
    """Following a format: capitals, a number of bullets, a number of words."""
    return [_format_task(rng) for _ in range(count)]


def _format_task(rng: random.Random) -> Draft:
    topic, number = rng.choice(data.TOPICS), rng.randint(2, 6)
    phrase = rng.choice(data.PHRASES)
    words = rng.choice((2, 3, 4, 5))
    return rng.choice(
        (
            Draft(f"Write this in capital letters: {phrase}", _rule(contains=phrase.upper())),
            Draft(
                f"Rewrite in all uppercase, nothing else: '{phrase}'",
                _rule(contains=phrase.upper()),
            ),
            Draft(f"List {number} facts about {topic} as bullet points.", _rule(bullets=number)),
            Draft(
                f"Give me exactly {number} bullet points on why people like {topic}.",
                _rule(bullets=number),
            ),
            Draft(f"Describe {topic} in exactly {words} words.", _rule(words=words)),
            Draft(f"Wrap this text in square brackets: {phrase}", _rule(contains=f"[{phrase}]")),
        )
    )


def _rule(**rule: str | int) -> str:
    return json.dumps(rule)


def code_writing(rng: random.Random, count: int) -> list[Draft]:
    """Short Python functions, checked by running them."""
    asks = (
        "Write a Python function {name} that {does}.",
        "I need a Python function called {name}: it {does}. Only the code, please.",
        "In Python, implement {name} so that it {does}.",
    )
    drafts = []
    for signature, does, tests in _each_once(rng, data.FUNCTIONS, count):
        ask = rng.choice(asks).format(name=signature, does=does)
        drafts.append(Draft(ask, json.dumps(tests)))
    return drafts
