/* In place of mpi.c when the program is built without MPI. */
#include "interconnect/interconnect.h"
#include "sim-core/log.h"

bool ic_mpi_built(void)
{
    return false;
}

enum sim_status ic_mpi_create(const struct ic_config *config, struct ic **out)
{
    (void)config, (void)out;
    sim_error("this program was built without MPI: it cannot run on several ranks");
    return SIM_ERR_UNSUPPORTED;
}
