/* Memory policy of the host, by libnuma where it is. Private to partition. */
#ifndef PARTITION_MEMORY_POLICY_H
#define PARTITION_MEMORY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Asks for [base, base + size) on the domains (OS indices, repeats allowed, at least one). False: not possible. */
bool memory_policy_prefer(const uint32_t *domain, uint32_t nr, void *base, size_t size);

#endif
