/* fuzz_main.h - one source, two programs: a libFuzzer target, and a bounded loop for any compiler.
 *
 * A target defines LLVMFuzzerTestOneInput and a table of seeds and ends in FUZZ_MAIN:
 *
 *     int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { ...; return 0; }
 *     static const fuzz_seed seeds[] = {FUZZ_SEED("{\"a\": 1}"), FUZZ_SEED("[1, 2]")};
 *     FUZZ_MAIN("json", seeds, 4096)
 *
 * Built with -DLT_LIBFUZZER (clang -fsanitize=fuzzer) FUZZ_MAIN is nothing and libFuzzer drives.
 * Else it is a main:
 *     fuzz_json [--runs N] [--seed N] [--seconds S] [--write-seeds DIR] [FILE...]
 * FILEs are run once each (to see a crash again). Without them every seed is run as it is, then N
 * mutated ones (default 4000) by a generator of its own, so a seed number names the same inputs on
 * every machine; it stops after S seconds (default 20) whatever N says. Input that crashes, or
 * takes longer than 10 seconds, is kept as ./crash-NAME before the program dies. The bytes given to
 * the target lie in a block of exactly their size, so that AddressSanitizer sees a read past the
 * end.
 *
 * A target must be free of state from one input to the next: it frees all that it made. */
#ifndef FUZZ_MAIN_H
#define FUZZ_MAIN_H

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct fuzz_seed {
    const void *data;
    size_t bytes;
} fuzz_seed;

/* A string literal's bytes, without the final NUL; bytes inside may be NUL. */
#define FUZZ_SEED(literal)                                                                         \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef LT_LIBFUZZER
#define FUZZ_MAIN(name, seeds, bytes_max)                                                          \
    const fuzz_seed *fuzz_seeds_of_libfuzzer(void);                                                \
    const fuzz_seed *fuzz_seeds_of_libfuzzer(void) { return (seeds); }
#else
#define FUZZ_MAIN(name, seeds, bytes_max)                                                          \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return fuzz_main((name), (seeds), sizeof(seeds) / sizeof *(seeds), (bytes_max), argc,      \
                         argv);                                                                    \
    }

/* AddressSanitizer calls back before it ends the process; absent in other builds. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static struct {
    const char *name;
    const uint8_t *data; /* the input at work, NULL between inputs */
    size_t bytes;
    uint64_t random;
} fuzz;

static void fuzz_keep_input(void)
{
    char path[128];
    if (fuzz.data == NULL)
        return;
    (void)snprintf(path, sizeof path, "crash-%s", fuzz.name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd >= 0) {
        const ssize_t put = write(fd, fuzz.data, fuzz.bytes);
        (void)close(fd);
        fprintf(stderr, "fuzz_%s: input of %zu bytes kept as %s (%zd written)\n", fuzz.name,
                fuzz.bytes, path, put);
    }
    fuzz.data = NULL;
}

static void fuzz_on_signal(int number)
{
    fprintf(stderr, "fuzz_%s: signal %d%s\n", fuzz.name, number,
            number == SIGALRM ? ": an input took too long" : "");
    fuzz_keep_input();
    _exit(99);
}

static void fuzz_one(const void *data, size_t bytes)
{
    uint8_t *exact = malloc(bytes > 0 ? bytes : 1);
    if (exact == NULL)
        abort();
    if (bytes > 0)
        memcpy(exact, data, bytes);
    fuzz.data = exact;
    fuzz.bytes = bytes;
    (void)alarm(10);
    (void)LLVMFuzzerTestOneInput(exact, bytes);
    (void)alarm(0);
    fuzz.data = NULL;
    free(exact);
}

/* splitmix64; 0 <= result < n, n >= 1. The slight bias does not matter here. */
static size_t fuzz_pick(size_t n)
{
    fuzz.random += 0x9e3779b97f4a7c15u;
    uint64_t z = fuzz.random;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (size_t)((z ^ z >> 31) % n);
}

/* Put count bytes at `at`, as far as there is room. */
static size_t fuzz_insert(uint8_t *data, size_t bytes, size_t bytes_max, size_t at,
                          const void *from, size_t count)
{
    uint8_t part[256];
    if (count > sizeof part)
        count = sizeof part;
    if (count > bytes_max - bytes)
        count = bytes_max - bytes;
    memcpy(part, from, count); /* from may lie inside data */
    memmove(data + at + count, data + at, bytes - at);
    memcpy(data + at, part, count);
    return bytes + count;
}

/* What numbers and words a text format stumbles over. */
/* clang-format off */
static const char *const fuzz_words[] = {
    "0", "-1", "255", "65536", "2147483647", "-2147483648", "4294967296", "9223372036854775807",
    "-9223372036854775808", "18446744073709551616", "1e308", "1e-400", "0.1", "null", "true",
    "{", "}", "[", "]", "[[[[[[[[", "{\"\":", "\"", "\\", "\\u0000", "\\ud800", ": ", ", ",
    "- ", "\n", "\n  ", "&a ", "*a", "!!int ", "# ", "'", "|\n", "x", "--", "=", "\xef\xbb\xbf",
    "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
};
/* clang-format on */

/* One change of one kind; returns the new size. */
static size_t fuzz_mutate(uint8_t *data, size_t bytes, size_t bytes_max, const fuzz_seed *other)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0x20, 0x0a, 0x22};
    const size_t at = fuzz_pick(bytes + 1), rest = bytes - at;
    size_t count = 0;
    switch (fuzz_pick(8)) {
    case 0: /* flip a bit */
        if (rest > 0)
            data[at] ^= (uint8_t)(1u << fuzz_pick(8));
        return bytes;
    case 1: /* an edge value, or any */
        if (rest > 0)
            data[at] = fuzz_pick(2) ? edges[fuzz_pick(sizeof edges)] : (uint8_t)fuzz_pick(256);
        return bytes;
    case 2: /* take a part out */
        count = rest > 0 ? 1 + fuzz_pick(rest < 16 ? rest : 16) : 0;
        memmove(data + at, data + at + count, rest - count);
        return bytes - count;
    case 3: /* cut the end off */
        return fuzz_pick(4) == 0 ? at : bytes;
    case 4: /* say a part twice */
        count = rest > 0 ? 1 + fuzz_pick(rest < 64 ? rest : 64) : 0;
        return fuzz_insert(data, bytes, bytes_max, at, data + at, count);
    case 5: /* a part of another seed */
        count = other->bytes > 0 ? fuzz_pick(other->bytes) : 0;
        return fuzz_insert(data, bytes, bytes_max, at, (const uint8_t *)other->data + count,
                           other->bytes - count);
    case 6: /* a number of 1, 2, 4 or 8 bytes, as binary headers have them */
        count = (size_t)1 << fuzz_pick(4);
        if (rest >= count)
            memset(data + at, fuzz_pick(2) ? 0xff : 0x00, count);
        return bytes;
    default: /* a word that parsers trip over */
        count = fuzz_pick(sizeof fuzz_words / sizeof *fuzz_words);
        return fuzz_insert(data, bytes, bytes_max, at, fuzz_words[count],
                           strlen(fuzz_words[count]));
    }
}

static void fuzz_loop(const fuzz_seed *seeds, size_t seed_count, size_t bytes_max, long runs,
                      double seconds)
{
    uint8_t *data = malloc(bytes_max);
    struct timespec start, now;
    long done = 0;
    if (data == NULL)
        abort();
    for (size_t i = 0; i < seed_count; i++)
        fuzz_one(seeds[i].data, seeds[i].bytes);
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (; done < runs; done++) {
        const fuzz_seed *from = &seeds[fuzz_pick(seed_count)];
        size_t bytes = from->bytes < bytes_max ? from->bytes : bytes_max;
        memcpy(data, from->data, bytes);
        for (size_t n = 1 + fuzz_pick(8); n > 0; n--)
            bytes = fuzz_mutate(data, bytes, bytes_max, &seeds[fuzz_pick(seed_count)]);
        fuzz_one(data, bytes);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        if ((double)(now.tv_sec - start.tv_sec) > seconds)
            break;
    }
    free(data);
    printf("fuzz_%s: %zu seeds, %ld mutated inputs, no crash\n", fuzz.name, seed_count, done);
}

static int fuzz_file(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "fuzz_%s: %s cannot be opened\n", fuzz.name, path);
        return 66;
    }
    const size_t bytes = fread(data, 1, sizeof data, file);
    (void)fclose(file);
    fuzz_one(data, bytes);
    printf("fuzz_%s: %s: no crash\n", fuzz.name, path);
    return 0;
}

static int fuzz_write_seeds(const char *folder, const fuzz_seed *seeds, size_t seed_count)
{
    for (size_t i = 0; i < seed_count; i++) {
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/seed-%03zu", folder, i);
        FILE *file = fopen(path, "wb");
        if (file == NULL || fwrite(seeds[i].data, 1, seeds[i].bytes, file) != seeds[i].bytes ||
            fclose(file) != 0) {
            fprintf(stderr, "fuzz_%s: %s cannot be written\n", fuzz.name, path);
            return 73;
        }
    }
    return 0;
}

static int fuzz_main(const char *name, const fuzz_seed *seeds, size_t seed_count, size_t bytes_max,
                     int argc, char **argv)
{
    long runs = 4000;
    double seconds = 20;
    int files = 0;
    fuzz.name = name;
    fuzz.random = 1;
    static const int deaths[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++)
        /* AddressSanitizer's own handler tells more about a bad address than ours does. */
        if (__sanitizer_set_death_callback == NULL || deaths[i] == SIGALRM || deaths[i] == SIGABRT)
            (void)signal(deaths[i], fuzz_on_signal);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(fuzz_keep_input);
    for (int i = 1; i < argc; i++) {
        const int has_value = i + 1 < argc;
        if (has_value && strcmp(argv[i], "--runs") == 0) {
            runs = strtol(argv[++i], NULL, 10);
        } else if (has_value && strcmp(argv[i], "--seed") == 0) {
            fuzz.random = strtoull(argv[++i], NULL, 10);
        } else if (has_value && strcmp(argv[i], "--seconds") == 0) {
            seconds = strtod(argv[++i], NULL);
        } else if (has_value && strcmp(argv[i], "--write-seeds") == 0) {
            return fuzz_write_seeds(argv[++i], seeds, seed_count);
        } else {
            const int failed = fuzz_file(argv[i]);
            if (failed)
                return failed;
            files++;
        }
    }
    if (files == 0)
        fuzz_loop(seeds, seed_count, bytes_max, runs, seconds);
    return 0;
}
#endif

#endif
