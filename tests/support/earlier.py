"""Studies as versions before the words of the page stood in names of cells stored them."""

from cifarsweep.spec.levels import cell_name
from cifarsweep.spec.study import Study


def by_an_earlier_version(study: Study) -> Study:
    """The same, with `name=adamw` in the place of `optimizer=adamw` wherever it names a cell."""
    keys, text = list(study.search.space if study.search else study.factors), study.canonical()
    for cell in study.cells:
        text = text.replace(f'"{cell.name}"', f'"{cell_name(cell.levels, keys, as_before=True)}"')
    return Study.from_canonical(text)
