"""Pictures of a benchmark: what is written, and that a reader finds the labels in it."""

from xml.etree import ElementTree

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from recsim_drpo.reporting.comparison import performance_profile
from recsim_drpo.reporting.plots import (
    COLOURS,
    estimates,
    heatmap,
    interval_bars,
    learning_curves,
    profiles,
    standings,
    sweep,
)
from recsim_drpo.reporting.statistics import Estimate

AGENTS = ("bc", "drpo", "iql")
ROWS = [Estimate(0.3, 0.2, 0.4), Estimate(0.5, 0.45, 0.55), Estimate(0.1, np.nan, np.nan)]
X = np.array([0.0, 40.0, 80.0])


def draw_bars(path):
    interval_bars(path, AGENTS, {"medium": ROWS, "extreme": ROWS[::-1]}, "eCPM (2 seeds)")


def draw_profiles(path):
    scores = np.random.default_rng(0).uniform(size=(5, 3))
    thresholds = np.linspace(0, 1, 11)
    curves = {name: performance_profile(scores, thresholds, num_resamples=50) for name in AGENTS}
    profiles(path, thresholds, curves, "share of the best value")


def draw_sweep(path):
    sweep(path, X, dict.fromkeys(AGENTS, ROWS), "random logs (%)", "eCPM on test users")


def draw_heatmap(path, values=((-0.1, 0.0, 0.2), (np.nan, 0.1, 0.3))):
    heatmap(
        path,
        values,
        np.abs(values) > 0.15,
        X,
        [1e3, 1e6],
        xlabel="random logs (%)",
        ylabel="rounds logged",
        label="eCPM of drpo minus bc",
        mark="differs from 0 (Holm, 5 %)",
    )


def draw_standings(path):
    absent = [Estimate(*[np.nan] * 3), *ROWS[1:]]
    standings(path, AGENTS, {"one": ("eCPM", ROWS), "two": ("return", absent)})


FIGURES = {
    draw_bars: {*AGENTS, "medium", "extreme", "eCPM (2 seeds)"},
    draw_standings: {*AGENTS, "one", "two", "eCPM", "return", "0.30", "0.50", "0.10"},
    draw_profiles: {*AGENTS, "τ, share of the best value", "share of runs with more than τ"},
    draw_sweep: {*AGENTS, "random logs (%)", "eCPM on test users", "40"},
    draw_heatmap: {
        "random logs (%)",
        "rounds logged",
        "eCPM of drpo minus bc",
        "differs from 0 (Holm, 5 %)",
        "80",
        "1,000,000",
    },
}


def svg_texts(path):
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def pixels(path):
    return matplotlib.image.imread(path)[..., :3]


def pixels_of(path, colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return int((np.abs(pixels(path) - rgb).max(axis=-1) < 0.01).sum())


@pytest.mark.parametrize("draw", FIGURES)
def test_a_path_without_suffix_gives_png_and_svg(tmp_path, draw):
    draw(tmp_path / "figure")
    assert {path.name for path in tmp_path.iterdir()} == {"figure.png", "figure.svg"}
    assert FIGURES[draw] <= set(svg_texts(tmp_path / "figure.svg"))
    image = pixels(tmp_path / "figure.png")
    assert image.shape[1] == (1152 if draw is draw_standings else 720)
    # Nothing that is drawn is cut off by the border.
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (border == 1.0).all()
    assert image.std() > 0.05


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_suffix_gives_one_file(tmp_path, draw, suffix):
    draw(tmp_path / f"figure{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"figure{suffix}"]


@pytest.mark.parametrize("draw", FIGURES)
def test_figures_are_reproducible_to_the_byte(tmp_path, draw):
    draw(tmp_path / "one")
    draw(tmp_path / "two")
    for suffix in (".png", ".svg"):
        one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
        assert one.read_bytes() == two.read_bytes()


def test_every_agent_has_a_line_of_its_own(tmp_path):
    draw_sweep(tmp_path / "sweep.png")
    # The three lines lie upon one another: the first two show in the legend.
    assert all(pixels_of(tmp_path / "sweep.png", colour) > 20 for colour in COLOURS[:3])
    assert pixels_of(tmp_path / "sweep.png", COLOURS[3]) == 0


def test_lines_that_cannot_be_told_apart_are_refused(tmp_path):
    sweep(tmp_path / "most.svg", X, {f"agent {i}": ROWS for i in range(21)}, "x", "y")
    assert "agent 20" in svg_texts(tmp_path / "most.svg")
    with pytest.raises(ValueError, match="22 lines"):
        sweep(tmp_path / "more.svg", X, {f"agent {i}": ROWS for i in range(22)}, "x", "y")


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7])
def test_any_number_of_panels(tmp_path, count):
    titles = [f"scenario {i}" for i in range(count)]
    interval_bars(tmp_path / "bars.svg", AGENTS, dict.fromkeys(titles, ROWS), "eCPM")
    texts = svg_texts(tmp_path / "bars.svg")
    assert [text for text in texts if text in titles] == titles


def test_bars_have_the_width_of_their_intervals(tmp_path):
    narrow, wide = [[0.5, 0.45, 0.55]], [[0.5, 0.2, 0.8]]
    rows = np.vstack([narrow, wide, [[0.5, np.nan, np.nan]]])
    interval_bars(tmp_path / "bars.png", AGENTS, {"medium": rows}, "eCPM")
    image = pixels(tmp_path / "bars.png")
    blue = np.array([0x56, 0xB4, 0xE9]) / 255
    counts = (np.abs(image - blue).max(axis=-1) < 0.01).sum(axis=1)
    # The narrow bar is above the wide one, and the name without an interval has none.
    widths = counts[counts > 0]
    first, last = np.median(widths[: len(widths) // 3]), np.median(widths[-len(widths) // 3 :])
    assert last / first == pytest.approx(6, rel=0.15)


def test_the_best_and_what_is_not_told_from_it_have_a_colour_of_their_own(tmp_path):
    rows = [Estimate(0.8, 0.7, 0.9), Estimate(0.75, 0.7, 0.8), Estimate(0.5, 0.3, 0.7)]
    figure = standings(tmp_path / "one.svg", AGENTS, {"one": ("eCPM", rows)})
    bars = figure.axes[0].patches
    assert [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in bars] == [
        *[COLOURS[1]] * 2,
        COLOURS[0],
    ]
    assert [bar.get_width() for bar in bars] == [0.8, 0.75, 0.5]


def test_the_map_is_white_at_zero_and_grey_where_nothing_was_measured(tmp_path):
    draw_heatmap(tmp_path / "low.png", np.array([[-1.0, 0.0, 1.0], [np.nan, 0.0, 0.0]]))
    assert pixels_of(tmp_path / "low.png", "#cccccc") > 5000
    draw_heatmap(tmp_path / "zero.png", np.zeros((2, 3)))
    assert pixels_of(tmp_path / "zero.png", "#f6f6f7") > 50_000
    # Differences of one sign leave the centre where it is.
    draw_heatmap(tmp_path / "positive.png", np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))
    assert pixels_of(tmp_path / "positive.png", "#f6f6f7") > 50_000


def test_a_long_name_leaves_room_for_its_interval(tmp_path):
    name = "/a/folder/far/below/the/root/of/the/disk" * 4 + "/runs/drpo/seed-0"
    estimates(tmp_path / "a.png", {name: Estimate(1.0, 0.9, 1.1)}, "eCPM")  # warns of no room
    assert (tmp_path / "a.png").stat().st_size > 1_000


@pytest.mark.parametrize("least", [-3.0, 0.0, 0.2])
def test_what_is_below_zero_is_in_the_picture(tmp_path, least):
    values = np.array([[least, 1.0, np.nan], [least, 2.0, 3.0]])
    axes = learning_curves(tmp_path / "curve.svg", {"bc": ([0, 5, 9], values)}, {}, "loss").axes[0]
    low, high = axes.get_ylim()
    assert low <= least < 3.0 <= high
    assert (low == 0) == (least >= 0)
    rows = {"bc": Estimate(least, least - 0.1, least + 0.1), "drpo": Estimate(1, np.nan, np.nan)}
    left, right = estimates(tmp_path / "estimates.svg", rows, "reward").axes[0].get_xlim()
    assert left <= least - 0.1 or left == 0 <= least - 0.1
    assert right >= 1.0


def test_learning_curves_say_of_how_many_seeds_they_are(tmp_path):
    curves = {"bc": ([0, 5], np.ones((1, 2))), "drpo": ([0, 5], np.ones((2, 2)))}
    learning_curves(tmp_path / "curve.svg", curves, {"oracle": 2.0}, "eCPM")
    assert {"bc (1 seed)", "drpo (2 seeds)", "oracle"} <= set(svg_texts(tmp_path / "curve.svg"))
    eight = {str(i): ([0], np.ones((1, 1))) for i in range(8)}
    with pytest.raises(ValueError, match="8 curves"):
        learning_curves(tmp_path / "curve.svg", eight, {}, "eCPM")
