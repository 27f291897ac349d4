/* Which environments make a run one of several ranks. */
#include "ic_test.h"

#include <stdlib.h>

static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "SLURM_STEP_NUM_TASKS",
                                    "SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_PROCID"};

/* Name and value in turn, up to NULL. */
static bool wanted(const char *const *env)
{
    for (unsigned i = 0; i < SIM_ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    for (; *env; env += 2)
        setenv(env[0], env[1], 1);
    return ic_mpi_wanted();
}

#define WANTED(...) wanted((const char *const[]){__VA_ARGS__})

static void test_wanted_by_launchers(void **state)
{
    (void)state;
    assert_true(WANTED("OMPI_COMM_WORLD_SIZE", "2", NULL));
    assert_true(WANTED("OMPI_COMM_WORLD_SIZE", "2", "SLURM_STEP_NUM_TASKS", "1", "PMIX_RANK", "0", NULL)); /* mpirun in a job */
    assert_true(WANTED("PMIX_RANK", "1", "SLURM_STEP_NUM_TASKS", "4", "SLURM_NTASKS", "4", NULL));
    assert_true(WANTED("PMIX_RANK", "0", NULL)); /* prterun and others */
    assert_true(WANTED("PMI_RANK", "0", "PMI_SIZE", "3", NULL));
}

static void test_not_wanted_alone(void **state)
{
    (void)state;
    assert_false(WANTED(NULL));
    assert_false(WANTED("OMPI_COMM_WORLD_SIZE", "1", NULL));
    assert_false(WANTED("PMIX_RANK", "0", "SLURM_STEP_NUM_TASKS", "1", NULL));
    assert_false(WANTED("PMI_RANK", "0", "PMI_SIZE", "1", NULL));
    assert_false(WANTED("OMPI_COMM_WORLD_SIZE", "many", NULL));
}

/* In a batch script the job's size says nothing about a program that is started plainly. */
static void test_not_wanted_in_a_batch_script(void **state)
{
    (void)state;
    assert_false(WANTED("SLURM_JOB_ID", "7", "SLURM_NTASKS", "4", NULL));
    assert_false(WANTED("SLURM_NTASKS", "4", "SLURM_STEP_NUM_TASKS", "4", "SLURM_PROCID", "1", NULL)); /* srun --mpi=none */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted_by_launchers),
        cmocka_unit_test(test_not_wanted_alone),
        cmocka_unit_test(test_not_wanted_in_a_batch_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
