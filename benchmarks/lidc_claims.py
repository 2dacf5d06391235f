"""Which of the papers' orderings hold in the LIDC table, counted seed by seed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import markdown

__all__ = ["CLAIMS", "codes", "logits", "verdicts"]

Numbers = Mapping[str, Sequence[Mapping[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Row `low` (its number `column`) is below row `high` (its number `other`, or the same); `text` says it in words."""

    text: str
    low: str
    high: str
    column: str
    other: str = ""


def _claims(source: str, *claims: tuple[str, str, str, str]) -> tuple[Claim, ...]:
    return tuple(
        Claim(text=f"{source}: {text}", low=low, high=high, column=column) for text, low, high, column in claims
    )


def _logits(text: str, low: str, high: str) -> Claim:
    return Claim(text=f"Guerrero & Chang: {text}", low="stochastic", high="stochastic", column=low, other=high)


CLAIMS = (
    *_claims(
        "Hu",
        ("Hu below Kohl in GED²", "hu", "kohl", "ged2"),
        ("Kohl below Kendall & Gal in GED²", "kohl", "kendall_gal", "ged2"),
        ("Hu below Kendall & Gal in GED²", "hu", "kendall_gal", "ged2"),
    ),
    *_claims(
        "D-LEMA",
        ("an ensemble below its member in ECE", "deep_ensemble", "single", "ece"),
        ("an ensemble below MC dropout in ECE", "deep_ensemble", "mc_dropout", "ece"),
        ("an ensemble below its member in NLL", "deep_ensemble", "single", "nll"),
        ("an ensemble below MC dropout in NLL", "deep_ensemble", "mc_dropout", "nll"),
        ("D-LEMA (uniform) below MC dropout in Brier", "dlema_uniform", "mc_dropout", "brier"),
        ("D-LEMA (uniform) below the ensemble of its base in Brier", "dlema_uniform", "linknets", "brier"),
    ),
    *_claims(
        "EDUE",
        ("above one network in pixel r", "single", "edue", "pixel"),
        ("above an ensemble in pixel r", "deep_ensemble", "edue", "pixel"),
        ("above one network in image r, area given", "single", "edue", "image_partial"),
        ("above an ensemble in image r, area given", "deep_ensemble", "edue", "image_partial"),
        ("above an ensemble in image r with the votes", "deep_ensemble", "edue", "image_votes"),
        ("below an ensemble in NLL", "edue", "deep_ensemble", "nll"),
    ),
    _logits("stochastic softer in mean logit", "stochastic_mean", "deterministic_mean"),
    _logits("stochastic more right-skewed", "deterministic_skewness", "stochastic_skewness"),
    _logits("stochastic heavier-tailed", "deterministic_excess_kurtosis", "stochastic_excess_kurtosis"),
)


def verdicts(found: Numbers) -> str:
    """A table: in how many seeds each claim holds, and by how much on average."""
    lines = []
    for claim in CLAIMS:
        low, high = found.get(claim.low, ()), found.get(claim.high, ())
        if not low or len(low) != len(high):
            continue
        pairs = zip(low, high, strict=True)
        margins = [above[claim.other or claim.column] - below[claim.column] for below, above in pairs]
        held = sum(margin > 0 for margin in margins)
        word = "yes" if held == len(margins) else "no" if held == 0 else "undecided"
        lines.append([claim.text, f"{held} of {len(margins)}", f"{statistics.mean(margins):+.4f}", word])
    return markdown(["the paper says", "seeds in which it is so", "margin, mean", "here"], lines)


def codes(path: Path) -> str:
    """A table of what β and γ do to Probabilistic U-Nets, from ``codes.json`` where that is."""
    if not path.exists():
        return "*Not compared in this run.*"
    lines = [
        [
            "Hu" if one["row"] == "hu" else "Kohl",
            f"{one['beta']:g}",
            f"{one['gamma']:g}",
            f"{one['within']:.3f}",
            f"{one['among']:.3f}",
            f"{one['ged2']:.3f}",
        ]
        for one in json.loads(path.read_text())
    ]
    return markdown(["", "β", "γ", "between two samples", "between two raters", "GED²"], lines)


def logits(found: Numbers) -> str:
    """A table of foreground logits and blobs, with noisy copies and without."""
    numbers = found.get("stochastic")
    if not numbers:
        return "*No stochastic ensemble in this run.*"
    columns = {
        "mean": ("mean logit", 2),
        "skewness": ("skewness", 2),
        "excess_kurtosis": ("excess kurtosis", 2),
        "auroc": ("AUROC", 3),
        "true": ("true blobs", 0),
        "false": ("false blobs", 0),
        "found_quarter": ("found at ¼", 3),
        "found": ("found at 1", 3),
    }
    lines = [
        [
            title,
            *(f"{statistics.mean(one[f'{kind}_{key}'] for one in numbers):.{d}f}" for key, (_, d) in columns.items()),
        ]
        for kind, title in (("stochastic", "3 networks × 10 copies"), ("deterministic", "one network"))
    ]
    return markdown(["", *(title for title, _ in columns.values())], lines)
