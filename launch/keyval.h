/* QEMU's option lists: "file=a.img,readonly=on,,x" -> {file: "a.img"}, {readonly: "on,x"}.
 *
 * A doubled comma is a comma of the value. A first word without '=' belongs to the implied key; a
 * later one is a switch ("on"). The consumer takes what it knows; keyvals_check names the rest. */
#ifndef LAUNCH_KEYVAL_H
#define LAUNCH_KEYVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "sim-core/status.h"

struct keyval {
    char *key, *value;
    bool taken;
};

struct keyvals {
    const char *option; /* for messages: "-drive" */
    struct keyval *item;
    unsigned nr;
};

/* implied NULL: the first word needs a '='. */
enum sim_status keyvals_parse(const char *option, const char *text, const char *implied,
                              struct keyvals *out) SIM_MUST_CHECK;
void keyvals_fini(struct keyvals *kv);

/* The value of key (the last one given), or NULL. It stays owned by kv. */
const char *keyvals_take(struct keyvals *kv, const char *key);
/* "on"/"off" (also yes, no, true, false); *out is untouched when the key is absent. */
enum sim_status keyvals_take_bool(struct keyvals *kv, const char *key, bool *out) SIM_MUST_CHECK;
enum sim_status keyvals_take_u32(struct keyvals *kv, const char *key, uint32_t *out) SIM_MUST_CHECK;
/* Marks every key of the NULL-terminated list as known: settings of QEMU that change nothing here. */
void keyvals_ignore(struct keyvals *kv, const char *const *keys);
/* Complains about the first key that nobody took. */
enum sim_status keyvals_check(const struct keyvals *kv) SIM_MUST_CHECK;
/* What nobody took, joined again with commas doubled; sim_free it. */
char *keyvals_rest(const struct keyvals *kv);

/* "OPTION: 'VALUE' WHY"; SIM_ERR_INVALID. */
enum sim_status option_reject(const char *option, const char *value, const char *why);

/* Values that stand alone. All log with the option's name and the text. */
enum sim_status parse_u32(const char *option, const char *text, uint32_t *out) SIM_MUST_CHECK;
enum sim_status parse_bool(const char *option, const char *text, bool *out) SIM_MUST_CHECK;
enum sim_status parse_u64(const char *option, const char *text, uint64_t *out) SIM_MUST_CHECK;
/* "512" (times `unit`), "1G", "1.5G", "64k"; binary multiples. */
enum sim_status parse_size(const char *option, const char *text, uint64_t unit,
                           uint64_t *out) SIM_MUST_CHECK;
/* "60", "0.5", "90s", "2m", "1h", "500ms" to nanoseconds; positive. */
enum sim_status parse_duration(const char *option, const char *text, uint64_t *ns) SIM_MUST_CHECK;
enum sim_status parse_mac(const char *option, const char *text, uint8_t mac[6]) SIM_MUST_CHECK;

/* The candidate nearest to word (edit distance), or NULL when none is near. name(i) gives the i-th
 * candidate, NULL at the end. */
const char *nearest_word(const char *word, const char *(*name)(unsigned i));

#endif
