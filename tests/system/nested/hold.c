/* Holds a VM of each kind with a vCPU that never runs, for as long as the machine is up: says KVM-HELD when they are there.
 *
 * The outer kernel patches its own code (static keys, by way of an int3) whenever the first VM comes and the last one goes, its scheduler
 * among it; QEMU's translator can miss that an int3 is gone again (README.md). With these two VMs there, nothing of that changes during a
 * test: one with KVM's interrupt controllers, whose vCPU's APIC is off, and one without, whose vCPU has no APIC. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int failed(const char *what)
{
    perror(what);
    return 1;
}

int main(void)
{
    int kvm = open("/dev/kvm", O_RDWR);

    if (kvm < 0)
        return failed("/dev/kvm");
    for (int has_irqchip = 0; has_irqchip < 2; has_irqchip++) {
        int vm = ioctl(kvm, KVM_CREATE_VM, 0);
        if (vm < 0)
            return failed("KVM_CREATE_VM");
        if (has_irqchip && ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0)
            return failed("KVM_CREATE_IRQCHIP");
        if (ioctl(vm, KVM_CREATE_VCPU, 0) < 0)
            return failed("KVM_CREATE_VCPU");
    }
    sleep(2); /* what the translator has missed shows by now: the scheduler runs all the time */
    puts("KVM-HELD");
    fflush(stdout);
    for (;;)
        pause();
}
