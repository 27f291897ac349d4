/* Saved state as tables. A device, a hart, a protocol describes its fields once; checkpoint,
 * restore, tests and --dump walk the tables without knowing the type.
 *
 * A desc belongs to a struct; offsets are within it. Fields that can be derived are left out and
 * recomputed in post_load. Values are little-endian, fields are matched by name on restore, a
 * field newer than the image keeps its reset value. */
#ifndef SIM_CORE_STATE_H
#define SIM_CORE_STATE_H

#include "sim-core/compiler.h"
#include "sim-core/status.h"
#include "sim-core/types.h"

enum state_type { STATE_U8 = 1, STATE_U16 = 2, STATE_U32 = 4, STATE_U64 = 8, STATE_STRUCT = 100,
                  STATE_OBJECT = 101 };

struct state_desc;

struct state_field {
    const char *name;
    uint32_t offset;
    uint16_t type;               /* enum state_type; bool is STATE_U8 */
    uint16_t since;              /* first desc version that has it */
    uint32_t count;              /* array length, 1 for a scalar */
    uint32_t stride;             /* bytes between elements, 0 = packed by type */
    const struct state_desc *sub; /* STATE_STRUCT */
    /* Not 0: the member is a pointer to the elements and their number is the uint32_t at this
     * offset (so it must not be the struct's first member); `count` is unused. The number is
     * configuration: a restore into an object of another size fails. */
    uint32_t nr_at;
};

/* A member that is not saved: it follows from others or from the configuration, or means nothing while the world is
 * frozen. */
struct state_derived {
    const char *name;
    uint32_t offset, size;
};

struct state_desc {
    const char *name;
    uint32_t version;
    const struct state_field *fields; /* ends with name == NULL */
    /* Both optional. post_load recomputes derived state and validates what the guest could not
     * have reached; it returns SIM_ERR_FORMAT after logging. Context: frozen world. */
    void (*pre_save)(void *object);
    enum sim_status (*post_load)(void *object);
    /* STATE_LAYOUT: what state_uncovered goes by. */
    uint32_t size;
    const struct state_derived *derived; /* ends with name == NULL */
    void (*clear_padding)(void *object);
};

/* What is plugged into a slot: its table and itself; both NULL while the slot is empty. Fullness is
 * configuration: a restore of a full slot into an empty one, or the reverse, fails. */
struct state_object {
    const struct state_desc *desc;
    void *object;
};

#define STATE_SCALAR(stype, kind, member)                                                          \
    {#member, offsetof(stype, member), kind, 1, 1, 0, NULL, 0}
#define STATE_ARRAY(stype, kind, member)                                                           \
    {#member, offsetof(stype, member), kind, 1, sizeof(((stype *)0)->member) / (kind), 0, NULL, 0}
#define STATE_STRUCTS(stype, member, n, desc)                                                      \
    {#member, offsetof(stype, member), STATE_STRUCT, 1, n, sizeof(((stype *)0)->member[0]), desc, 0}
/* One nested struct. */
#define STATE_SUB(stype, member, desc)                                                             \
    {#member, offsetof(stype, member), STATE_STRUCT, 1, 1, sizeof(((stype *)0)->member), desc, 0}
/* A `struct state_object` member, or an array of them: objects whose type the holder does not know. */
#define STATE_PLUGGED(stype, member)                                                               \
    {#member, offsetof(stype, member), STATE_OBJECT, 1,                                            \
     sizeof(((stype *)0)->member) / sizeof(struct state_object), sizeof(struct state_object), NULL, 0}
/* A pointer to `nr_member` elements. */
#define STATE_DYN_ARRAY(stype, kind, member, nr_member)                                            \
    {#member, offsetof(stype, member), kind, 1, 0, 0, NULL, offsetof(stype, nr_member)}
#define STATE_DYN_STRUCTS(stype, member, nr_member, desc)                                          \
    {#member, offsetof(stype, member), STATE_STRUCT, 1, 0, sizeof(*((stype *)0)->member), desc,    \
     offsetof(stype, nr_member)}
/* The members of `stype` that are not saved, STATE_DERIVED(stype, member) each: before the desc, which then has
 * STATE_LAYOUT_OF(name, stype). A test sees to it that each member is in one of the two lists. */
#define STATE_LAYOUT(name, stype, ...)                                                             \
    static void name##_clear_padding(void *object) { SIM_CLEAR_PADDING((stype *)object); }         \
    static const struct state_derived name##_derived[] = {__VA_ARGS__ {NULL, 0, 0}}
#define STATE_LAYOUT_OF(name, stype)                                                               \
    .size = sizeof(stype), .derived = name##_derived, .clear_padding = name##_clear_padding
#define STATE_DERIVED(stype, member)                                                               \
    {#member, offsetof(stype, member), sizeof(((stype *)0)->member)},
/* The bytes up to the next multiple of 8: gcc 12 does not know padding behind an array of structs that have some. */
#define STATE_PADDING(stype, member)                                                               \
    {"padding behind " #member, offsetof(stype, member) + sizeof(((stype *)0)->member),            \
     -(offsetof(stype, member) + sizeof(((stype *)0)->member)) % 8},
#define STATE_END {NULL, 0, 0, 0, 0, 0, NULL, 0}

/* A growing byte buffer. */
struct state_buf {
    uint8_t *data;
    size_t len, cap;
};
void state_buf_put(struct state_buf *buf, const void *data, size_t len);
void state_buf_fini(struct state_buf *buf);

/* Appends the object's section to buf. Context: frozen world (or the object's owner thread). */
void state_save(const struct state_desc *desc, void *object, struct state_buf *buf);
/* Reads one section from data[0..len); *used gets its length. Logs the section and field name on
 * failure; the object is then unspecified and must be reset. */
enum sim_status state_load(const struct state_desc *desc, void *object, const uint8_t *data,
                           size_t len, size_t *used) SIM_MUST_CHECK;

/* The first bytes at or after *offset that are neither in the table, nor derived, nor padding; false: there are none. A desc
 * without a layout is uncovered as a whole (*size 0, *offset 0). For tests. */
bool state_uncovered(const struct state_desc *desc, uint32_t *offset, uint32_t *size);

#endif
