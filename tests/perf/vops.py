"""Times of single vector instructions beside QEMU's: vops.py MICRO-VOPS.ELF [--vlen N] [--repeat N] [--below X] [--accel A].

Runs bare/vops.c on QEMU ($QEMU) and Partita ($PARTITA, build/partita) alternately, takes the shortest time of each row
(instruction, SEW, LMUL, vl: all of VLMAX, half of it or all but one), and prints the rows where QEMU's time / Partita's is
below X, worst first, then how many rows are below 1, 2, 4 and 10, and geometric means, by group of instructions and by LMUL.
"""
import argparse
import math
import os
import re
import subprocess

LINE = re.compile(r"VOP (\d+) (\d+) (\w+) (\w+) (.*?)\r?$", re.M)
GROUPS = (  # the first that matches
    ("segments", r"v[ls](s|[uo]x)?seg"),
    ("other loads and stores", r"v[ls](s?e\d|[uo]xei|m\.v|\dr)"),
    ("averages", r"va(add|sub)"),
    ("scaling shifts, clips, vsmul", r"vss?r[la]\.|vnclip|vsmul"),
    ("division", r"v(div|rem)"),
    ("viota", r"viota"),
    ("vfclass, vfrec7, vfrsqrt7", r"vf(class|rec7|rsqrt7)"),
    ("reductions", r"v\w*red"),
    ("slides", r"vf?slide"),
    ("gathers, vcompress", r"vrgather|vcompress"),
    ("masks, vid", r"vm\w+\.mm|v(cpop|first|msbf|msif|msof|id)"),
    ("carries", r"v(m?adc|m?sbc)"),
    ("comparisons", r"vm(seq|sne|slt|sle|sgt|feq|fne|fle|flt|fgt|fge)"),
    ("saturating sums", r"vs(add|sub)"),
    ("products", r"v(w?mul|w?macc|madd|nmsac|nmsub)"),
    ("shifts", r"v(sll|srl|sra|nsr)"),
    ("floating point", r"vf"),
    ("simple integers", r"v"),
)


def times(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=1200, check=True)
    return {(text, int(sew), lmul, length): int(ps) for ps, sew, lmul, length, text in LINE.findall(done.stdout.decode())}


def shortest(runs):
    return {row: min(run[row] for run in runs if row in run) for row in runs[0]}


def group_of(text):
    return next(name for name, pattern in GROUPS if re.match(pattern, text))


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(name, ratios):
    counts = "  ".join(f"<{limit}: {sum(r < limit for r in ratios):4}" for limit in (1, 2, 4, 10))
    print(f"{name:32} {len(ratios):5} rows  {counts}  geometric mean {geometric_mean(ratios):.1f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("elf")
    parser.add_argument("--vlen", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--below", type=float, default=1)
    parser.add_argument("--accel", default="jit")
    args = parser.parse_args()
    guest = ["-m", "256M", "-bios", "none", "-cpu", f"rv64,v=true,vlen={args.vlen}", "-kernel", args.elf]
    qemu = [os.environ.get("QEMU", "qemu-system-riscv64"), "-M", "virt", "-display", "none", "-monitor", "none",
            "-serial", "stdio"] + guest
    partita = [os.environ.get("PARTITA", "build/partita"), "run", "-accel", args.accel] + guest
    runs = [(times(qemu), times(partita)) for _ in range(args.repeat)]
    theirs, ours = shortest([r[0] for r in runs]), shortest([r[1] for r in runs])
    assert theirs.keys() == ours.keys(), "other instructions are legal"
    ratios = {row: theirs[row] / ours[row] for row in ours}
    for row in sorted((r for r in ratios if ratios[r] < args.below), key=ratios.get):
        text, sew, lmul, length = row
        print(f"{ratios[row]:8.2f}  e{sew:<3} {lmul:4} {length:4} {text:32} {theirs[row] / 1000:9.2f} ns {ours[row] / 1000:9.2f} ns")
    for length in ("all", "half", "odd"):
        of_length = {row: ratio for row, ratio in ratios.items() if row[3] == length}
        for name, _ in GROUPS:
            summary(f"vl {length}: {name}", [ratio for row, ratio in of_length.items() if group_of(row[0]) == name])
        for lmul in ("mf2", "m1", "m2", "m8"):
            summary(f"vl {length}: LMUL {lmul}", [ratio for row, ratio in of_length.items() if row[2] == lmul])
        summary(f"vl {length}", list(of_length.values()))


if __name__ == "__main__":
    main()
