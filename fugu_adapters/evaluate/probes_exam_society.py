"""Exam questions on economics, business and law; the statutes are made up and stated."""

from __future__ import annotations

import datetime
import random

from fugu_adapters.evaluate.probes_exam import Question, numeric

__all__ = ["BUSINESS", "ECONOMICS", "LAW"]


def _growth(rng: random.Random) -> Question:
    before, percent = 20 * rng.randint(5, 30), 5 * rng.randint(1, 9)
    text = (
        f"A price rises from ${before} to ${before * (100 + percent) // 100}. By how many percent?"
    )
    return numeric(
        rng, text, percent, before * percent / 100, 100 * percent / (100 + percent), unit=" %"
    )


def _equilibrium(rng: random.Random) -> Question:
    b, d, price, c = rng.randint(2, 5), rng.randint(2, 5), rng.randint(8, 30), rng.randint(5, 40)
    a = c + (b + d) * price
    text = f"Demand is Q = {a} - {b}P and supply is Q = {c} + {d}P. What is the equilibrium price?"
    return numeric(rng, text, price, (a + c) / (b + d), a / b, (a - c) / b, c + d * price)


def _deadweight(rng: random.Random) -> Question:
    b, d, tax = rng.randint(2, 5), rng.randint(2, 5), rng.randint(3, 12)
    a = (b + d) * rng.randint(20, 60)
    text = (
        f"Demand is Q = {a} - {b}P and supply is Q = {d}P. A tax of {tax} per unit is levied on sellers. "
        "How large is the deadweight loss?"
    )
    right = tax * tax * b * d / (b + d) / 2
    quantity = a * d / (b + d) - tax * b * d / (b + d)
    return numeric(
        rng, text, right, 2 * right, tax * quantity, tax * tax / 2, tax * tax * (b + d) / 2
    )


def _cournot(rng: random.Random) -> Question:
    firms, cost = rng.randint(3, 5), rng.randint(10, 40)
    top = cost + (firms + 1) * rng.randint(12, 30)
    text = (
        f"{firms} identical firms compete in quantities (Cournot). Inverse demand is P = {top} - Q and each "
        f"firm's marginal cost is constant at {cost}, without fixed costs. What is each firm's profit?"
    )
    each = (top - cost) // (firms + 1)
    monopoly = (top - cost) ** 2 / 4
    return numeric(
        rng, text, each**2, monopoly, monopoly / firms, each * (each + cost), each, digits=5
    )


def _leader(rng: random.Random) -> Question:
    lead, follow = rng.randint(10, 20), rng.randint(12, 24)
    top = 100 + 4 * rng.randint(2, 20)
    first = (top - 2 * lead + follow) / 2
    second = (top - follow - first) / 2
    right = (top - first - second - lead) * first
    text = (
        f"Inverse demand is P = {top} - Q. Firm 1 (marginal cost {lead}) chooses its quantity first; firm 2 "
        f"(marginal cost {follow}) observes it and then chooses its own. There are no fixed costs. What is "
        "firm 1's profit in the subgame-perfect equilibrium?"
    )
    cournot = ((top - 2 * lead + follow) / 3) ** 2
    return numeric(
        rng, text, right, cournot, second**2, (top - lead) ** 2 / 8, first * second, digits=6
    )


ECONOMICS = (_growth, _equilibrium, _deadweight, _cournot, _leader)


def _margin(rng: random.Random) -> Question:
    revenue, percent = 100 * rng.randint(4, 30), 5 * rng.randint(4, 15)
    cost = revenue * (100 - percent) // 100
    text = (
        f"Goods that cost ${cost:,} are sold for ${revenue:,}. What is the gross margin in percent?"
    )
    return numeric(rng, text, percent, 100 - percent, 100 * (revenue - cost) / cost, unit=" %")


def _break_even(rng: random.Random) -> Question:
    units, cost, gap = 100 * rng.randint(8, 40), rng.randint(5, 30), rng.randint(4, 20)
    fixed = units * gap
    text = (
        f"Fixed costs are ${fixed:,} a year, the variable cost is ${cost} per unit and the price ${cost + gap}. "
        "How many units a year must be sold to break even?"
    )
    return numeric(
        rng, text, units, fixed / (cost + gap), fixed / cost, fixed / (2 * cost + gap), digits=5
    )


def _order_size(rng: random.Random) -> Question:
    demand, order, hold = 100 * rng.randint(10, 90), rng.randint(20, 90), rng.randint(2, 9)
    right = (2 * demand * order / hold) ** 0.5
    text = (
        f"A shop sells {demand} units a year. An order costs ${order}, and keeping a unit in stock for a year "
        f"${hold}. What is the economic order quantity?"
    )
    return numeric(
        rng, text, right, (demand * order / hold) ** 0.5, 2 * demand * order / hold, demand / hold
    )


def _present_value(rng: random.Random) -> Question:
    outlay, flow, rate = 1_000 * rng.randint(5, 9), 100 * rng.randint(24, 34), rng.randint(6, 14)
    flows = [flow, flow + 200, flow + 700]
    right = sum(f / (1 + rate / 100) ** t for t, f in enumerate(flows, start=1)) - outlay
    early = sum(f / (1 + rate / 100) ** t for t, f in enumerate(flows)) - outlay
    text = (
        f"A project costs ${outlay} now and returns ${flows[0]}, ${flows[1]} and ${flows[2]} at the end of "
        f"years 1, 2 and 3. What is its net present value at {rate} % a year, in dollars?"
    )
    return numeric(rng, text, right, early, sum(flows) - outlay, right + outlay, digits=4)


def _terminal(rng: random.Random) -> Question:
    flow, fast, slow = rng.randint(20, 60), rng.randint(8, 15), rng.randint(1, 3)
    equity, debt, tax = rng.randint(10, 13), rng.randint(4, 6), rng.choice((20, 25, 30))
    share = rng.choice((0.2, 0.3, 0.4))
    rate = ((1 - share) * equity + share * debt * (1 - tax / 100)) / 100
    pretax = ((1 - share) * equity + share * debt) / 100

    def value(rate: float, late: int = 0) -> float:
        flows = [flow * (1 + fast / 100) ** t for t in (1, 2, 3)]
        end = flows[-1] * (1 + slow / 100) / (rate - slow / 100)
        return sum(f / (1 + rate) ** t for t, f in enumerate(flows, 1)) + end / (1 + rate) ** (
            3 + late
        )

    text = (
        f"A firm's free cash flow of the year just ended was ${flow} million. It grows by {fast} % in each "
        f"of the next three years and by {slow} % a year for ever after. Equity costs {equity} %, debt "
        f"{debt} % before tax, the tax rate is {tax} %, and {share:.0%} of the capital is debt. What is the "
        "enterprise value today at the weighted average cost of capital, in million dollars?"
    )
    return numeric(
        rng, text, value(rate), value(pretax), value(rate, 1), value(equity / 100), digits=4
    )


BUSINESS = (_margin, _break_even, _order_size, _present_value, _terminal)


def _pure_fault(rng: random.Random) -> Question:
    damage, fault = 1_000 * rng.randint(10, 90), 10 * rng.randint(1, 8)
    text = (
        "In a certain state an injured person's damages are reduced by the percentage of that person's own "
        f"fault. A jury finds damages of ${damage:,} and that the plaintiff was {fault} % at fault. How much "
        "does the plaintiff recover, in dollars?"
    )
    return numeric(
        rng, text, damage * (100 - fault) / 100, damage, damage * fault / 100, 0, digits=6
    )


def _barred(rng: random.Random) -> Question:
    damage, fault = 1_000 * rng.randint(10, 90), rng.choice((30, 40, 49, 50, 55))
    cap = 1_000 * rng.randint(8, 30)
    right = 0 if fault > 50 else min(damage * (100 - fault) / 100, cap)
    text = (
        "Statute: a plaintiff who is more at fault than the defendant recovers nothing; otherwise damages "
        "are first reduced in proportion to the plaintiff's fault and the result is then limited to "
        f"${cap:,}. The jury finds damages of ${damage:,} and the plaintiff {fault} % at fault; the only "
        "defendant bears the rest of the fault. How many dollars does the plaintiff recover?"
    )
    traps = (damage, damage * (100 - fault) / 100, cap, cap * (100 - fault) / 100, damage - cap)
    values = [*traps, 0, *(damage * k / 20 for k in range(1, 20))]
    return Question(text, f"{right:,.0f}", [f"{value:,.0f}" for value in values])


def _reallocated(rng: random.Random) -> Question:
    damage, own, first = 12_000 * rng.randint(5, 30), 10, 10 * rng.randint(3, 5)
    second = rng.choice((10, 20))
    third = 100 - own - first - second
    missing = damage * third / 100
    right = damage * first / 100 + missing * first / (own + first + second)
    text = (
        "Statute: each tortfeasor owes only the own share of the damages. The share of one who is insolvent "
        "is divided among all the other parties at fault, an injured plaintiff at fault included, in "
        f"proportion to their fault. Damages are ${damage:,}. Fault: plaintiff {own} %, Xu {first} %, Yates "
        f"{second} %, Zorn {third} %. Zorn is insolvent. How much must Xu pay, in dollars?"
    )
    others = damage * first / 100 + missing * first / (first + second)
    return numeric(
        rng, text, right, others, damage * first / 100, damage * (first + third) / 100, digits=7
    )


def _limitation(rng: random.Random) -> Question:
    year, month = rng.randint(2008, 2014), rng.randint(1, 12)
    event = datetime.date(year, month, rng.randint(2, 28))
    birth = datetime.date(year - 17, rng.randint(1, 12), rng.randint(2, 28))
    adult = birth.replace(year=birth.year + 18)
    away = rng.randint(40, 200)
    start = max(event, adult)
    end = start.replace(year=start.year + 3) + datetime.timedelta(days=away)
    plain = (event.replace(year=event.year + 3), adult.replace(year=adult.year + 3))
    text = (
        "Statute: an action must be brought within three years of the injury; the last day is the third "
        "anniversary of the day on which the period began. If the injured person is then a minor (under "
        "18), the period begins on the 18th birthday. Days on which the defendant is absent from the state "
        "after the period has begun are added at its end. Ines, born on "
        f"{birth.isoformat()}, was injured on {event.isoformat()}. In the year after the period began the "
        f"defendant was absent for {away} days. What is the last day for the action?"
    )
    steps = [
        datetime.timedelta(days=d) for d in (away, -away, 1, -1, 2 * away, 31, 365, -365, 730, 366)
    ]
    wrong = [*plain, *(day + steps[0] for day in plain), *(end + step for step in steps)]
    return Question(text, end.isoformat(), [day.isoformat() for day in wrong])


def _intestate(rng: random.Random) -> Question:
    estate, debts = 24_000 * rng.randint(20, 60), 6_000 * rng.randint(4, 12)
    children, orphans, adopted = rng.randint(2, 4), rng.randint(2, 3), rng.randint(1, 2)
    net = estate - debts
    spouse = 60_000 + (net - 60_000) / 2
    branches = children + 1 + adopted
    right = (net - spouse) / branches / orphans
    text = (
        "Statute: debts are paid first. A surviving spouse takes the first $60,000 and half of what then "
        "remains. The rest goes to the descendants by right of representation: it is divided into equal "
        "shares, one for each living child and one for each deceased child who left descendants, who divide "
        "that share equally; adopted children count as children, stepchildren do not. Dana dies without a "
        f"will, leaving ${estate:,} and ${debts:,} of debts, a spouse, {children} living children, "
        f"{adopted} adopted {'child' if adopted == 1 else 'children'}, a stepchild, a deceased son with "
        f"{orphans} children, and a deceased daughter without descendants. How many dollars does each "
        "child of the deceased son take?"
    )
    rest = net - spouse
    return numeric(rng, text, right, rest / (branches + 1) / orphans, rest / (branches + 2) / orphans,
                   rest / (branches - 1 + orphans), net / 2 / branches / orphans, digits=6)  # fmt: skip


LAW = (_pure_fault, _barred, _reallocated, _limitation, _intestate)
