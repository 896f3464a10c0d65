"""What people see: figures with axes, tables without surprises."""

import io

import IPython.display as ipd
import matplotlib
import numpy as np
import pytest
from PIL import Image

from vc_lib.anonymize import analyze
from vc_lib.errors import ParameterError
from vc_lib.notebook import plots

SR = 16_000
KB = 1_000


@pytest.fixture(scope="module")
def wavs(voice):
    return {"source": voice(1.0), "converted": 0.1 * voice(1.5, f0=200.0)}


@pytest.fixture(scope="module")
def features(wavs):
    return {label: analyze(wav, SR) for label, wav in wavs.items()}


@pytest.fixture
def shown(monkeypatch):
    """What was displayed."""
    things = []
    monkeypatch.setattr(ipd, "display", lambda *args: things.extend(args))
    return things


def pixels(fig):
    return np.asarray(Image.open(io.BytesIO(fig._repr_png_())).convert("RGB"))


def texts(fig):
    """Every piece of text that a figure shows."""
    fig.canvas.draw()
    return [t.get_text() for t in fig.findobj(matplotlib.text.Text) if t.get_text()]


def test_spectrograms_share_their_scales(wavs):
    fig = plots.plot_spectrograms(wavs, SR, f0=False)
    *panels, bar = fig.axes
    assert [ax.get_title("left") for ax in panels] == list(wavs)
    assert {ax.get_xlim() for ax in panels} == {(0, 1.5)}
    assert len({ax.get_ylim() for ax in panels}) == 1
    assert {im.get_clim() for ax in panels for im in ax.images} == {(-70, 0)}
    assert max(ax.images[0].get_array().max() for ax in panels) == 0
    words = texts(fig)
    assert {"Time [s]", "Frequency [kHz]", "Level [dB]"} <= set(words)
    assert bar.get_ylabel() == "Level [dB]"


def test_spectrograms_are_level_matched(wavs):
    same = {"loud": wavs["source"], "quiet": 0.03 * wavs["source"]}
    loud, quiet = (
        ax.images[0].get_array() for ax in plots.plot_spectrograms(same, SR, False).axes[:2]
    )
    seen = loud > -50
    assert np.abs(loud - quiet)[seen].max() < 0.1


def test_a_tone_is_drawn_at_its_frequency_and_time():
    t = np.arange(2 * SR) / SR
    tone = np.where(t > 1, np.sin(2 * np.pi * 3_000 * t), 0)
    ax = plots.plot_spectrograms({"tone": tone}, SR, f0=False).axes[0]
    level = ax.images[0].get_array()
    left, right, bottom, top = ax.images[0].get_extent()
    row, column = np.unravel_index(level.argmax(), level.shape)
    n_rows, n_columns = level.shape
    assert bottom + (row + 0.5) * (top - bottom) / n_rows == pytest.approx(3, abs=0.05)
    assert left + (column + 0.5) * (right - left) / n_columns > 1


def test_pitch_is_drawn_over_spectrograms(wavs):
    fig = plots.plot_spectrograms(wavs, SR)
    right = [ax for ax in fig.axes if ax.get_ylabel() == "F0 [Hz]"]
    assert len(right) == 2 and right[0].get_ylim() == right[1].get_ylim()
    medians = [np.nanmedian(ax.lines[0].get_ydata()) for ax in right]
    assert medians == pytest.approx([120, 200], rel=0.1)
    assert len(fig._repr_png_()) < 60 * KB


def test_pitch_that_is_known_is_not_looked_for_again(wavs, features, monkeypatch):
    monkeypatch.setattr(plots, "analyze", None)
    fig = plots.plot_spectrograms(wavs, SR, f0={"converted": features["converted"]})
    (right,) = [ax for ax in fig.axes if ax.get_ylabel() == "F0 [Hz]"]
    assert np.nanmax(right.lines[0].get_ydata()) == features["converted"].f0.max()
    with pytest.raises(ParameterError, match="dict of label to Features"):
        plots.plot_spectrograms(wavs, SR, f0=wavs)


@pytest.mark.parametrize("sr", [8_000, 22_050, 48_000])
def test_spectrograms_of_any_rate_and_length(voice, sr):
    for wav in (voice(0.3, sr=sr), np.zeros(1, np.float32), np.zeros(sr, np.float32)):
        ax = plots.plot_spectrograms({"x": wav}, sr, f0=False).axes[0]
        assert ax.get_ylim()[1] == pytest.approx(sr / 2000, rel=0.02)


def test_spectrograms_refuse_what_they_cannot_draw(wavs):
    with pytest.raises(ParameterError, match="cut a piece"):
        plots.plot_spectrograms({"hour": np.zeros(3600 * 8_000, np.float32)}, 8_000)
    with pytest.raises(ParameterError, match="NaN"):
        plots.plot_spectrograms({"bad": np.full(SR, np.nan)}, SR)
    with pytest.raises(ParameterError, match="dict"):
        plots.plot_spectrograms({}, SR)


def test_plot_features_shows_the_three_parts(features):
    source = features["source"]
    fig = plots.plot_features(source)
    pitch, envelope, aperiodicity = fig.axes[:3]
    assert (np.isnan(pitch.lines[0].get_ydata()) == (source.f0 == 0)).all()
    level_db = 10 * np.log10(source.sp)
    assert envelope.images[0].get_array().data.T == pytest.approx(level_db - level_db.max())
    assert aperiodicity.images[0].get_array().data.T == pytest.approx(source.ap)
    assert aperiodicity.images[0].get_clim() == (0, 1)
    assert len({ax.get_xlim() for ax in fig.axes[:3]}) == 1
    assert all(ax.get_ylim() == (0, SR / 2000) for ax in (envelope, aperiodicity))
    assert [ax.get_ylabel() for ax in fig.axes[3:]] == ["Level [dB]", "Share of noise"]
    assert len(fig._repr_png_()) < 60 * KB


def test_plot_features_refuses_a_waveform_and_draws_silence(wavs):
    with pytest.raises(ParameterError, match="got ndarray"):
        plots.plot_features(wavs["source"])
    assert pixels(plots.plot_features(analyze(np.zeros(SR), SR))).any()


def test_plot_f0_shows_contours_with_gaps(features):
    ax = plots.plot_f0(features).axes[0]
    for line, label in zip(ax.lines, features, strict=True):
        f0 = features[label].f0
        assert line.get_label() == label
        assert (np.isnan(line.get_ydata()) == (f0 == 0)).all()
        assert np.nanmax(line.get_ydata()) == f0.max()
    assert ax.get_xlabel() == "Time [s]" and ax.get_ylabel() == "F0 [Hz]"
    assert ax.get_yscale() == "log"
    assert len({line.get_color() for line in ax.lines}) == 2


def test_plot_f0_of_a_whisper(wavs):
    whispered = analyze(0.1 * np.random.default_rng(0).normal(size=SR), SR)
    whispered.f0[:] = 0
    fig = plots.plot_f0({"whisper": whispered})
    assert "whisper (no pitch)" in texts(fig)
    assert pixels(fig).any()


def test_plot_envelope_of_an_average_and_of_a_moment(features):
    average = plots.plot_envelope(features).axes[0]
    moment = plots.plot_envelope(features, time_s=0.2).axes[0]
    assert average.get_xlabel() == "Frequency [kHz]" and "[dB]" in average.get_ylabel()
    assert average.get_xlim() == (0, 8)
    assert "average" in average.get_title("left") and "0.2 s" in moment.get_title("left")
    frame_db = 10 * np.log10(features["source"].sp[40])
    assert moment.lines[0].get_ydata() == pytest.approx(frame_db - frame_db.mean())
    assert all(abs(line.get_ydata().mean()) < 1e-4 for line in average.lines)
    assert len({str(line.get_linestyle()) for line in average.lines}) == 2


def test_plot_envelope_refuses_other_moments_and_silence(features):
    for time_s in (-0.1, 9.0, np.nan):
        with pytest.raises(ParameterError, match="time_s="):
            plots.plot_envelope(features, time_s)
    with pytest.raises(ParameterError, match="'nothing' is silent"):
        plots.plot_envelope({"nothing": analyze(np.zeros(SR), SR)})


@pytest.mark.parametrize("plot", [plots.plot_f0, plots.plot_envelope])
def test_plots_of_features_refuse_waveforms(plot, wavs):
    for wrong in (wavs, {}, list(wavs)):
        with pytest.raises(ParameterError, match="dict of label to Features"):
            plot(wrong)


def test_labels_are_no_formulas(features):
    source = features["source"]
    words = texts(plots.plot_f0({"_hidden": source, "$a_b$": source, "$unclosed": source}))
    assert {r"\$a_b\$", r"\$unclosed"} <= set(words)
    assert any(word.endswith("_hidden") for word in words)


def test_bars_show_each_metric_of_each_row():
    rows = {
        "source": {"mcd_db": 6.0, "wer": 0.0, "other": 1.0},
        "converted": {"mcd_db": 4.0, "wer": float("nan"), "cosine_to_target": 0.8},
    }
    fig = plots.plot_scores(rows)
    panels = [ax for ax in fig.axes if ax.get_visible()]
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in panels]
    assert titles == ["WER ↓", "cosine to target ↑", "MCD [dB] ↓"]
    lengths = [[bar.get_width() for bar in ax.patches] for ax in panels]
    assert lengths[2] == [6.0, 4.0] and lengths[0][0] == 0 and np.isnan(lengths[0][1])
    assert {"source", "converted", "6.00", "4.00"} <= set(texts(fig))
    assert pixels(fig).std() > 0


@pytest.mark.parametrize("rows", [{}, {"a": {}}, {"a": {"mcd_db": float("nan")}}, {"a": 1}, [1]])
def test_bars_of_nothing_are_refused(rows):
    with pytest.raises(ParameterError, match="rows"):
        plots.plot_scores(rows)
