"""Pages and tables made from stored records."""

from tricksearch.report.page import write_report

__all__ = ["write_report"]
