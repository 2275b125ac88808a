"""Audits: which attributions may be believed, on this model and this input, by numbers that can be checked."""

from vesalius.audit.auditor import Auditor, audit, audit_map
from vesalius.audit.contract import Contract, check_method
from vesalius.audit.faithfulness import Agreement, Faithfulness
from vesalius.audit.record import Audit, Record
from vesalius.audit.selectope import MapAudit

__all__ = ["Agreement", "Audit", "Auditor", "Contract", "Faithfulness", "MapAudit", "Record", "audit", "audit_map", "check_method"]
