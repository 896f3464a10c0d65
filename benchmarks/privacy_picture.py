"""The picture of benchmarks/privacy.py: words lost against privacy."""

import matplotlib
import pandas as pd

from vc_lib.notebook.style import COLORS, STYLE, Figure, figure

# Semi-informed EER and WER on LibriSpeech test, EER averaged over both sexes [%]. Tomashenko et al.,
# The VoicePrivacy 2024 challenge evaluation plan, 2024.
PUBLISHED = {"B2 (McAdams)": (4.5, 9.9), "B3": (27.3, 4.3), "B4": (30.3, 5.9), "B5": (34.4, 4.4)}
MARKERS = "oD^sPv"


@matplotlib.rc_context(STYLE)
def draw(table: pd.DataFrame) -> Figure:
    """Draw privacy against words: a dot for each system, a line through its strengths.

    Parameters
    ----------
    table : pd.DataFrame
        A row for each system, with the columns `worst_case` and `wer`. Rows named "name, number"
        are one system at several strengths.
    """
    fig, (ax,) = figure(row=4.2)
    families: dict[str, list[str]] = {}
    for label in table.index:
        families.setdefault(label.rpartition(", ")[0] or label, []).append(label)
    for i, (family, labels) in enumerate(families.items()):
        x, y = (100 * table.loc[labels, column] for column in ("worst_case", "wer"))
        several = len(labels) > 1
        style = dict(color=COLORS[i % len(COLORS)], marker=MARKERS[i % len(MARKERS)])
        style |= dict(linestyle="-" if several else "none", linewidth=1.2, markersize=7)
        ax.plot(x, y, label=family if several else labels[0], **style)
        for label, at in zip(labels, zip(x, y, strict=True), strict=True):
            strength = label.rpartition(", ")[2] if several else ""
            ax.annotate(strength, at, (6, -12), textcoords="offset points", fontsize=9.5)
    eers, wers = zip(*PUBLISHED.values(), strict=True)
    hollow = dict(marker="s", markersize=8, markerfacecolor="none", color="0.4", linestyle="none")
    ax.plot(eers, wers, label="VoicePrivacy 2024,\nother data", **hollow)
    for name, at in PUBLISHED.items():
        ax.annotate(name, at, (7, -3), textcoords="offset points", fontsize=9.5, color="0.4")
    ax.set(
        xlabel="EER of the best attacker who has the anonymizer [%] (50: chance): how private →",
        ylabel="← words kept: WER [%]",
        xlim=(-1, 50),
    )
    ax.set_ylim(bottom=-0.5)
    ax.grid(True)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig
