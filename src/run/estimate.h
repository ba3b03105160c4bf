/* estimate.h - how much memory and time a plan takes on this rank, before work.
 *
 * Memory. Each phase runs dry (on the backend `dry`) as this rank, with the code that will run.
 * What the dry run counts, what the run itself allocates, and what this process holds already make
 * `peak_bytes`: the largest resident set that this rank will have. It is the truth of plan.json: a
 * job is refused where it does not fit. Tested: tests/film/test_estimate.c, against the peak that
 * the system counts. */
#ifndef LT_ESTIMATE_H
#define LT_ESTIMATE_H

#include "run/plan.h"
#include "run/prompts.h"

/* What is resident together, in the order in which a render comes to it. */
typedef enum lt_phase {
    LT_PHASE_TEXT,
    LT_PHASE_DIT,
    LT_PHASE_DECODE,
    LT_PHASES /* how many; also: none */
} lt_phase;
extern const char *const lt_phase_names[LT_PHASES];

/* What is timed; the names are the stages' that progress shows. */
typedef enum lt_time {
    LT_TIME_TEXT,
    LT_TIME_DENOISE,
    LT_TIME_AUDIO,
    LT_TIME_DECODE,
    LT_TIMES
} lt_time;
extern const char *const lt_time_names[LT_TIMES];

/* What takes time: multiplications of prepared layers, those of attention, and bytes that the other
 * ops move. */
typedef struct lt_work {
    double products, attention, moved_bytes;
} lt_work;

typedef struct lt_phase_memory {
    size_t phase_bytes;    /* weights and tables, device */
    size_t step_bytes;     /* scratch, device */
    size_t kept_bytes;     /* of it, what stays between two forwards */
    size_t comm_bytes;     /* what collectives pack and add up in, device */
    size_t staging[2];     /* out and in: what they stage in where the CPU reads no tensors */
    size_t host_bytes;     /* buffers beside them */
    size_t disk_bytes;     /* in files of its own, in TMPDIR */
    size_t kernel_bytes;   /* what kernels take for themselves, all threads */
    size_t resident_bytes; /* the process in this phase, at most */
} lt_phase_memory;

/* A plan on one rank. Phases that do not run here are 0. */
typedef struct lt_footprint {
    lt_phase_memory memory[LT_PHASES];
    size_t base_bytes, peak_bytes; /* resident: when it was planned; at most */
    /* of a device's own memory: all that is taken there, at once; of it what backend and queues
     * take, and links between devices. 0: tensors lie in the host's */
    size_t device_bytes, workspace_bytes, exchange_bytes;
    int is_beside; /* decoders are in memory beside the DiT */
    /* one unit of each stage: the prompt, an evaluation, a chunk of audio, a decode chunk */
    lt_work work[LT_TIMES];
    double flops[LT_TIMES];
    double seconds[LT_TIMES]; /* of a whole stage; all 0: not measured */
} lt_footprint;

/* Whose footprint: a plan on this rank. All is borrowed. */
typedef struct lt_estimate_of {
    const lt_plan *plan;
    lt_model *model;
    const lt_backend *backend;      /* that computes; */
    int device;                     /* which of the host's */
    const lt_mesh *mesh[LT_PHASES]; /* of each phase; NULL: the phase does not run on this rank */
    const lt_tokens *tokens;        /* of the prompts */
    int threads, local_ranks;       /* of this rank; on this host */
    int device_ranks;               /* of these, on this device, where it has memory of its own */
    int has_sheet, has_previews;    /* a contact sheet, previews are asked for (rank 0) */
    int keeps_states;               /* --checkpoint-every is not 0 */
    const int *sees;                /* [ranks]: it finds the place of RUN; NULL: all do */
} lt_estimate_of;

/* Does the backend hear of the attention that will come (backend.h, expect)? Not where a row's bits
 * must not depend on it. Local. */
int lt_estimate_lists(const lt_backend *backend, const lt_plan *plan);
/* What an engine's act_partials is, of device `device`. Local. */
int lt_estimate_act_partials(const lt_backend *backend, int device, const lt_plan *plan);
/* Run the phases dry; fills memory but resident_bytes, work and flops. Local: no
 * communication. Errors: the networks', of shapes; LT_ENOMEM. */
lt_status lt_estimate_dry_run(const lt_estimate_of *of, lt_footprint *out);
/* Copies that wait for the disk (run/state), of one shot: of what each group of `win` holds (clip
 * bytes), on the rank that writes it; on rank 0 of the DiT's tables, and of what comes from groups
 * that do not see RUN. 0 where no step is kept. Local. Errors: LT_ENOMEM. */
lt_status lt_estimate_copies(const lt_estimate_of *of, const lt_plan *plan, int timesteps,
                             size_t clip, size_t *out);
/* The largest of the phases that ran dry, of DiT and decoders both where they are in memory
 * together; with room for alignment. Local. */
void lt_estimate_arenas(const lt_footprint *footprint, size_t *phase_bytes, size_t *step_bytes);
/* What this rank will hold beside what the dry run counted, on its device and in all: fills
 * resident_bytes, base_bytes and peak_bytes, from what this process holds now, and the device's
 * bytes. Local. */
void lt_estimate_peak(const lt_estimate_of *of, lt_footprint *footprint);
/* What this rank would need for DiT and decoders together, of a footprint of them one by one, and
 * what it may have (-1: nobody knows). Local. */
void lt_estimate_beside(const lt_estimate_of *of, const lt_footprint *footprint, double *need,
                        double *left);
/* Refuse at once a clip whose latents cannot fit: the dry run would take long to find that out.
 * Local. Errors: LT_ENOMEM with numbers. */
lt_status lt_estimate_fits_latents(const lt_estimate_of *of);
/* Refuse what cannot fit into this rank's part of the host's memory, under a limit of this process
 * (ulimit -v, -d), or into what its device has left. Local. Errors: LT_ENOMEM with numbers. */
lt_status lt_estimate_fits(const lt_estimate_of *of, const lt_footprint *footprint);

/* Bytes that one phase may have on this rank beyond what it needs, of what is scarcest; less than
 * 0: it lacks so many; LT_SPARE_MAX: nobody knows a limit. Local. */
#define LT_SPARE_MAX ((int64_t)1 << 62)
double lt_estimate_spare(const lt_estimate_of *of, const lt_footprint *footprint, lt_phase phase);

/* How long each stage takes here: fills seconds. Short jobs are not measured unless `always`. The
 * engine is open and its queues idle. Local, Blocking for some 40 ms. Errors: the backend's. */
lt_status lt_estimate_time(const lt_estimate_of *of, lt_engine *engine, int always,
                           lt_footprint *footprint);
/* Say what takes a minute or more, warn of hours, and of a prompt that takes long to encode. Rank 0
 * only. */
void lt_estimate_say(const lt_footprint *footprint, int ranks, int64_t token_count);

#endif
