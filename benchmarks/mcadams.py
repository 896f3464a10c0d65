"""McAdams' anonymization: the light baseline (B2) of the VoicePrivacy challenges."""

import librosa
import numpy as np
from scipy.signal import lfilter

from vc_lib.audio import check_sr, check_wav
from vc_lib.errors import ParameterError


def mcadams(wav: np.ndarray, sr: int, alpha: float = 0.8, order: int = 20) -> np.ndarray:
    """Move formants: raise the angles of the poles of linear prediction to the power `alpha`.

    Parameters
    ----------
    wav : np.ndarray [shape=(n_samples,), -1..1]
    sr : int [Hz]
    alpha : float [0.3..1.5; 1 changes nothing]
    order : int
        Order of the prediction: 20 at 16 kHz.

    Returns
    -------
    anonymized : np.ndarray [shape=(n_samples,), float32, -1..1]
        Scaled to the RMS of `wav`, or less where that would clip.

    Raises
    ------
    ParameterError
        If `alpha` is out of range, or `wav` is no waveform.

    References
    ----------
    Patino et al., Speaker anonymisation using the McAdams coefficient, Interspeech 2021. It is
    baseline B2 of the VoicePrivacy challenges, with frames of 20 ms every 10 ms.
    """
    if not 0.3 <= alpha <= 1.5:
        raise ParameterError(f"alpha={alpha} must be in 0.3..1.5 (1 changes nothing)")
    wav = check_wav(wav).astype(np.float64)
    hop = round(0.01 * check_sr(sr))
    size = 2 * hop
    window = np.sqrt(np.hanning(size + 1)[:-1])  # applied twice, overlapping frames add up to 1
    padded = np.pad(wav, (size, size + hop))
    out = np.zeros_like(padded)
    for start in range(0, len(padded) - size + 1, hop):
        frame = padded[start : start + size] * window
        if np.abs(frame).max() < 1e-7:
            continue
        predictor = librosa.lpc(frame + 1e-9 * window, order=order)
        residual = lfilter(predictor, [1.0], frame)
        frame = lfilter([1.0], _moved_poles(predictor, alpha), residual)
        out[start : start + size] += frame * window
    out = out[size : size + len(wav)]
    power = np.square(out).mean()
    if power == 0:
        return out.astype(np.float32)
    gain = np.sqrt(np.square(wav).mean() / power)  # moved poles make the sound louder
    return (out * min(gain, 1 / np.abs(out).max())).astype(np.float32)


def _moved_poles(predictor: np.ndarray, alpha: float) -> np.ndarray:
    """The predictor with the angles of its complex poles raised to the power `alpha`."""
    poles = np.roots(predictor)
    angle = np.angle(poles)
    is_complex = np.abs(poles.imag) > 1e-9
    moved = np.where(is_complex, np.sign(angle) * np.abs(angle) ** alpha, angle)
    moved = np.clip(moved, -np.pi, np.pi)
    return np.poly(np.minimum(np.abs(poles), 0.999) * np.exp(1j * moved)).real
