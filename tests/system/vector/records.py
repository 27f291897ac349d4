#!/usr/bin/env python3
"""Random vector instructions and the states they start from, for guest.S: pool.bin and records.bin in the working folder.

records.py SPEC SEED COUNT VLEN [REGEX [DUMP]]: instructions of the decode spec whose names match; the record DUMP is
printed in full. The same arguments give the same files everywhere: expected results are kept as checksums.
"""
import random
import re
import struct
import sys

SPEC, SEED, COUNT, VLEN = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
ONLY = re.compile(sys.argv[5] if len(sys.argv) > 5 else "")
DUMP = int(sys.argv[6]) if len(sys.argv) > 6 else -1
VA = 0x40000000
POOL, WINDOW = 24576, 8192  # registers come from the first WINDOW bytes on
rng = random.Random(SEED)

HARD_32 = [0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffc00001, 1, 0x007fffff, 0x3f800000,
           0xbf800000, 0x4f000000, 0xcf000000, 0x4f800000, 0x477fff00, 0x7f7fffff, 0x00800000, 0x40000000, 0x3f000000,
           0x3effffff]
HARD_64 = [0, 1 << 63, 0x7ff << 52, 0xfff << 52, 0x7ff8 << 48, (0x7ff << 52) + 1, 1, (1 << 52) - 1, 0x3ff << 52,
           0xbff << 52, 0x41dfffffffc00000, 0xc1e0000000000000, 0x43e0000000000000, 0x7fefffffffffffff, 1 << 52,
           0x400 << 52, 0x47efffffe0000000, 0x380fffffffffffff, 0x36a0000000000000]


def near_one(bits, bias, high):
    """A number of a size that arithmetic and conversions have something to do with."""
    frac = 23 if bits == 32 else 52
    return rng.getrandbits(1) << (bits - 1) | (bias + rng.randrange(-3, high)) << frac | rng.getrandbits(frac)


def pool_word():
    kind = rng.random()
    if kind < .25:
        return struct.pack("<II", rng.choice(HARD_32), rng.choice(HARD_32))
    if kind < .5:
        return struct.pack("<Q", rng.choice(HARD_64))
    if kind < .6:
        return struct.pack("<II", near_one(32, 127, 33), near_one(32, 127, 33))
    if kind < .7:
        return struct.pack("<Q", near_one(64, 1023, 65))
    if kind < .8:
        return bytes(rng.choice([0, 1, 127, 128, 255, rng.getrandbits(8)]) for _ in range(8))
    if kind < .9:
        return bytes(rng.randrange(64) for _ in range(8))
    return struct.pack("<Q", rng.getrandbits(64))


def encodings():
    """(name, bits, format, flags) of each vector line."""
    found = []
    for line in open(SPEC, encoding="ascii"):
        m = re.match(r"^(v\S+)\s+([01. -]+)\s+@(\S+)\s+\S+\s+(.*)$", line.strip())
        if m and ONLY.search(m[1]):
            found.append((m[1], m[2].replace(" ", ""), m[3], m[4].split()))
    return found


def with_field(word, bits, pos, length, value):
    """The word with a field's value, where the encoding leaves all of the field open."""
    if bits[::-1][pos:pos + length] != "." * length:
        return word
    return word & ~(((1 << length) - 1) << pos) | value << pos


def register(lmul):
    """Mostly aligned to the group."""
    n = rng.randrange(32)
    return n & ~((1 << min(3, lmul)) - 1) if rng.random() < .9 else n


def choose_vtype(name):
    vtype = rng.choice([0, 0, 1, 1, 2, 3, 5, 6, 7]) | rng.randrange(4) << 3 | rng.getrandbits(2) << 6
    if rng.random() < .01:
        return rng.getrandbits(9)
    if name.startswith(("vf", "vmf")) and rng.random() < .9:
        return vtype & ~0x38 | rng.choice([1, 2, 2, 3] if "cvt" in name else [2, 2, 3]) << 3
    return vtype


def choose_word(encoding, lmul):
    name, bits, form, flags = encoding
    word = int("".join(rng.choice("01") if b == "." else b for b in bits), 2)
    if form in ("vset", "vseti", "r"):
        word = with_field(word, bits, 7, 5, rng.choice([0, 14]))
        word = with_field(word, bits, 15, 5, rng.randrange(32) if form == "vseti" else rng.choice([0, 11, 12, 13]))
        legal = rng.getrandbits(8) if rng.random() < .8 else rng.getrandbits(10)
        return with_field(word, bits, 20, 5, rng.choice([11, 12])) if form == "r" else with_field(word, bits, 20, 10, legal)
    wide = 1 if name.startswith(("vw", "vfw")) else 0
    to_scalar = "rd_x" in flags or "rd_f" in flags
    word = with_field(word, bits, 7, 5, 14 if to_scalar else register(lmul + wide))
    word = with_field(word, bits, 25, 1, rng.getrandbits(1))
    if "load" in flags or "store" in flags:
        word = with_field(word, bits, 15, 5, 10)
        word = with_field(word, bits, 29, 3, 0 if rng.random() < .6 or "ff" in name else rng.randrange(8))
        return with_field(word, bits, 20, 5, 11 if form == "vlds" else register(lmul))
    scalar = word >> 12 & 7 >= 4
    word = with_field(word, bits, 15, 5, rng.randrange(10, 14) if scalar else register(lmul))
    return with_field(word, bits, 20, 5, register(lmul + (".w" in name or name.startswith("vn"))))


def choose_vstart(name, vlmax):
    """Whole-register accesses beyond their end are left out: QEMU 10.0 does not survive them."""
    whole = re.match(r"v[ls](\d)re?(\d*)", name)
    if rng.random() < .85:
        return 0
    return rng.randrange(int(whole[1]) * VLEN // int(whole[2] or 8) if whole else max(1, min(vlmax + 2, VLEN)))


def record(n, encoding):
    name, _, form, flags = encoding
    vtype = choose_vtype(name)
    lmul, sew = vtype & 7, vtype >> 3 & 3
    word = choose_word(encoding, lmul if lmul < 4 else 0)
    vlmax = VLEN >> 3 + sew
    vlmax = vlmax << lmul if lmul < 4 else vlmax >> 8 - lmul
    avl = rng.choice([vlmax, vlmax, vlmax * 2, rng.randrange(vlmax + 1), rng.randrange(vlmax + 1), 1, 0])
    frm = rng.choice([0, 0, 1, 2, 3, 4, 5 if rng.random() < .2 else 0])
    base = VA + rng.choice([0x100, 0x800, 0xff0, 0x1000 - rng.randrange(64), 0x2000 - rng.randrange(600), 0x1800, 0x3000,
                            0x3000 - rng.randrange(8), 0x3800, 0x4000 - rng.randrange(200)])
    if rng.random() < .6 or "ff" in name:
        base &= ~7
    stride = rng.choice([0, 1, 2, 4, 8, 16, -1, -8, 3, 64, rng.randrange(-300, 300), 4096, rng.getrandbits(64)])
    if form == "r":  # a vtype
        stride = rng.getrandbits(8) if rng.random() < .8 else rng.choice([1 << 63, 1 << 62 | 0x11, rng.getrandbits(64)])
    scalar = rng.choice([0, 1, 2, -1, rng.randrange(40), rng.getrandbits(32), rng.getrandbits(64), 1 << 63,
                         (1 << 63) - 1, 0x80, 0x7f, 0xffffffff])
    return struct.pack("<IHHQQQQQQQ", word, ("store" in flags) | (n == DUMP) << 1, choose_vstart(name, vlmax), vtype, avl,
                       rng.getrandbits(5) | frm << 5 | rng.getrandbits(3) << 8, base, stride % 2**64, scalar % 2**64,
                       rng.randrange(WINDOW) & ~7)


def main():
    with open("pool.bin", "wb") as f:
        f.write(b"".join(pool_word() for _ in range(POOL // 8)))
    known = encodings()
    with open("records.bin", "wb") as f:
        f.write(struct.pack("<I60x", COUNT))
        for n in range(COUNT):
            f.write(record(n, rng.choice(known)))


main()
