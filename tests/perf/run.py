"""Runs the benchmark guests on QEMU and Partita alternately and prints ratios (called by run.sh).

A sample is one process: its guest reports times and checksums in PERF lines, and the kernel reports the
host's CPU time and peak memory. Ratios are QEMU / Partita of the medians: above 1, Partita is faster.
"""
import argparse
import glob
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

PERF_DIR = os.environ["PERF_DIR"]
GUEST_DIR = os.environ["GUEST_DIR"]
HERE = os.path.dirname(os.path.abspath(__file__))
PERF_LINE = re.compile(r"PERF (\w+) hart=(\d+) ns=(\d+) instructions=(\d+) sum=([0-9a-f]+)")
TIMEOUT = 240


class Sample:
    """What one process told: PERF results by (kernel, hart), host seconds, peak KiB, exit code."""

    def __init__(self):
        self.ns, self.sums, self.instructions = {}, {}, {}
        self.all_ns = {}  # of kernels that run several times, in order; ns has the last
        self.cpu = self.wall = self.boot = None
        self.rss = 0
        self.code = None


def emulators(args):
    found = {}
    qemu = args.qemu or os.environ.get("QEMU") or shutil.which("qemu-system-riscv64")
    if qemu:
        found["qemu"] = [qemu, "-M", "virt", "-display", "none", "-monitor", "none", "-serial", "stdio"]
    if os.access(args.partita.split()[0], os.X_OK):
        found["partita"] = args.partita.split() + ["run"]
    return {name: command for name, command in found.items() if name not in args.skip}


def read_lines(process, sample, start):
    """Takes the guest's output line by line, so that the moment of BOOT-OK is seen."""
    for raw in process.stdout:
        line = raw.decode("utf-8", "replace")
        found = PERF_LINE.search(line)
        if found:
            key = (found[1], int(found[2]))
            sample.ns[key], sample.instructions[key] = int(found[3]), int(found[4])
            sample.sums[key] = found[5]
            sample.all_ns.setdefault(key, []).append(sample.ns[key])
        elif "BOOT-OK" in line and sample.boot is None:
            sample.boot = time.monotonic() - start


def run(command):
    sample = Sample()
    start = time.monotonic()
    process = subprocess.Popen(["timeout", str(TIMEOUT)] + command, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    read_lines(process, sample, start)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = sample.code = os.waitstatus_to_exitcode(status)
    sample.wall = time.monotonic() - start
    sample.cpu, sample.rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss
    return sample


def measure(found, extra, repeats):
    """Samples of every emulator, taken in turn; {} for one that failed."""
    samples = {name: [] for name in found}
    for _ in range(repeats):
        for name, command in found.items():
            samples[name].append(run(command + extra))
    for name, taken in samples.items():
        bad = [s.code for s in taken if s.code != 0]
        if bad:
            print(f"  {name}: {' '.join(extra)}: exit code {bad[0]}", file=sys.stderr)
    return samples


def median(samples, value):
    values = [value(s) for s in samples if s.code == 0 and value(s) is not None]
    return statistics.median(values) if values else None


def ratio(a, b):
    return a / b if a and b else None


def text(value, form):
    return format(value, form) if value is not None else "-"


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


class Table:
    """Rows of kernel, times and ratios, with a geometric mean for each class of kernels."""

    def __init__(self, title):
        self.ratios, self.cpu_ratios, self.wrong = {}, {}, []
        print(f"\n{title}\n{'kernel':18}{'qemu ms':>10}{'partita ms':>11}{'ratio':>7}"
              f"{'cpu ratio':>10}{'MIPS':>7}  check")

    def row(self, name, samples, key, with_cpu):
        times = {e: median(s, lambda x: x.ns.get(key)) for e, s in samples.items()}
        cpus = {e: median(s, lambda x: x.cpu) for e, s in samples.items()} if with_cpu else {}
        sums = {x.sums.get(key) for s in samples.values() for x in s}
        fast = ratio(times.get("qemu"), times.get("partita"))
        retired = median(samples.get("partita", []), lambda x: x.instructions.get(key))
        mips = ratio(retired, times.get("partita"))
        check = "ok" if len(sums) == 1 and None not in sums else "DIFFERENT"
        if check != "ok":
            self.wrong.append(name)
        cheap = ratio(cpus.get("qemu"), cpus.get("partita"))
        for found, lists in ((fast, self.ratios), (cheap, self.cpu_ratios)):
            if found:
                lists.setdefault(name.split("_")[0], []).append(found)
        ms = {e: t / 1e6 if t else None for e, t in times.items()}
        print(f"{name:18}{text(ms.get('qemu'), '.1f'):>10}{text(ms.get('partita'), '.1f'):>11}"
              f"{text(fast, '.2f'):>7}{text(cheap, '.2f'):>10}"
              f"{text(mips * 1000 if mips else None, '.0f'):>7}  {check}", flush=True)

    def end(self):
        for group, values in sorted(self.ratios.items()):
            cpu = self.cpu_ratios.get(group)
            print(f"geomean {group:10}{geomean(values):28.2f}{text(geomean(cpu) if cpu else None, '.2f'):>10}"
                  f"   ({len(values)} kernels)")
        return not self.wrong


def run_bare(found, args):
    table = Table("Bare metal, 1 hart, Sv39 with 4 KiB pages")
    for path in sorted(glob.glob(PERF_DIR + "/bare-*.elf")):
        name = os.path.basename(path)[5:-4]
        if args.only.search(name):
            extra = ["-m", "256M", "-bios", "none", "-kernel", path]
            if name.startswith("vec_"):
                extra += ["-cpu", "rv64,v=true,vlen=128"]
            table.row(name, measure(found, extra, args.repeats), (name, 0), True)
    return table.end()


def run_smp(found, args):
    """The same kernel on 1 and on 2 harts: equal times mean perfect scaling."""
    print(f"\n2 harts against 1 (throughput, 2.00 is perfect)\n{'kernel':18}{'qemu':>8}{'partita':>9}")
    for name in ["int_matrix", "int_sort", "int_vm", "fp_matmul", "mem_triad"]:
        path = f"{PERF_DIR}/bare-{name}.elf"
        one = measure(found, ["-m", "256M", "-bios", "none", "-kernel", path], args.repeats)
        two = measure(found, ["-smp", "2", "-m", "256M", "-bios", "none", "-kernel", path], args.repeats)
        scale = {}
        for e in found:
            slowest = median(two[e], lambda x: max(x.ns.values()) if len(x.ns) == 2 else None)
            single = median(one[e], lambda x: x.ns.get((name, 0)))
            scale[e] = 2 * single / slowest if single and slowest else None
        print(f"{name:18}{text(scale.get('qemu'), '.2f'):>8}{text(scale.get('partita'), '.2f'):>9}", flush=True)
    return True


def linux_names():
    return [os.path.basename(f)[:-2] for d in ("kernels", "linux")
            for f in sorted(glob.glob(f"{HERE}/{d}/*_*.c"))]


def linux_initramfs():
    """Busybox, perf-linux and a /run which takes kernel names from the command line."""
    overlay, out = f"{PERF_DIR}/overlay", f"{PERF_DIR}/perf.cpio.gz"
    os.makedirs(overlay + "/bin", exist_ok=True)
    shutil.copy(f"{PERF_DIR}/perf-linux", overlay + "/bin/perf-linux")
    with open(overlay + "/run", "w", encoding="ascii") as script:
        script.write("for w in $(cat /proc/cmdline); do case $w in perf=*) names=${w#perf=};; esac; done\n"
                     "perf-linux $(echo $names | tr , ' ')\n")
    guest_tools = os.path.join(HERE, "../../launch/guest/initramfs.sh")
    subprocess.run([guest_tools, GUEST_DIR, out, overlay], check=True)
    return out


def linux_command(initrd, harts, append):
    return ["-smp", str(harts), "-m", "1G", "-kernel", GUEST_DIR + "/Image", "-initrd", initrd,
            "-append", "console=ttyS0 " + append]


def run_linux(found, args):
    names = [n for n in linux_names() if args.only.search(n) and n not in MANY_LOADS]
    table = Table("Inside Linux, 1 hart")
    initrd = linux_initramfs()
    samples = measure(found, linux_command(initrd, 1, f"quiet act=run perf={','.join(names)}"), args.repeats)
    for name in names:
        table.row(name, samples, (name, 0), False)
    return table.end()


def run_boot(found, args):
    print(f"\nDebian's kernel to BOOT-OK and power-off\n{'harts':6}{'emulator':10}{'wall s':>8}{'cpu s':>8}"
          f"{'peak MiB':>10}")
    good = True
    for harts in (1, 4, 8):
        samples = measure(found, linux_command(GUEST_DIR + "/initramfs.cpio.gz", harts, "nomods"), args.repeats)
        for name, taken in samples.items():
            wall, cpu = median(taken, lambda x: x.boot), median(taken, lambda x: x.cpu)
            rss = median(taken, lambda x: x.rss / 1024)
            good = good and wall is not None
            print(f"{harts:<6}{name:10}{text(wall, '.2f'):>8}{text(cpu, '.2f'):>8}{text(rss, '.0f'):>10}", flush=True)
    return good


MANY_LOADS = ["many_hackbench", "many_make", "many_threads"]


def many_boots(found, args):
    """To BOOT-OK with more harts than cores. QEMU's virt comes up with 64 harts only with AIA, and with 112 or more not at
    all: then it is not asked."""
    print(f"\nMany harts: Debian's kernel to BOOT-OK and power-off\n{'harts':6}{'emulator':10}{'wall s':>8}{'cpu s':>8}"
          f"{'peak MiB':>10}")
    for harts in (32, 64, 128):
        able = {e: c for e, c in found.items() if e != "qemu" or harts < 112}
        if "qemu" in able and harts >= 64:
            able["qemu"] = [w if w != "virt" else "virt,aia=aplic-imsic" for w in able["qemu"]]
        samples = measure(able, linux_command(GUEST_DIR + "/initramfs.cpio.gz", harts, "quiet nomods"), args.repeats)
        for name, taken in samples.items():
            print(f"{harts:<6}{name:10}{text(median(taken, lambda x: x.boot), '.2f'):>8}"
                  f"{text(median(taken, lambda x: x.cpu), '.2f'):>8}"
                  f"{text(median(taken, lambda x: x.rss / 1024), '.0f'):>10}", flush=True)


def many_bare(found, args):
    """4,096 harts without a kernel: each counts itself and interrupts the next, the last powers off."""
    path = f"{PERF_DIR}/many_harts.elf"
    samples = measure({"partita": found["partita"]}, ["-smp", "4096", "-m", "64M", "-kernel", path], args.repeats)
    taken = samples["partita"]
    print(f"\n4,096 bare harts: {text(median(taken, lambda x: x.wall), '.2f')} s wall, "
          f"{text(median(taken, lambda x: x.cpu), '.2f')} s CPU, {text(median(taken, lambda x: x.rss / 4096), '.0f')} KiB a hart")


# So often that the first runs, in which guest and emulator use memory for the first time, count little.
MANY_RUNS = {"many_hackbench": 100, "many_make": 12, "many_threads": 3}


def all_runs(sample, key):
    """Guest seconds of all runs of a kernel, or None."""
    return sum(sample.all_ns.get(key, [])) / 1e9 or None


def later(sample, key):
    """The second half of the runs: harts and pages are where they shall be."""
    runs = sample.all_ns.get(key)
    return sum(runs[len(runs) // 2:]) if runs else None


def many_loads(found, args):
    """A fixed load with more and more harts: the guest's time, how often it is that with 2 harts, the same for the second half
    of the runs, and the host's CPU time without the boot's."""
    initrd = linux_initramfs()
    print(f"\nA fixed load on more and more harts\n{'load':16}{'harts':>6}  {'emulator':10}{'guest s':>8}{'times':>7}{'half':>7}"
          f"{'cpu s':>8}{'times':>7}  check")
    good, first = True, {}
    for harts in (2, 8, 32, 64):
        able = {e: c for e, c in found.items() if e != "qemu" or harts < 32}
        command = linux_command(initrd, harts, "quiet nomods act=run perf=")
        boot = measure(able, command[:-1] + [command[-1] + "none"], args.repeats)
        for load in [n for n in MANY_LOADS if args.only.search(n)]:
            samples = measure(able, command[:-1] + [f"{command[-1]}-r,{MANY_RUNS[load]},{load}"], args.repeats)
            sums = {x.sums.get((load, 0)) for s in samples.values() for x in s}
            good = good and len(sums) == 1 and None not in sums
            for e, taken in samples.items():
                guest, cpu = median(taken, lambda x: all_runs(x, (load, 0))), median(taken, lambda x: x.cpu)
                base = median(boot[e], lambda x: x.cpu)
                cpu = cpu - base if cpu and base else None
                half = median(taken, lambda x: later(x, (load, 0)))
                of_two = first.setdefault((e, load), (guest, cpu, half))
                print(f"{load:16}{harts:>6}  {e:10}{text(guest, '.2f'):>8}{text(ratio(guest, of_two[0]), '.2f'):>7}"
                      f"{text(ratio(half, of_two[2]), '.2f'):>7}{text(cpu, '.2f'):>8}{text(ratio(cpu, of_two[1]), '.2f'):>7}  {'ok' if len(sums) == 1 else 'DIFFERENT'}",
                      flush=True)
    return good


def run_many(found, args):
    many_boots(found, args)
    if "partita" in found:
        many_bare(found, args)
    return many_loads(found, args)


def over_ranks(command, ranks, how):
    """The command on several ranks: threads of one process, or processes under mpirun."""
    if how == "process":
        return ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] + command
    return command + ["--ranks", str(ranks)]


def parallel_ranks(partita, how, args):
    """Two harts that share nothing, each on a rank of its own, against one hart; each works for a second and more."""
    for path in sorted(glob.glob(PERF_DIR + "/apart-*.elf")):
        name = os.path.basename(path)[6:-4]
        extra = ["-m", "256M", "-bios", "none", "-kernel", path]
        one = measure({"partita": partita}, extra, args.repeats)["partita"]
        two = measure({"partita": over_ranks(partita, 2, how)}, ["-smp", "2"] + extra, args.repeats)["partita"]
        single = median(one, lambda x: x.ns.get((name, 0)))
        slowest = median(two, lambda x: max(x.ns.values()) if len(x.ns) == 2 else None)
        scale = 2 * single / slowest if single and slowest else None
        print(f"{name + ' 2 ranks':28}{how:10}{text(scale, '.2f'):>8}  times the throughput of 1 rank", flush=True)


def boot_ranks(partita, how, args):
    """Debian to BOOT-OK with 4 harts: 2 ranks with an executor each against 1 rank with 2 executors."""
    command = linux_command(GUEST_DIR + "/initramfs.cpio.gz", 4, "nomods")
    one = measure({"partita": partita}, command + ["-threads", "2"], args.repeats)["partita"]
    two = measure({"partita": over_ranks(partita, 2, how)}, command, args.repeats)["partita"]
    single, spread = median(one, lambda x: x.boot), median(two, lambda x: x.boot)
    print(f"{'boot, 4 harts':28}{how:10}{text(ratio(spread, single), '.2f'):>8}  times the wall time of 1 rank "
          f"({text(spread, '.2f')} s, {text(single, '.2f')} s)", flush=True)


# So often that it takes 2 s and more on one rank: when the harts come together is then a part of it, not all of it.
RANKS_RUNS = {"many_hackbench": 40, "many_make": 6, "many_threads": 8, "os_pipe": 8, "os_thread": 8, "os_fork": 8, "os_mmap": 8}


def threads_ranks(partita, how, args):
    """Kernels inside Linux, 2 and 4 harts: over 2 ranks against 1 rank with 2 executors, in turn: all runs, the first, the
    second half of them; also the CPU time."""
    names = [n for n in ["os_thread", "os_pipe", "os_fork", "os_mmap"] + MANY_LOADS if args.only.search(n)]
    initrd = linux_initramfs()
    for name, harts in [(n, h) for h in (2, 4) for n in names]:
        command = linux_command(initrd, harts, f"quiet nomods act=run perf=-r,{RANKS_RUNS[name]},{name}")
        key, one, two = (name, 0), [], []
        for _ in range(args.repeats):
            one.append(run(partita + command + ["-threads", "2"]))
            two.append(run(over_ranks(partita, 2, how) + command))

        def speed(value):
            return text(ratio(median(one, value), median(two, value)), ".2f")

        whole = median(one, lambda x: sum(x.all_ns.get(key, [])) or None)
        good = {x.sums.get(key) for x in one + two}
        print(f"{f'{name}, {harts} harts':28}{how:10}{speed(lambda x: sum(x.all_ns.get(key, [])) or None):>8}  times the speed of 1 "
              f"rank ({text(whole / 1e9 if whole else None, '.1f')} s; first run {speed(lambda x: x.all_ns.get(key, [None])[0])}, second "
              f"half {speed(lambda x: later(x, key))}), {speed(lambda x: x.cpu)} by CPU time "
              f"({'ok' if len(good) == 1 else 'DIFFERENT'})", flush=True)


RANKS_SECONDS = 0.3  # RANKS_TICKS in ranks/ranks.h


def rate(samples, name):
    """How often all harts together did a kernel's one thing, per second: its sums are counts (ranks/ranks.h)."""
    def of(sample):
        counts = [int(value, 16) for key, value in sample.sums.items() if key[0] == name]
        return sum(counts) / RANKS_SECONDS
    return median(samples, of)


def contended_ranks(partita, how, args):
    """Pages that the harts of two ranks want at once, beside the strict alternation of one store each."""
    rates = {}
    for path in sorted(glob.glob(PERF_DIR + "/ranks-dsm_*.elf")):
        name = os.path.basename(path)[6:-4]
        extra = ["-smp", "2", "-m", "256M", "-bios", "none", "-kernel", path, "-rebalance", "off"]
        rates[name] = rate(measure({"partita": over_ranks(partita, 2, how)}, extra, args.repeats)["partita"], name)
    turn = rates["dsm_pingpong"]
    for name, value in rates.items():
        print(f"{name:28}{how:10}{text(ratio(value, turn), '.2f'):>8}  times the hand-overs of dsm_pingpong "
              f"({text(value, '.0f')}/s, {text(ratio(1e6, value), '.2f')} us each)", flush=True)


def transfer_ranks():
    """Page transfers between two ranks beside raw MPI, when those programs were built."""
    program = os.path.join(os.path.dirname(os.environ["PARTITA"]), "tests/perf/dsm_transfer")
    if os.access(program, os.X_OK):
        subprocess.run(["timeout", "120", "mpirun", "--oversubscribe", "-n", "2", program], check=False)
    else:
        print(f"dsm_transfer was not built ({program})")


def run_ranks(found, args):
    """Partita alone: what spreading one machine over two ranks costs and brings."""
    partita = found.get("partita")
    if not partita:
        return True
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    print("\nOne machine on two ranks of one host (at most 2 busy threads)")
    for how in ("thread", "process") if shutil.which("mpirun") else ("thread",):
        parallel_ranks(partita, how, args)
        boot_ranks(partita, how, args)
        threads_ranks(partita, how, args)
        contended_ranks(partita, how, args)
    if shutil.which("mpirun"):
        transfer_ranks()
    return True


PARTS = {"bare": run_bare, "linux": run_linux, "boot": run_boot, "smp": run_smp, "many": run_many, "ranks": run_ranks}


def main():
    parser = argparse.ArgumentParser(prog="tests/perf/run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="bare, linux, boot, smp, many, ranks (default: all)")
    parser.add_argument("-n", "--repeats", type=int, default=3)
    parser.add_argument("--only", type=re.compile, default=re.compile(""), help="kernels whose name matches")
    parser.add_argument("--skip", action="append", default=[], choices=["qemu", "partita"])
    parser.add_argument("--qemu", help="the program (default: $QEMU, then the PATH)")
    parser.add_argument("--partita", default=os.environ["PARTITA"], help="the program, with leading options")
    parser.add_argument("--list", action="store_true", help="print the kernels' names and end")
    args = parser.parse_args()
    if args.list:
        print("\n".join(os.path.basename(p)[5:-4] for p in sorted(glob.glob(PERF_DIR + "/bare-*.elf"))))
        return 0
    unknown = [p for p in args.parts if p not in PARTS]
    found = emulators(args)
    if unknown or not found:
        parser.error(f"no such part: {unknown[0]}" if unknown else "neither QEMU nor Partita found")
    for name, command in found.items():
        version = subprocess.run(command[:1] + ["--version"], capture_output=True, text=True, check=False)
        print(f"{name}: {(version.stdout or version.stderr).splitlines()[:1]}")
    results = [PARTS[part](found, args) for part in args.parts or PARTS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
