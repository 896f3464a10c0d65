"""`vc live`."""

from contextlib import ExitStack, suppress

from ..errors import ParameterError
from .conversion import check_exists, voice_with_dials
from .terminal import say, show_state


def live(args) -> str:
    """Convert from microphone to loudspeaker until Ctrl+C; returns the last line of the output."""
    from ..audio import WavWriter
    from ..convert import Stream
    from ..convert.live import BLOCK_MS, FileInput, FileOutput, Live, run, warm_up
    from ..convert.sound_card import Loudspeaker, Microphone, find_device, list_devices
    from ..files import check_not_source

    if args.list_devices:
        return list_devices()
    if not BLOCK_MS[0] <= args.block_ms <= BLOCK_MS[1]:
        raise ParameterError(
            f"--block-ms {args.block_ms:g} must be in {BLOCK_MS[0]}..{BLOCK_MS[1]}"
        )
    for file, name, kind in ((args.file, args.input, "input"), (args.to, args.output, "output")):
        if file is None:
            find_device(name, kind)  # before the voice is loaded
    if args.file:
        check_exists(args.file)
    if args.file and args.to:
        check_not_source(args.file, args.to)
    voice, block_s = voice_with_dials(args), args.block_ms / 1000
    warm_up(voice, args.latency)
    with ExitStack() as stack:
        if args.file:
            source = FileInput(args.file, voice.sr, block_s)
        else:
            source = Microphone(args.input, voice.sr, block_s)
        if args.to:
            out = stack.enter_context(WavWriter(args.to, voice.sr, voice.disclosure))
            sink = FileOutput(out, block_s)
        else:
            sink = Loudspeaker(args.output, voice.sr, block_s)
        stream = Stream(voice, background=True, latency=args.latency)
        between = Live(stream, source.sr, sink.sr, block_s)
        if not args.file and not args.to:
            say("Wear headphones: a microphone that hears the loudspeaker converts it again.")
        say(f"from {source.name} to {sink.name}; Ctrl+C ends it. Tell listeners: it is synthetic.")
        with suppress(KeyboardInterrupt):  # the usual end
            run(between, source, sink, show_state)
    delay_s = between.delay_s + source.latency + sink.latency
    if between.n_dropouts:
        say(
            f"warning: sound is missing (dropouts: {between.n_dropouts}); "
            "close other programs, or try --block-ms 100 or --latency 0.3"
        )
    return (
        f"converted {between.heard_s:.1f} s, dropouts: {between.n_dropouts}, delay {delay_s:.2f} s"
    )
