/* The guest that is built into the program: a raw S-mode payload for the built-in SBI.
 * demo_image.c is generated from this folder's sources by make.sh and committed, because the machine
 * that builds Partita may have no RISC-V compiler. */
#ifndef LAUNCH_DEMO_H
#define LAUNCH_DEMO_H

#include <stdint.h>

extern const uint8_t demo_image[];
extern const uint32_t demo_image_size;

#endif
