"""A link with delay and loss between two network namespaces, for kernels without tc's netem.

lag.py NAMESPACE DEVICE NAMESPACE DEVICE DELAY LOSS: two TAP devices, each made in its namespace; every frame that one sends arrives at the other
DELAY seconds later, but for a share LOSS of them. Says `up`; ends with its input. Which frames are lost is the same each time.
"""
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET, TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x40000000, 0x400454CA, 0x0002, 0x1000


def tap(namespace, name):
    with open(f"/run/netns/{namespace}", encoding="ascii") as file:
        if LIBC.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


def main(near, near_device, far, far_device, delay, loss):
    ends = tap(near, near_device), tap(far, far_device)
    print("up", flush=True)
    dice, queue, order = random.Random(1), [], 0
    while True:
        wait = max(0, queue[0][0] - time.monotonic()) if queue else None
        ready, _, _ = select.select([*ends, sys.stdin], [], [], wait)
        if sys.stdin in ready:
            return
        for end in ready:
            frame = os.read(end, 70000)
            if dice.random() >= float(loss):
                order += 1
                heapq.heappush(queue, (time.monotonic() + float(delay), order, ends[end == ends[0]], frame))
        while queue and queue[0][0] <= time.monotonic():
            _, _, out, frame = heapq.heappop(queue)
            try:
                os.write(out, frame)
            except OSError:
                pass  # The device is down for now: lost, as on a wire.


main(*sys.argv[1:])
