/* rank_process.h - finds the process of one rank that mpirun started, to send it a signal. */
#ifndef LT_TEST_RANK_PROCESS_H
#define LT_TEST_RANK_PROCESS_H

#include <dirent.h>

#include "tests/support/run.h"

/* The process of a rank of the program that has `word` among its words; alone: itself. -1: there is
 * none (yet, or any more). */
static inline pid_t run_rank_process(pid_t started, int ranks, int rank, const char *word)
{
    char path[300], want[64];
    pid_t found = -1;
    if (ranks == 1)
        return started;
    (void)snprintf(want, sizeof want, "OMPI_COMM_WORLD_RANK=%d", rank);
    DIR *all = opendir("/proc");
    assert_non_null(all);
    for (struct dirent *e = readdir(all); e != NULL && found < 0; e = readdir(all)) {
        static char text[1 << 17];
        int is_ours = 0, is_rank = 0;
        for (int k = 0; k < 2 && e->d_name[0] >= '1' && e->d_name[0] <= '9'; k++) {
            (void)snprintf(path, sizeof path, "/proc/%.200s/%s", e->d_name,
                           k == 0 ? "cmdline" : "environ");
            FILE *f = fopen(path, "rb");
            const size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
            text[n] = '\0';
            if (f != NULL)
                (void)fclose(f);
            if (k == 0 && strcmp(text, LT_PROGRAM) != 0)
                break;
            for (const char *p = text; p < text + n; p += strlen(p) + 1) {
                is_ours |= strcmp(p, word) == 0;
                is_rank |= k == 1 && strcmp(p, want) == 0;
            }
        }
        if (is_ours && is_rank)
            found = (pid_t)strtol(e->d_name, NULL, 10);
    }
    (void)closedir(all);
    return found;
}

/* Wait until a file holds a text, so long at most; 1: it does. */
static inline int run_await(const char *path, const char *text, double seconds)
{
    const double start = run_now();
    while (run_now() - start < seconds) {
        char *found = run_text(path);
        const int holds = found != NULL && strstr(found, text) != NULL;
        free(found);
        if (holds)
            return 1;
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    return 0;
}

/* Wait for the end of a process, so long at most: its exit code, 128 + n of signal n; -1: it runs
 * still. */
static inline int run_await_end(pid_t pid, double seconds)
{
    const double start = run_now();
    int status = 0;
    while (run_now() - start < seconds) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    return -1;
}

#endif
