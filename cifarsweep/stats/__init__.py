"""Statistics over seeds: means, bands, comparisons, verdicts. Independent of studies.

No function imports `scipy.stats` or statsmodels, which take one and four seconds to import: tests compare with them.
"""

from cifarsweep.stats.summary import Band, Floats, Interval, Ints, Summary, band, prediction, summary

__all__ = ["Band", "Floats", "Interval", "Ints", "Summary", "band", "prediction", "summary"]
