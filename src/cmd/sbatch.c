/* sbatch.c - starts Slurm's sbatch, without a shell. */
#include "cmd/sbatch.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/env.h"
#include "base/file.h"

enum { SAID_BYTES = 4096, OPTIONS_MAX = 4 };

extern char **environ;

lt_status lt_sbatch_find(void)
{
    char path[LT_PATH_BYTES];
    const char *at = lt_env("PATH");
    while (at != NULL) {
        const size_t n = strcspn(at, ":");
        if (n > 0 && snprintf(path, sizeof path, "%.*s/sbatch", (int)n, at) < (int)sizeof path &&
            access(path, X_OK) == 0)
            return LT_OK;
        at = at[n] == ':' ? at + n + 1 : NULL;
    }
    lt_hint("--dry-run prints the script; Debian: apt-get install slurm-client");
    LT_FAIL(LT_EUNAVAIL, "submit: want Slurm's sbatch in PATH, found none");
}

/* What sbatch says on stdout and stderr, as far as there is room; the rest is read, too. */
static void read_all(int fd, char said[SAID_BYTES])
{
    char block[512];
    size_t used = 0;
    ssize_t n;
    while ((n = read(fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR))
        for (ssize_t i = 0; i < n && used + 1 < SAID_BYTES; i++)
            said[used++] = block[i];
    said[used] = '\0';
}

static lt_status start(char *const *argv, int out, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t usual;
    (void)sigemptyset(&usual);
    (void)sigaddset(&usual, SIGPIPE); /* which we ignore */
    if (posix_spawn_file_actions_init(&files) != 0)
        LT_FAIL(LT_ENOMEM, "sbatch: no memory");
    int error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        error = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        error |= posix_spawn_file_actions_adddup2(&files, out, 1);
        error |= posix_spawn_file_actions_adddup2(&files, out, 2);
        error |= posix_spawnattr_setsigdefault(&attributes, &usual);
        error |= posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
        if (error == 0)
            error = posix_spawnp(pid, argv[0], &files, &attributes, argv, environ);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&files);
    if (error != 0)
        LT_FAIL(LT_EUNAVAIL, "sbatch: cannot be started: %s", strerror(error));
    return LT_OK;
}

/* "123" or "123;cluster" on a line of its own, as --parsable has it; warnings may stand before. */
static int find_id(const char *said, char job_id[LT_SBATCH_ID_BYTES])
{
    for (const char *line = said; *line != '\0';) {
        const size_t n = strcspn(line, "\n"), digits = strspn(line, "0123456789");
        if (digits > 0 && digits < LT_SBATCH_ID_BYTES && (digits == n || line[digits] == ';')) {
            (void)snprintf(job_id, LT_SBATCH_ID_BYTES, "%.*s", (int)digits, line);
            return 1;
        }
        line += n + (line[n] == '\n');
    }
    return 0;
}

/* The line that says why: the first error of its, else its first. */
static const char *reason(char *said)
{
    char *why = strstr(said, "error: ");
    why = why != NULL ? why + strlen("error: ") : said;
    why[strcspn(why, "\n")] = '\0';
    return why[0] != '\0' ? why : "it said nothing";
}

lt_status lt_sbatch(const char *script, const char *const *options, char job_id[LT_SBATCH_ID_BYTES])
{
    char said[SAID_BYTES];
    char *argv[OPTIONS_MAX + 4] = {(char[]){"sbatch"}, (char[]){"--parsable"}};
    int ends[2], status = 0, n = 2;
    pid_t pid = -1;
    job_id[0] = '\0';
    assert(script[0] == '/'); /* never taken for an option */
    for (; options != NULL && options[n - 2] != NULL; n++) {
        assert(n - 2 < OPTIONS_MAX);
        argv[n] = (char *)(uintptr_t)options[n - 2];
    }
    argv[n] = (char *)(uintptr_t)script;
    if (pipe2(ends, O_CLOEXEC) != 0)
        LT_FAIL(LT_EUNAVAIL, "sbatch: no pipe: %s", strerror(errno));
    const lt_status st = start(argv, ends[1], &pid);
    (void)close(ends[1]);
    if (st == LT_OK)
        read_all(ends[0], said);
    (void)close(ends[0]);
    LT_TRY(st);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        lt_hint("--dry-run prints the script");
        LT_FAIL(LT_EUNAVAIL, "sbatch: %.400s", reason(said));
    }
    if (!find_id(said, job_id))
        LT_FAIL(LT_EUNAVAIL, "sbatch: want a job's number, found '%.200s'", said);
    return LT_OK;
}
