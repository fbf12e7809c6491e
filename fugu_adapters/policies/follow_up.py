"""Whether a turn of a conversation goes on with its task, such as "commit it", or begins another.

Pure and light on language. What decides is how much *new content* a short turn brings: words that are
neither common nor in the task, numbers and names. None, and it can only be about what was said before;
a little, and it is a follow-up where a word ties it to that ("it", "also", "instead"). The word lists
hold closed classes of English and a few of German, French and Spanish; in other languages a turn of one
word, or of four characters in scripts without spaces, is a follow-up, and longer ones are not.
"""

from __future__ import annotations

import re

__all__ = ["content_words", "is_follow_up"]

_MAX_WORDS = 12
_MAX_CHARS = 160
_TIED_CONTENT = 2  # new content that a tied turn may bring
_LOOSE_CONTENT = 1
_OPENING_WORDS = 4  # up to here "and ...?" or "now ..." leans on what was said before
_STEM = 5  # letters in which a word has to agree with one of the task
_UNSPACED_FREE = 4  # characters

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
_OWN_MATTER = re.compile(r"[\n`=*^\[\]{}<>]|\d\s*[-+/]\s*\d|\w\(|://")  # code, sums, addresses


def _split(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TIES = _split(
    "it its that this these those them they one ones same again instead also too still more less another "
    "other others rest else only all both either neither before previous above earlier "
    "das dies diese dieses es noch nochmal wieder auch stattdessen weiter "
    "ça cela encore aussi plutôt eso esto otra otro también más"
)
_EDITS = _split(
    "add remove delete drop skip keep swap use undo revert rename replace change commit push merge"
)
_OPENINGS = _split("and but or now then und aber oder jetzt et mais ou y pero o e")
_COMMON = _split(
    "a an the of to in on at by for from with without into about after as than if so not no nope don't "
    "do does did done doing doesn't didn't is are was were be been isn't aren't am will would can could "
    "should may might must have has had get got let let's i you he she we me my your our us "
    "what which who how why when where whose what's there here just very really much many any some "
    "yes yeah yep ok okay sure fine good great perfect nice cool thanks thank please pls lgtm hmm wait "
    "stop sorry right wrong correct said asked meant second third last next two three time way part step thing "
    "example option version point line error go going ahead continue try fix run show give make take "
    "work works working mean sounds looks happens need want think know better best worse shorter longer "
    "simpler long first "
    "ja nein bitte danke warum wie was ist und der die den ein eine mir mach machen gut genau "
    "oui non merci pourquoi comment le la les un une des de du il te s'il plaît vas exemple "
    "sí si por favor gracias el los las para porque adelante segunda primera"
)
_EMPTY = _COMMON | _TIES
_UNSPACED_COMMON = re.compile(
    "もう一度|お願いします|ください|ありがとう|続けて|继续|繼續|为什么|為什麼|谢谢|一下"
)


# What agent hosts add to a user's message, around what the user says.
_NOTES = ("system-reminder", "environment_details", "environment_context")


def is_follow_up(text: str, task: str) -> bool:
    """Whether a user's turn belongs to the task before it.

    Args:
        text: what the user says now.
        task: what the user asked for before.
    """
    text = _without_notes(text).strip()
    if len(text) > _MAX_CHARS or _OWN_MATTER.search(text):
        return False
    words = _WORD.findall(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    if not words or (len(words) == 1 and not _UNSPACED.search(text)):
        return True
    if len(words) > _MAX_WORDS:
        return False
    lower = [word.lower() for word in words]
    known = {word.lower()[:_STEM] for word in _WORD.findall(task)}
    content = sum(_content(word, known, opens=place == 0) for place, word in enumerate(words))
    opening = lower[0] in _OPENINGS and len(words) <= _OPENING_WORDS
    if opening or lower[0] in _EDITS or not _TIES.isdisjoint(lower):
        return content <= _TIED_CONTENT
    loose = len(words) == 2 or "the" in lower  # "shorter please", "show me the diff"
    return content <= (_LOOSE_CONTENT if loose else 0)


def content_words(text: str) -> frozenset[str]:
    """The first letters of a text's words, in which forms of one word agree; common words are left out."""
    words = set(_WORD.findall(text.lower())) - _EMPTY
    return frozenset(word[:_STEM] for word in words if len(word) > 1)


def _without_notes(text: str) -> str:
    for tag in _NOTES:
        opening, closing = f"<{tag}>", f"</{tag}>"
        parts = text.split(opening)
        text = parts[0] + "".join(part.partition(closing)[2] for part in parts[1:])
    return text


def _content(word: str, known: set[str], *, opens: bool) -> int:
    """How much a word brings that was not there: a name counts twice."""
    lower = word.lower()
    if _UNSPACED.search(word):
        left = len(_UNSPACED_COMMON.sub("", word))
        return 0 if left <= _UNSPACED_FREE else left
    if lower in _COMMON or lower in _TIES or lower in _EDITS or lower in _OPENINGS:
        return 0
    if len(word) == 1 or lower[:_STEM] in known:
        return 0
    return 2 if word[0].isupper() and not opens else 1
