from sightline.pipeline.parts import PART_FITS
from sightline.predict.parts import PARTS


def test_every_part_of_the_registry_has_a_fit_in_the_same_order():
    assert list(PART_FITS) == list(PARTS)
