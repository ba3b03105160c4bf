/* store_hdf5_child.c - HDF5 reads a stranger's file where its faults cannot hurt.
 *
 *     rank   fork, before MPI and threads ---> child: waits at its end of a pair of sockets
 *            opens and hashes the file
 *            the open file ------------------> parses it, within limits (lt_h5_facts)
 *            facts, length in front <--------- answers, ends
 *            checks them, reads values itself
 *
 * A rank is one process without children; this one is the exception, since nothing else holds a
 * library that crashes, and it is gone before work begins. It has no threads, it never runs a
 * program (fork, not exec: the program's libraries take longer to load than the parsing), it has
 * nothing open but its socket, and it dies with its parent. fork comes before MPI_Init, since what
 * a network has pinned must not be shared with a child; where no MPI is used, at need.
 *
 * Limits: LT_H5_CHILD_MIB of addresses beyond what the program has, LT_H5_CHILD_SECONDS of the
 * processor and by the clock. What comes back is text of at most LT_H5_FACTS_BYTES_MAX bytes, of
 * which nothing is believed either. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "run/store_hdf5_internal.h"

static struct {
    pid_t pid; /* 0: none waits */
    int socket;
} child = {0, -1};

/* ---- the child ---- */

static void limit(__rlimit_resource_t what, rlim_t most)
{
    struct rlimit now;
    if (getrlimit(what, &now) != 0)
        return;
    if (now.rlim_max == RLIM_INFINITY || now.rlim_max > most)
        now.rlim_max = most;
    now.rlim_cur = now.rlim_max;
    (void)setrlimit(what, &now);
}

static void limits_set(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%lu", &pages) != 1)
            pages = 0;
        (void)fclose(f);
    }
    if (pages > 0)
        limit(RLIMIT_AS,
              (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)LT_H5_CHILD_MIB << 20));
    limit(RLIMIT_CPU, LT_H5_CHILD_SECONDS);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
}

/* Handlers are the parent's; its end is told by the socket and by the system. */
static void signals_reset(void)
{
    static const int deaths[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGALRM};
    static const int deaf[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ};
    sigset_t none;
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++)
        (void)signal(deaths[i], SIG_DFL);
    for (size_t i = 0; i < sizeof deaf / sizeof *deaf; i++)
        (void)signal(deaf[i], SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Nothing is open but the socket, as 3: a pipe of the launcher's must not outlive the rank here. */
static int descriptors_reset(int own)
{
    const int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3 && nothing >= 0; fd++)
        (void)dup2(nothing, fd);
    if (own != 3 && dup2(own, 3) < 0)
        return -1;
    return close_range(4, ~0U, 0) == 0 || errno == ENOSYS ? 3 : -1;
}

/* One byte and an open file. -1: the parent wants nothing, or is gone. */
static int request_take(int from, char *variable)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec data = {.iov_base = variable, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    int fd = -1;
    if (recvmsg(from, &message, 0) != 1)
        return -1;
    const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head != NULL && head->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return fd;
}

static int send_all(int to, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        const ssize_t n = send(to, at, bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        at += n;
        bytes -= (size_t)n;
    }
    return 1;
}

static _Noreturn void child_main(int own, pid_t parent)
{
    char variable = 0;
    json_t *facts = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    signals_reset();
    const int socket = descriptors_reset(own);
    if (getppid() != parent || socket < 0)
        _exit(1);
    const int fd = request_take(socket, &variable);
    if (fd < 0)
        _exit(0);
    limits_set();
    lt_error_clear();
    const lt_status st = lt_h5_facts(fd, variable, &facts);
    if (st != LT_OK)
        facts = json_pack("{s:i, s:s}", "status", (int)st, "error", lt_error_text());
    char *text = facts != NULL ? json_dumps(facts, JSON_COMPACT) : NULL;
    const uint64_t bytes = text != NULL ? strlen(text) : 0;
    if (text == NULL || !send_all(socket, &bytes, sizeof bytes))
        _exit(1);
    _exit(send_all(socket, text, bytes) ? 0 : 1);
}

/* ---- the parent ---- */

lt_status lt_latents_reader_begin(void)
{
    int pair[2];
    if (child.pid != 0)
        return LT_OK;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        LT_FAIL(LT_EUNAVAIL, "no process to read HDF5 in: %s", strerror(errno));
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        (void)close(pair[0]);
        child_main(pair[1], parent);
    }
    const int error = errno;
    (void)close(pair[1]);
    if (pid < 0) {
        (void)close(pair[0]);
        LT_FAIL(LT_EUNAVAIL, "no process to read HDF5 in: %s", strerror(error));
    }
    child.pid = pid;
    child.socket = pair[0];
    return LT_OK;
}

/* Ends it, whatever it does. Its wait status. */
static int child_end(int kill_it)
{
    int status = 0;
    if (child.pid == 0)
        return 0;
    if (kill_it)
        (void)kill(child.pid, SIGKILL);
    (void)close(child.socket);
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
        ;
    child.pid = 0;
    child.socket = -1;
    return status;
}

void lt_latents_reader_end(void) { (void)child_end(1); }

static int request_give(int to, int fd, int variable)
{
    char byte = (char)(variable != 0);
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    memset(&control, 0, sizeof control);
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    return sendmsg(to, &message, MSG_NOSIGNAL) == 1;
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

typedef enum { GOT_ALL, GOT_END, GOT_LATE } got;

static got receive(int from, void *to, size_t bytes, int64_t until_ms)
{
    char *at = to;
    while (bytes > 0) {
        struct pollfd one = {.fd = from, .events = POLLIN};
        const int64_t left = until_ms - now_ms();
        const int ready = left > 0 ? poll(&one, 1, (int)left) : 0;
        if (ready == 0)
            return GOT_LATE;
        const ssize_t n = ready > 0 ? recv(from, at, bytes, MSG_DONTWAIT) : -1;
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return GOT_END;
        at += n;
        bytes -= (size_t)n;
    }
    return GOT_ALL;
}

/* The child is gone without an answer. */
static lt_status child_failed(const char *path, got how, int status)
{
    char what[64] = "ended without an answer";
    if (how == GOT_LATE ||
        (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL)))
        (void)snprintf(what, sizeof what, "took more than %d s", LT_H5_CHILD_SECONDS);
    else if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        (void)snprintf(what, sizeof what, "crashed by SIG%s", name != NULL ? name : "?");
    }
    LT_FAIL(LT_EDATA, "%s: HDF5 could not read it safely (%s)", path, what);
}

/* What the child says went wrong. */
static lt_status child_refused(const char *path, const json_t *answer)
{
    const char *text = json_string_value(json_object_get(answer, "error"));
    if (json_integer_value(json_object_get(answer, "status")) == LT_ENOMEM)
        LT_FAIL(LT_EDATA, "%s: HDF5 could not read it safely (wanted more than %d MiB)", path,
                LT_H5_CHILD_MIB);
    LT_FAIL(LT_EDATA, "%s: %s", path, text);
}

lt_status lt_h5_ask(int fd, const char *path, int variable, json_t **out)
{
    uint64_t bytes = 0;
    char *text = NULL;
    json_t *answer = NULL;
    *out = NULL;
    assert(fd >= 0);
    LT_TRY(lt_latents_reader_begin());
    const int64_t until = now_ms() + 1000 * LT_H5_CHILD_SECONDS;
    got how = request_give(child.socket, fd, variable) ? GOT_ALL : GOT_END;
    if (how == GOT_ALL)
        how = receive(child.socket, &bytes, sizeof bytes, until);
    if (how == GOT_ALL && (bytes < 1 || bytes > LT_H5_FACTS_BYTES_MAX))
        how = GOT_END;
    const int fits = how != GOT_ALL || (text = malloc((size_t)bytes)) != NULL;
    if (how == GOT_ALL && fits)
        how = receive(child.socket, text, (size_t)bytes, until);
    const int status = child_end(how == GOT_LATE || !fits);
    lt_status st = LT_OK;
    if (!fits)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory for what it holds", path);
    else
        st = how == GOT_ALL ? lt_json_parse(text, (size_t)bytes, path, &answer)
                            : child_failed(path, how, status);
    free(text);
    LT_TRY(st);
    if (json_is_string(json_object_get(answer, "error"))) {
        st = child_refused(path, answer);
        json_decref(answer);
        return st;
    }
    *out = answer;
    return LT_OK;
}
