"""What files may hold in place of what they should: for fuzzing."""

from hypothesis import strategies as st

from ..synthetic import SIZE

ODD = [10**400, -(10**30), 2**63, '0', [[]], [[1, 2, 3, 4, 5, 6]], {'size': [SIZE, SIZE], 'counts': [SIZE**2]},
       {'size': [64.0, 64.0], 'counts': 'PT4'}, {'size': [SIZE, SIZE], 'counts': b'\x80'}, "b'", 'a\udcff']  # fmt: skip
junk = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 150), st.integers(), st.floats(), st.text(max_size=3),
    st.lists(st.one_of(st.integers(-9, 99), st.floats(), st.none()), max_size=7), st.sampled_from([[], {}, *ODD]),
)  # fmt: skip


def places(value, path=()):
    """Every path into nested lists and dictionaries."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))
