/* `partita doctor`: what this host offers the program, why something is missing, and what is used instead. */
#ifndef LAUNCH_DOCTOR_H
#define LAUNCH_DOCTOR_H

/* [--kvm]. Exit code 0: whatever is needed is there (limits are told all the same); 1: something is not; with --kvm: of KVM
 * only, in one sentence. 2: command line. */
int doctor_command(int argc, char **argv);

#endif
