/* Shared by perf_map.c and jitdump.c: two ways of telling perf of a region (cpu/code_log.h). */
#ifndef CPU_OBSERVE_CODE_LOG_H
#define CPU_OBSERVE_CODE_LOG_H

#include "cpu/code_log.h"
#include "jit_priv.h"

struct code_log {
    struct jit_listener listener;
    struct rv_code_log_config config;
    int map_fd, dump_fd, list_fd; /* -1: not wanted */
    uint32_t list_line;           /* lines in the listing */
    uint64_t next_index;
    void *dump_mark;              /* perf record finds the dump by this mapping */
    bool failed;                  /* a write failed and was reported */
};

enum { CODE_NAME = 256 };
/* "guest:ffffffff80001234 memcpy+0x12" */
void code_log_name(const struct code_log *l, const struct jit_region *r, char *buf, size_t size);
/* One write for all of it, so that several machines may share a file. Failing is reported once. */
void code_log_write(struct code_log *l, int fd, const void *data, size_t len);
/* "/tmp/perf-PID.map" and so on. */
void code_log_path(const char *form, char *buf, size_t size);

/* --- perf_map.c --- */
enum sim_status perf_map_prepare(void) SIM_MUST_CHECK;
enum sim_status perf_map_open(struct code_log *l, const struct jit *jit) SIM_MUST_CHECK;
void perf_map_region(struct code_log *l, const struct jit *jit, const struct jit_region *r);

/* --- jitdump.c --- */
enum sim_status jitdump_prepare(void) SIM_MUST_CHECK;
enum sim_status jitdump_open(struct code_log *l) SIM_MUST_CHECK;
void jitdump_region(struct code_log *l, const struct jit *jit, const struct jit_region *r);
void jitdump_close(struct code_log *l);

/* Of machine.c: closes what rv_machine_log_code opened. NULL allowed. */
void code_log_destroy(struct code_log *l, struct jit *jit);

#endif
