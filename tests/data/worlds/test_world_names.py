"""What may be typed after world: and what is said when it cannot be read."""

import pytest

from asterism.data.worlds import Creatures, Figures, world
from asterism.errors import RequestError


def test_defaults():
    figures, creatures = world("figures"), world("creatures")
    assert isinstance(figures, Figures) and len(figures) == 2000 and figures.size == (192, 192)
    assert figures.people == (1, 1) and not figures.is_clip
    assert isinstance(creatures, Creatures) and len(creatures) == 600 and creatures.size == (192, 192)
    assert world("demo").is_clip


def test_options_are_read():
    figures = world("figures?n=20&seed=1&people=1-3&size=96x128&skeleton=body25")
    assert isinstance(figures, Figures)
    assert (figures.n, figures.seed, figures.people, figures.size) == (20, 1, (1, 3), (96, 128))
    assert len(figures.skeleton) == 25
    creatures = world("creatures?n=12&clips=3&size=64&background=still&individuals=2&distractor=shadow")
    assert isinstance(creatures, Creatures) and creatures.frames == 4 and creatures.individuals == 2
    figures = world("figures?people=2")
    assert isinstance(figures, Figures) and figures.people == (2, 2)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("robots", "creatures, figures"),
        ("figures?limbs=3", "n, seed, size, people, skeleton"),
        ("figures?n=many", "n=many"),
        ("figures?n=", "n="),
        ("creatures?background=pink", "still, textured, moving, mixed"),
        ("demo?n=3", "no option 'n'"),
        ("", "creatures, figures"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_can(name, told):
    with pytest.raises(RequestError, match=told):
        world(name)
