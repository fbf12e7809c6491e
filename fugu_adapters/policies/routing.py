"""From a request to a decision: who may be asked, what each would cost, and what the selector says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.config import Worker
from fugu_adapters.encoders import load_encoder
from fugu_adapters.messages import estimate_tokens, routing_text
from fugu_adapters.policies.aliases import match_profile
from fugu_adapters.policies.selector import TOLERANCE, Arm, ClusterSelector
from fugu_adapters.policies.weights import Bundle, default_bundle, load_bundle
from fugu_adapters.pool import Pool
from fugu_adapters.types import Decision, Effort, Request

__all__ = ["Router"]

_REMEMBERED = 256  # vectors of recent texts: a host often routes a text and then runs it


class Router:
    """Decides for one pool. Weights and encoder are loaded at the first decision.

    Args:
        pool: the workers; its ``selector`` names the weights.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._lock = threading.Lock()
        self._selector: ClusterSelector | None = None
        self._encode = lru_cache(maxsize=_REMEMBERED)(self._encode_text)

    @property
    def selector(self) -> ClusterSelector:
        """The selector over the pool's weights.

        Raises:
            WeightsError: where the weights do not pass their checks.
        """
        with self._lock:
            if self._selector is None:
                self._selector = ClusterSelector(self._bundle())
            return self._selector

    def _bundle(self) -> Bundle:
        if self.pool.selector is not None:
            return load_bundle(self.pool.selector)
        # Local models differ by kind of everyday task, of which the public outcomes have little.
        local = all(worker.api == "embedded" and worker.path is None for worker in self.pool)
        return default_bundle("local" if local else "selector")

    def profile_of(self, worker: Worker) -> str | None:
        """The learned profile that stands for a worker, or ``None`` where nothing was measured."""
        return match_profile(worker.profile_name, self.selector.bundle)

    def decide(
        self,
        request: Request,
        *,
        model: str,
        effort: Effort,
        exclude: Iterable[str] = (),
        unready: Mapping[str, str] | None = None,
    ) -> Decision:
        """Choose a worker.

        Args:
            request: what would be asked.
            model: name of the policy that the caller asked for.
            effort: how much expected quality may be given up for a lower price.
            exclude: labels of workers not to ask.
            unready: workers that cannot be asked from here, each with what is missing.

        Raises:
            InputError: where nobody may be asked.
            WeightsError: where the weights do not pass their checks.
        """
        began = time.perf_counter()
        reasons = self.pool.eligibility(request, exclude, unready)
        tokens = estimate_tokens(request)
        arms = [
            Arm(
                worker=worker.name,
                profile=self.profile_of(worker),
                price=worker.known_price,
                input_tokens=tokens,
                max_output_tokens=request.max_output_tokens,
                excluded_because=reasons[worker.name],
            )
            for worker in self.pool
        ]
        choice = self.selector.decide(
            self._encode(routing_text(request)), arms, tolerance=TOLERANCE[effort]
        )
        return Decision(
            worker=choice.candidates[0].worker,
            candidates=choice.candidates,
            reason=choice.reason,
            policy=self.selector.name,
            model=model,
            seconds=time.perf_counter() - began,
        )

    def _encode_text(self, text: str) -> NDArray[np.float32]:
        encoder = load_encoder(self.selector.bundle.encoder)
        vector: NDArray[np.float32] = encoder.encode([text])[0]
        vector.flags.writeable = False  # it is shared by every later request with this text
        return vector
