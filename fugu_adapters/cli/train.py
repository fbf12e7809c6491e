"""``fugu train ...``: fit learned parts on outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fugu_adapters.cli.common import JsonOption, bars, print_json, split_names

if TYPE_CHECKING:
    from fugu_adapters.learn.coordinator_data import Records, Suite

__all__ = ["app", "conductor", "coordinator", "selector", "writer"]

app = typer.Typer(
    help="Fit learned parts on recorded outcomes.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def selector(
    items: Annotated[
        list[Path], typer.Option(help="Items, Parquet or JSON lines. May be repeated.")
    ],
    outcomes: Annotated[
        list[Path], typer.Option(help="Outcomes, Parquet or JSON lines. May be repeated.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    workers: Annotated[
        Path | None, typer.Option(help="Prices of the workers, Parquet.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the clustering.")] = 0,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared", help="It will serve other pools than these outcomes are of: guard it more."
        ),
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder of the prompts; lm:PATH for a language model.", show_default=False
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep encoded texts in.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a selector on the train split and write its weights.

    Use it with `selector = "FOLDER"` under [pool] in fugu.toml.
    """
    from fugu_adapters.encoders import DEFAULT_ENCODER
    from fugu_adapters.learn.selector_fit import train

    with bars(hidden=as_json) as progress:
        bundle = train(
            items,
            outcomes,
            output,
            workers=workers,
            seed=seed,
            shared=shared,
            encoder=encoder or DEFAULT_ENCODER,
            cache=cache,
            progress=progress,
        )
    summary = {
        "output": str(output),
        "encoder": bundle.encoder,
        "profiles": len(bundle.profiles),
        "clusters": len(bundle.labels),
        "digest": bundle.digest,
        "metrics": dict(bundle.metrics),
    }
    if as_json:
        print_json(summary)
        return
    for name, value in summary.items():
        print(f"{name}: {value}")


@app.command()
def coordinator(
    items: Annotated[
        list[Path], typer.Option(help="Items, Parquet or JSON lines. May be repeated.")
    ],
    outcomes: Annotated[
        list[Path], typer.Option(help="Outcomes, Parquet or JSON lines. May be repeated.")
    ],
    answers: Annotated[
        list[Path], typer.Option(help="Recorded answers, Parquet. May be repeated.")
    ],
    output: Annotated[Path, typer.Option(help="File to write.")],
    suites: Annotated[
        str, typer.Option(help="Suites, by commas; a pool each. Default: all with answers.")
    ] = "",
    workers: Annotated[str, typer.Option(help="Names of the pool. Default: a suite's best.")] = "",
    without: Annotated[
        str, typer.Option(help="Leave out workers whose names begin so, by commas.")
    ] = "",
    facts: Annotated[
        Path | None, typer.Option(help="Prices of the workers, Parquet.", show_default=False)
    ] = None,
    fit_splits: Annotated[str, typer.Option(help="Splits to fit on, by commas.")] = "train,dev",
    search: Annotated[
        str, typer.Option(help="evolved, random_search, reinforce or supervised.")
    ] = "evolved",
    generations: Annotated[
        int | None, typer.Option(help="Of the search.", min=1, show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Folder of states, to go on where it stopped.", show_default=False),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder of the prompts; lm:PATH for a language model.", show_default=False
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep encoded texts in.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evolve a coordinator on recorded answers, one for every effort, and write it.

    Use it with `coordinator = "FILE"` under [pool] in fugu.toml.
    """
    from fugu_adapters.encoders import DEFAULT_ENCODER
    from fugu_adapters.learn.coordinator_data import Records, read_suites
    from fugu_adapters.learn.coordinator_fit import EFFORTS, fit_efforts, headroom
    from fugu_adapters.policies.coordinator import save_coordinators

    records = Records(
        items=items, outcomes=outcomes, answers=answers, facts=facts, suites=split_names(suites),
        workers=split_names(workers), without=split_names(without), fit_splits=split_names(fit_splits),
        test_split=None, encoder=encoder or DEFAULT_ENCODER, cache=cache,
    )  # fmt: skip
    with bars(hidden=as_json) as told:
        pools = read_suites(records, progress=told)
        found = fit_efforts(
            [pool.fit for pool in pools],
            search=search, generations=generations, seed=seed, checkpoints=checkpoints,
            progress=lambda effort, done, reward: told(
                f"{effort}: reward {reward:.4f}", done, generations or EFFORTS[effort].budget.generations
            ),
        )  # fmt: skip
    rooms = {pool.name: str(headroom(pool.fit, EFFORTS["high"])) for pool in pools}
    provenance = {
        "command": _command("coordinator", records, pools, f"--search {search} --seed {seed}"),
        "inputs": [asdict(source) for source in pools[0].sources],
        "pools": {
            pool.name: {"items": len(pool.fit), "workers": list(pool.fit.workers)} for pool in pools
        },
        "headroom at high effort": rooms,
    }
    save_coordinators(found, output, provenance)
    numbers: dict[str, Any] = {name: asdict(each) for name, each in found.items()}
    summary = {"output": str(output), **numbers, "headroom": rooms}
    if as_json:
        print_json(summary)
        return
    for name, value in summary.items():
        print(f"{name}: {value}")


@app.command()
def conductor(
    items: Annotated[
        list[Path], typer.Option(help="Items, Parquet or JSON lines. May be repeated.")
    ],
    outcomes: Annotated[
        list[Path], typer.Option(help="Outcomes, Parquet or JSON lines. May be repeated.")
    ],
    answers: Annotated[
        list[Path], typer.Option(help="Recorded answers, Parquet. May be repeated.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    suites: Annotated[
        str, typer.Option(help="Suites, by commas; a pool each. Default: all with answers.")
    ] = "",
    workers: Annotated[str, typer.Option(help="Names of the pool. Default: a suite's best.")] = "",
    without: Annotated[
        str, typer.Option(help="Leave out workers whose names begin so, by commas.")
    ] = "",
    facts: Annotated[
        Path | None, typer.Option(help="Prices of the workers, Parquet.", show_default=False)
    ] = None,
    fit_splits: Annotated[str, typer.Option(help="Splits to fit on, by commas.")] = "train,dev",
    iterations: Annotated[int, typer.Option(help="Of the policy's training.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="File of the state, to go on where it stopped.", show_default=False),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder of the prompts; lm:PATH for a language model.", show_default=False
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep encoded texts in.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a conductor on recorded answers by reinforcement, and write it.

    Use it with `conductor = "FOLDER"` under [pool] in fugu.toml.
    """
    from fugu_adapters.encoders import DEFAULT_ENCODER
    from fugu_adapters.learn.conductor_fit import Training, fit_conductor
    from fugu_adapters.learn.coordinator_data import Records, read_suites
    from fugu_adapters.policies.conductor_weights import save_conductor

    records = Records(
        items=items, outcomes=outcomes, answers=answers, facts=facts, suites=split_names(suites),
        workers=split_names(workers), without=split_names(without), fit_splits=split_names(fit_splits),
        test_split=None, encoder=encoder or DEFAULT_ENCODER, cache=cache,
    )  # fmt: skip
    with bars(hidden=as_json) as told:
        pools = read_suites(records, progress=told)
        found = fit_conductor(
            [pool.fit for pool in pools],
            Training.of(iterations),
            seed=seed,
            checkpoint=checkpoint,
            progress=lambda done, reward: told(f"reward {reward:.4f}", done, iterations),
        )
    provenance = {
        "command": _command(
            "conductor", records, pools, f"--iterations {iterations} --seed {seed}"
        ),
        "inputs": [asdict(source) for source in pools[0].sources],
        "pools": {
            pool.name: {"items": len(pool.fit), "workers": list(pool.fit.workers)} for pool in pools
        },
    }
    digest = save_conductor(found, output, provenance)
    summary = {
        "output": str(output),
        "kinds": list(found.kinds),
        "value": asdict(found.value),
        "digest": digest,
    }
    if as_json:
        print_json(summary)
        return
    for name, value in summary.items():
        print(f"{name}: {value}")


@app.command()
def writer(
    model: Annotated[Path, typer.Option(help="Folder of a causal language model.")],
    items: Annotated[
        list[Path], typer.Option(help="Items, Parquet or JSON lines. May be repeated.")
    ],
    outcomes: Annotated[
        list[Path], typer.Option(help="Outcomes, Parquet or JSON lines. May be repeated.")
    ],
    answers: Annotated[
        list[Path], typer.Option(help="Recorded answers, Parquet. May be repeated.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    suites: Annotated[
        str, typer.Option(help="Suites, by commas; a pool each. Default: all with answers.")
    ] = "",
    without: Annotated[
        str, typer.Option(help="Leave out workers whose names begin so, by commas.")
    ] = "",
    facts: Annotated[
        Path | None, typer.Option(help="Prices of the workers, Parquet.", show_default=False)
    ] = None,
    steps: Annotated[int, typer.Option(help="Updates.", min=1)] = 200,
    rollouts: Annotated[int, typer.Option(help="Replies to a request.", min=2)] = 8,
    requests: Annotated[int, typer.Option(help="Requests in an update.", min=1)] = 4,
    tokens: Annotated[int, typer.Option(help="Of a reply at most.", min=8)] = 512,
    seed: Annotated[int, typer.Option(help="Seed of requests and sampling.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep encoded texts in.", show_default=False)
    ] = None,
) -> None:
    """Fine-tune a language model to write workflows, by GRPO on recorded answers. For a GPU.

    Serve it, and name it as `worker` under [conductor] in fugu.toml.
    """
    from fugu_adapters.learn.coordinator_data import Records, read_suites
    from fugu_adapters.learn.writer_fit import train_writer

    records = Records(
        items=items, outcomes=outcomes, answers=answers, facts=facts, suites=split_names(suites),
        without=split_names(without), test_split=None, cache=cache,
    )  # fmt: skip
    with bars(hidden=False) as told:
        pools = read_suites(records, progress=told)
    log = train_writer(
        model, pools, output, steps=steps, rollouts=rollouts, requests=requests, tokens=tokens, seed=seed
    )  # fmt: skip
    rewards = [each["reward"] for each in log if "reward" in each]
    print(f"reward: {rewards[0]:.3f} at first, {rewards[-1]:.3f} at last, 1 at most")
    print(f"output: {output}")


def _command(what: str, records: Records, pools: Sequence[Suite], rest: str) -> str:
    """What rebuilds the file, inputs by their names."""
    parts = [f"fugu train {what}"]
    for option in ("items", "outcomes", "answers"):
        parts += [f"--{option} {path.name}" for path in getattr(records, option)]
    parts += [f"--facts {records.facts.name}"] if records.facts else []
    parts += [f"--suites {','.join(pool.name for pool in pools)}"]
    for option in ("workers", "without", "fit_splits"):
        named = ",".join(getattr(records, option))
        parts += [f"--{option.replace('_', '-')} {named}"] if named else []
    return " ".join([*parts, rest])
