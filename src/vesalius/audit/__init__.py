"""Audits: which attributions may be believed, on this model and this input, by numbers that can be checked."""

from vesalius.audit.auditor import Auditor, audit, audit_map
from vesalius.audit.contract import ContractReport, check_method
from vesalius.audit.faithfulness import Agreement, Faithfulness
from vesalius.audit.result import Audit, MethodAudit
from vesalius.audit.selectope import MapAudit

__all__ = [
    "Agreement",
    "Audit",
    "Auditor",
    "ContractReport",
    "Faithfulness",
    "MapAudit",
    "MethodAudit",
    "audit",
    "audit_map",
    "check_method",
]
