"""Mirror partners are found where the names are plain, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.io.names import infer_swap
from asterism.io.skeleton import known_sigma, published

COCO_NAMES = published("coco-17").names


def partners(names: list[str]) -> dict[str, str]:
    swap = infer_swap(names)
    return {names[a]: names[b] for a, b in enumerate(swap) if a < b}


def test_coco() -> None:
    assert infer_swap(COCO_NAMES) == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    assert len(known_sigma(COCO_NAMES)) == 17 and known_sigma(COCO_NAMES[:5]) == ()
    # cocoeval.py writes ten times the numbers
    assert [round(10 * s, 3) for s in known_sigma(COCO_NAMES)[:5]] == [0.26, 0.25, 0.25, 0.35, 0.35]


def test_a_mouse_whose_paws_are_numbered() -> None:
    names = ["paw1LH_top", "paw2LF_top", "paw3RF_top", "paw4RH_top", "tailBase_top", "nose_top", "obs_top"]
    names += ["paw1LH_bot", "paw2LF_bot", "paw3RF_bot", "paw4RH_bot", "obsHigh_bot", "obsLow_bot"]
    assert partners(names) == {
        "paw1LH_top": "paw4RH_top",
        "paw2LF_top": "paw3RF_top",
        "paw1LH_bot": "paw4RH_bot",
        "paw2LF_bot": "paw3RF_bot",
    }


@pytest.mark.parametrize(
    "left, right",
    [("left_eye", "right_eye"), ("eye_left", "eye_right"), ("LeftEye", "RightEye"), ("leftear", "rightear")]
    + [
        ("l_eye", "r_eye"),
        ("eye_L", "eye_R"),
        ("LShoulder", "RShoulder"),
        ("pawL", "pawR"),
        ("eye.l", "eye.r"),
    ]
    + [("LF_paw", "RF_paw"), ("FL_paw", "FR_paw"), ("HL", "HR"), ("L1", "R1"), ("leg 2 left", "leg 2 right")],
)
def test_ways_to_name_a_side(left: str, right: str) -> None:
    for names in (["nose", left, right, "tail"], [right, "nose", left]):
        assert set(partners(names).items()) <= {(left, right), (right, left)} and partners(names)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["nose", "tail"],
        ["left_eye", "right_ear"],  # no partners
        ["left_eye", "right_eye", "left_ear"],  # one without a partner
        ["hand1_l", "hand2_l", "hand3_r", "hand4_r"],  # which with which?
        ["bright_spot", "cleft"],
        ["lip", "rip", "larynx"],
    ],
)
def test_in_doubt_nothing_is_inferred(names: list[str]) -> None:
    assert infer_swap(names) == ()


def test_look_alikes_stay_on_the_midline() -> None:
    names = ["left_eye", "right_eye", "bright_spot", "Rump", "LED", "snout"]
    assert infer_swap(names) == (1, 0, 2, 3, 4, 5)


@given(st.lists(st.text("lrLReftighHF_1 ", max_size=8), unique=True, max_size=8))
def test_always_empty_or_an_involution(names: list[str]) -> None:
    swap = infer_swap(names)
    assert swap == () or [swap[s] for s in swap] == list(range(len(names)))
