/* tools.S for long enough to be sampled. */
#define ROUNDS 60000
#include "tools.S"
