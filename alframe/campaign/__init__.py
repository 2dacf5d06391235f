"""The loop over ports. Knows no Zarr, SQL, torch or Ray."""

from alframe.campaign.digest import campaign_digest
from alframe.campaign.loop import CampaignLoop, Standing
from alframe.campaign.settings import Budget, Parts, Plateau, Settings, Silent, Target

__all__ = [
    "Budget",
    "CampaignLoop",
    "Parts",
    "Plateau",
    "Settings",
    "Silent",
    "Standing",
    "Target",
    "campaign_digest",
]
