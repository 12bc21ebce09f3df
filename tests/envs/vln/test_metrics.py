"""The metrics against cases worked by hand, brute force, and what they must be for an expert on the real val_seen."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynalang_py.envs.vln.episodes import read_episodes, read_ground_truth
from dynalang_py.envs.vln.metrics import Scores, dtw, ndtw, path_length, resampled, score

REAL = Path(__file__).parents[4] / "shared" / "data" / "vlnce"

LINE = [(0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (6.0, 0.0, 0.0)]


def test_a_perfect_walk() -> None:
    assert score(LINE, [6.0, 3.0, 0.0], LINE, stopped=True) == Scores(
        ne=0.0, success=1.0, osr=1.0, tl=6.0, spl=1.0, ndtw=1.0, sdtw=1.0
    )


def test_a_detour_that_arrives() -> None:
    # 4 m aside, 6 m along, 4 m back: 14 m instead of 6. Matched with the line: 0 + 4 + 4 + 0 = 8 m apart, M = 2.
    detour = [(0.0, 0.0, 0.0), (0.0, 0.0, 4.0), (6.0, 0.0, 4.0), (6.0, 0.0, 0.0)]
    found = score(detour, [6.0, 10.0, 4.0, 0.0], [LINE[0], LINE[2]], stopped=True)
    similar = float(np.exp(-8 / (2 * 3)))
    assert (found.ne, found.success, found.tl) == (0.0, 1.0, 14.0)
    assert found.spl == pytest.approx(6 / 14)
    assert found.ndtw == found.sdtw == pytest.approx(similar)


def test_who_passes_the_goal_has_oracle_success_alone() -> None:
    found = score([*LINE, (10.0, 0, 0)], [6.0, 3.0, 0.0, 4.0], LINE, stopped=True)
    # Three points match, the fourth is 4 m from the reference's end.
    assert (found.ne, found.success, found.osr, found.tl, found.spl, found.sdtw) == (4.0, 0.0, 1.0, 10.0, 0.0, 0.0)
    assert found.ndtw == pytest.approx(np.exp(-4 / 9))


def test_who_never_says_stop_has_no_success() -> None:
    found = score(LINE, [6.0, 3.0, 0.0], LINE, stopped=False)
    assert (found.success, found.osr, found.spl, found.sdtw) == (0.0, 1.0, 0.0, 0.0)
    assert found.ndtw == 1.0


def test_exactly_the_radius_is_not_within_it() -> None:
    assert score(LINE[:2], [6.0, 3.0], LINE, stopped=True).success == 0.0
    assert score(LINE[:2], [6.0, 2.999], LINE, stopped=True).success == 1.0
    assert score(LINE[:2], [6.0, 3.0], LINE, stopped=True, radius=3.5).success == 1.0


def test_each_step_has_the_radius_of_the_goal_that_is_nearest_then() -> None:
    found = score(LINE, [6.0, 3.0, 3.0], LINE, stopped=True, radius=[1.0, 3.5, 1.0])
    assert (found.success, found.osr) == (0.0, 1.0)
    found = score(LINE, [6.0, 3.0, 3.0], [*LINE[:2], (6.0, 0.0, 2.0)], stopped=True, radius=[1.0, 1.0, 4.0])
    assert (found.success, found.osr) == (1.0, 1.0)
    assert found.ndtw == pytest.approx(np.exp(-2 / (3 * 4)))


def test_a_path_shorter_than_the_shortest_gains_nothing() -> None:
    """Who stops at the radius walks less than to the goal itself."""
    assert score(LINE[:2], [6.0, 2.5], LINE, stopped=True).spl == 1.0


def test_a_start_at_the_goal_is_a_success_of_full_weight() -> None:
    found = score([LINE[0]] * 2, [0.0, 0.0], LINE[:1], stopped=True)
    assert (found.success, found.spl, found.tl, found.ndtw) == (1.0, 1.0, 0.0, 1.0)


def test_turning_on_the_spot_adds_nothing_to_a_path() -> None:
    still = [LINE[0], LINE[0], LINE[0], LINE[1], LINE[1], LINE[2], LINE[2]]
    assert score(still, [6.0, 6.0, 6.0, 3.0, 3.0, 0.0, 0.0], [(0.0, 0.0, 1.0)], stopped=True) == score(
        LINE, [6.0, 3.0, 0.0], [(0.0, 0.0, 1.0)], stopped=True
    )


def test_the_path_is_measured_in_three_dimensions() -> None:
    assert path_length([(0, 0, 0), (3, 4, 0), (3, 4, 12)]) == 17
    assert path_length([(1, 2, 3)]) == 0


def slow_dtw(one: np.ndarray, other: np.ndarray) -> float:
    """The definition, word by word: the cheapest of all monotone matchings."""

    @cache
    def best(i: int, j: int) -> float:
        if i < 0 and j < 0:
            return 0.0
        if i < 0 or j < 0:
            return float("inf")
        return float(np.linalg.norm(one[i] - other[j])) + min(best(i - 1, j), best(i, j - 1), best(i - 1, j - 1))

    return best(len(one) - 1, len(other) - 1)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
def test_dtw_is_the_cheapest_of_all_matchings(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    assert dtw(one, other) == pytest.approx(slow_dtw(one, other))
    assert dtw(one, other) == pytest.approx(dtw(other, one))
    assert 0 < ndtw(one, other) <= 1


def test_a_path_matches_itself_and_its_copies_with_repeated_points() -> None:
    path = np.random.default_rng(0).normal(size=(40, 3))
    assert dtw(path, path) == pytest.approx(0)
    assert dtw(path.repeat(3, 0), path) == pytest.approx(0)


def test_a_path_is_resampled_along_its_lines() -> None:
    assert resampled([(0, 0, 0), (1, 0, 0), (1, 0, 0.3)], 0.5).tolist() == [
        [0, 0, 0],
        [0.5, 0, 0],
        [1, 0, 0],
        [1, 0, 0.3],
    ]
    assert resampled(LINE[:1], 0.5).tolist() == [[0, 0, 0]]


@pytest.mark.skipif(not REAL.is_dir(), reason="the files of R2R-CE are not here")
def test_the_experts_of_val_seen_score_as_experts_must() -> None:
    """VLN-CE's ground truth stops within 0.5 m of the goal, and its paths follow the references of R2R."""
    truth = read_ground_truth(REAL / "val_seen_gt.json.gz")
    found = []
    sparse, dense = [], []
    for episode in read_episodes(REAL / "val_seen.json.gz").episodes:
        assert episode.goals
        assert episode.info
        assert episode.reference_path
        walked = truth[str(episode.episode_id)].locations
        straight = np.linalg.norm(np.array(walked) - episode.goals[0].position, axis=1)
        # Without the scene, distances are straight but for the first, which the file tells.
        distances = [episode.info["geodesic_distance"], *straight[1:]]
        found.append(score(walked, distances, walked, stopped=True))
        sparse.append(ndtw(walked, episode.reference_path))
        dense.append(ndtw(walked, resampled(episode.reference_path, 0.25)))
    mean = {name: np.mean([getattr(scores, name) for scores in found]) for name in Scores.__dataclass_fields__}
    assert mean["success"] == mean["osr"] == mean["ndtw"] == mean["sdtw"] == 1
    assert max(scores.ne for scores in found) < 0.5
    assert mean["spl"] == pytest.approx(0.975, abs=0.001)
    assert mean["tl"] == pytest.approx(9.76, abs=0.01)
    # R2R's references are a few corners. Point by point they are far from any walk, unless points lie between them.
    assert np.mean(sparse) == pytest.approx(0.30, abs=0.01)
    assert np.mean(dense) == pytest.approx(0.954, abs=0.001)
