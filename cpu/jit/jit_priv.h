/* Shared by the files of cpu/jit.
 *
 *   jit.c       creation, the engine: jit_run
 *   helper.c    what translated code calls, and rebuilding guest registers from a site
 *   targets.c   the profile of indirect jumps
 *   registry.c  regions and pages: look-up, linking, invalidation
 *   tier.c      hot regions again, better, in the background
 *   translate.c scan -> IR -> passes -> allocation -> code
 *   cache.c     code memory
 *
 * Locks: `lock` (SIM_RANK_JIT) serialises translators; `registry` (SIM_RANK_LEAF) guards pages, links
 * and deaths, also against DMA. Look-ups need none: regions are published by release stores and
 * freed only when every vCPU is stopped. */
#ifndef CPU_JIT_PRIV_H
#define CPU_JIT_PRIV_H

#include <stdatomic.h>

#include "backend.h"
#include "jit.h"
#include "scan.h"

struct jit_page;

/* Where the interpreter saw an indirect jump go inside its page: the profile that predicts it. Written by
 * all harts without care for each other. */
struct jit_targets {
    _Atomic uint64_t site;   /* gpa of the jump */
    _Atomic uint64_t target; /* SCAN_TARGETS times: offset / 2 << 5 | how often, 0: empty */
};

/* A guest instruction of a region. */
struct jit_origin {
    struct rv_insn insn;
    uint16_t offset;
    uint16_t refund; /* instructions of its block from this one on */
    uint8_t mem;     /* enum ir_mem of a load or store */
    bool end;        /* EXEC_END: always leaves */
};

/* Owner: the registry lock for links and death; the rest is constant once published. */
struct jit_region {
    struct jit_region *next;      /* in its bucket */
    struct jit_region *page_next; /* among the page's; among the graves when dead and unlisted */
    struct jit_page *page;
    gpa_t gpa;                    /* of the entry */
    _Atomic bool dead;
    bool returns;                 /* somewhere in it */
    bool uses_fp, uses_priv;
    bool fp_on;                   /* with uses_fp: what it is good for */
    uint8_t frm;
    uint16_t isa_class;           /* of harts that may run it */
    uint8_t tries;                /* earlier translations of this entry that were outgrown */
    uint64_t lines;               /* of 64 bytes in the page that its code comes from */
    uint64_t exit_lines;          /* that its exits, and returns of functions it calls, lead to */
    struct ir_code code;
    gva_t va_page;                /* where it was when it was translated, for listeners; */
    uint32_t hart;                /* who asked for it, and in what privilege */
    uint8_t priv;
    bool loops_at_entry;          /* so that turns may end there that were in it */
    bool quick;                   /* could be better (enum rv_jit_tier); */
    _Atomic uint32_t heat;        /* instructions, by samples, that ran in it since it is so */
    struct ir_code_exit *incoming; /* RW addresses */
    uint8_t loc[IR_NR_GLOBALS];    /* host register of each global */
    uint8_t global[32];            /* the global in each host register (FP: + 16) */
    bool observed;                 /* has its observers' actions built in (observe/observe.h) */
    const struct observed_insn **watchers; /* with observed: by origin; behind the origins */
    uint32_t bytes;                /* of this record */
    uint16_t nr_origins;
    struct jit_origin origin[];
};

struct jit_page {
    struct jit_page *next;
    gpa_t gpa;
    struct jit_region *regions; /* alive */
    uint64_t lines;             /* that alive regions come from */
    uint64_t generation;        /* counts writes; a translator looks before and after */
    bool translating;           /* do not unmark */
    uint32_t protecting;        /* harts that are asking those who may still write the page */
    uint64_t epoch;             /* another one after each time that it was unmarked; none is used twice */
};

/* What look-ups ask for most: a few words instead of a region, most of which is not in the host's caches.
 * The key is the code's gpa and the state it is wanted for; 0: empty. Written with the registry lock
 * held, key last; read without: the key before and after. Never has a dead region. */
struct jit_quick {
    _Atomic uint64_t key;
    _Atomic(struct jit_region *) region;
    _Atomic(const void *) code;
};
struct jit_quick_set {
    _Alignas(64) struct jit_quick way[2]; /* the newer first */
};

enum {
    QUICK_SETS = 1 << 13,
    TARGETS = 1 << 12,
    REGION_BUCKETS = 1 << 18,
    PAGE_BUCKETS = 1 << 12,
    COUNTERS = 1 << 18,
    DEFAULT_MAX_INSNS = 400,
    SHORT_RETURN = 16, /* instructions of a region with a return that others rather repeat than stop at */
    MAX_TRIES = 4 /* translations of one entry as its profile grows */
};
#define DEFAULT_CACHE_BYTES (256ull << 20)

/* Per hart: what a helper left. */
struct jit_hart {
    enum rv_exec result; /* after IR_LEAVE_HELPER; and where */
    const struct ir_site *left_at;
    uint64_t sampled;    /* rv_insns at the last sample of what is hot */
    int32_t patience;    /* polls of loops that may only wait until the next is looked at */
};

/* What a region is made of: the page's bytes, and of a hart what decides about code. */
struct jit_source {
    const uint8_t *bytes;
    gpa_t page;
    unsigned offset;        /* of the entry */
    gva_t va_page;
    uint32_t hart;
    uint8_t priv, frm;
    bool fp_on, quick;
    const struct rv_isa *isa;
    uint16_t isa_class;
    uint64_t vtype;
    unsigned vlenb;
    struct rv_hart *observed; /* whom observers look at; NULL: nobody looks */
};

/* Working storage of a translator, and the part of the code cache that it fills. */
struct jit_translator {
    struct ir_region *ir;
    struct ir_alloc *alloc;
    struct scan *scan;
    struct emit *emit;
    struct ir_cache *part;
};

/* Is told of each region when it is published: perf maps, traces. Context: the registry lock is held;
 * listeners come and go while no vCPU runs. */
struct jit_listener {
    void (*region)(struct jit_listener *l, const struct jit *jit, const struct jit_region *r);
    struct jit_listener *next;
};

struct jit {
    struct jit_listener *listeners; /* mostly none */
    struct rv_machine *machine;
    struct sim *sim;
    struct mem_space *space;
    struct jit_options options;
    uint32_t threshold; /* executions of a block before it is translated */
    uint32_t hot;       /* with `tier`: instructions in a region before it is translated again */
    struct ir_cache cache;
    struct ir_host *host;
    struct sim_mutex lock;
    struct sim_mutex registry;
    /* Executions of blocks by the interpreter, by hash of gpa; harts add without care for each other.
     * It is the profile, and says where a translation can be at all: from the threshold on. */
    _Atomic uint8_t counter[COUNTERS];
    struct jit_targets targets[TARGETS];
    struct jit_quick_set *quick;
    _Atomic(struct jit_region *) bucket[REGION_BUCKETS];
    struct jit_page *page[PAGE_BUCKETS];
    uint64_t epochs; /* used by pages; registry */
    struct jit_region *graves; /* in no bucket any more; look-ups may still stand on them */
    struct jit_translator translator; /* of the hart that holds `lock` */
    struct jit_tier *tier;            /* NULL: no background */
    struct {
        _Atomic uint64_t translations, insns, bytes, flushes, invalidations, promotions;
    } count;
    _Atomic uint64_t record_bytes, dead_bytes; /* of published regions, and of the dead among them; registry writes */
};

/* --- cache.c --- */
enum sim_status jit_cache_create(struct ir_cache *c, uint64_t size) SIM_MUST_CHECK;
void jit_cache_destroy(struct ir_cache *c);
/* After each translation. */
void jit_cache_settle(struct ir_cache *c);

/* --- helper.c --- */
void jit_fill_target(struct ir_target *t);
/* Rebuilds guest registers and pc from scratch; the budget gets back what was not executed. */
void jit_restore(struct rv_hart *h, const struct ir_site *site);

/* --- registry.c --- */
/* The living region for the code at gpa that suits the hart's FP state, and its entry (RX) in *code; or
 * NULL. Takes the registry lock only to note what it found. */
struct jit_region *jit_find(struct jit *jit, const struct rv_hart *h, gpa_t gpa,
                            const void **code);
/* Page of gpa, made when it is new. Context: registry lock held. */
struct jit_page *jit_page_get(struct jit *jit, gpa_t gpa);
/* Sets the bits (offset / 2) of entries in the page where a new region at `entry` had better end: what
 * is translated from there does not lead back to it, so there is no loop to keep together. Context:
 * registry lock held. */
void jit_page_stops(const struct jit_page *page, const struct rv_hart *h, gpa_t entry,
                    uint64_t *stop);
void jit_publish(struct jit *jit, struct jit_region *r);
void jit_link(struct jit *jit, struct ir_code_exit *exit_rw, struct jit_region *target);
/* `better` takes the place of `old`, which it is a translation of. False: that is dead. Context: registry lock held. */
bool jit_replace(struct jit *jit, struct jit_region *old, struct jit_region *better);
/* Do the regions' records take so much beside their code that all had better be forgotten? Context: any. */
bool jit_records_full(const struct jit *jit);
void jit_registry_clear(struct jit *jit);
extern const struct mem_code_ops jit_code_ops;
void jit_add_listener(struct jit *jit, struct jit_listener *l);
void jit_remove_listener(struct jit *jit, struct jit_listener *l);

/* --- targets.c --- */
/* An indirect jump at `site` went to `offset` of its page. */
void jit_note_target(struct jit *jit, gpa_t site, unsigned offset);
/* Where it went, most often first; returns how many. */
unsigned jit_targets_of(struct jit *jit, gpa_t site, uint16_t offset[SCAN_TARGETS]);

/* --- spin.c --- Does the block that begins with instruction `head` of the scan begin a loop which only waits? */
enum { SPIN_MAX_LOOP = 16 }; /* instructions */
bool jit_loop_spins(const struct scan *s, unsigned head);

/* --- tier.c: jit->tier is there --- */
void jit_tier_create(struct jit *jit);
void jit_tier_destroy(struct jit *jit); /* nothing to do without one */
/* A turn ended at the site; its region may have become hot. Context: the hart's thread. */
void jit_tier_sample(struct jit *jit, struct rv_hart *h, const struct ir_site *site);
/* Is there something to install, or to be emptied? Cheap. */
bool jit_tier_has_news(const struct jit_tier *t);
void jit_tier_install(struct jit *jit); /* Context: a running hart's thread */
bool jit_tier_is_full(const struct jit_tier *t);
/* Forgets all there is to do, and what has been done. Context: as jit_flush. */
void jit_tier_flush(struct jit_tier *t);

/* --- translate.c --- */
void jit_translator_init(struct jit_translator *t, struct ir_cache *part);
void jit_translator_fini(struct jit_translator *t);
/* Scan to code, which nobody knows yet; t->scan->stop says where to end. NULL: does not fit, the part is full. */
struct jit_region *jit_compile(struct jit *jit, struct jit_translator *t, const struct jit_source *source);
enum jit_translated { JIT_TRANSLATED, JIT_NOT_NOW, JIT_NEVER, JIT_FULL };
enum jit_translated jit_translate(struct jit *jit, struct rv_hart *h, struct jit_region **out);

static inline _Atomic uint8_t *jit_counter(struct jit *jit, gpa_t gpa)
{
    return &jit->counter[(gpa >> 1) * 0x9e3779b97f4a7c15ull >> 46 & (COUNTERS - 1)];
}

#endif
