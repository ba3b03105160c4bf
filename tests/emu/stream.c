/* stream.c - streams, events and what runs on them, see emu.h and stream.h.
 *
 * One lock holds all. Work runs on whatever thread needs it. A wait for a word of the host's, which
 * another thread sets, lets go of the lock between two looks; if nothing can run for STUCK_S
 * seconds, the device is declared broken, so that a test ends with a line. */
#include "tests/emu/stream.h"

#include "tests/emu/timeline.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STUCK_S = 60, LOOK_NS = 20000, STREAMS_MAX = 16, SOILED = 1 << 18 };

typedef enum {
    WORK_FN,
    WORK_HOST,
    WORK_KERNEL,
    WORK_COPY,
    WORK_RECORD,
    WORK_WAIT,
    WORK_VALUE
} work_kind;

typedef struct work {
    struct work *next;
    work_kind kind;
    void (*fn)(void *);
    void *data; /* of WORK_HOST's fn */
    ptx_launch launch;
    emu_copy copy;
    cudaEvent_t event;
    uint64_t number; /* of the event's record */
    const uint32_t *value_at;
    uint32_t value;
    _Alignas(16) unsigned char payload[]; /* fn's; a kernel's parameters */
} work;

struct CUstream_st {
    work *first, *last;
    struct CUstream_st *next;
};

struct CUevent_st {
    uint64_t recorded, done;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct CUstream_st *streams;
static uint64_t seed_now, random_state;
static unsigned eager = 256; /* of 256: that queued work runs at once */
static cudaError_t last_error, broken;
static char wrong[PTX_WHY];
static int loud = 1, sums;
static lt_emu_bug bug;

void emu_enter(void) { (void)pthread_mutex_lock(&lock); }
void emu_leave(void) { (void)pthread_mutex_unlock(&lock); }

static void say(const char *what)
{
    if (wrong[0] == '\0')
        (void)snprintf(wrong, sizeof wrong, "%s", what);
    if (loud)
        (void)fprintf(stderr, "emu: %s\n", what);
}

cudaError_t emu_fails(cudaError_t error, const char *what)
{
    if (what != NULL)
        say(what);
    if (error != cudaSuccess && error != cudaErrorNotReady)
        last_error = error;
    return error;
}

void emu_breaks(const char *what)
{
    if (broken == cudaSuccess)
        say(what);
    broken = last_error = cudaErrorLaunchFailure;
}

cudaError_t emu_state(void) { return broken; }

/* ---- what tests say ---- */

static void set_seed(uint64_t seed)
{
    static const unsigned chance[3] = {64, 0, 192};
    seed_now = random_state = seed;
    eager = seed == 0 ? 256 : chance[seed % 3];
}

__attribute__((constructor)) static void seed_from_environment(void)
{
    const char *text = getenv("LT_EMU_SEED");
    if (text != NULL)
        set_seed(strtoull(text, NULL, 10));
}

void lt_emu_seed(uint64_t seed)
{
    emu_enter();
    set_seed(seed);
    emu_leave();
}

void lt_emu_sums(int kind) { sums = kind; }
void lt_emu_set_bug(lt_emu_bug which) { bug = which; }
void lt_emu_say(int is_loud) { loud = is_loud; }
const char *lt_emu_wrong(void) { return wrong; }
void lt_emu_load(const char *name) { emu_note(EMU_LOAD, name); }

void lt_emu_refuse(const char *what)
{
    emu_enter();
    say(what);
    emu_leave();
}

void lt_emu_set_memory(size_t bytes)
{
    emu_enter();
    emu_memory_set_limit(bytes);
    emu_leave();
}

void lt_emu_forgive(void)
{
    emu_enter();
    emu_run_all();
    last_error = broken = cudaSuccess;
    wrong[0] = '\0';
    emu_leave();
}

int lt_emu_patch(const char *kernel, const char *from, const char *to, int nth)
{
    emu_enter();
    emu_run_all();
    const int done = emu_modules_patch(kernel, from, to, nth);
    emu_leave();
    return done;
}

/* ---- copies ---- */

/* Of one row: where its bytes are, or NULL. is_write 2: what is there has no value from now on. */
static unsigned char *row_at(uint64_t address, size_t width, int is_device, int is_write,
                             const char *what)
{
    char text[160];
    if (!is_device && !emu_memory_is_device(address))
        return (unsigned char *)(uintptr_t)address;
    emu_range *r = emu_memory_find(address, width);
    const char *why = !is_device                  ? "the host's end is an address of the device"
                      : r == NULL || r->is_pinned ? "outside of the device's memory"
                                                  : NULL;
    if (why != NULL) {
        (void)snprintf(text, sizeof text, "%s of %zu bytes: %s, 0x%llx", what, width, why,
                       (unsigned long long)address);
        emu_breaks(text);
        return NULL;
    }
    const size_t at = (size_t)(address - r->address);
    if (is_write == 2) {
        memset(r->known + at, 0, width < SOILED ? width : (size_t)SOILED);
    } else if (is_write) {
        memset(r->known + at, 1, width);
        memset(r->stamp + at, 0, width * sizeof *r->stamp);
    } else if (memchr(r->known + at, 0, width) != NULL) {
        (void)snprintf(text, sizeof text, "%s of %zu bytes: reads memory that has no value, 0x%llx",
                       what, width, (unsigned long long)address);
        emu_breaks(text);
        return NULL;
    }
    return r->data + at;
}

int emu_do_copy(const emu_copy *c)
{
    const int to_device = c->kind == cudaMemcpyHostToDevice || c->kind == cudaMemcpyDeviceToDevice;
    const int from_device =
        c->kind == cudaMemcpyDeviceToHost || c->kind == cudaMemcpyDeviceToDevice;
    const size_t rows = bug == LT_EMU_SHORT_COPY && c->rows > 1 ? c->rows - 1 : c->rows;
    for (size_t r = 0; r < rows && c->width > 0; r++) {
        const unsigned char *from =
            row_at(c->from + r * c->from_pitch, c->width, from_device, 0, "a copy's source");
        unsigned char *to =
            row_at(c->to + r * c->to_pitch, c->width, to_device, 1, "a copy's target");
        if (from == NULL || to == NULL)
            return 0;
        memcpy(to, from, c->width);
    }
    return 1;
}

/* ---- running; all with the lock held ---- */

static int ready(const struct CUstream_st *s)
{
    const work *w = s->first;
    if (w == NULL)
        return 0;
    if (broken != cudaSuccess)
        return 1;
    if (w->kind == WORK_WAIT)
        return bug == LT_EMU_NO_WAIT || w->event->done >= w->number;
    if (w->kind == WORK_VALUE)
        return bug == LT_EMU_NO_VALUE ||
               (int32_t)(__atomic_load_n(w->value_at, __ATOMIC_ACQUIRE) - w->value) >= 0;
    return 1;
}

static void run_kernel(work *w)
{
    ptx_counts c = {.launches = 0};
    char why[PTX_WHY];
    w->launch.params = w->payload;
    w->launch.seed = seed_now == 0 ? 0 : emu_draw(&random_state) | 1;
    w->launch.sums = sums;
    if (ptx_run_launch(&w->launch, &c, why))
        emu_breaks(why);
    emu_note_launch(&w->launch, &c);
}

static void do_work(work *w)
{
    if (w->kind == WORK_RECORD && w->event->done < w->number)
        w->event->done = w->number;
    if (broken != cudaSuccess) /* what is queued is left out, as on a card */
        return;
    if (w->kind == WORK_FN) {
        emu_note_product();
        w->fn(w->payload);
    } else if (w->kind == WORK_HOST) {
        w->fn(w->data);
    } else if (w->kind == WORK_KERNEL) {
        run_kernel(w);
    } else if (w->kind == WORK_COPY) {
        (void)emu_do_copy(&w->copy);
    }
}

static void run_first(struct CUstream_st *s)
{
    work *w = s->first;
    s->first = w->next;
    if (s->first == NULL)
        s->last = NULL;
    do_work(w);
    free(w);
}

static int run_something(void)
{
    struct CUstream_st *can[STREAMS_MAX];
    size_t n = 0;
    for (struct CUstream_st *s = streams; s != NULL && n < STREAMS_MAX; s = s->next)
        if (ready(s))
            can[n++] = s;
    if (n > 0)
        run_first(can[emu_draw(&random_state) % n]);
    return n > 0;
}

/* At each call that queues: perhaps more runs. */
static void perhaps(void)
{
    if (seed_now != 0) {
        if (emu_draw(&random_state) % 256 < eager)
            (void)run_something();
        return;
    }
    for (int again = 1; again;) {
        again = 0;
        for (struct CUstream_st *s = streams; s != NULL; s = s->next)
            for (; ready(s); again = 1)
                run_first(s);
    }
}

/* Until done(what); another thread may be what it waits for. */
static void run_until(int (*done)(const void *), const void *what)
{
    const time_t since = time(NULL);
    time_t last = since;
    while (!done(what) && broken == cudaSuccess) {
        if (run_something()) {
            last = time(NULL);
            continue;
        }
        emu_leave();
        const struct timespec moment = {0, LOOK_NS};
        (void)nanosleep(&moment, NULL);
        emu_enter();
        if (time(NULL) - last > STUCK_S)
            emu_breaks("streams that wait for each other, or for a word that nobody sets");
    }
}

static int all_empty(const void *unused)
{
    (void)unused;
    for (const struct CUstream_st *s = streams; s != NULL; s = s->next)
        if (s->first != NULL)
            return 0;
    return 1;
}

/* What a broken device has queued goes too. */
void emu_run_all(void)
{
    run_until(all_empty, NULL);
    while (broken != cudaSuccess && run_something())
        ;
}

/* ---- queueing ---- */

static work *new_work(work_kind kind, const void *payload, size_t bytes)
{
    work *w = aligned_alloc(16, (sizeof *w + bytes + 15) / 16 * 16);
    if (w == NULL)
        abort();
    memset(w, 0, sizeof *w);
    w->kind = kind;
    if (bytes > 0)
        memcpy(w->payload, payload, bytes);
    return w;
}

static cudaError_t push(cudaStream_t stream, work *w)
{
    emu_enter();
    struct CUstream_st *s = streams;
    while (s != NULL && s != stream)
        s = s->next;
    cudaError_t error = broken;
    if (s == NULL && error == cudaSuccess)
        error =
            emu_fails(cudaErrorInvalidResourceHandle, "want a stream that was made, found none");
    if (error == cudaSuccess) {
        *(s->first == NULL ? &s->first : &s->last->next) = w;
        s->last = w;
        perhaps();
        error = broken != cudaSuccess && seed_now == 0 ? broken : cudaSuccess;
    } else {
        free(w);
    }
    emu_leave();
    return error;
}

cudaError_t emu_queue_kernel(cudaStream_t stream, const ptx_launch *launch)
{
    emu_note(EMU_LAUNCH, "");
    work *w = new_work(WORK_KERNEL, launch->params, (size_t)launch->f->params_bytes);
    w->launch = *launch;
    return push(stream, w);
}

cudaError_t emu_queue_copy(cudaStream_t stream, const emu_copy *copy)
{
    work *w = new_work(WORK_COPY, NULL, 0);
    w->copy = *copy;
    return push(stream, w);
}

cudaError_t emu_queue_value(cudaStream_t stream, const uint32_t *at, uint32_t value)
{
    emu_note(EMU_EXCHANGE, "");
    work *w = new_work(WORK_VALUE, NULL, 0);
    w->value_at = at;
    w->value = value;
    return push(stream, w);
}

int lt_emu_enqueue(void *stream, void (*fn)(void *), const void *payload, size_t bytes)
{
    emu_note(EMU_LAUNCH, "");
    work *w = new_work(WORK_FN, payload, bytes);
    w->fn = fn;
    return push(stream, w) == cudaSuccess;
}

void *lt_emu_at(const char *who, const void *address, size_t bytes, int is_write)
{
    return row_at((uint64_t)(uintptr_t)address, bytes, 1, is_write, who);
}

/* ---- CUDA's names ---- */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority)
{
    struct CUstream_st *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    emu_note(EMU_MAKE, "cudaStreamCreateWithPriority");
    emu_enter();
    const int good = flags == cudaStreamNonBlocking && priority <= 0 && priority >= -5;
    s->next = streams;
    streams = s;
    *out = s;
    const cudaError_t error =
        good ? broken
             : emu_fails(cudaErrorInvalidValue, "want a stream that does not wait for the default "
                                                "one, of a priority from 0 to -5");
    emu_leave();
    return error;
}

static int is_empty(const void *stream) { return ((cudaStream_t)(uintptr_t)stream)->first == NULL; }

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    emu_note(EMU_BLOCK, "cudaStreamSynchronize");
    emu_enter();
    if (bug != LT_EMU_NO_SYNC)
        run_until(is_empty, stream);
    const cudaError_t error = broken;
    emu_leave();
    return error;
}

/* A device gets on while it is asked. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    emu_note(EMU_BLOCK, "cudaStreamQuery");
    emu_enter();
    if (!is_empty(stream))
        (void)run_something();
    const cudaError_t error = broken != cudaSuccess ? broken
                              : is_empty(stream)    ? cudaSuccess
                                                    : cudaErrorNotReady;
    emu_leave();
    return error;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *data)
{
    work *w = new_work(WORK_HOST, NULL, 0);
    w->fn = fn;
    w->data = data;
    return push(stream, w);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    emu_note(EMU_BLOCK, "cudaStreamDestroy");
    emu_enter();
    run_until(is_empty, stream);
    while (stream->first != NULL) /* of a broken device */
        run_first(stream);
    struct CUstream_st **at = &streams;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    emu_leave();
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        abort();
    emu_note(EMU_MAKE, "cudaEventCreateWithFlags");
    if (flags & cudaEventDisableTiming)
        return cudaSuccess;
    return emu_fails(cudaErrorInvalidValue, "want an event without a clock");
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    emu_enter();
    for (const struct CUstream_st *s = streams; s != NULL; s = s->next)
        for (work *w = s->first; w != NULL; w = w->next)
            if (w->event == event) { /* as CUDA: it ends when it has happened */
                emu_run_all();
                s = streams;
                break;
            }
    emu_leave();
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    work *w = new_work(WORK_RECORD, NULL, 0);
    emu_enter();
    w->event = event;
    w->number = ++event->recorded;
    emu_leave();
    return push(stream, w);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    work *w = new_work(WORK_WAIT, NULL, 0);
    (void)flags;
    emu_enter();
    w->event = event;
    w->number = event->recorded;
    emu_leave();
    return push(stream, w);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    emu_enter();
    perhaps();
    const int done = event->done >= event->recorded;
    const cudaError_t error = broken != cudaSuccess ? broken
                              : done                ? cudaSuccess
                                                    : cudaErrorNotReady;
    emu_leave();
    return error;
}

static int has_happened(const void *event)
{
    const struct CUevent_st *e = event;
    return e->done >= e->recorded;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    emu_note(EMU_BLOCK, "cudaEventSynchronize");
    emu_enter();
    run_until(has_happened, event);
    const cudaError_t error = broken;
    emu_leave();
    return error;
}

cudaError_t cudaGetLastError(void)
{
    emu_enter();
    const cudaError_t error = last_error;
    last_error = broken;
    emu_leave();
    return error;
}
