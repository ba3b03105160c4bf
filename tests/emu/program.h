/* program.h - the program, and longtake_cuda.so as it ships beside it, on the stand-ins.
 * A copy of both in the scratch folder: the part's sentence on what it lacks (kernels/cuda/entry.c)
 * is made empty in the copy, for it is not used otherwise. LD_LIBRARY_PATH names the stand-ins. */
#ifndef LT_EMU_PROGRAM_H
#define LT_EMU_PROGRAM_H

#include "tests/support/check.h"
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

#ifdef LT_EMU_NCCL
enum { PROGRAM_DEVICES = 2 }; /* that ranks may have of their own */
#else
enum { PROGRAM_DEVICES = 1 };
#endif

/* What the stand-ins are told (emu.h). */
typedef struct program_how {
    int ranks, devices; /* devices: as many as ranks, and tensors go over NCCL's; else one */
    const char *seed;
    const char *memory; /* of each device: MiB, or bytes and a B; NULL: 4 GiB */
} program_how;

static inline char *program_file(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*bytes + 1);
    assert_true(data != NULL && fread(data, 1, *bytes, f) == *bytes);
    (void)fclose(f);
    data[*bytes] = '\0';
    return data;
}

static inline void program_copy(const char *from, const char *name, int is_part)
{
    static const char sentence[] = "a first run on a card"; /* entry.c */
    size_t bytes = 0;
    char *data = program_file(from, &bytes);
    if (is_part) {
        char *at = memmem(data, bytes, sentence, sizeof sentence - 1);
        if (at != NULL) /* none: it lacks nothing any more */
            *at = '\0';
    }
    scratch_write(&s, name, data, bytes);
    assert_int_equal(chmod(scratch_path(&s, name), 0755), 0);
    free(data);
}

static inline int program_setup(void **state)
{
    if (scratch_setup(state) != 0)
        return -1;
    program_copy(LT_PROGRAM, "longtake", 0);
    program_copy(LT_EMU_PART, "longtake_cuda.so", 1);
    (void)setenv("LD_LIBRARY_PATH", LT_EMU_LIBRARIES, 1);
    return 0;
}

/* The copy, with these words. */
static inline run_result program_run(const program_how *how, const char *const *words)
{
    enum { LIMIT_S = 250 };
    const char *argv[RUN_WORDS_MAX];
    char program[512], devices[16];
    (void)snprintf(program, sizeof program, "%s", scratch_path(&s, "longtake"));
    (void)snprintf(devices, sizeof devices, "%d", how->devices);
    (void)setenv("LT_EMU_SEED", how->seed, 1);
    (void)setenv("LT_EMU_DEVICES", devices, 1);
    (void)setenv("LT_EMU_MEMORY", how->memory != NULL ? how->memory : "4096", 1);
    int n = run_launcher(how->ranks, argv);
    argv[n++] = program;
    for (size_t i = 0; words[i] != NULL; i++) {
        assert_true(n + 1 < RUN_WORDS_MAX);
        argv[n++] = words[i];
    }
    argv[n] = NULL;
    return run_argv(&s, argv, LIMIT_S);
}

/* How often `what` stands in a text. */
static inline int program_count(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what))
        n++;
    return n;
}

#endif
