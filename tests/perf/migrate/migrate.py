"""Moves a guest that dirties 128 MiB in a loop from one process to another, with QEMU and with Partita in turn.

    tests/perf/run.sh migrate [-n REPEATS] [--idle] [--only SUBSTRING]

Prints for each: total time, pause (QEMU's "downtime"; Partita: from the cut to the target's first instruction), data moved, pages
sent with bytes; "1 to 2" are numbers of ranks (then with 2 harts). QEMU moves with its defaults (pre-copy, 300 ms downtime limit) and with post-copy. The guest checks its memory.
"""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time

from qmp import Qmp

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST = os.environ["GUEST_DIR"]
PERF_DIR = os.environ["PERF_DIR"]
QEMU = os.environ.get("QEMU", "qemu-system-riscv64")
PARTITA = os.environ["PARTITA"]
TOP = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))


def build(idle):
    """An initramfs whose /run is the guest's program."""
    overlay = os.path.join(PERF_DIR, "migrate")
    os.makedirs(overlay, exist_ok=True)
    subprocess.check_call(["riscv64-linux-gnu-gcc", "-O2", "-static", "-o", f"{overlay}/dirty", f"{HERE}/dirty.c"])
    with open(f"{overlay}/run", "w", encoding="ascii") as f:
        f.write("echo READY; while :; do sleep 1; done\n" if idle else "echo READY; exec /dirty\n")
    image = os.path.join(PERF_DIR, "migrate.cpio.gz")
    subprocess.check_call([f"{TOP}/launch/guest/initramfs.sh", GUEST, image, overlay], stdout=subprocess.DEVNULL)
    return image


def machine(image, harts=1):
    return ["-smp", str(harts), "-m", "512M", "-kernel", f"{GUEST}/Image", "-initrd", image, "-append", "console=ttyS0 quiet act=run"]


class Process:
    def __init__(self, command, folder, name):
        self.out = f"{folder}/{name}.out"
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(self.out, "wb"),
                                        stderr=subprocess.STDOUT)

    def text(self):
        with open(self.out, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def until(self, word, seconds=120):
        end = time.monotonic() + seconds
        while word not in self.text():
            if time.monotonic() > end or self.process.poll() is not None:
                sys.exit(f"migrate: no '{word}':\n{self.text()[-2000:]}")
            time.sleep(0.05)

    def end(self):
        self.process.kill()
        self.process.wait()
        if "DAMAGED" in self.text():
            sys.exit("migrate: the guest found its memory damaged")


def qemu(image, folder, postcopy, ranks):
    base = [QEMU, "-M", "virt", "-display", "none", "-monitor", "none", "-serial", "stdio"] + machine(image)
    source = Process(base + ["-qmp", f"unix:{folder}/a,server=on,wait=off"], folder, "qemu-a")
    source.until("READY")
    time.sleep(2)
    target = Process(base + ["-qmp", f"unix:{folder}/b,server=on,wait=off", "-incoming", "defer"], folder, "qemu-b")
    a, b = Qmp(f"{folder}/a"), Qmp(f"{folder}/b")
    if postcopy:
        for side in a, b:
            side.ask("migrate-set-capabilities", capabilities=[{"capability": "postcopy-ram", "state": True}])
    for side in a, b: # its default of 1 Gbit/s would be what is measured
        side.ask("migrate-set-parameters", **{"max-bandwidth": 8 << 30})
    b.ask("migrate-incoming", uri=f"unix:{folder}/m")
    start = time.monotonic()
    a.ask("migrate", uri=f"unix:{folder}/m")
    asked = not postcopy
    while True:
        s = a.ask("query-migrate")
        if s.get("status") in ("completed", "failed") or time.monotonic() - start > 90:
            break
        if not asked and s.get("ram", {}).get("dirty-sync-count", 0) >= 2:
            a.ask("migrate-start-postcopy")
            asked = True
        time.sleep(0.005)
    ram = s["ram"]
    result = {"status": s["status"], "s": s.get("total-time", 0) / 1000, "pause ms": s.get("downtime"),
              "MB": ram["transferred"] / 1e6, "pages": ram["normal"], "rounds": ram["dirty-sync-count"]}
    time.sleep(1)
    source.end()
    target.end()
    return result


def partita(image, folder, postcopy, ranks):
    source, target = ranks
    source = Process([PARTITA, "run"] + machine(image, max(ranks)) + ["--ranks", str(source), "--control", f"{folder}/c"],
                     folder, "partita-a")
    source.until("READY")
    time.sleep(2)
    target = Process([PARTITA, "restore", "--incoming", f"unix:{folder}/n", "--ranks", str(target), "--control",
                      f"{folder}/d"], folder, "partita-b")
    while not os.path.exists(f"{folder}/n"):
        time.sleep(0.02)
    control = Qmp(f"{folder}/c")
    r = control.ask("migrate", uri=f"unix:{folder}/n", postcopy=postcopy)
    result = {"status": "completed", "s": r["seconds"], "pause ms": r["pause-ms"], "MB": r["bytes"] / 1e6, "pages": r["pages"],
              "rounds": r["rounds"]}
    time.sleep(1)
    if "ROUND" in source.text() and "ROUND" not in target.text():
        target.until("ROUND")
    source.process.wait()
    target.process.send_signal(signal.SIGKILL)
    target.end()
    return result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-n", type=int, default=3)
    p.add_argument("--idle", action="store_true")
    p.add_argument("--only", default="")
    args = p.parse_args()
    image = build(args.idle)
    print(f"Live migration, 1 hart, 512 MiB, the guest {'idles' if args.idle else 'dirties 128 MiB in a loop'}")
    print(f"{'':22}{'s':>8}{'pause ms':>10}{'MB':>9}{'pages':>9}{'rounds':>8}")
    rows = [("qemu pre-copy", qemu, False, (1, 1)), ("partita pre-copy", partita, False, (1, 1)),
            ("qemu post-copy", qemu, True, (1, 1)), ("partita", partita, True, (1, 1)), ("partita 1 to 2", partita, True, (1, 2)),
            ("partita 2 to 2", partita, True, (2, 2)), ("partita 2 to 1", partita, True, (2, 1))]
    for _ in range(args.n):
        for name, move, postcopy, ranks in rows:
            if args.only not in name:
                continue
            with tempfile.TemporaryDirectory() as folder:
                r = move(image, folder, postcopy, ranks)
            print(f"{name:22}{r['s']:8.2f}{r['pause ms'] or 0:10.1f}{r['MB']:9.1f}{r['pages']:9}{r['rounds']:8}"
                  f"  {'' if r['status'] == 'completed' else r['status']}", flush=True)


main()
