/* tools.S on two harts: it does not end before hart 1 has had its turn. */
#define TWO_HARTS
#include "tools.S"
