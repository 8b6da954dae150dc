"""The arithmetic of training is counted from the images, so it is the same in every repetition."""

from stripes import CLASSES, TINY, bits, rows

from cifarsweep.models import cost


def test_every_row_of_images_has_one_of_their_arithmetic(bench):
    events = bench.events()

    table = rows(events)

    images = {step: count for (name, step), count in table.items() if name == "images"}
    price = 3 * cost(TINY.model, CLASSES).flops_per_image
    assert {step: table["flops", step] for step in images} == {step: price * count for step, count in images.items()}
    assert ("flops", 12) in bits(events) and events[-1].result.final["flops"] == 184 * price
