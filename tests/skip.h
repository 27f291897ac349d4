/* What a machine lacks is skipped aloud: check.sh prints and counts lines with SKIP. After <cmocka.h>. */
#ifndef TESTS_SKIP_H
#define TESTS_SKIP_H

#include <stdio.h>

#define SKIP_NO_JIT "this host gives no executable memory"

/* Ends a cmocka test. The others of its program go on. */
#define skip_because(why) (printf("SKIP: %s\n", why), fflush(stdout), skip())

#endif
