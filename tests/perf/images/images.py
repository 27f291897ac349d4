"""Saves a booted guest that works to disk and restores it, with Partita on 1, 2 and 4 ranks and with QEMU, in turn.

    tests/perf/run.sh images [-n REPEATS] [--data MIB]

For each: how long the guest stands still (QEMU's savevm: all the time), how long until the image is on the disk (the guest works; a row
of its own: the guest is stopped, too), its size, and
for a new process that restores it: how long until the guest runs (a process that then ends at once, as a whole), and until it
prints the next line, which it does all the time. What is restored is in the host's page cache: what QEMU has saved is so anyway,
Partita's images, which go to the disk past it, are read once before. The last line says what the host allows: the time that
zstd -1 needs on all cores for what QEMU's migration wrote, and the disk for the first image's bytes, with fsync.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from qmp import Qmp

GUEST = os.environ["GUEST_DIR"]
PERF_DIR = os.environ["PERF_DIR"]
QEMU = os.environ.get("QEMU", "qemu-system-riscv64")
QEMU_IMG = os.environ.get("QEMU_IMG", os.path.join(os.path.dirname(QEMU), "qemu-img"))
PARTITA = os.environ["PARTITA"]
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
RANKS = (1, 2, 4)


def build(mib):
    """A machine whose /run fills mib MiB of its memory with random bytes and then prints without an end."""
    overlay = os.path.join(PERF_DIR, "images")
    os.makedirs(overlay, exist_ok=True)
    with open(f"{overlay}/run", "w", encoding="ascii") as f:
        f.write(f"mount -t tmpfs -o size={mib + 1}m none /tmp; dd if=/dev/urandom of=/tmp/a bs=1M count={mib} 2>/dev/null\n"
                "echo READY; while :; do echo TICK; done\n")
    image = os.path.join(PERF_DIR, "images.cpio.gz")
    subprocess.check_call([f"{TOP}/launch/guest/initramfs.sh", GUEST, image, overlay], stdout=subprocess.DEVNULL)
    memory = f"{max(1024, mib + 512)}M"
    return ["-smp", "4", "-m", memory, "-kernel", f"{GUEST}/Image", "-initrd", image, "-append", "console=ttyS0 quiet act=run"]


class Process:
    """A machine whose output is read as it comes; when each word was first seen is kept."""

    WORDS = (b"READY", b"TICK")

    def __init__(self, command):
        self.start = time.monotonic()
        self.seen = {}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while line := self.process.stdout.readline():
            for word in self.WORDS:
                if word in line and word not in self.seen:
                    self.seen[word] = time.monotonic() - self.start

    def until(self, word):
        """Seconds from the start to the first line with that word."""
        while word not in self.seen:
            if self.process.poll() is not None:
                sys.exit(f"images: the machine ended before {word}")
            time.sleep(0.001)
        return self.seen[word]

    def end(self):
        self.process.kill()
        self.process.wait()


def du(path):
    total = 0
    for folder, _, names in os.walk(path):
        total += sum(os.stat(os.path.join(folder, n)).st_blocks * 512 for n in names)
    return total if os.path.isdir(path) else os.stat(path).st_size


def warm(path):
    """All files below are in the page cache, as those of who saves through it."""
    for folder, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                while f.read(1 << 20):
                    pass


def whole_run(command):
    begin = time.monotonic()
    code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode
    if code != 124: # --timeout
        sys.exit(f"images: {' '.join(command)} ended with {code}")
    return time.monotonic() - begin


def row(name, values, restores):
    pause, seconds, size = (statistics.median(v[i] for v in values) for i in range(3))
    text = ", ".join(f"{m}: " + "/".join(f"{statistics.median(times) * 1000:.0f}" for times in s)
                     for m, s in restores.items())
    print(f"{name:22} {pause:9.1f} ms {seconds * 1000:8.0f} ms {size / 1e6:8.1f} MB   {text}", flush=True)


def partita(guest, ranks, repeats, folder):
    store, path = f"{folder}/store", f"{folder}/control"
    spread = ["--ranks", str(ranks)] if ranks > 1 else []
    p = Process([PARTITA, "run", *guest, "--control", path, *spread])
    p.until(b"READY")
    monitor, full, later, stopped = Qmp(path), [], [], []

    def save(values, incremental):
        time.sleep(1)
        r = monitor.ask("checkpoint", dir=store, incremental=incremental)
        values.append((r["pause-ms"], r["seconds"], r["stored-bytes"]))

    for _ in range(repeats):
        save(full, False)
        save(later, True)
    monitor.ask("stop")
    for _ in range(repeats):
        save(stopped, False)
    p.end()
    warm(store)
    restores = {}
    for m in RANKS:
        command = [PARTITA, "restore", store, *(["--ranks", str(m)] if m > 1 else [])]
        restores[m] = [], []
        for _ in range(repeats):
            restores[m][0].append(whole_run([*command, "--timeout", "0.000001s"]))
            p = Process(command)
            restores[m][1].append(p.until(b"TICK"))
            p.end()
    row(f"partita, {ranks} ranks", full, restores)
    row("  incremental, 1 s", later, {})
    row("  guest stopped", stopped, {}) # as QEMU's is while it saves: the cores are the writer's
    shutil.rmtree(store)
    return full[0][2]


def qemu(guest, repeats, folder, size):
    path, disk, stream = f"{folder}/qmp", f"{folder}/disk.qcow2", f"{folder}/stream"
    subprocess.check_call([QEMU_IMG, "create", "-q", "-f", "qcow2", disk, f"{size}M"])
    base = [QEMU, "-M", "virt", "-nographic", "-serial", "stdio", "-monitor", "none", *guest]
    drive = ["-drive", f"file={disk},if=virtio,format=qcow2"]
    p = Process([*base, *drive, "-qmp", f"unix:{path},server,nowait"])
    monitor = Qmp(path)
    p.until(b"READY")
    saves, files = [], []
    for i in range(repeats):
        time.sleep(1)
        begin, before = time.monotonic(), du(disk)
        monitor.ask("human-monitor-command", **{"command-line": f"savevm s{i}"})
        seconds = time.monotonic() - begin
        saves.append((seconds * 1000, seconds, du(disk) - before))
    for i in range(repeats):
        time.sleep(1)
        begin = time.monotonic()
        monitor.ask("migrate", uri=f"file:{stream}")
        while (s := monitor.ask("query-migrate"))["status"] not in ("completed", "failed"):
            time.sleep(0.002)
        files.append((s.get("downtime", 0), time.monotonic() - begin, du(stream)))
        monitor.ask("cont")
    p.end()
    loads, streams = [], []
    for _ in range(repeats):
        p = Process([*base, *drive, "-loadvm", "s0"])
        loads.append(p.until(b"TICK"))
        p.end()
        p = Process([*base, *drive, "-incoming", f"file:{stream}"])
        streams.append(p.until(b"TICK"))
        p.end()
    row("qemu, savevm", saves, {1: [loads]})
    row("qemu, migrate to file", files, {1: [streams]})
    return stream


def limits(stream, stored, repeats):
    """Medians of seconds: compressing the file of that path, and writing so many of its bytes to the same disk."""
    with open(stream, "rb") as f:
        data = f.read(stored)
    compressing, writing = [], []
    for _ in range(repeats):
        begin = time.monotonic()
        subprocess.check_call(["zstd", "-1", "-T0", "-q", "-c", stream], stdout=subprocess.DEVNULL)
        compressing.append(time.monotonic() - begin)
        begin = time.monotonic()
        with open(stream + ".copy", "wb", buffering=0) as f:
            f.write(data)
            os.fsync(f.fileno())
        writing.append(time.monotonic() - begin)
        os.unlink(f.name)
    print(f"{'the host':22} zstd -1 {statistics.median(compressing) * 1000:.0f} ms, the disk {statistics.median(writing) * 1000:.0f} ms")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=3)
    parser.add_argument("--data", type=int, default=48, metavar="MIB", help="random bytes in the guest's memory")
    arguments = parser.parse_args()
    repeats = arguments.n
    guest = build(arguments.data)
    print(f"{'':22} {'stands still':>12} {'until saved':>11} {'size':>11}   restore on N ranks: until it runs / prints, ms")
    with tempfile.TemporaryDirectory() as folder:
        stored = [partita(guest, ranks, repeats, folder) for ranks in RANKS]
        stream = qemu(guest, repeats, folder, 64 + (repeats + 1) * arguments.data)
        if shutil.which("zstd"):
            limits(stream, stored[0], repeats)


main()
