"""Choose clean utterances of one voice among telephone prompts: how data/sample was made.

On Debian or Ubuntu, the target voice that is shipped, then everything good of that voice:

    apt-get install asterisk-core-sounds-en-g722
    SOUNDS=/usr/share/asterisk/sounds
    python tools/make_sample.py $SOUNDS/en_US_f_Allison --out data/sample/target --minutes 4.8
    python tools/make_sample.py $SOUNDS/en_US_f_Allison --out data/allison --all

and the source speakers, which need asterisk-core-sounds-{fr,it,ru}-g722, fillets-ng-data-cs and
pocketsphinx-testdata:

    python tools/make_sample.py /usr/share --out data/sample/sources --sources

Prompts longer than 12 s are divided at pauses. Taken is what is speech (voiced share, register and
long-term spectrum like the rest of the voice, no tones), not clipped and not a repetition. Written
is 16 kHz FLAC, silence at the ends cut to 0.1 s, peak at -3 dBFS. Licences and credits:
data/sample/ATTRIBUTION.md.
"""

import argparse
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from vc_lib.audio import list_audio, load_wav, save_wav
from vc_lib.errors import ParameterError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pyworld 0.3.5 imports pkg_resources, which warns
    import pyworld

SR = 16_000
FRAME = SR // 100  # 10 ms
MARGIN = SR // 10  # silence kept at either end
MIN_S, MAX_S = 2.5, 12.0  # length of an utterance
MIN_WORD_S = 0.5  # with --all
PEAK = 10 ** (-3 / 20)
NOT_SENTENCES = {"digits", "letters", "phonetic", "silence"}
LEFT_OUT = ("glorious", "tt-monkeys", "spy-")  # funny voices, animals, names of protocols

LIBRIVOX = "pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb"
# The source speakers, by hand from the most typical clips of each; paths under /usr/share.
SOURCES = {
    "cs_man_fillets_1": "games/fillets-ng/sound/map/cs/map-v-jasne.ogg",
    "cs_man_fillets_2": "games/fillets-ng/sound/elevator1/cs/zd1-v-talis.ogg",
    "cs_man_fillets_3": "games/fillets-ng/sound/emulator/cs/zx-v-pamet.ogg",  # a noisy room
    "en_man_librivox_1": f"{LIBRIVOX}-0880.wav",  # a register of 81 Hz
    "en_man_librivox_2": f"{LIBRIVOX}-0890.wav",
    "fr_woman_june_1": "asterisk/sounds/fr_CA_f_June/agent-alreadyon.g722",
    "fr_woman_june_2": "asterisk/sounds/fr_CA_f_June/queue-periodic-announce.g722",
    "it_man_carlo_1": "asterisk/sounds/it_IT_m_Carlo/queue-youarenext.g722",
    "it_man_carlo_2": "asterisk/sounds/it_IT_m_Carlo/tt-allbusy.g722",
    "ru_woman_ivrvoice_1": "asterisk/sounds/ru_RU_f_IvrvoiceRU/demo-thanks.g722",
    "ru_woman_ivrvoice_2": "asterisk/sounds/ru_RU_f_IvrvoiceRU/tt-allbusy.g722",
}


def level_db(wav):
    """RMS of 10 ms frames [dB below the loud ones]."""
    frames = wav[: len(wav) // FRAME * FRAME].reshape(-1, FRAME)
    db = 10 * np.log10((frames**2).mean(axis=1) + 1e-9)
    return db - np.percentile(db, 95)


def trim(wav):
    """Cut silence at the ends to 0.1 s."""
    active = np.flatnonzero(level_db(wav) > -40)
    return wav[max(0, active[0] * FRAME - MARGIN) : (active[-1] + 1) * FRAME + MARGIN]


def divide(wav):
    """Divide at the longest pauses until no part is over 12 s, as far as there are pauses."""
    if len(wav) <= MAX_S * SR:
        return [wav]
    silent = np.flatnonzero(level_db(wav) < -35)
    runs = np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1)
    edge = MIN_S * SR / FRAME
    runs = [run for run in runs if edge < run[0] and run[-1] < len(wav) / FRAME - edge]
    if not runs:
        return [wav]
    middle = int(max(runs, key=len).mean() * FRAME)
    return [*divide(wav[:middle]), *divide(wav[middle:])]


def spectra(wav):
    """Log spectra of 32 ms frames in 32 bands [shape=(n_frames, 32), dB]."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wav, 256), 512)[::FRAME]
    power = np.abs(np.fft.rfft(frames * np.hanning(512)))[:, :256] ** 2
    return 10 * np.log10(power.reshape(len(power), 32, 8).mean(axis=2) + 1e-7)


def longest_tone_s(wav):
    """Longest stretch whose strongest component, above 350 Hz, holds nearly all power and stays."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wav, 256), 512)[::FRAME]
    power = np.abs(np.fft.rfft(frames * np.hanning(512))) ** 2
    top = power.argmax(axis=1)
    near = np.take_along_axis(power, np.clip(top[:, None] + np.arange(-2, 3), 0, 256), axis=1)
    pure = (near.sum(axis=1) > 0.98 * power.sum(axis=1)) & (top > 11) & (power.max(axis=1) > 1e-2)
    longest = n = 0
    for i in range(1, len(top)):
        n = n + 1 if pure[i] and abs(top[i] - top[i - 1]) <= 1 else 0
        longest = max(longest, n)
    return longest * FRAME / SR


def measure(wav):
    """What the choice looks at."""
    f0, _ = pyworld.dio(wav.astype("float64"), SR, f0_floor=71, f0_ceil=600)
    voiced = f0[f0 > 0]
    bands = spectra(wav)
    loud = bands.mean(axis=1) > np.percentile(bands.mean(axis=1), 90) - 25
    return {
        "seconds": len(wav) / SR,
        "n_clipped": int((np.abs(wav) > 0.999).sum()),
        "voiced": len(voiced) / len(f0),
        "register": 12 * np.log2(np.exp(np.log(voiced).mean()) / 100) if len(voiced) else -99,
        "spectrum": bands[loud].mean(axis=0) - bands[loud].mean(),
        "tone_s": longest_tone_s(wav),
        "bands": bands,
    }


def is_repeated(bands, others):
    """Is this the same take as one of `others`, or the beginning of it?"""
    for other in others:
        n = min(len(bands), len(other))
        if n > 0.6 * max(len(bands), len(other)):
            a, b = (x[:n] - x[:n].mean(axis=0) for x in (bands, other))
            limit = 0.7 if n > 200 else 0.9  # single words resemble each other more
            if (a * b).sum() > limit * np.sqrt((a**2).sum() * (b**2).sum()):
                return True
    return False


def read_voice(folder, everything):
    """Yield (name, wav) for each utterance in `folder`."""
    for path in list_audio(folder):
        parts = path.relative_to(folder).with_suffix("").parts
        if any(word in "-".join(parts) for word in LEFT_OUT):
            continue
        if parts[0] == "silence" or (parts[0] in NOT_SENTENCES and not everything):
            continue
        try:
            wav = load_wav(path, SR)
        except ParameterError as e:
            print(f"skipped: {e}")
            continue
        if not np.abs(wav).max() > 0.05:
            continue
        pieces = divide(wav)
        for i, piece in enumerate(pieces, start=1):
            yield "-".join(parts) + (f"-{i}" if len(pieces) > 1 else ""), trim(piece)


def choose(folder, minutes, everything):
    """The clean utterances of a voice: name -> wav."""
    wavs = dict(read_voice(folder, everything))
    found = {name: measure(wav) for name, wav in wavs.items()}
    typical = [m for m in found.values() if m["seconds"] > MIN_S and m["voiced"] > 0.5]
    register = np.median([m["register"] for m in typical])
    spectrum = np.median([m["spectrum"] for m in typical], axis=0)
    why, families, taken = Counter(), defaultdict(list), []
    for name, m in sorted(found.items(), key=lambda item: -item[1]["seconds"]):
        deviation_db = np.sqrt(((m["spectrum"] - spectrum) ** 2).mean())
        reasons = {
            "short": m["seconds"] < (MIN_WORD_S if everything else MIN_S),
            "long": m["seconds"] > MAX_S + 0.5,
            "clipped": m["n_clipped"] > 0,
            "hardly voiced": m["voiced"] < 0.5,
            "another register": abs(m["register"] - register) > 3,
            "another sound": deviation_db > (9 if everything else 6),
            "tone": m["tone_s"] > 0.15,
        }
        reason = next((r for r, holds in reasons.items() if holds), None)
        if reason is None and is_repeated(m["bands"], taken):
            reason = "repeated"
        why[reason or "good"] += 1
        if reason is None:
            taken.append(m["bands"])
            families[name.split("-")[0]].append(name)
        elif reason != "short":
            print(f"left out: {name} ({reason})")
    print(", ".join(f"{n} {reason}" for reason, n in why.most_common()))
    chosen, seconds = {}, 0.0  # the longest of each family of prompts in turn, for variety
    while any(families.values()) and (everything or seconds < 60 * minutes):
        for names in families.values():
            if names and (everything or seconds < 60 * minutes):
                name = names.pop(0)
                chosen[name] = wavs[name]
                seconds += len(wavs[name]) / SR
    return chosen


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="one voice's prompts; with --sources /usr/share")
    parser.add_argument("--out", type=Path, required=True, help="folder for the FLAC files")
    parser.add_argument("--minutes", type=float, default=4.8, help="how much to take")
    parser.add_argument("--all", action="store_true", help="take all that is good, words too")
    parser.add_argument("--sources", action="store_true", help="take the source speakers' clips")
    args = parser.parse_args()
    if args.sources:
        chosen = {name: trim(load_wav(args.folder / path, SR)) for name, path in SOURCES.items()}
    else:
        chosen = choose(args.folder, args.minutes, args.all)
    for name, wav in chosen.items():
        save_wav(args.out / f"{name}.flac", wav * (PEAK / np.abs(wav).max()), SR)
    minutes = sum(map(len, chosen.values())) / SR / 60
    print(f"{args.out}: {len(chosen)} utterances, {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
