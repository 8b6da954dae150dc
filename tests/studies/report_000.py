"""The words of report 000 for the cells, settings and quantities of its studies, with ours."""

from facts import Words

REPORT_000 = Words(places={}, settings={})
