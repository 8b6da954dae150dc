"""Numbers about seeds: means and bands, comparisons, verdicts. Knows nothing of studies; scipy does the distributions.

No function here imports `scipy.stats` or statsmodels, which take one and four seconds to import: the tests compare with
them instead.
"""

from cifarsweep.stats.summary import Band, Floats, Interval, Ints, Summary, band, summary

__all__ = ["Band", "Floats", "Interval", "Ints", "Summary", "band", "summary"]
