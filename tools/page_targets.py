"""The voices of the page, what is said of them, and whom they convert; see make_page.py."""

from dataclasses import dataclass

SPEAKERS = {  # what stands over their sentences
    "it_man_carlo": "a man, Italian",
    "fr_woman_june": "a woman, French",
    "ru_woman_ivrvoice": "a woman, Russian",
    "cs_man_fillets": "a man, Czech, acting",
    "en_man_librivox": "a man with a low voice, English",
    "en_woman_allison": "a woman, English",
    "ljspeech": "LJSpeech, a woman, English",
}
NOTES = {"cs_man_fillets_3": "in a noisy room"}


@dataclass(frozen=True)
class Target:
    """A voice of the page: its heading, what is said of it in HTML, its own sentence, and the clips it converts."""

    title: str
    about: str
    recording: str  # file in readme/
    clips: str  # names, with spaces between them


# One clip of each speaker first, those of other languages before the others.
TARGETS = {
    "ljspeech": Target(
        "LJSpeech, a woman",
        "Linda Johnson reads English. She gave her recordings to the public domain; 37 minutes of them were used "
        'for training. <a href="../models/ljspeech/card.md">The voice\'s card</a>.',
        "target.mp3",
        """it_man_carlo_1 fr_woman_june_1 ru_woman_ivrvoice_1 cs_man_fillets_2 en_man_librivox_2 en_woman_allison_4
        it_man_carlo_2 fr_woman_june_2 ru_woman_ivrvoice_2 cs_man_fillets_1 cs_man_fillets_3 en_man_librivox_1
        en_woman_allison_1 en_woman_allison_2 en_woman_allison_3""",
    ),
    "kathleen": Target(
        "Kathleen, a woman",
        "A volunteer reads English. She gave her recordings to everybody under CC0 1.0; 40 minutes of them were used "
        'for training. Nothing was tuned for her. <a href="../models/kathleen/card.md">The voice\'s card</a>.',
        "target_kathleen.mp3",
        """it_man_carlo_1 fr_woman_june_1 ru_woman_ivrvoice_1 en_man_librivox_1 en_man_librivox_2
        en_woman_allison_4""",
    ),
    "carlo": Target(
        "Carlo, a man",
        "Carlo Flora speaks Italian. His recordings are under "
        '<a href="https://creativecommons.org/licenses/by/3.0/">CC BY 3.0</a>; 17 minutes of them were used for '
        "training. Nothing was tuned for him. He is the hardest of the three: everybody here speaks another language, "
        "and the network changes little. So compare <em>anonymized</em> and <em>converted</em>. "
        "This voice is not in the repository.",
        "target_carlo.mp3",
        # no Czech: the licence of those recordings, the GPL, does not go together with his
        """fr_woman_june_1 fr_woman_june_2 ru_woman_ivrvoice_1 en_man_librivox_2 en_woman_allison_4
        ljspeech""",
    ),
}
