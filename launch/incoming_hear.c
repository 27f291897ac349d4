/* What an incoming machine is: the first rank hears it from the source, the others from the first. */
#include <stdlib.h>
#include <string.h>

#include "image_config.h"
#include "incoming_priv.h"
#include "partition/plan.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

enum {
    MAX_SECTIONS = 1 << 20,
    NAME_MAX_BYTES = 256,
    INTRODUCE_S = 5 /* in which it says all of what the machine is */
};

/* --- sections --- */

enum sim_status incoming_keep_section(struct incoming *in, const struct ckpt_frame *f)
{
    uint32_t name_len;

    if (f->len < sizeof name_len || in->nr_sections == MAX_SECTIONS)
        return incoming_senseless(in, "a section that makes no sense");
    memcpy(&name_len, f->payload, sizeof name_len);
    if (!name_len || name_len > NAME_MAX_BYTES || name_len > f->len - sizeof name_len)
        return incoming_senseless(in, "a section whose name makes no sense");
    if (in->nr_sections == in->room) {
        in->room = in->room ? 2 * in->room : 64;
        in->section = sim_realloc(in->section, in->room * sizeof in->section[0]);
    }
    const char *name = (const char *)f->payload + sizeof name_len;
    struct section *s = &in->section[in->nr_sections++];
    s->name = sim_asprintf("%.*s", (int)name_len, name);
    s->len = f->len - sizeof name_len - name_len;
    s->data = sim_zalloc(s->len + 1);
    memcpy(s->data, name + name_len, s->len);
    return SIM_OK;
}

bool incoming_find_section(const void *opaque, const char *name, const uint8_t **data, size_t *len)
{
    const struct incoming *in = opaque;

    for (uint32_t i = 0; i < in->nr_sections; i++) {
        if (strcmp(in->section[i].name, name) == 0) {
            *data = in->section[i].data;
            *len = in->section[i].len;
            return true;
        }
    }
    return false;
}

const char *incoming_section_name(const void *opaque, unsigned i)
{
    const struct incoming *in = opaque;

    return i < in->nr_sections ? in->section[i].name : NULL;
}

/* --- introduction --- */

static enum sim_status keep_space(struct incoming *in, const struct ckpt_frame *f)
{
    struct announced *a = &in->space[in->nr_spaces];

    if (in->nr_spaces == SIM_ARRAY_LEN(in->space) || f->len < sizeof a->nr_blocks ||
        f->len - sizeof a->nr_blocks >= sizeof a->name)
        return incoming_senseless(in, "a space that makes no sense");
    *a = (struct announced){0}; /* a stranger may have been here before */
    memcpy(&a->nr_blocks, f->payload, sizeof a->nr_blocks);
    memcpy(a->name, f->payload + sizeof a->nr_blocks, f->len - sizeof a->nr_blocks);
    in->nr_spaces++;
    return SIM_OK;
}

static enum sim_status take_tree(struct incoming *in, struct config *c)
{
    const uint8_t *tree;
    size_t len;

    for (;;) {
        struct ckpt_frame f;
        SIM_TRY(ckpt_stream_receive(in->stream[0], &f));
        if (f.type == CKPT_FRAME_SPACE) {
            SIM_TRY(keep_space(in, &f));
            continue;
        }
        SIM_TRY(ckpt_stream_check_type(in->stream[0], &f, CKPT_FRAME_SECTION));
        SIM_TRY(incoming_keep_section(in, &f));
        break;
    }
    if (!incoming_find_section(in, "tree", &tree, &len))
        return incoming_senseless(in, "it has sent no tree");
    c->tree.fdt = sim_zalloc(len + 1);
    memcpy(c->tree.fdt, tree, len);
    c->tree.size = (uint32_t)len;
    return SIM_OK;
}

/* Room for the connections of all ranks of the source; the first is there. */
static enum sim_status take_ranks(struct incoming *in)
{
    struct ckpt_stream *first = in->stream[0];
    struct ckpt_frame f;
    uint64_t ranks[2];

    SIM_TRY(ckpt_stream_expect(first, CKPT_FRAME_RANKS, &f));
    if (f.len != sizeof ranks)
        return incoming_senseless(in, "a number of ranks that makes no sense");
    memcpy(ranks, f.payload, sizeof ranks);
    if (!ranks[1] || ranks[1] > PART_MAX_RANKS)
        return incoming_senseless(in, "a number of ranks that makes no sense");
    in->token = ranks[0];
    sim_free(in->stream);
    in->nr_streams = (unsigned)ranks[1];
    in->stream = sim_new_array(struct ckpt_stream *, in->nr_streams);
    in->stream[0] = first;
    return SIM_OK;
}

static enum sim_status take_machine(struct incoming *in, const struct ckpt_frame *first, struct config *c)
{
    SIM_TRY(image_config_parse((const char *)first->payload, ckpt_stream_peer(in->stream[0]), c));
    enum sim_status status = take_ranks(in);
    if (status == SIM_OK)
        status = take_tree(in, c);
    if (status != SIM_OK)
        config_fini(c);
    return status;
}

void incoming_forget_sections(struct incoming *in)
{
    for (uint32_t i = 0; i < in->nr_sections; i++) {
        sim_free(in->section[i].name);
        sim_free(in->section[i].data);
    }
    in->nr_sections = 0;
    in->nr_spaces = 0;
}

/* Somebody who has greeted and begun to tell of a machine: CONFIG. */
static enum sim_status hear_source(struct incoming *in, struct ckpt_stream *visitor, const struct ckpt_frame *first,
                                   struct config *c)
{
    in->stream = sim_new_array(struct ckpt_stream *, 1);
    in->nr_streams = 1;
    in->stream[0] = visitor;
    ckpt_stream_hear_until(visitor, sim_host_ns() + INTRODUCE_S * 1000000000ull); /* nobody else is heard meanwhile */
    enum sim_status status = take_machine(in, first, c);
    if (status == SIM_OK) {
        ckpt_stream_hear_until(visitor, 0);
        ckpt_stream_on_broken(visitor, incoming_broken, in);
        return SIM_OK;
    }
    incoming_forget_sections(in);
    sim_free(in->stream);
    in->stream = NULL;
    in->nr_streams = 0;
    ckpt_stream_refuse(visitor, "what it says of its machine cannot be understood; the target's own messages say why");
    ckpt_stream_destroy(visitor);
    return status;
}

/* Until somebody comes who has a machine. */
static enum sim_status accept_source(struct incoming *in, struct config *c)
{
    struct ckpt_stream *visitor;
    struct ckpt_frame first;

    for (;;) {
        enum sim_status status = visitors_next(in->visitors, CKPT_FRAME_CONFIG, -1, &visitor, &first);
        if (status != SIM_OK && status != SIM_INPROGRESS)
            return status;
        if (status == SIM_OK && hear_source(in, visitor, &first, c) == SIM_OK)
            return SIM_OK;
    }
}

enum sim_status incoming_open(const char *uri, struct config *c, struct incoming **out)
{
    struct incoming *in = sim_new(struct incoming);

    in->uri = sim_strdup(uri);
    enum sim_status status = visitors_open(uri, &in->visitors);
    if (status == SIM_OK)
        status = accept_source(in, c);
    if (status != SIM_OK) {
        incoming_close(in);
        return status;
    }
    *out = in;
    return SIM_OK;
}

/* Fields that another rank needs to take its part. */
static struct incoming *beside(const char *uri, uint64_t token, unsigned nr_streams)
{
    struct incoming *in = sim_new(struct incoming);

    in->uri = sim_strdup(uri);
    in->token = token;
    in->nr_streams = nr_streams;
    in->stream = sim_new_array(struct ckpt_stream *, nr_streams);
    return in;
}

struct incoming *incoming_open_beside(const struct incoming *first)
{
    return beside(first->uri, first->token, first->nr_streams);
}

/* What the first rank tells the others: this, the configuration and the tree. */
struct told {
    int32_t status;
    uint32_t nr_streams, config_len, tree_len;
    uint64_t token;
};

static void *tell(const struct incoming *in, enum sim_status status, const struct config *c, uint32_t *len)
{
    char *text = status == SIM_OK ? image_config_format(c) : sim_strdup("");
    struct told told = {.status = status, .config_len = (uint32_t)strlen(text)};

    if (status == SIM_OK) {
        told.nr_streams = in->nr_streams;
        told.token = in->token;
        told.tree_len = c->tree.size;
    }
    *len = (uint32_t)(sizeof told + told.config_len + told.tree_len);
    uint8_t *blob = sim_zalloc(*len);
    memcpy(blob, &told, sizeof told);
    memcpy(blob + sizeof told, text, told.config_len);
    if (told.tree_len)
        memcpy(blob + sizeof told + told.config_len, c->tree.fdt, told.tree_len);
    sim_free(text);
    return blob;
}

static enum sim_status hear(const char *uri, const uint8_t *blob, uint32_t len, struct config *c, struct incoming **out)
{
    struct told told;

    if (len < sizeof told)
        return SIM_ERR_FORMAT;
    memcpy(&told, blob, sizeof told);
    if (told.status != SIM_OK) /* the first rank has said why */
        return (enum sim_status)told.status;
    if (len != sizeof told + (uint64_t)told.config_len + told.tree_len)
        return SIM_ERR_FORMAT;
    char *text = sim_asprintf("%.*s", (int)told.config_len, (const char *)blob + sizeof told);
    enum sim_status status = image_config_parse(text, uri, c);
    sim_free(text);
    SIM_TRY(status);
    c->tree.fdt = sim_zalloc(told.tree_len + 1u);
    memcpy(c->tree.fdt, blob + sizeof told + told.config_len, told.tree_len);
    c->tree.size = told.tree_len;
    *out = beside(uri, told.token, told.nr_streams);
    return SIM_OK;
}

enum sim_status incoming_open_over(const char *uri, struct ic *ic, struct config *c, struct incoming **out)
{
    void **all = sim_new_array(void *, (size_t)ic_nr_ranks(ic));
    uint32_t *lens = sim_new_array(uint32_t, (size_t)ic_nr_ranks(ic)), len = 0;
    struct incoming *in = NULL;
    enum sim_status status = SIM_OK;
    void *mine = NULL;

    if (ic_rank(ic) == 0) {
        status = incoming_open(uri, c, &in);
        mine = tell(in, status, c, &len);
    }
    enum sim_status gathered = ic_gather(ic, mine, len, all, lens);
    if (gathered == SIM_OK && ic_rank(ic))
        status = hear(uri, all[0], lens[0], c, &in);
    if (gathered == SIM_OK)
        ic_gather_free(ic, all);
    else if (status == SIM_OK && ic_rank(ic) == 0) {
        config_fini(c);
        incoming_close(in);
        status = gathered;
    } else if (status == SIM_OK) {
        status = gathered;
    }
    sim_free(mine);
    sim_free(lens);
    sim_free(all);
    if (status == SIM_OK)
        *out = in;
    return status;
}
