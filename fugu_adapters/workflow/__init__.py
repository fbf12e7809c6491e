"""Workflows: up to five steps over a pool of workers; reading them, prompting for them, counting votes."""

from __future__ import annotations

from fugu_adapters.workflow.parse import parse_workflow
from fugu_adapters.workflow.plan import Aggregate, Step, Workflow

__all__ = ["Aggregate", "Step", "Workflow", "parse_workflow"]
