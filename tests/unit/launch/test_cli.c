/* Command lines of `partita run`: what good ones become, and what is said of bad ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture.h"
#include "cli.h"
#include "sim-core/alloc.h"

enum { MAX_WORDS = 64 };

/* Splits at spaces; a '~' stands for a space within a word. */
static int split(char *line, char **argv)
{
    int argc = 0;

    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        for (char *p = word; *p; p++)
            if (*p == '~')
                *p = ' ';
        argv[argc++] = word;
    }
    return argc;
}

static enum cli_action parse(const char *text, struct config *c)
{
    char line[4096], *argv[MAX_WORDS];

    snprintf(line, sizeof line, "%s", text);
    return cli_parse_run(split(line, argv), argv, c);
}

/* Parses a good line and compares --dump-config's output with `want` (a subset of its lines). */
static void expect_lines(const char *text, const char *want)
{
    struct config c;
    char *dump = NULL, *wanted = strdup(want);
    size_t size;
    FILE *f;

    assert_int_equal(parse(text, &c), CLI_RUN);
    f = open_memstream(&dump, &size);
    config_dump(&c, f);
    fclose(f);
    for (char *line = strtok(wanted, "\n"); line; line = strtok(NULL, "\n"))
        if (!strstr(dump, line))
            fail_msg("'%s' lacks '%s':\n%s", text, line, dump);
    free(wanted);
    free(dump);
    config_fini(&c);
}

static const struct {
    const char *line, *want;
} good[] = {
    {"-kernel Image", "smp: 1\nmemory: 134217728\nkernel: \"Image\"\n  - \"stdio\"\naccel: jit\n"
                      "clock: host\nmachine: virt\nstats: false"},
    {"--kernel=Image -smp 4 -m 1G", "smp: 4\nmemory: 1073741824"},
    {"-kernel I -smp cpus=3,maxcpus=8 -m size=512,slots=2,maxmem=4G", "smp: 3\nmemory: 536870912"},
    {"-kernel I -smp sockets=2,cores=4,threads=2", "smp: 16"},
    {"-kernel I -smp 4096 -m 2M", "smp: 4096\nmemory: 2097152"},
    {"-kernel I -initrd R -append console=ttyS0~root=/dev/vda",
     "initrd: \"R\"\nappend: \"console=ttyS0 root=/dev/vda\""},
    {"-M virt -machine virt,aclint=on -nographic -display none -monitor none -rtc base=utc -bios F",
     "bios: \"F\""},
    {"-cpu rv64,sv57=off -bios none -kernel E", "cpu: \"rv64,sv57=off\"\nbios: \"none\""},
    {"-kernel I -accel interp --threads 1 --clock virtual",
     "accel: interp\nclock: virtual\nthreads: 1"},
    {"-kernel I -accel tcg,thread=multi", "accel: jit"},
    {"-kernel I -accel tcg,thread=single", "threads: 1"},
    {"-kernel I -accel tcg,thread=single -accel tcg,thread=multi", "threads: 0"},
    {"-kernel I -accel tcg,thread=multi -accel tcg,thread=single", "threads: 1"},
    {"-kernel I -threads 3 -accel tcg,thread=multi", "threads: 3"},
    {"-kernel I -accel jit,tier=quick,threshold=5", "accel: jit\ntier: quick\nthreshold: 5\nclock"},
    {"-kernel I -accel jit,tier=auto,hot=1", "accel: jit\ntier: auto\nhot: 1\nclock"},
    {"-kernel I -M virt,accel=jit -accel jit,tier=opt", "accel: jit\ntier: opt\nclock"},
    {"-kernel I -accel kvm:interp", "accel: interp"},
    {"-kernel I -accel kvm:jit,tier=quick", "accel: jit\ntier: quick"},
    {"-M virt-x86 -accel kvm:jit,tier=auto -kernel I --dump-config", "accel: kvm"},
    {"-M virt-x86 -accel kvm -cpu host -kernel I -smp 2 --dump-config", "machine: virt-x86\nsmp: 2\naccel: kvm"},
    {"-machine virt-x86 -kernel I --dump-config", "accel: kvm"},
    {"-M virt-x86,accel=jit:kvm -kernel I --dump-config", "accel: kvm"},
    {"-M virt-x86 -accel kvm,kernel-irqchip=off -kernel I --dump-config", "machine: virt-x86,kernel-irqchip=off"},
    {"-M virt-x86,kernel-irqchip=off -kernel I --dump-config", "machine: virt-x86,kernel-irqchip=off"},
    {"-M virt-x86,irqfd=on -kernel I --dump-config", "machine: virt-x86,irqfd=on"},
    {"-M virt-x86,irqfd=off -kernel I --dump-config", "machine: virt-x86\nsmp"},
    {"-M virt-x86 -kernel I --ranks 2 -smp 2 --dump-config", "ranks: 2"},
    {"-kernel I --timeout 90s --expect login: --stats -no-reboot",
     "timeout_ns: 90000000000\nexpect: \"login:\"\nstats: true\nno_reboot: true"},
    {"--demo", "demo: true"},
    {"-machine virt,dumpdtb=x.dtb", "machine: virt"},
    {"-dtb soc.dtb -kernel I", "machine: dtb\ndtb: \"soc.dtb\""},
    {"-kernel I -bind off", "bind: false"},
    {"-kernel I --bind=on", "bind: true"},
    {"-kernel I -smp 2 -n 2", "ranks: 2"},
    {"-kernel I -smp 3 --ranks 3,seed=7,delay=2ms", "ranks: 3\nmessage_seed: 7\nmessage_delay_ns: 2000000"},
    {"-kernel I -smp 16 --harts-per-rank 6,5,5", "harts_per_rank: [6, 5, 5]"},
    {"-dtb d -kernel I --ranks 2 --harts-per-rank 2,2", "harts_per_rank: [2, 2]"},
    {"-kernel I -m 1G -smp 2 -dtb d", "smp: 2\nmemory: 1073741824\ndtb: \"d\""}, /* held against the tree when that is read */
    /* NUMA */
    {"-kernel I -smp 8 -m 1G -numa node,cpus=0-1,cpus=4,mem=256M -numa node,cpus=2-3,cpus=5-7,mem=768 "
     "-numa dist,src=0,dst=1,val=25",
     "  - node: 0\n    harts: [\"0-1\", 4]\n    memory: 268435456\n    distance: [10, 25]\n"
     "  - node: 1\n    harts: [\"2-3\", \"5-7\"]\n    memory: 805306368\n    distance: [25, 10]"},
    {"-numa dist,src=1,dst=0,val=30 -numa dist,src=0,dst=1,val=40 -numa node,nodeid=1 "
     "-numa node,nodeid=0 -kernel I -smp 5 -m 8M",
     "    harts: [\"0-2\"]\n    harts: [\"3-4\"]\n    memory: 4194304\n    distance: [10, 40]\n"
     "    distance: [30, 10]"},
    {"-kernel I -smp 2 -m 64M -numa node,memdev=b,cpus=0 -object memory-backend-ram,id=a,size=16M,share=on "
     "-object memory-backend-ram,size=48M,id=b -numa node,cpus=1,memdev=a",
     "    memory: 50331648\n    memory: 16777216"},
    {"-kernel I -smp 2 -numa node,cpus=0-1 -numa node,mem=128M",
     "    harts: [\"0-1\"]\n    harts: []\n    memory: 134217728\n    distance: [20, 10]"},
    {"-kernel I -m 1M -numa node -numa node -numa node", "    memory: 348160\n    memory: 352256"},
    /* drives */
    {"-kernel I -drive file=d.img,format=raw", "file: \"d.img\"\nreadonly: false\nbus: pci"},
    {"-kernel I -drive file=a,,b.img,format=raw,readonly=on,bus=mmio,serial=S1",
     "file: \"a,b.img\"\nreadonly: true\nbus: mmio\nserial: \"S1\""},
    {"-kernel I -drive file=d,if=none,id=h0,format=raw -device virtio-blk-device,drive=h0",
     "file: \"d\"\nbus: mmio"},
    {"-kernel I -device virtio-blk-pci,drive=h0,serial=X,bus=pcie.0 -drive file=d,if=none,id=h0",
     "bus: pci\nserial: \"X\""},
    {"-kernel I -drive file=d,cache=none,aio=native,media=cdrom,if=virtio", "readonly: true"},
    /* nets */
    {"-kernel I -netdev user,id=n0,hostfwd=tcp::2222-:22 -device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:07",
     "backend: \"user,hostfwd=tcp::2222-:22\"\nmac: \"52:54:00:00:00:07\"\nbus: pci"},
    {"-kernel I -netdev user,id=n0", "backend: \"user\"\nmac: \"52:54:00:12:34:56\"\nbus: pci"},
    {"-kernel I -netdev socket,id=a,listen=:99 -device virtio-net-device,netdev=a",
     "backend: \"socket,listen=:99\"\nbus: mmio"},
    {"-kernel I -nic user,model=virtio-net-device,mac=52:54:00:aa:bb:cc",
     "backend: \"user\"\nmac: \"52:54:00:aa:bb:cc\"\nbus: mmio"},
    {"-kernel I -nic none -net none", "threads: 0"},
    /* serial, console, rng */
    {"-kernel I -serial mon:stdio -serial null -serial file:/tmp/x -serial unix:/tmp/s,server=on",
     "  - \"stdio\"\n  - \"null\"\n  - \"file:/tmp/x\"\n  - \"unix:/tmp/s,server=on\""},
    {"-kernel I -chardev socket,id=c,path=/s,server=on,wait=off -serial chardev:c",
     "  - \"unix:/s,server=on,wait=off\""},
    {"-kernel I -chardev stdio,id=c -device virtio-serial-pci -device virtconsole,chardev=c",
     "virtconsole: \"stdio\"\n  - \"null\""},
    {"-kernel I -object rng-random,id=r,filename=/dev/urandom -device virtio-rng-device,rng=r",
     "rng: mmio"},
    {"-kernel I -device virtio-rng-pci", "rng: pci"},
};

static void test_cli_good_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(good); i++)
        expect_lines(good[i].line, good[i].want);
}

static void test_cli_device_order(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(parse("-kernel I -netdev user,id=a -netdev socket,id=b,listen=:1 "
                           "-device virtio-net-pci,netdev=b -drive file=x -drive file=y", &c),
                     CLI_RUN);
    assert_int_equal(c.nr_nets, 2);
    assert_string_equal(c.net[0].backend, "socket,listen=:1");
    assert_string_equal(c.net[1].backend, "user");
    assert_int_not_equal(c.net[0].mac[5], c.net[1].mac[5]);
    assert_int_equal(c.nr_drives, 2);
    assert_string_equal(c.drive[0].file, "x");
    assert_string_equal(c.drive[1].file, "y");
    config_fini(&c);
}

/* Each line must be refused with exactly one message that has all of `said`. */
static const struct {
    const char *line, *said[3];
} bad[] = {
    {"", {"nothing to run", "-kernel"}},
    {"-kernal Image", {"unknown option '-kernal'", "did you mean '-kernel'?"}},
    {"--tiemout 5 -kernel I", {"'--tiemout'", "'-timeout'"}},
    {"-xyzzyplugh", {"unknown option '-xyzzyplugh'"}},
    {"Image", {"'Image' is not an option", "-kernel"}},
    {"-kernel", {"-kernel", "argument is missing"}},
    {"-kernel I -smp 0", {"-smp", "'0'", "1 to 4096"}},
    {"-kernel I -smp 100000", {"-smp", "'100000'", "4096"}},
    {"-kernel I -smp 4097", {"-smp", "4096"}},
    {"-kernel I -smp cores=65536,threads=65536", {"-smp", "4096"}},
    {"-kernel I -smp x", {"-smp", "'x'"}},
    {"-kernel I -smp -1", {"-smp", "'-1'"}},
    {"-kernel I -smp 4,sokets=1", {"-smp", "sokets"}},
    {"-kernel I -m 0", {"-m", "'0'"}},
    {"-kernel I -m 1X", {"-m", "'1X'"}},
    {"-kernel I -m 1048577b", {"-m", "'1048577b'"}},
    {"-kernel I -m 1000000T", {"-m", "'1000000T'"}},
    {"-kernel I -m ,slots=1", {"-m"}},
    {"-kernel I -M sifive_u", {"-M", "'sifive_u'", "virt"}},
    {"-kernel I -machine virt,aia=aplic-imsic", {"-machine", "aia"}},
    {"-kernel I -accel kvm", {"-accel kvm", "RISC-V", "virt-x86"}},
    {"-kernel I -accel kvm:xen", {"-accel", "'xen'"}},
    {"-kernel I -accel jit,tier=slow", {"-accel", "'slow'", "quick"}},
    {"-kernel I -accel jit,threshold=256", {"-accel", "threshold=256", "255"}},
    {"-kernel I -accel jit,hot=5", {"-accel hot=", "tier=auto"}},
    {"-kernel I -accel jit,tier=quick,hot=5", {"-accel hot=", "tier=auto"}},
    {"-kernel I -accel interp,threshold=5", {"-accel", "threshold=", "translator"}},
    {"-kernel I -accel interp,tier=opt", {"-accel", "tier=", "translator"}},
    {"-M virt-x86 -accel kvm:interp,tier=auto -kernel I --dump-config", {"-accel", "tier=", "translator"}},
    {"-M virt-x86 -accel kvm,threshold=5 -kernel I --dump-config", {"-accel", "threshold=", "translator"}},
    {"-kernel I -accel interp -perfmap", {"-perfmap", "interp"}},
    {"-kernel I -jitdump -accel interp", {"-jitdump", "interp"}},
    {"-kernel I -accel tcg,thread=some", {"-accel", "'some'", "single"}},
    {"-kernel I -accel kvm:kvm", {"-accel kvm", "fallback", "RISC-V"}},
    {"-M virt-x86 -accel jit -kernel I", {"-accel jit", "KVM only"}},
    {"-M virt-x86", {"nothing to run"}},
    {"-M virt-x86 -kernel I -bios none", {"-M virt-x86", "-bios"}},
    {"-M virt-x86,kernel-irqchip=split -kernel I", {"-M", "kernel-irqchip", "split"}},
    {"-M virt-x86,irqfd=yes -kernel I", {"-M", "irqfd", "yes"}},
    {"-M virt,irqfd=on -kernel I", {"irqfd=on", "virt-x86"}},
    {"-M virt-x86,irqfd=on,kernel-irqchip=off -kernel I", {"irqfd=on", "KVM's"}},
    {"-M virt-x86,irqfd=on -smp 2 --ranks 2 -kernel I", {"irqfd=on", "one rank"}},
    {"-M virt,kernel-irqchip=off -kernel I", {"kernel-irqchip=off", "virt-x86"}},
    {"-M virt-x86 -kernel I -cpu rv64", {"-M virt-x86", "-cpu host"}},
    {"-kernel I --threads 0", {"-threads", "'0'"}},
    {"-kernel I --threads 1.5", {"-threads", "'1.5'"}},
    {"-kernel I --timeout soon", {"-timeout", "'soon'"}},
    {"-kernel I --timeout 0", {"-timeout", "'0'"}},
    {"-kernel I --clock sundial", {"-clock", "'sundial'"}},
    {"-kernel I --clock virtual --threads 2", {"virtual", "thread"}},
    {"-kernel I --stats=yes", {"--stats=yes"}},
    {"-initrd R --demo", {"-initrd needs -kernel"}},
    {"-append x -bios F", {"-append needs -kernel"}},
    {"--demo -kernel I", {"--demo"}},
    {"--demo -bios none", {"--demo"}},
    {"-bios none", {"nothing to run"}},
    {"-kernel I --ranks 0", {"-ranks", "'0'"}},
    {"-kernel I -n 0", {"-n", "'0'"}},
    {"-kernel I --ranks x", {"-ranks", "'x'"}},
    {"-kernel I --ranks 2,sead=1", {"-ranks", "sead"}},
    {"-kernel I --ranks seed=1", {"-ranks"}},
    {"-kernel I --ranks 1,seed=4", {"--ranks", "seed=", "two ranks"}},
    {"-kernel I --ranks 2,seed=1,delay=soon", {"-ranks", "'soon'"}},
    {"-kernel I --ranks 2,delay=1ms", {"-ranks", "'1ms'", "seed="}},
    {"-kernel I --bind tight", {"-bind", "'tight'"}},
    {"-kernel I --harts-per-rank 1,,2", {"-harts-per-rank", "''"}},
    {"-kernel I -smp 8 --harts-per-rank 4,5", {"-harts-per-rank", "9 harts", "-smp 8"}},
    {"-kernel I -smp 8 --ranks 3 --harts-per-rank 4,4", {"-harts-per-rank", "2 numbers", "3 ranks"}},
    {"-kernel I --harts-per-rank 1,x", {"-harts-per-rank", "'x'"}},
    {"-kernel I -numa cpus=0", {"-numa", "'cpus=0'", "node"}},
    {"-kernel I -numa node,cpus=1", {"-numa cpus=", "hart 1 ", "0 to 0"}},
    {"-kernel I -smp 4 -numa node,cpus=0-4", {"-numa cpus=", "hart 4 ", "0 to 3"}},
    {"-kernel I -smp 4 -numa node,cpus=0-1 -numa node,cpus=1-3", {"hart 1 ", "two nodes"}},
    {"-kernel I -smp 4 -numa node,cpus=0-1 -numa node,cpus=3", {"hart 2 ", "no node"}},
    {"-kernel I -smp 4 -numa node,cpus=3-1", {"-numa cpus=", "'3-1'"}},
    {"-kernel I -smp 4 -numa node,cpus=0-x", {"-numa cpus=", "'x'"}},
    {"-kernel I -numa node,cpus=4294967295", {"hart 4294967295 "}},
    {"-kernel I -numa node,nodeid=1", {"node 0 is missing"}},
    {"-kernel I -numa node,nodeid=128", {"nodeid=", "128"}},
    {"-kernel I -numa node -numa node,nodeid=0", {"nodeid=", "node 0", "already"}},
    {"-kernel I -numa node,mem=64M -numa node,mem=65M", {"-numa mem=", "132096 KiB", "131072 KiB"}},
    {"-kernel I -numa node,mem=64M -numa node", {"-numa mem=", "65536 KiB", "131072 KiB"}},
    {"-kernel I -numa node,mem=16777215T -numa node,mem=1T", {"-numa mem="}},
    {"-kernel I -numa node,mem=100b", {"-numa mem=", "'100b'", "4K"}},
    {"-kernel I -numa node,memdev=m", {"-numa memdev=", "'m'", "-object"}},
    {"-kernel I -numa node,memdev=m,mem=1M", {"'m'", "mem="}},
    {"-kernel I -object memory-backend-ram,id=m,size=128M -numa node,memdev=m -numa node,memdev=m",
     {"-numa memdev=", "'m'", "two nodes"}},
    {"-kernel I -object memory-backend-ram,id=m", {"-object memory-backend-ram", "size="}},
    {"-kernel I -object memory-backend-ram,id=m,size=1M -object memory-backend-ram,id=m,size=1M",
     {"-object id=", "'m'", "twice"}},
    {"-kernel I -object memory-backend-ram,id=m,size=1M,colour=red", {"colour=red"}},
    {"-kernel I -numa node,colour=red", {"-numa", "colour=red"}},
    {"-kernel I -numa dist,src=0,dst=1,val=20", {"-numa dist", "no -numa node"}},
    {"-kernel I -numa node -numa node -numa dist,src=0,dst=2,val=20", {"node 2", "0 to 1"}},
    {"-kernel I -numa node -numa node -numa dist,src=0,dst=1,val=10", {"val=10", "11 to 254"}},
    {"-kernel I -numa node -numa node -numa dist,src=0,dst=0,val=11", {"val=11", "10 to itself"}},
    {"-kernel I -numa node -numa node -numa dist,src=0,val=20", {"dst="}},
    {"-kernel I -numa node -numa node -numa node -numa dist,src=0,dst=1,val=20",
     {"between nodes 0 and 2", "missing"}},
    {"-kernel I -dtb d -numa node", {"-numa", "-dtb"}},
    {"-kernel I -dtb d -cpu rv64", {"-cpu", "-dtb 'd'"}},
    {"-kernel I -drive format=raw", {"-drive", "file="}},
    {"-kernel I -drive d.img", {"-drive", "'d.img'"}},
    {"-kernel I -drive file=d,format=qcow2", {"-drive", "'qcow2'", "raw"}},
    {"-kernel I -drive file=d,if=pflash", {"-drive if=", "'pflash'"}},
    {"-kernel I -drive file=d,readonly=maybe", {"-drive readonly=", "'maybe'"}},
    {"-kernel I -drive file=d,snapshot=on", {"-drive", "snapshot"}},
    {"-kernel I -drive file=d,colour=red", {"-drive", "colour=red"}},
    {"-kernel I -drive file=d,id=x -drive file=e,id=x", {"-drive id=", "'x'", "twice"}},
    {"-kernel I -drive file=d,id=x -device virtio-blk-pci,drive=x", {"'x'", "if=none"}},
    {"-kernel I -device virtio-blk-pci", {"-device", "drive=ID"}},
    {"-kernel I -device virtio-blk-pci,drive=zz", {"-device drive=", "'zz'"}},
    {"-kernel I -device virtio-blk-cpi,drive=x", {"'virtio-blk-cpi'", "did you mean 'virtio-blk-pci'"}},
    {"-kernel I -device e1000,netdev=n", {"-device", "'e1000'"}},
    {"-kernel I -device virtio-rng-pci,colour=red", {"-device", "colour=red"}},
    {"-kernel I -device virtio-rng-pci -device virtio-rng-device", {"virtio-rng-device", "already"}},
    {"-kernel I -netdev user", {"-netdev", "id="}},
    {"-kernel I -netdev tap,id=n", {"-netdev", "'tap'", "user"}},
    {"-kernel I -netdev user,id=n -netdev user,id=n", {"-netdev", "'n'", "twice"}},
    {"-kernel I -device virtio-net-pci,netdev=n", {"-device netdev=", "'n'"}},
    {"-kernel I -netdev user,id=n -device virtio-net-pci,netdev=n -device virtio-net-pci,netdev=n",
     {"netdev=", "'n'", "twice"}},
    {"-kernel I -netdev user,id=n -device virtio-net-pci,netdev=n,mac=1:2", {"mac=", "'1:2'"}},
    {"-kernel I -nic user,model=e1000", {"-nic model=", "'e1000'"}},
    {"-kernel I -serial tcp::99", {"-serial", "'tcp::99'"}},
    {"-kernel I -serial file:", {"-serial", "'file:'"}},
    {"-kernel I -serial chardev:nobody", {"-serial", "nobody"}},
    {"-kernel I -serial stdio -serial mon:stdio", {"only one", "stdio"}},
    {"-kernel I -chardev pty,id=c", {"-chardev", "'pty'"}},
    {"-kernel I -chardev file,id=c", {"-chardev", "path="}},
    {"-kernel I -chardev null", {"-chardev", "id="}},
    {"-kernel I -device virtconsole,chardev=c", {"virtconsole", "'c'"}},
    {"-kernel I -display gtk", {"-display", "'gtk'"}},
    {"-kernel I -object memory-backend-file,id=x", {"-object", "memory-backend-file"}},
};

static unsigned count_lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void test_cli_bad_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(bad); i++) {
        struct capture c;
        struct config config;
        capture_begin(&c, 2);
        enum cli_action action = parse(bad[i].line, &config);
        const char *said = capture_end(&c);
        if (action != CLI_BAD)
            fail_msg("'%s' was accepted", bad[i].line);
        if (count_lines(said) != 1)
            fail_msg("'%s' should be told once: %s", bad[i].line, said);
        for (unsigned j = 0; j < 3 && bad[i].said[j]; j++)
            if (!strstr(said, bad[i].said[j]))
                fail_msg("'%s': no '%s' in: %s", bad[i].line, bad[i].said[j], said);
    }
}

static void test_cli_limits(void **state)
{
    static const struct {
        const char *option;
        unsigned limit;
    } cases[] = {{"-drive file=d", CONFIG_MAX_DRIVES}, {"-serial null", CONFIG_MAX_SERIALS},
                 {"-nic user", CONFIG_MAX_NETS}};

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(cases); i++) {
        char line[2048] = "-kernel I ";
        struct config config;
        struct capture c;
        for (unsigned n = 0; n < cases[i].limit; n++) {
            strcat(line, cases[i].option);
            strcat(line, " ");
        }
        assert_int_equal(parse(line, &config), CLI_RUN);
        config_fini(&config);
        strcat(line, cases[i].option);
        capture_begin(&c, 2);
        enum cli_action action = parse(line, &config);
        capture_end(&c);
        assert_int_equal(action, CLI_BAD);
    }
}

static void test_cli_unplugged_drive_is_said(void **state)
{
    struct config config;
    struct capture c;

    (void)state;
    capture_begin(&c, 2);
    assert_int_equal(parse("-kernel I -drive file=lost.img,if=none,id=h", &config), CLI_RUN);
    assert_non_null(strstr(capture_end(&c), "lost.img"));
    assert_int_equal(config.nr_drives, 0);
    config_fini(&config);
}

static void test_cli_help_fits(void **state)
{
    struct config config;
    struct capture c;

    (void)state;
    capture_begin(&c, 1);
    enum cli_action action = parse("-kernel I --help --nonsense", &config);
    char *text = (char *)capture_end(&c);
    assert_int_equal(action, CLI_DONE);
    assert_non_null(strstr(text, "-smp N"));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strlen(line) > 100)
            fail_msg("too wide: %s", line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_good_lines),
        cmocka_unit_test(test_cli_device_order),
        cmocka_unit_test(test_cli_bad_lines),
        cmocka_unit_test(test_cli_limits),
        cmocka_unit_test(test_cli_unplugged_drive_is_said),
        cmocka_unit_test(test_cli_help_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
