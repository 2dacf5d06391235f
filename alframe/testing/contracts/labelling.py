"""What every :class:`alframe.labelling.LabellingLedger` must do. Subclass and give ``open_labelling``."""

from alframe.testing.contracts.labelling_access import AccessRules
from alframe.testing.contracts.labelling_answers import AnswerRules
from alframe.testing.contracts.labelling_base import CAMPAIGN, drawing, sample_tasks
from alframe.testing.contracts.labelling_leases import LeaseRules

__all__ = ["CAMPAIGN", "LabellingContract", "drawing", "sample_tasks"]


class LabellingContract(LeaseRules, AnswerRules, AccessRules):
    """The promises of the port, seen from the desk. `open_labelling` opens the same (at first empty) ledger each time."""
