"""Decoders: only the image that harms one fails, within limits.

Invariants 6 and 7.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import flask
import pytest
from PIL import Image, ImageColor
from support import interpreter
from support.waiting import PATIENCE, eventually
from test_decoding import refined, saved, scene

from shared.errors import (
    BrokenImage,
    ClientClosedRequest,
    DecoderCrashed,
    DecoderStalled,
    DecoderUnavailable,
    DecodingOutOfMemory,
    DecodingTimedOut,
    ImageError,
    ImageTooLarge,
    NeuralSearchError,
)
from shared.http import services
from shared.images import DecodedImage
from shared.images.sandbox import answers, process
from shared.images.sandbox.budget import Budget
from shared.images.sandbox.child import NICENESS
from shared.images.sandbox.messages import MessageError
from shared.images.sandbox.pool import DecoderPool, start
from shared.runtime import disconnect
from shared.runtime.metrics import Metrics
from shared.settings import CHECKOUT, load

MEGABYTE = 1024 * 1024
GOOD = saved(scene(), "PNG")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@contextmanager
def decoders(processes: int = 1, **limits: Any) -> Iterator[DecoderPool]:
    defaults = {
        "seconds": 20.0,
        "memory": 512 * MEGABYTE,
        "max_bytes": 50 * MEGABYTE,
        "max_pixels": 100_000_000,
    }
    with closing(DecoderPool(processes=processes, **(defaults | limits))) as running:
        yield running


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    """For the tests that leave their processes as they were."""
    with decoders(2) as running:
        yield running


def picture(colour: str) -> bytes:
    return saved(Image.new("RGB", (32, 24), colour), "PNG")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stopped(running: DecoderPool) -> int:
    """The process that gets the next image, ready, but standing still."""
    running.decode(GOOD, min_side=None)
    pid = running.pids[-1]
    os.kill(pid, signal.SIGSTOP)
    return pid


def await_work(running: DecoderPool) -> None:
    """Returns when the process that stands still has been sent something to decode."""
    connection = running._decoders[-1]._connection
    assert connection
    eventually(lambda: any(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))))


def test_decoders_give_way_to_the_server():
    with decoders() as pool:
        pool.decode(GOOD, min_side=None)
        [pid] = pool.pids
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)


def test_a_decoder_answers_as_decoding_here_would(pool: DecoderPool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = pool.decode(saved(scene((4000, 3000)), "JPEG", exif=exif), min_side=256)
    assert decoded.picture.size == (375, 500) and decoded.picture.mode == "RGB"
    assert (decoded.width, decoded.height, decoded.mime_type) == (3000, 4000, "image/jpeg")


def test_the_pixels_arrive_as_they_were(pool: DecoderPool) -> None:
    noise = Image.effect_noise((301, 207), 80).convert("RGB")
    assert pool.decode(saved(noise, "PNG"), min_side=None).picture.tobytes() == noise.tobytes()


def test_an_error_arrives_with_its_message_and_value(pool: DecoderPool) -> None:
    with pytest.raises(BrokenImage, match=r"The PNG image is cut off .* Upload it again"):
        pool.decode(GOOD[:60], min_side=None)
    with decoders(max_pixels=100) as small, pytest.raises(ImageError, match="64 x 48 pixels") as caught:
        small.decode(GOOD, min_side=None)
    assert (caught.value.type, caught.value.value) == ("too-many-pixels", [64, 48])


def test_too_many_bytes_never_reach_a_process() -> None:
    with decoders(max_bytes=100) as running, pytest.raises(ImageTooLarge):
        running.decode(bytes(101), min_side=None)
    assert running.pids == []


def test_many_threads_each_get_their_own_picture(pool: DecoderPool) -> None:
    colours = [f"#{number:02x}8040" for number in range(0, 256, 4)]
    with ThreadPoolExecutor(8) as threads:
        decoded = list(threads.map(lambda colour: pool.decode(picture(colour), min_side=None), colours))
    expected = [ImageColor.getrgb(colour) for colour in colours]
    assert [one.picture.getpixel((9, 9)) for one in decoded] == expected


class Clock:
    """The time of the decoders' parent."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process, "time", clock)
    return clock


def killed(pid: int, _clock: Clock) -> None:
    os.kill(pid, signal.SIGKILL)


def crashed(pid: int, _clock: Clock) -> None:
    os.kill(pid, signal.SIGSEGV)
    os.kill(pid, signal.SIGCONT)


def left_hanging(_pid: int, clock: Clock) -> None:
    clock.ahead = 3600


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (killed, DecoderCrashed, "SIGKILL"),
        (crashed, DecoderCrashed, "SIGSEGV"),
        (left_hanging, DecoderStalled, "after 90 seconds, although it had not used the 20 seconds"),
    ],
)
def test_a_process_that_dies_or_hangs_costs_only_its_own_image(
    harm: Callable[[int, Clock], None], error: type[NeuralSearchError], message: str, clock: Clock
) -> None:
    causes: list[NeuralSearchError] = []
    with decoders(2, elapsed=90.0, on_replaced=causes.append) as running, ThreadPoolExecutor(6) as threads:
        running.start()
        pid = stopped(running)
        calls = [threads.submit(running.decode, GOOD, min_side=None) for _ in range(6)]
        eventually(lambda: sum(call.done() for call in calls) == 5, PATIENCE)  # all but the one that is stuck
        harm(pid, clock)
        failed = [raised for call in calls if (raised := call.exception(PATIENCE))]
        assert [type(one) for one in (*failed, *causes)] == [error, error]
        with pytest.raises(error, match=message):
            raise failed[0]
        assert running.decode(GOOD, min_side=None).width == 64
        assert pid not in running.pids and len(running.pids) == 2


def test_a_process_killed_in_the_middle_of_a_transfer_fails_that_image_alone() -> None:
    large = saved(Image.effect_noise((2000, 1500), 80), "BMP")  # more than a socket holds
    with decoders() as running, ThreadPoolExecutor(1) as threads:
        pid = stopped(running)
        call: Future[DecodedImage] = threads.submit(running.decode, large, min_side=None)
        await_work(running)
        os.kill(pid, signal.SIGKILL)
        assert isinstance(call.exception(PATIENCE), DecoderCrashed)
        assert running.decode(large, min_side=None).width == 2000


def test_a_process_that_died_while_it_was_idle_fails_no_image() -> None:
    causes: list[NeuralSearchError] = []
    with decoders(on_replaced=causes.append) as running:
        running.decode(GOOD, min_side=None)
        [pid] = running.pids
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_running(pid), PATIENCE)
        assert running.decode(GOOD, min_side=None).width == 64
    assert [type(one) for one in causes] == [DecoderCrashed]


class Interruption(Exception):
    pass


def test_a_call_that_is_interrupted_leaves_its_answer_to_nobody() -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with decoders() as running:
            stopped(running)

            def interrupt_once_it_waits() -> None:
                await_work(running)
                os.kill(os.getpid(), signal.SIGALRM)

            threading.Thread(target=interrupt_once_it_waits).start()
            with pytest.raises(Interruption):
                running.decode(picture("red"), min_side=None)
            assert running.decode(picture("blue"), min_side=None).picture.getpixel((9, 9)) == (0, 0, 255)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "GIF", "TIFF"])
def test_an_image_that_takes_too_much_memory_is_told_what_to_raise(kind: str) -> None:
    options: dict[str, Any] = {
        "WEBP": {"method": 0},
        "AVIF": {"speed": 10},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    data = saved(Image.new("RGB", (4_000, 3_000), "red"), kind, **options.get(kind, {}))
    with decoders(memory=32 * MEGABYTE) as running:
        with pytest.raises(DecodingOutOfMemory, match=r"33554432 bytes.*raise MAX_DECODE_MEMORY"):
            running.decode(data, min_side=None)
        assert running.decode(GOOD, min_side=None).width == 64


def held(running: DecoderPool) -> int:
    """The bytes of data that the one process has, used or not: those that its limit counts."""
    (pid,) = running.pids
    return int(Path(f"/proc/{pid}/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_damaged_images_leave_the_next_one_all_the_memory(kind: str) -> None:
    fast = {"AVIF": {"speed": 10}, "WEBP": {"method": 0}}.get(kind, {})
    large = saved(Image.effect_noise((2000, 1000), 50).convert("RGB"), kind, **fast)
    with decoders() as running:
        running.decode(GOOD, min_side=None)
        before = held(running)
        for share in (0.001, 0.02, 0.02, 0.4, 0.7):
            with suppress(ImageError):
                running.decode(large[: int(len(large) * share)], min_side=64)
        running.decode(GOOD, min_side=None)
        assert held(running) < before + 16 * MEGABYTE


def test_a_file_that_does_not_even_fit_in_is_told_the_same() -> None:
    with decoders(memory=32 * MEGABYTE) as running:
        with pytest.raises(DecodingOutOfMemory, match="MAX_DECODE_MEMORY"):
            running.decode(b"BM" + bytes(40 * MEGABYTE), min_side=None)
        assert running.decode(GOOD, min_side=None).width == 64


def test_a_small_broken_image_is_never_taken_for_a_lack_of_memory() -> None:
    with decoders(memory=32 * MEGABYTE) as running, pytest.raises(BrokenImage):
        running.decode(saved(scene((600, 400)), "WEBP")[:300], min_side=None)


LOOP = """
import time
from shared.images.sandbox.child import _limited_time
with _limited_time(0.2, {elapsed}):
    while True: time.sleep({pause}) if {pause} else None
"""


def test_the_kernel_ends_a_process_that_hangs_even_where_the_parent_is_gone() -> None:
    busy, asleep = (
        subprocess.Popen([sys.executable, "-c", LOOP.format(elapsed=elapsed, pause=pause)], cwd=CHECKOUT)
        for elapsed, pause in ((PATIENCE, 0), (0.2, PATIENCE))
    )
    assert busy.wait(PATIENCE) == -signal.SIGPROF
    assert asleep.wait(PATIENCE) == -signal.SIGALRM


PARENT = """
import signal, sys, time
from shared.images.sandbox import pool
from shared import settings
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
running = pool.start(settings.load({}))
running.decode(sys.stdin.buffer.read(), min_side=None)
print(*running.pids, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_parent(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=CHECKOUT, **pipes) as parent:
        assert parent.stdin and parent.stdout
        parent.stdin.write(GOOD)
        parent.stdin.close()
        pids = [int(text) for text in parent.stdout.readline().split()]
        assert pids and all(map(is_running, pids))
        parent.send_signal(number)
    eventually(lambda: not any(map(is_running, pids)), PATIENCE)


@pytest.fixture(scope="module")
def slow() -> bytes:
    """Some seconds' work."""
    return refined(100, (4000, 3000))


def test_an_image_that_takes_too_much_of_the_cpu_is_told_what_to_raise(slow: bytes) -> None:
    causes: list[NeuralSearchError] = []
    with decoders(seconds=0.2, elapsed=PATIENCE, on_replaced=causes.append) as running:
        with pytest.raises(DecodingTimedOut, match=r"0\.2 seconds of the CPU.*MAX_DECODE_SECONDS"):
            running.decode(slow, min_side=None)
        assert running.decode(GOOD, min_side=None).width == 64
    assert [type(one) for one in causes] == [DecodingTimedOut]


def test_the_images_of_one_request_share_its_budget(slow: bytes) -> None:
    with decoders(elapsed=PATIENCE) as running:
        budget = Budget(seconds=1.0)
        running.decode(refined(10, (400, 300)), min_side=None, budget=budget)
        assert 0 < budget.seconds < 1.0
        with pytest.raises(DecodingTimedOut, match="this request's images"):
            for _ in range(100):
                running.decode(slow, min_side=None, budget=budget)
        with pytest.raises(DecodingTimedOut, match="this request's images"):
            running.decode(GOOD, min_side=None, budget=budget)
        assert running.decode(GOOD, min_side=None).width == 64  # another request has its own


def test_decoding_ends_when_its_caller_has_hung_up() -> None:
    waiting = [True, True]
    with decoders() as running, ThreadPoolExecutor(2) as threads:
        pid = stopped(running)

        def decode(place: int) -> None:
            with disconnect.ends_work(partial(waiting.__getitem__, place)):
                running.decode(GOOD, min_side=None)

        first, second = (threads.submit(decode, place) for place in (0, 1))
        await_work(running)
        waiting[:] = [False, False]  # the one that is being decoded, and the one that waits for its turn
        assert isinstance(first.exception(PATIENCE), ClientClosedRequest)
        assert isinstance(second.exception(PATIENCE), ClientClosedRequest)
        assert not is_running(pid)
        assert running.decode(GOOD, min_side=None).width == 64


def ends_by_hanging_up(running: DecoderPool, ready: Callable[[], None]) -> bool:
    """Whether an image's caller is let go while its process stands still; hung up once that is `ready`."""
    waiting = True

    def decode() -> None:
        with disconnect.ends_work(lambda: waiting):
            running.decode(GOOD, min_side=None)

    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(decode)
        ready()
        waiting = False
        return isinstance(call.exception(PATIENCE), ClientClosedRequest)


def test_nobody_waits_for_the_start_of_a_decoder_for_a_caller_who_has_hung_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "START_SECONDS", 10 * PATIENCE)
    with decoders() as running:
        running.start()
        [pid] = running.pids
        os.kill(pid, signal.SIGSTOP)
        assert ends_by_hanging_up(running, lambda: eventually(running._decoders[0]._lock.locked))
        os.kill(pid, signal.SIGCONT)
        assert running.decode(GOOD, min_side=None).width == 64
        assert running.pids == [pid]  # it has started all the same


def test_a_caller_who_hangs_up_leaves_the_next_image_a_decoder_that_has_started() -> None:
    with decoders(2) as running:
        running.start()
        other = running.pids[0]
        eventually(lambda: all(one.is_started for one in running._decoders), PATIENCE)
        pid = stopped(running)
        assert ends_by_hanging_up(running, lambda: await_work(running))
        assert not is_running(pid)
        [_, anew] = running.pids  # it starts at once
        os.kill(anew, signal.SIGSTOP)
        assert running.decode(GOOD, min_side=None).width == 64
        os.kill(anew, signal.SIGCONT)
        assert running.pids == [other, anew]


def test_an_answer_that_hides_what_it_took_is_not_believed() -> None:
    for told in (None, -1.0, float("nan"), float("inf"), "1"):
        with pytest.raises(MessageError, match="took"):
            answers.seconds({"seconds": told})


def test_ctrl_c_in_the_terminal_leaves_the_image_in_work_alone() -> None:
    with decoders() as running, ThreadPoolExecutor(1) as threads:
        pid = stopped(running)
        call = threads.submit(running.decode, GOOD, min_side=None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # as the whole group gets them
            os.kill(pid, number)
        assert call.result(PATIENCE).width == 64


def test_closing_leaves_no_process_and_fails_what_is_being_decoded() -> None:
    with decoders(2) as running, ThreadPoolExecutor(1) as threads:
        running.start()
        pids = running.pids
        stopped(running)
        call = threads.submit(running.decode, GOOD, min_side=None)
        await_work(running)
        running.close()
        assert isinstance(call.exception(PATIENCE), DecoderUnavailable)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        with pytest.raises(DecoderUnavailable, match="closed"):
            running.decode(GOOD, min_side=None)


def test_a_call_that_looks_for_a_decoder_while_they_are_closed_leaves_the_next_one_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_readable = process._is_readable
    with decoders() as running:
        running.start()

        def closed_meanwhile(connection: socket.socket, seconds: float) -> bool:
            running.close()
            return is_readable(connection, seconds)

        monkeypatch.setattr(process, "_is_readable", closed_meanwhile)
        for _ in range(2):
            with pytest.raises(DecoderUnavailable, match="closed"):
                running.decode(GOOD, min_side=None)


def test_decoders_that_nobody_holds_any_more_end() -> None:
    running = start(load({}))
    pids = running.pids
    del running
    eventually(lambda: not any(map(is_running, pids)), PATIENCE)


def test_a_process_that_can_not_start_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with decoders() as running, pytest.raises(DecoderUnavailable, match="status 1 before it was ready"):
        running.decode(GOOD, min_side=None)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with decoders() as running, pytest.raises(DecoderUnavailable, match="No such file"):
        running.start()
        running.decode(GOOD, min_side=None)


def test_a_function_has_one_set_of_decoders_and_counts_what_they_die_of() -> None:
    app, metrics = flask.Flask("function"), Metrics()
    app.extensions["settings"] = load({})
    with app.app_context(), closing(services.decoders(metrics)) as running:
        assert services.decoders(metrics) is running
        running.decode(GOOD, min_side=None)
        for pid in running.pids:
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: not is_running(pid), PATIENCE)  # type: ignore[misc]
        running.decode(GOOD, min_side=None)
    assert b'neural_search_decoders_replaced_total{cause="DecoderCrashed"} 1.0' in metrics.text()


def test_a_process_holds_nothing_heavy_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_ours")
    with decoders() as running:
        running.decode(GOOD, min_side=None)
        [pid] = running.pids
        maps, environment = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("maps", "environ"))
    assert b"PIL/_imaging" in maps
    for heavy in (b"numpy", b"libheif", b"openvino", b"torch", b"_ssl", b"pydantic"):
        assert heavy not in maps
    assert b"PATH=" in environment and b"SUPABASE" not in environment


def test_a_process_imports_pillow_and_a_few_modules_of_ours() -> None:
    modules = interpreter.output(IMPORTS, folder=CHECKOUT).split()
    assert {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names) == {"PIL", "shared"}
    ours = {name for name in modules if name.startswith("shared.")}
    others = {name for name in ours if not name.startswith(("shared.images", "shared.secrets"))}
    assert others == {"shared.errors", "shared.runtime", "shared.runtime.privileges"}
    assert "shared.secrets.api_keys" not in ours


IMPORTS = """
import sys
before = set(sys.modules)
import shared.images.sandbox.child
print(*sorted(set(sys.modules) - before))
"""


def test_a_damaged_file_writes_nothing_into_the_server_s_log(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(saved(scene().convert("1"), "TIFF", compression="group4"))
    data[10:30] = bytes(20)
    with decoders() as running, pytest.raises(BrokenImage):
        running.decode(bytes(data), min_side=None)
    assert capfd.readouterr().err == ""


def test_what_decodes_heic_brings_no_encoder() -> None:
    import pi_heif

    assert not {"x265", "kvazaar"} & {*pi_heif.libheif_info()["encoders"]}
    assert not [file for file in metadata.files("pi-heif") or () if "x265" in file.name]
