"""Tags over time, the events in them, and the files of other programs that events are written to."""

from core.events.detection import Detector, Event, EventSettings, detect
from core.events.differences import Difference, largest_differences
from core.events.formats import FORMATS, Document, Format, describe, document, valid_text
from core.events.over_time import Row, Timeline, TimelineSettings, row_count, rows, timeline

__all__ = [
    "FORMATS",
    "Detector",
    "Difference",
    "Document",
    "Event",
    "EventSettings",
    "Format",
    "Row",
    "Timeline",
    "TimelineSettings",
    "describe",
    "detect",
    "document",
    "largest_differences",
    "row_count",
    "rows",
    "timeline",
    "valid_text",
]
