/* stream.cpp - CUDA's runtime on the host: memory, streams, events.
 *
 * With seed 0 work runs as it is queued. With another, a stream keeps it, as a device may, and it
 * runs when something needs it (a synchronisation, an event that is asked for), or because the
 * seed's sequence says so, of any stream whose head is ready. A copy reads its host memory when it
 * runs. So an order that no event asks for comes out differently under some seed. Device memory is
 * malloc's and begins as NaN (the first FRESH_BYTES_MAX). One lock, for the comm
 * queue's thread calls too. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "tests/shim/shim.h"

enum { FRESH_BYTES_MAX = 8 << 20 };

typedef enum {
    WORK_FN,
    WORK_HOST,
    WORK_KERNEL,
    WORK_COPY,
    WORK_RECORD,
    WORK_WAIT,
    WORK_VALUE
} work_kind;

struct work {
    work *next;
    work_kind kind;
    void (*fn)(void *);
    void (*kernel)(const void *);
    dim3 grid, block;
    size_t shared;
    void *to;
    const void *from;
    size_t to_pitch, from_pitch, width, rows;
    cudaEvent_t event;
    uint64_t number; /* of the event's record */
    const uint32_t *value_at;
    uint32_t value;
    unsigned char payload[1]; /* fn's and kernel's, on 16 bytes: behind this */
};

struct lt_shim_stream {
    work *first, *last;
    lt_shim_stream *next;
};

struct lt_shim_event {
    uint64_t recorded, done;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static lt_shim_stream *streams;
static uint64_t seed_now, random_state, launched, allocated;
static unsigned eager = 256; /* of 256: that queued work runs at once */
static cudaError_t last_error = cudaSuccess;

static cudaError_t fails(cudaError_t error)
{
    if (error != cudaSuccess && error != cudaErrorNotReady)
        last_error = error;
    return error;
}

void lt_shim_seed(uint64_t seed)
{
    static const unsigned chance[3] = {64, 0, 192};
    seed_now = random_state = seed;
    eager = seed == 0 ? 256 : chance[seed % 3];
}

/* For programs that know nothing of the shim. */
__attribute__((constructor)) static void seed_from_environment(void)
{
    const char *text = getenv("LT_SHIM_SEED");
    if (text != NULL)
        lt_shim_seed(strtoull(text, NULL, 10));
}

long lt_shim_launches(void)
{
    const long n = (long)launched;
    launched = 0;
    return n;
}

long lt_shim_allocations(void)
{
    return (long)__atomic_exchange_n(&allocated, 0, __ATOMIC_RELAXED);
}

/* ---- running; all with the lock held ---- */

static int ready(const lt_shim_stream *s)
{
    const work *w = s->first;
    if (w == NULL)
        return 0;
    if (w->kind == WORK_WAIT)
        return w->event->done >= w->number;
    if (w->kind == WORK_VALUE)
        return (int32_t)(__atomic_load_n(w->value_at, __ATOMIC_ACQUIRE) - w->value) >= 0;
    return 1;
}

static void *payload_of(work *w) { return (void *)(((uintptr_t)w->payload + 15) & ~(uintptr_t)15); }

static void run_first(lt_shim_stream *s)
{
    work *w = s->first;
    s->first = w->next;
    if (s->first == NULL)
        s->last = NULL;
    if (w->kind == WORK_FN) {
        launched++;
        w->fn(payload_of(w));
    } else if (w->kind == WORK_HOST) {
        w->fn(w->to);
    } else if (w->kind == WORK_KERNEL) {
        launched++;
        lt_shim_run_blocks(w->grid, w->block, w->shared, w->kernel, payload_of(w),
                           seed_now == 0 ? 0 : lt_shim_draw(&random_state) | 1);
    } else if (w->kind == WORK_COPY) {
        for (size_t r = 0; r < w->rows; r++)
            memcpy((char *)w->to + r * w->to_pitch, (const char *)w->from + r * w->from_pitch,
                   w->width);
    } else if (w->kind == WORK_RECORD && w->event->done < w->number) {
        w->event->done = w->number;
    }
    free(w);
}

static void run_something(void)
{
    lt_shim_stream *can[16];
    size_t n = 0;
    for (lt_shim_stream *s = streams; s != NULL && n < 16; s = s->next)
        if (ready(s))
            can[n++] = s;
    if (n > 0)
        run_first(can[lt_shim_draw(&random_state) % n]);
}

/* At each call that queues: perhaps more runs. */
static void perhaps(void)
{
    if (seed_now == 0) {
        for (int again = 1; again;) {
            again = 0;
            for (lt_shim_stream *s = streams; s != NULL; s = s->next)
                for (; ready(s); again = 1)
                    run_first(s);
        }
    } else if (lt_shim_draw(&random_state) % 256 < eager) {
        run_something();
    }
}

/* Until done(what) is true; another thread may be what it waits for. */
static void run_until(int (*done)(const void *), const void *what)
{
    while (!done(what)) {
        int any = 0;
        for (lt_shim_stream *s = streams; s != NULL; s = s->next)
            any |= ready(s);
        if (any) {
            run_something();
            continue;
        }
        (void)pthread_mutex_unlock(&lock);
        const struct timespec moment = {0, 20000};
        (void)nanosleep(&moment, NULL);
        (void)pthread_mutex_lock(&lock);
    }
}

static work *new_work(work_kind kind, const void *payload, size_t bytes)
{
    work *w = (work *)calloc(1, sizeof *w + bytes + 16);
    if (w == NULL)
        abort();
    w->kind = kind;
    if (bytes > 0)
        memcpy(payload_of(w), payload, bytes);
    return w;
}

static cudaError_t push(lt_shim_stream *s, work *w)
{
    if (s == NULL) { /* the default stream is none of ours */
        free(w);
        return fails(cudaErrorInvalidResourceHandle);
    }
    (void)pthread_mutex_lock(&lock);
    *(s->first == NULL ? &s->first : &s->last->next) = w;
    s->last = w;
    perhaps();
    (void)pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

void lt_shim_launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                    void (*fn)(const void *), const void *payload, size_t bytes)
{
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (threads < 1 || threads > 1024 || block.z > 64 || grid.x < 1 || grid.y < 1 || grid.z < 1 ||
        grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || shared > (48u << 10)) {
        (void)fails(cudaErrorInvalidConfiguration);
        return;
    }
    work *w = new_work(WORK_KERNEL, payload, bytes);
    w->kernel = fn;
    w->grid = grid;
    w->block = block;
    w->shared = shared;
    (void)push(stream, w);
}

cudaError_t lt_shim_enqueue(cudaStream_t stream, void (*fn)(void *), const void *payload,
                            size_t bytes)
{
    work *w = new_work(WORK_FN, payload, bytes);
    w->fn = fn;
    return push(stream, w);
}

/* ---- the device ---- */

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
        return "invalid resource handle";
    case cudaErrorNotReady:
        return "device not ready";
    default:
        return "unrecognized error code";
    }
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

static int device_count(void)
{
    const char *text = getenv("LT_SHIM_DEVICES");
    return text != NULL ? (int)strtol(text, NULL, 10) : 1;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = device_count();
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device >= 0 && device < device_count() ? cudaSuccess : fails(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device)
{
    memset(out, 0, sizeof *out);
    if (device < 0 || device >= device_count())
        return fails(cudaErrorInvalidDevice);
    out->uuid.bytes[0] = (char)(device + 1);
    memcpy(out->name, "the host, as a device", sizeof "the host, as a device");
    out->totalGlobalMem = (size_t)1 << 30;
    out->major = 9;
    out->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *all)
{
    *left = *all = (size_t)64 << 30;
    return cudaSuccess;
}

/* No launch of the host's names a kernel to the list that this is asked for. */
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *, const void *)
{
    return cudaErrorInvalidValue;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) { return cudaRuntimeGetVersion(version); }

/* Each reaches each other; none has atomics there, as over PCIe. */
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    *can = device != peer && device < device_count() && peer < device_count();
    return *can ? cudaSuccess : fails(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetP2PAttribute(int *value, enum cudaDeviceP2PAttr, int, int)
{
    *value = 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    (void)__atomic_add_fetch(&allocated, 1, __ATOMIC_RELAXED);
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (*out == NULL)
        return fails(cudaErrorMemoryAllocation);
    memset(*out, 0xff, bytes < FRESH_BYTES_MAX ? bytes : (size_t)FRESH_BYTES_MAX);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags)
{
    (void)flags;
    return cudaMalloc(out, bytes);
}

cudaError_t cudaFreeHost(void *p) { return cudaFree(p); }

/* ---- copies ---- */

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                         size_t width, size_t rows, cudaMemcpyKind kind)
{
    (void)kind;
    if (width > to_pitch || width > from_pitch)
        return fails(cudaErrorInvalidValue);
    for (size_t r = 0; r < rows; r++)
        memcpy((char *)to + r * to_pitch, (const char *)from + r * from_pitch, width);
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t rows, cudaMemcpyKind kind, cudaStream_t stream)
{
    (void)kind;
    if (width > to_pitch || width > from_pitch)
        return fails(cudaErrorInvalidValue);
    work *w = new_work(WORK_COPY, NULL, 0);
    w->to = to;
    w->from = from;
    w->to_pitch = to_pitch;
    w->from_pitch = from_pitch;
    w->width = width;
    w->rows = rows;
    return push(stream, w);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

/* ---- streams and events ---- */

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority)
{
    (void)flags, (void)priority;
    lt_shim_stream *s = (lt_shim_stream *)calloc(1, sizeof *s);
    if (s == NULL)
        return fails(cudaErrorMemoryAllocation);
    (void)pthread_mutex_lock(&lock);
    s->next = streams;
    streams = s;
    (void)pthread_mutex_unlock(&lock);
    *out = s;
    return cudaSuccess;
}

static int is_empty(const void *stream) { return ((const lt_shim_stream *)stream)->first == NULL; }

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    (void)pthread_mutex_lock(&lock);
    run_until(is_empty, stream);
    (void)pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

/* A device gets on while it is asked. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    (void)pthread_mutex_lock(&lock);
    if (!is_empty(stream))
        run_something();
    const int done = is_empty(stream);
    (void)pthread_mutex_unlock(&lock);
    return done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*fn)(void *), void *data)
{
    work *w = new_work(WORK_HOST, NULL, 0);
    w->fn = fn;
    w->to = data;
    return push(stream, w);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    (void)pthread_mutex_lock(&lock);
    run_until(is_empty, stream);
    lt_shim_stream **at = &streams;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    (void)pthread_mutex_unlock(&lock);
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    *out = (cudaEvent_t)calloc(1, sizeof **out);
    return *out != NULL ? cudaSuccess : fails(cudaErrorMemoryAllocation);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    work *w = new_work(WORK_RECORD, NULL, 0);
    w->event = event;
    w->number = ++event->recorded;
    return push(stream, w);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    work *w = new_work(WORK_WAIT, NULL, 0);
    w->event = event;
    w->number = event->recorded;
    return push(stream, w);
}

cudaError_t lt_cuda_wait_value(cudaStream_t stream, const uint32_t *at, uint32_t value)
{
    work *w = new_work(WORK_VALUE, NULL, 0);
    w->value_at = at;
    w->value = value;
    return push(stream, w);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    (void)pthread_mutex_lock(&lock);
    perhaps();
    const int done = event->done >= event->recorded;
    (void)pthread_mutex_unlock(&lock);
    return done ? cudaSuccess : cudaErrorNotReady;
}

static int has_happened(const void *event)
{
    return ((const lt_shim_event *)event)->done >= ((const lt_shim_event *)event)->recorded;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)pthread_mutex_lock(&lock);
    run_until(has_happened, event);
    (void)pthread_mutex_unlock(&lock);
    return cudaSuccess;
}
