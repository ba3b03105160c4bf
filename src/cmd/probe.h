/* probe.h - the stages of `longtake probe`, and what they share.
 * The command line's stages are one list; a family has a function for each of them. */
#ifndef LT_PROBE_H
#define LT_PROBE_H

#include "base/file.h"
#include "cmd/answer.h"
#include "cmd/verbs.h"
#include "model/family.h"
#include "model/files/checkpoint.h"
#include "run/bind.h"

enum { LT_PROBE_OWNED_MAX = 64, LT_PROBE_MADE_MAX = 8 };

enum {
    LT_PROBE_TOKENIZE,
    LT_PROBE_TEXT,
    LT_PROBE_DIT,
    LT_PROBE_LAYOUT,
    LT_PROBE_SIGMAS,
    LT_PROBE_DENOISE,
    LT_PROBE_VAE_DECODE,
    LT_PROBE_VAE_ENCODE,
    LT_PROBE_AUDIO_DECODE,
    LT_PROBE_AUDIO_ENCODE,
    LT_PROBE_STAGES
};

typedef struct lt_probe_family lt_probe_family;

typedef struct lt_probe {
    const lt_job *job;
    lt_group *world;
    const char *stage;
    char path[LT_PATH_BYTES]; /* of the model */
    const lt_probe_family *family;
    lt_model *model; /* opened by the family, its parts by the stages */
    lt_mesh_spec spec;
    lt_binding bound;
    lt_engine engine;
    lt_checkpoint *in;
    uint64_t input_bytes, input_reads; /* of `in` so far: not counted as the model's */
    void *owned[LT_PROBE_OWNED_MAX];
    int owned_count;
    lt_tensor made[LT_PROBE_MADE_MAX];
    int made_count;
    lt_answer answer; /* what a stage says on stdout */
    double *seconds;  /* [repeat] */
    int64_t time_count;
} lt_probe;

typedef struct lt_probe_stage {
    const char *name;
    int needs_engine; /* 0: rank 0 alone */
    int prints;       /* 1: its answer goes to stdout, nothing to --out */
} lt_probe_stage;

/* Functions here are Local and Blocking; a stage that needs an engine is Collective on the world.
 */
struct lt_probe_family {
    int (*recognise)(const char *path);
    /* A model of which no part is open yet; lt_model_close closes it. */
    lt_status (*open)(const char *path, lt_model **out);
    lt_status (*run[LT_PROBE_STAGES])(lt_probe *probe);
};

int lt_probe_has(lt_probe *probe, const char *name);
/* Read a whole input tensor of ndim dims as dtype; memory lives as long as the probe. */
lt_status lt_probe_read(lt_probe *probe, const char *name, int ndim, lt_dtype dtype, lt_dims *dims,
                        void **out);
/* Zeroed memory that lives as long as the probe. */
lt_status lt_probe_take(lt_probe *probe, size_t bytes, void **out);
/* An output that is written at the end. */
lt_status lt_probe_make(lt_probe *probe, const char *name, lt_dtype dtype, lt_dims dims,
                        void **out);
/* One repetition's time. */
void lt_probe_time(lt_probe *probe, double seconds);
lt_status lt_probe_engine(lt_probe *probe);

#endif
