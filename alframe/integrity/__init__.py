"""Is a campaign what it says it is? Check it, repair what can be recomputed, and take its decisions again."""

from alframe.integrity.check import check
from alframe.integrity.findings import Finding, Report
from alframe.integrity.repair import repair
from alframe.integrity.replay import replay

__all__ = ["Finding", "Report", "check", "repair", "replay"]
