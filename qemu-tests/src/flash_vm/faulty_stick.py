"""The medium of a stick that is not what it says: a plugin of nbdkit over a file, which has the stick's real size.

config: file=PATH size=BYTES (as the stick says), and one fault:
    beyond=wrap         what lies beyond the real size is the beginning once more
    beyond=lost         what is written beyond the real size is gone, and zeros come back
    rots=OFFSET:TIMES   what is written to the sector of OFFSET gets a wrong bit, so many times
    fails=OFFSET:TIMES  writing to the sector of OFFSET fails, so many times
    tires=BYTES:RATE    after so many bytes were written it takes no more than RATE a second, and before no more than 4 MiB
"""

import errno
import os
import time

import nbdkit

API_VERSION = 2
SECTOR = 512
FRESH = 4 << 20
settings = {}
written = 0


def config(key, value):
    settings[key] = value


def config_complete():
    global medium, real, size, left
    medium = os.open(settings["file"], os.O_RDWR)
    real = os.fstat(medium).st_size
    size = int(settings.get("size", real))
    left = {}
    for fault in ("rots", "fails"):
        if fault in settings:
            offset, times = settings[fault].split(":")
            left[fault] = [int(offset) // SECTOR * SECTOR, int(times)]


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


def open(readonly):
    return 1


def get_size(handle):
    return size


def pieces(offset, count):
    """Where on the medium a request lies: None for nowhere, with the range of the request."""
    done = 0
    while done < count:
        at = offset + done
        if at < real:
            place, room = at, real - at
        elif settings.get("beyond") == "wrap":
            place, room = at % real, real - at % real
        else:
            place, room = None, count - done
        length = min(room, count - done)
        yield place, done, done + length
        done += length


def hits(fault, offset, count):
    """Whether a request covers the faulty sector, whose turn it is."""
    place, times = left.get(fault, (0, 0))
    if times == 0 or not offset <= place < offset + count:
        return None
    left[fault][1] -= 1
    return place - offset


def pread(handle, buffer, offset, flags):
    view = memoryview(buffer)
    for place, start, end in pieces(offset, len(buffer)):
        view[start:end] = bytes(end - start) if place is None else os.pread(medium, end - start, place)


def pwrite(handle, buffer, offset, flags):
    if hits("fails", offset, len(buffer)) is not None:
        nbdkit.set_error(errno.EIO)
        raise OSError(errno.EIO, "a worn sector")
    data = bytearray(buffer)
    wrong = hits("rots", offset, len(buffer))
    if wrong is not None:
        data[wrong] ^= 1
    for place, start, end in pieces(offset, len(data)):
        if place is not None:
            os.pwrite(medium, data[start:end], place)


    grow_tired(len(data))


def grow_tired(count):
    global written
    written += count
    if "tires" in settings:
        after, rate = (int(number) for number in settings["tires"].split(":"))
        time.sleep(count / (FRESH if written <= after else rate))


def flush(handle, flags):
    pass
