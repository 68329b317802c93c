"""Which images people look at: the same every time, and none rather than another."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.inference.audit import audit_sample

PATHS = st.lists(st.text(max_size=8), unique=True, max_size=40)


@given(paths=PATHS, batch=st.text(max_size=8), count=st.integers(0, 50))
def test_the_sample_is_of_the_images_asked_for_or_all_of_them(paths, batch, count):
    places = audit_sample(paths, batch, count)
    assert len(places) == min(count, len(paths))
    assert places == sorted(set(places))
    assert set(places) <= set(range(len(paths)))


@given(paths=PATHS, count=st.integers(0, 50), order=st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(paths, count, order):
    shuffled = list(paths)
    order.shuffle(shuffled)
    assert {paths[i] for i in audit_sample(paths, "b", count)} == {
        shuffled[i] for i in audit_sample(shuffled, "b", count)
    }


@given(paths=PATHS, count=st.integers(0, 40))
def test_a_larger_sample_holds_the_smaller(paths, count):
    assert set(audit_sample(paths, "b", count)) <= set(audit_sample(paths, "b", count + 1))


def test_each_image_is_drawn_as_often_over_many_batches():
    paths = [f"inbox/{i}.jpg" for i in range(50)]
    drawn = Counter(place for b in range(2000) for place in audit_sample(paths, f"b{b}", 10))
    assert len(drawn) == 50
    assert max(abs(times - 400) for times in drawn.values()) < 80  # 4.5 standard errors
