#!/usr/bin/env python3
"""A DNS server for a single name, for scripts/test-image.sh: nameserver.py ADDRESS NAME ANSWER

Prints "ready" and listens on UDP port 53 of ADDRESS until killed. NAME has the IPv4 address ANSWER and no other
record; all other names do not exist.
"""

import socket
import struct
import sys

A, IN, TTL_S = 1, 1, 5
NO_SUCH_NAME = 3
RESPONSE, AUTHORITATIVE, RECURSION_DESIRED = 0x8000, 0x0400, 0x0100


def question(packet):
    """Returns the name, the type and the whole section of a query's only question."""
    labels, at = [], 12
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", packet, at + 1)
    return ".".join(labels), kind, packet[12 : at + 5]


def answer(packet, known, address):
    number, flags = struct.unpack_from("!HH", packet)
    name, kind, asked = question(packet)
    flags = RESPONSE | AUTHORITATIVE | (flags & RECURSION_DESIRED) | (0 if name == known else NO_SUCH_NAME)
    records = b""
    if name == known and kind == A:
        # The record's name is a pointer to the name in the question, at byte 12.
        records = struct.pack("!HHHIH", 0xC00C, A, IN, TTL_S, 4) + socket.inet_aton(address)
    return struct.pack("!HHHHHH", number, flags, 1, 1 if records else 0, 0, 0) + asked + records


def main():
    listen, known, address = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((listen, 53))
        print("ready", flush=True)
        while True:
            packet, client = server.recvfrom(4096)
            server.sendto(answer(packet, known.lower(), address), client)


main()
