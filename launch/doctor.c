/* `partita doctor`: one row of `checks` for each thing of the host that matters, each with what it means here.
 *
 *   check -> finding: fine | limited (something else is used) | missing -> a paragraph of the report -> exit code */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interconnect/interconnect.h"
#include "kvm/hkvm.h"
#include "run.h"
#include "sim-core/env.h"
#include "sim-core/log.h"

enum level { FINE, LIMITED, MISSING };

struct finding {
    enum level level;
    char text[1200];
};

static void say(struct finding *f, enum level level, const char *fmt, ...) SIM_PRINTF(3, 4);

/* Appends; the worst level counts. */
static void say(struct finding *f, enum level level, const char *fmt, ...)
{
    size_t len = strlen(f->text);
    va_list args;

    va_start(args, fmt);
    vsnprintf(f->text + len, sizeof f->text - len, fmt, args);
    va_end(args);
    if (level > f->level)
        f->level = level;
}

/* The first line of a file of the kernel; false when there is none. */
static bool read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    bool ok = file && fgets(line, (int)size, file);

    if (file)
        fclose(file);
    if (ok)
        line[strcspn(line, "\n")] = 0;
    return ok;
}

/* --- the translator --- */

static void check_jit(struct finding *f)
{
    int fd = memfd_create("doctor", MFD_CLOEXEC);
    void *code = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, GUEST_PAGE_SIZE) == 0)
        code = mmap(NULL, GUEST_PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (code == MAP_FAILED)
        say(f, MISSING, "memory for translated code is refused (%m): a security policy of this host? -accel interp runs "
                        "guests without, some thirty times slower");
    else
        say(f, FINE, "translated code can be run");
    if (code != MAP_FAILED)
        munmap(code, GUEST_PAGE_SIZE);
    if (fd >= 0)
        close(fd);
}

/* --- KVM --- */

static bool is_virtual_machine(void)
{
    char line[8192];
    bool found = false;
    FILE *file = fopen("/proc/cpuinfo", "re");

    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, "flags", 5) == 0 && strstr(line, " hypervisor");
    if (file)
        fclose(file);
    return found;
}

static void list_absent(struct finding *f, const struct hkvm_report *r)
{
    for (const struct hkvm_capability *c = r->cap; c->name; c++)
        if (!c->there && !c->needed)
            say(f, FINE, ". No KVM_CAP_%s (%s)", c->name, c->use);
}

static void check_kvm(struct finding *f)
{
    struct hkvm_report r;

    hkvm_probe(&r);
    if (r.state != HKVM_WORKS) {
        say(f, LIMITED, "%s: -M virt-x86 does not run here; RISC-V machines do not need it", r.why);
        return;
    }
    say(f, FINE, "/dev/kvm works, up to %u vCPUs", r.max_vcpus);
    if (r.interprets_ring0)
        say(f, LIMITED, ", but the CPU has neither svm nor vmx, so this is a KVM without hardware's help (kvm_pvm): ring 3 of "
                        "a guest runs at the CPU's speed, its kernel in KVM's instruction emulator, at about half a million "
                        "instructions a second and without SYSCALL, INT n, XSAVE and more. Small guests of one's own run; "
                        "stock kernels stop at the first instruction that is missing. They want a host, or an outer virtual "
                        "machine, with svm or vmx");
    else if (is_virtual_machine())
        say(f, FINE, "; this host is a virtual machine itself (nested): each exit of a guest costs several times as much as "
                     "on hardware");
    if (hkvm_has_fixed_tsc())
        say(f, LIMITED, ". Guests see the host's TSC, which cannot be set: in a restored one it jumps, kvmclock does not");
    list_absent(f, &r);
}

static void check_userfaultfd(struct finding *f)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC), dev = -1;

    if (fd < 0 && (dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)) >= 0)
        fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC);
    if (fd < 0)
        say(f, LIMITED, "refused (%m): root, vm.unprivileged_userfaultfd=1 or access to /dev/userfaultfd give it. Without, a "
                        "KVM machine stands still while a checkpoint copies its memory; RISC-V machines do not need it");
    else
        say(f, FINE, "KVM machines go on while their checkpoints are written");
    if (fd >= 0)
        close(fd);
    if (dev >= 0)
        close(dev);
}

/* --- several ranks --- */

static bool is_in_path(const char *program)
{
    const char *path = sim_env_get("PATH");
    char file[4096];

    for (size_t len; path && *path; path += len + (path[len] == ':')) {
        len = strcspn(path, ":");
        snprintf(file, sizeof file, "%.*s/%s", (int)len, path, program);
        if (access(file, X_OK) == 0)
            return true;
    }
    return false;
}

static void check_mpi(struct finding *f)
{
    if (!ic_mpi_built())
        say(f, LIMITED, "the program was built without MPI: a machine spreads over the cores of this host only (--ranks N)");
    else if (!is_in_path("mpirun") && !is_in_path("srun"))
        say(f, LIMITED, "built with MPI, but neither mpirun nor srun is in PATH (Debian: openmpi-bin): --ranks N spreads a "
                        "machine inside one process");
    else
        say(f, FINE, "built with MPI; started by mpirun or srun, a machine spreads over processes and hosts");
}

/* Open MPI's ranks of one host talk through files there. */
static void check_shm(struct finding *f)
{
    enum { WANTED_MIB = 64 };
    struct statvfs v;

    if (statvfs("/dev/shm", &v) < 0) {
        say(f, LIMITED, "/dev/shm: %m. Ranks of this host talk through TCP, ten times slower");
        return;
    }
    unsigned long long mib = (unsigned long long)v.f_bavail * v.f_frsize >> 20;

    say(f, mib < WANTED_MIB ? LIMITED : FINE, "%llu MiB free in /dev/shm%s", mib,
        mib < WANTED_MIB ? ": little for ranks that talk through it (a container's --shm-size sets it)" : "");
}

/* --- memory, files, measuring --- */

/* Guest memory of one rank is private; that of several, and of KVM, shared. */
static bool has_huge_pages(const char *setting)
{
    char line[200], path[100];

    snprintf(path, sizeof path, "/sys/kernel/mm/transparent_hugepage/%s", setting);
    return read_line(path, line, sizeof line) && !strstr(line, "[never]") && !strstr(line, "[deny]");
}

static void check_huge_pages(struct finding *f)
{
    if (!has_huge_pages("enabled"))
        say(f, LIMITED, "off: guest memory is in pages of 4 KiB. As root: echo madvise >/sys/kernel/mm/transparent_hugepage/enabled");
    else if (!has_huge_pages("shmem_enabled"))
        say(f, FINE, "guest memory may be in pages of 2 MiB; on several ranks and with KVM it is in pages of 4 KiB, unless (as root) "
                     "echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    else
        say(f, FINE, "guest memory may be in pages of 2 MiB");
}

static void check_overcommit(struct finding *f)
{
    char line[40];

    if (read_line("/proc/sys/vm/overcommit_memory", line, sizeof line) && strcmp(line, "2") == 0)
        say(f, LIMITED, "vm.overcommit_memory is 2: a guest's whole -m counts at once, whether it uses it or not");
    else
        say(f, FINE, "a guest's memory counts when it is used");
}

static void check_files(struct finding *f)
{
    enum { WANTED = 1024 };
    struct rlimit r = {0};

    getrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_cur < WANTED)
        say(f, LIMITED, "at most %llu open files: many ranks, drives or chardevs may need more (ulimit -n)",
            (unsigned long long)r.rlim_cur);
    else
        say(f, FINE, "%llu may be open", (unsigned long long)r.rlim_cur);
}

static void check_perf(struct finding *f)
{
    char line[40];

    if (!read_line("/proc/sys/kernel/perf_event_paranoid", line, sizeof line))
        say(f, LIMITED, "this kernel has no perf events: perf cannot look at translated code");
    else if (strtol(line, NULL, 10) > 2)
        say(f, LIMITED, "kernel.perf_event_paranoid is %s: perf is for root only", line);
    else
        say(f, FINE, "perf may look at one's own processes (kernel.perf_event_paranoid is %s)", line);
}

/* --- the report --- */

static const struct {
    const char *name;
    void (*check)(struct finding *f);
} checks[] = {
    {"translator", check_jit},        {"KVM", check_kvm},
    {"userfaultfd", check_userfaultfd}, {"MPI", check_mpi},
    {"shared memory", check_shm},     {"huge pages", check_huge_pages},
    {"overcommit", check_overcommit}, {"files", check_files},
    {"perf", check_perf},
};

enum { TEXT_COLUMN = 24, WIDTH = 110 };

/* Words, broken before WIDTH; what follows the first line is below it. */
static void print_wrapped(const char *text)
{
    size_t column = TEXT_COLUMN;

    while (*text) {
        size_t len = strcspn(text, " ");
        if (column > TEXT_COLUMN && column + 1 + len > WIDTH) {
            printf("\n%*s", TEXT_COLUMN, "");
            column = TEXT_COLUMN;
        } else if (column > TEXT_COLUMN) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)len, text);
        column += len;
        text += len + (text[len] == ' ');
    }
    putchar('\n');
}

static int report_all(void)
{
    static const char *const levels[] = {"fine", "limited", "missing"};
    int code = 0;

    for (size_t i = 0; i < SIM_ARRAY_LEN(checks); i++) {
        struct finding f = {.level = FINE};
        checks[i].check(&f);
        printf("%-8s %-15s", levels[f.level], checks[i].name);
        print_wrapped(f.text);
        if (f.level == MISSING)
            code = 1;
    }
    return code;
}

/* For scripts: is there a KVM, and if not, why? */
static int report_kvm(void)
{
    struct hkvm_report r;

    hkvm_probe(&r);
    puts(r.state != HKVM_WORKS   ? r.why
         : r.interprets_ring0    ? "works, without svm or vmx: guests' kernels are interpreted"
                                 : "works");
    return r.state != HKVM_WORKS;
}

int doctor_command(int argc, char **argv)
{
    if (argc == 0)
        return report_all();
    if (argc == 1 && strcmp(argv[0], "--kvm") == 0)
        return report_kvm();
    if (argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        puts("Usage: partita doctor [--kvm]\n"
             "Says what this host offers, why something is missing, and what is used instead.\n"
             "Exit code 1: something that every run needs is missing; with --kvm: KVM cannot be used.");
        return 0;
    }
    sim_error("doctor: '%s' is not an option (there is --kvm)", argv[argc - 1]);
    return EXIT_CODE_USAGE;
}
