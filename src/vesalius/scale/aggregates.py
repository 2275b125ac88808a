"""Sums over rows by name."""

from __future__ import annotations

from vesalius.scale.aggregate import Aggregate
from vesalius.scale.audits import Audits
from vesalius.scale.flow import InformationFlow
from vesalius.scale.links import LinkImportances
from vesalius.scale.moments import ComponentMoments

AGGREGATES: dict[str, type[Aggregate]] = {kind.name: kind for kind in (Audits, InformationFlow, LinkImportances)}
"""Those that can be asked for by name alone."""
READERS: dict[str, type[Aggregate]] = {**AGGREGATES, ComponentMoments.name: ComponentMoments}
"""All of them."""
