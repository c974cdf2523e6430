"""Joins the parts of a film with the sound and subtitles of its source, whose packets are copied."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from imaging.video.containers import HEAD_BYTES, find_container
from patina.errors import PatinaError
from patina.video.encoding import Encoding
from patina.video.parts import Part

FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov", ".m4v": "mp4"}
COPIED = ("audio", "subtitle")
LEFT_OUT_METADATA = {"encoder", "rotate", "major_brand", "minor_version", "compatible_brands"}


def check_target(target: Path, source: Path) -> list[str]:
    """Returns which streams of the source the target cannot hold. Raises `PatinaError` for its sound, or its format.

    Called before hours of work, not after.
    """
    if target.suffix.lower() not in FORMATS:
        raise PatinaError(f"{target}: a film's name ends in one of {', '.join(FORMATS)}.")
    left_out = []
    with _open_source(source) as opened, av.open(os.devnull, "w", format=FORMATS[target.suffix.lower()]) as output:
        for stream in opened.streams:
            if stream.type in COPIED and not _fits(output, stream):
                if stream.type == "audio":
                    raise PatinaError(f"{target.suffix} cannot hold the sound ({_codec(stream)}). Use .mkv.")
                left_out.append(f"subtitles ({_codec(stream)})")
            elif stream.type in ("data", "attachment"):
                left_out.append(stream.type)
    return left_out


def join(target: Path, source: Path, parts: Sequence[Part], time_base: Fraction, encoding: Encoding) -> None:
    """Writes the film. Its frames have the time stamps of the parts, in `time_base`; all else is as in the source."""
    stamps = [stamp for part in parts for stamp in part.stamps]
    unfinished = parts[0].path.with_name(f"film{target.suffix}")
    options = {"movflags": "faststart"} if target.suffix != ".mkv" else {}
    with (
        _open_source(source) as opened,
        av.open(str(parts[0].path)) as first,
        av.open(str(unfinished), "w", format=FORMATS[target.suffix.lower()], options=options) as output,
    ):
        video = output.add_stream_from_template(first.streams.video[0], opaque=True)
        video.time_base = time_base
        video.codec_context.sample_aspect_ratio = Fraction(*encoding.pixel_aspect)
        copied = {
            stream.index: output.add_stream_from_template(stream, opaque=True)
            for stream in opened.streams
            if stream.type in COPIED and _fits(output, stream)
        }
        _copy_metadata(opened, output, copied)
        extradata = first.streams.video[0].codec_context.extradata
        frames = _iter_frames(parts, stamps, time_base, encoding.rate, video, extradata)
        for _, packet in heapq.merge(frames, _iter_copied(opened, copied), key=lambda timed: timed[0]):
            output.mux(packet)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(target)


def _open_source(source: Path) -> InputContainer:
    with source.open("rb") as opened:
        container = find_container(opened.read(HEAD_BYTES))
    return av.open(str(source), format=container)


def _codec(stream: Stream) -> str:
    return stream.codec_context.name if stream.codec_context else "unknown"


def _fits(output: OutputContainer, stream: Stream) -> bool:
    return stream.codec_context is not None and stream.codec_context.codec.canonical_name in output.supported_codecs


def _copy_metadata(source: InputContainer, output: OutputContainer, copied: dict[int, Stream]) -> None:
    output.metadata.update({key: value for key, value in source.metadata.items() if key not in LEFT_OUT_METADATA})
    for index, stream in copied.items():
        stream.metadata.update(source.streams[index].metadata)
        stream.disposition = source.streams[index].disposition
    output.set_chapters(source.chapters())


def _iter_frames(
    parts: Sequence[Part],
    stamps: Sequence[int],
    time_base: Fraction,
    rate: Fraction,
    stream: VideoStream,
    extradata: bytes | None,
) -> Iterator[tuple[float, Packet[Any]]]:
    """Yields the packets of all parts with (seconds, packet). In a part, time stamps count frames at a constant rate.

    An encoder reorders frames. A packet is decoded by the time of the frame that is `delay` before its place in the
    order of decoding, so that none is decoded after it is shown.
    """
    delay = max((_find_delay(part, rate) for part in parts), default=0)
    start = position = 0
    for part in parts:
        with av.open(str(part.path)) as opened:
            source = opened.streams.video[0]
            if source.codec_context.extradata != extradata:
                raise PatinaError(
                    f"The parts in {part.path.parent} come from different encoders. Delete the folder to begin again."
                )
            for packet in opened.demux(source):
                if packet.pts is None:
                    continue
                number = start + round(packet.pts * packet.time_base * rate)
                packet.pts = stamps[number]
                packet.dts = stamps[position - delay] if position >= delay else stamps[0] - (delay - position)
                packet.duration = _duration(stamps, number)
                packet.time_base = time_base
                packet.stream = stream
                position += 1
                yield float(packet.dts * time_base), packet
        start += len(part.stamps)


def _find_delay(part: Part, rate: Fraction) -> int:
    """Returns by how many places an encoder shows a frame later than it is decoded."""
    with av.open(str(part.path)) as opened:
        shown = [
            round(packet.pts * packet.time_base * rate)
            for packet in opened.demux(opened.streams.video[0])
            if packet.pts is not None
        ]
    if sorted(shown) != list(range(len(part.stamps))):
        raise PatinaError(f"{part.path} is damaged. Delete it and its .json, and repeat the command.")
    return max((position - number for position, number in enumerate(shown)), default=0)


def _duration(stamps: Sequence[int], number: int) -> int:
    if number + 1 < len(stamps):
        return stamps[number + 1] - stamps[number]
    return stamps[number] - stamps[number - 1] if number else 1


def _iter_copied(source: InputContainer, copied: dict[int, Stream]) -> Iterator[tuple[float, Packet[Any]]]:
    """Yields the packets of sound and subtitles with (seconds, packet)."""
    if not copied:
        return
    last = 0.0
    for packet in source.demux([source.streams[index] for index in copied]):
        if packet.dts is None:
            continue
        last = max(last, float(packet.dts * packet.time_base))
        packet.stream = copied[packet.stream.index]
        yield last, packet
