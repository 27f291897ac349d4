/* Was this process started as one of several ranks? Only launchers' variables that a launcher sets for each
 * process count: inside a batch job SLURM_NTASKS describes the job, also for a program that was started plainly.
 *
 *   mpirun (Open MPI)   OMPI_COMM_WORLD_SIZE
 *   srun --mpi=pmix     PMIX_RANK, and SLURM_STEP_NUM_TASKS says how many
 *   PMI 1 launchers     PMI_RANK and PMI_SIZE
 *
 * A program that a rank starts inherits all of this, and so does a shell that srun starts: as with every MPI program. */
#include "interconnect/interconnect.h"
#include "sim-core/env.h"
#include "sim-core/log.h"

/* Slurm's default may be another PMI than MPI was built for: then each task is a run of its own, which is seldom
 * meant. */
static void warn_of_lonely_tasks(void)
{
    long tasks = sim_env_number("SLURM_STEP_NUM_TASKS", 1);

    if (tasks > 1 && sim_env_number("SLURM_PROCID", 0) == 0)
        sim_warn("srun started %ld tasks that do not know each other, so each runs alone; srun --mpi=pmix joins them",
                 tasks);
}

bool ic_mpi_wanted(void)
{
    long size = sim_env_number("OMPI_COMM_WORLD_SIZE", 0);

    if (!size && sim_env_get("PMIX_RANK"))
        size = sim_env_number("SLURM_STEP_NUM_TASKS", 2);
    if (!size && sim_env_get("PMI_RANK"))
        size = sim_env_number("PMI_SIZE", 1);
    if (!size)
        warn_of_lonely_tasks();
    return size > 1;
}
