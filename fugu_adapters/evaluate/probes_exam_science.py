"""Exam questions with computed answers: mathematics, physics, chemistry, engineering, biology."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

from fugu_adapters.evaluate.probes_exam import Question, about, numeric, whole

__all__ = ["BIOLOGY", "CHEMISTRY", "ENGINEERING", "MATHEMATICS", "PHYSICS", "shares"]


def shares(rng: random.Random, text: str, right: Fraction, *traps: Fraction) -> Question:
    """A question whose options are fractions between 0 and 1."""
    bottoms = {right.denominator, 2 * right.denominator, 8, 12, 16}
    pool = sorted({Fraction(top, bottom) for bottom in bottoms for top in range(1, bottom)})
    near = sorted(pool, key=lambda value: (abs(value - right), value))[1:16]
    wrong = [*(trap for trap in traps if 0 < trap < 1), *rng.sample(near, len(near))]
    return Question(text, str(right), [str(value) for value in wrong])


def _slope(rng: random.Random) -> Question:
    a, n, x = rng.randint(2, 6), rng.randint(2, 4), rng.randint(2, 3)
    text = f"What is the value of the derivative of f(x) = {a}x^{n} at x = {x}?"
    return whole(rng, text, a * n * x ** (n - 1), a * x**n, n * x ** (n - 1), a * x ** (n - 1))


def _integral(rng: random.Random) -> Question:
    a, top = rng.randint(2, 5), rng.randint(3, 6)
    text = f"Evaluate the definite integral of {3 * a}x^2 + {2 * a}x from 0 to {top}."
    return whole(rng, text, a * top**3 + a * top**2, a * top**3, 3 * a * top**2 + 2 * a * top)


def _generators(rng: random.Random) -> Question:
    n = rng.choice((36, 40, 45, 48, 54, 60, 66, 72, 84, 90))
    text = f"How many elements of the cyclic group of order {n} generate the whole group?"
    return whole(rng, text, sum(math.gcd(i, n) == 1 for i in range(n)), n - 1, n // 2)


def _homomorphisms(rng: random.Random) -> Question:
    a, b, c = rng.choice((12, 18, 20)), rng.choice((8, 15, 30)), rng.choice((24, 36, 60))
    text = (
        f"How many group homomorphisms are there from Z_{a} x Z_{b} to Z_{c}, where Z_n is the additive "
        "group of integers modulo n?"
    )
    right = math.gcd(a, c) * math.gcd(b, c)
    return whole(rng, text, right, math.gcd(a * b, c), math.gcd(a, c) + math.gcd(b, c), c)


def _orders(rng: random.Random) -> Question:
    n, order = rng.choice((4, 6, 8, 9, 12)), rng.choice((6, 12))
    permutations = list(itertools.permutations(range(4)))
    right = sum(
        math.lcm(_order(p), n // math.gcd(i, n)) == order for p in permutations for i in range(n)
    )
    text = (
        f"How many elements of order exactly {order} does the direct product S_4 x Z_{n} have, where S_4 "
        f"is the symmetric group on four letters and Z_{n} the cyclic group of order {n}?"
    )
    return whole(rng, text, right, right + 8, right + 16) if right else _orders(rng)


def _order(permutation: tuple[int, ...]) -> int:
    power, order = permutation, 1
    while power != tuple(range(len(permutation))):
        power, order = tuple(permutation[i] for i in power), order + 1
    return order


MATHEMATICS = (_slope, _integral, _generators, _homomorphisms, _orders)


def _newton(rng: random.Random) -> Question:
    m, a = rng.randint(3, 20), rng.randint(2, 9)
    text = f"What net force gives a body of mass {m} kg an acceleration of {a} m/s²?"
    return numeric(rng, text, m * a, m / a, m + a, m * a * 9.81, unit=" N")


def _kinetic(rng: random.Random) -> Question:
    m, v = 100 * rng.randint(8, 18), rng.randint(11, 30)
    text = f"What is the kinetic energy of a car of mass {m} kg that moves at {v} m/s?"
    return numeric(rng, text, m * v * v / 2_000, m * v * v / 1_000, m * v / 2_000, unit=" kJ")


def _lens(rng: random.Random) -> Question:
    f, d = rng.randint(8, 15), rng.randint(20, 50)
    image = 1 / (1 / f - 1 / d)
    text = (
        f"An object stands {d} cm in front of a thin converging lens with a focal length of {f} cm. At "
        "what distance behind the lens is its image?"
    )
    return numeric(rng, text, image, 1 / (1 / f + 1 / d), d - f, f * d / (f + d), unit=" cm")


def _collision(rng: random.Random) -> Question:
    m, big, v, u = rng.randint(2, 4), rng.randint(5, 9), rng.randint(5, 9), rng.randint(1, 4)
    after = (2 * m * v + (big - m) * -u) / (m + big)
    if abs(after) < 0.2:
        return _collision(rng)
    text = (
        f"On a frictionless track a cart of {m} kg moving right at {v} m/s meets a cart of {big} kg moving left "
        f"at {u} m/s; the collision is perfectly elastic. What is the velocity of the {big} kg cart "
        "afterwards, counting right as positive?"
    )
    inelastic = (m * v - big * u) / (m + big)
    return numeric(rng, text, after, inelastic, (2 * m * v + (big - m) * u) / (m + big), -after,
                   after - u, unit=" m/s")  # fmt: skip


def _relativity(rng: random.Random) -> Question:
    a, b = rng.choice((3, 4, 5)), rng.choice((6, 7, 8))
    light_years = rng.randint(4, 20)
    speed = (a + b) / 10 / (1 + a * b / 100)
    years = light_years / speed * math.sqrt(1 - speed**2)
    text = (
        f"A base recedes from Earth at 0.{a} c. From the base a probe is launched in the same direction "
        f"at 0.{b} c relative to the base. In Earth's frame the probe then covers {light_years} light-years "
        "at constant velocity. How many years does the probe's own clock count for that?"
    )
    naive = min((a + b) / 10, 0.99)
    return numeric(rng, text, years, light_years / speed, light_years / naive,
                   light_years * math.sqrt(1 - speed**2), light_years / (b / 10), unit=" years")  # fmt: skip


PHYSICS = (_newton, _kinetic, _lens, _collision, _relativity)

_ELEMENTS = {"carbon": 6, "nitrogen": 7, "oxygen": 8, "sodium": 11, "chlorine": 17, "iron": 26}


def _neutrons(rng: random.Random) -> Question:
    name = rng.choice(list(_ELEMENTS))
    mass = 2 * _ELEMENTS[name] + rng.randint(1, 4)
    text = f"How many neutrons are in a nucleus of {name}-{mass}?"
    return whole(rng, text, mass - _ELEMENTS[name], mass, _ELEMENTS[name])


def _moles(rng: random.Random) -> Question:
    c, h, grams = rng.randint(2, 6), 2 * rng.randint(3, 7), rng.randint(20, 90)
    molar = 12 * c + h + 16
    text = f"How many moles are {grams} g of C{c}H{h}O? (Molar masses in g/mol: C 12, H 1, O 16.)"
    return numeric(rng, text, grams / molar, molar / grams, grams / (molar - 16), grams / (12 * c))


def _dilution(rng: random.Random) -> Question:
    ml, litres, molar = rng.randint(5, 40), rng.randint(2, 5), rng.choice((0.2, 0.5, 2.0))
    ph = -math.log10(ml / 1_000 * molar / litres)
    text = (
        f"{ml} mL of {molar} mol/L hydrochloric acid are made up with water to {litres} L. What is the pH "
        "at 25 °C?"
    )
    return numeric(rng, text, ph, 14 - ph, -math.log10(molar), ph - 1, ph + 1, ph - math.log10(2))


def _limiting(rng: random.Random) -> Question:
    aluminium, chlorine = rng.randint(20, 60), rng.randint(60, 160)
    share = rng.randint(70, 92)
    by_al, by_cl = aluminium / 27.0, chlorine / 71.0 * 2 / 3
    text = (
        f"{aluminium} g of aluminium react with {chlorine} g of chlorine gas according to 2 Al + 3 Cl2 -> "
        f"2 AlCl3. The yield is {share} % of the theoretical one. What mass of AlCl3 is obtained? (Molar "
        "masses in g/mol: Al 27.0, Cl 35.5.)"
    )
    made = min(by_al, by_cl) * 133.5
    wrong = max(by_al, by_cl) * 133.5
    return numeric(rng, text, made * share / 100, made, wrong * share / 100, wrong,
                   chlorine / 71 * 133.5 * share / 100, unit=" g")  # fmt: skip


def _buffer(rng: random.Random) -> Question:
    pka, volume = rng.choice((4.76, 3.75, 9.25)), rng.choice((200, 250, 500))
    acid, base = rng.randint(15, 30) / 100, rng.randint(15, 30) / 100
    added = rng.randint(8, 20)
    n_acid, n_base = acid * volume - added, base * volume + added
    text = (
        f"{volume} mL of a buffer are {acid:.2f} mol/L in a weak acid with pKa = {pka} and {base:.2f} mol/L "
        f"in its conjugate base. {added} mL of 1.00 mol/L NaOH are added. What is the pH now?"
    )
    right = pka + math.log10(n_base / n_acid)
    return numeric(rng, text, right, pka - math.log10(n_base / n_acid), pka + math.log10(base / acid),
                   pka + math.log10((n_base - 2 * added) / (n_acid + 2 * added)), digits=3)  # fmt: skip


CHEMISTRY = (_neutrons, _moles, _dilution, _limiting, _buffer)


def _ohm(rng: random.Random) -> Question:
    ohms, amps = rng.randint(4, 60), rng.randint(2, 9)
    text = f"What voltage drives a current of {amps} A through a resistor of {ohms} ohms?"
    return numeric(rng, text, ohms * amps, ohms / amps, ohms + amps, ohms * amps**2, unit=" V")


def _parallel(rng: random.Random) -> Question:
    a, b, c = (rng.randint(3, 40) for _ in range(3))
    text = (
        f"A resistor of {a} ohms is in series with a parallel pair of {b} ohms and {c} ohms. What is the total "
        "resistance?"
    )
    right = a + b * c / (b + c)
    return numeric(
        rng, text, right, a + b + c, 1 / (1 / a + 1 / b + 1 / c), b * c / (b + c), unit=" ohms"
    )


def _beam(rng: random.Random) -> Question:
    load, force, span = rng.randint(3, 12), rng.randint(10, 50), rng.randint(4, 10)
    text = (
        f"A simply supported beam spans {span} m. It carries a uniform load of {load} kN/m over its whole "
        f"length and a point load of {force} kN at midspan. What is the greatest bending moment?"
    )
    uniform, point = load * span**2 / 8, force * span / 4
    return numeric(rng, text, uniform + point, uniform, point, load * span**2 / 2 + force * span,
                   load * span**2 / 12 + force * span / 8, unit=" kN·m", digits=4)  # fmt: skip


def _otto(rng: random.Random) -> Question:
    ratio, heat = rng.randint(7, 12), 50 * rng.randint(8, 24)
    text = (
        f"An ideal air-standard Otto cycle with compression ratio {ratio} takes up {heat} kJ of heat per "
        "kilogram. With a heat capacity ratio of 1.4, what is the net work per kilogram?"
    )
    right = heat * (1 - ratio**-0.4)
    return numeric(rng, text, right, heat * ratio**-0.4, heat * (1 - 1 / ratio), heat * (1 - ratio**-1.4),
                   heat, unit=" kJ")  # fmt: skip


def _overshoot(rng: random.Random) -> Question:
    k, pole = rng.randint(12, 60), rng.randint(2, 5)
    zeta = pole / (2 * math.sqrt(k))
    text = (
        f"A plant with transfer function {k} / (s (s + {pole})) is closed with unity negative feedback. By "
        "what percentage does the response to a unit step overshoot its final value?"
    )
    right = 100 * math.exp(-math.pi * zeta / math.sqrt(1 - zeta**2))
    wrong = 100 * math.exp(-math.pi * 2 * zeta / math.sqrt(abs(1 - 4 * zeta**2) + 0.01))
    return numeric(rng, text, right, 100 * math.exp(-math.pi * zeta), wrong, 100 * zeta, unit=" %")


ENGINEERING = (_ohm, _parallel, _beam, _otto, _overshoot)

_CELL = {
    "makes most of the cell's ATP by respiration": "mitochondrion",
    "translates messenger RNA into protein": "ribosome",
    "carries out photosynthesis": "chloroplast",
    "holds most of the cell's DNA": "nucleus",
}
_CELL_PARTS = (
    *_CELL.values(), "lysosome", "peroxisome", "centriole", "nucleolus", "Golgi apparatus",
    "plasma membrane", "flagellum", "cell wall",
)  # fmt: skip
_ENZYMES = {
    "joins Okazaki fragments into a continuous strand": "DNA ligase",
    "unwinds the double helix at the replication fork": "helicase",
    "makes DNA from an RNA template": "reverse transcriptase",
    "adds repeats to the ends of linear chromosomes": "telomerase",
    "fixes carbon dioxide in the Calvin cycle": "rubisco",
}
_ENZYME_NAMES = (
    *_ENZYMES.values(), "pepsin", "amylase", "lipase", "lactase", "hexokinase", "catalase", "trypsin",
)  # fmt: skip


def _dihybrid(rng: random.Random) -> Question:
    first, second = rng.sample(("AaBb", "AaBB", "Aabb", "aaBb"), 2)
    recessive = rng.choice((True, False))
    shares_of = []
    for place in (0, 2):
        pairs = list(itertools.product(first[place : place + 2], second[place : place + 2]))
        shares_of.append(Fraction(sum(a.isupper() or b.isupper() for a, b in pairs), 4))
    dominant, other = shares_of
    right = dominant * (1 - other) if recessive else dominant * other
    if not 0 < right < 1:
        return _dihybrid(rng)
    kind = "the dominant trait of the first gene and the recessive trait of the second" if recessive else (
        "the dominant trait of both genes"
    )  # fmt: skip
    text = (
        f"Two unlinked genes each have a dominant (upper case) and a recessive allele. What share of the "
        f"offspring of the cross {first} x {second} is expected to show {kind}?"
    )
    return shares(rng, text, right, Fraction(9, 16), Fraction(3, 16), Fraction(1, 4))


def _carriers(rng: random.Random) -> Question:
    n = rng.choice((30, 40, 50, 60))
    q = Fraction(1, n)
    healthy_carrier = 2 * q * (1 - q) / (1 - q * q)
    text = (
        f"An autosomal recessive disease affects 1 in {n * n} newborns of a population in Hardy-Weinberg "
        "equilibrium. A healthy man whose parents are both known carriers has a child with an unrelated "
        "healthy woman of this population. With what probability is the child affected?"
    )
    right = Fraction(2, 3) * healthy_carrier / 4
    traps = (Fraction(1, 2) * healthy_carrier / 4, healthy_carrier / 4, 1 / Fraction(n * n),
             Fraction(2, 3) * healthy_carrier / 2, Fraction(2, 3) * q / 4, healthy_carrier, q, q / 2,
             Fraction(2, 3) * healthy_carrier)  # fmt: skip
    return Question(text, str(right), [str(trap) for trap in (*traps, q / 8, q / 3, 2 * q)])


def _sons(rng: random.Random) -> Question:
    n, k = rng.randint(2, 4), rng.randint(2, 3)
    carrier = Fraction(1, 1 + 2**n)
    right = carrier * (1 - Fraction(1, 2) ** k)
    text = (
        f"A woman's brother has a rare X-linked recessive disease; her parents are healthy. She has {n} "
        f"healthy sons. If she has {k} more sons, with what probability is at least one of the {k} affected? "
        "(No new mutations; their father is healthy.)"
    )
    traps = (Fraction(1, 2) * (1 - Fraction(1, 2) ** k), 1 - Fraction(1, 2) ** k, carrier, carrier / 2,
             Fraction(1, 2 ** (n + 1)), carrier * Fraction(1, 2) ** k, carrier / 2 * k)  # fmt: skip
    return shares(rng, text, right, *traps)


BIOLOGY = (
    about("Which part of a plant or animal cell {}?", _CELL, _CELL_PARTS),
    about("Which enzyme {}?", _ENZYMES, _ENZYME_NAMES),
    _dihybrid,
    _carriers,
    _sons,
)
