"""What a job's bar says: its place in the line before the first step, and its steps from then on."""

from __future__ import annotations

import pytest

from dashboard.server.jobs import JobStatus
from dashboard.widgets.job_panel import job_progress


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (JobStatus(), "Starting"),
        (JobStatus(ahead=2), "Waiting: 2\N{NO-BREAK SPACE}requests ahead of you"),
        (JobStatus(done=3, total=60, doing="Measuring"), "Measuring: 3 of 60"),
        (JobStatus(done=3, total=60, doing="Measuring", ahead=1), "Measuring: 3 of 60"),
    ],
)
def test_words_beside_the_bar(status: JobStatus, text: str) -> None:
    assert job_progress(status) == text
