"""Whether a rung may go on deciding, by what the trust ledger says of what it compares.

The evidence are trials that no rung has chosen: those of the calibration, and of the bracket that
is never judged. Among trials that a rung let through, its own values hardly differ any more, and
every proxy looks worthless.
"""

from collections.abc import Sequence

import numpy as np

from nas.deciding import Deciding
from nas.ledger.agreement import oriented
from nas.ledger.judging import LEAST_FOR_VERDICT
from nas.ledger.table import SIZE, Claim, Column, table
from nas.record import TrialRecord
from nas.study import Objective, StudySpec


class Trust:
    """Verdicts on what rungs compare, each kept until there is more evidence."""

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec
        self._judged: dict[int, tuple[int, str | None]] = {}
        """By rung: trials of the evidence, and why the rung may not decide."""

    def why_not(self, rung: Deciding, unchosen: Sequence[TrialRecord]) -> str | None:
        """Why a rung may not decide, in words; None where nothing is shown against it. `unchosen`
        are complete trials, in order, that no rung has chosen."""
        count = len(unchosen)
        if count < LEAST_FOR_VERDICT or not rung.proxies:
            return None
        if self._judged.get(rung.index, (0, None))[0] != count:
            self._judged[rung.index] = count, self._demoted(rung, unchosen)
        return self._judged[rung.index][1]

    def _demoted(self, rung: Deciding, records: Sequence[TrialRecord]) -> str | None:
        objectives = {objective.metric: objective for objective in self.spec.objectives}
        directions = dict(zip(rung.metrics, rung.directions, strict=True))
        for name, proxy in rung.proxies.items():
            claim: Claim = "more" if directions[proxy] == "maximize" else "less"
            if why := self._verdict(objectives[name], proxy, claim, records):
                return why
        return None

    def _verdict(
        self, objective: Objective, proxy: str, claim: Claim, records: Sequence[TrialRecord]
    ) -> str | None:
        columns = [
            Column(SIZE, "more", _column(records, SIZE)),
            Column(proxy, claim, _column(records, proxy)),
        ]
        reference = oriented(_column(records, objective.metric), objective.direction)
        rows, _ = table(columns, reference, seed=self.spec.seed)
        found = [row.judgement for row in rows if row.metric == proxy]
        if not found or found[0].verdict != "demoted":
            return None
        return (
            f"{proxy} does not stand for {objective.metric} on {len(records)} trials that no rung "
            f"has chosen ({found[0].reasons[0]})"
        )


def _column(records: Sequence[TrialRecord], metric: str) -> np.ndarray:
    """[N] what was measured first; NaN where nothing was."""
    values = [record.first_value(metric) for record in records]
    return np.array([np.nan if value is None else value for value in values], dtype=float)
