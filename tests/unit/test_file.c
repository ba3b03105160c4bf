/* test_file.c - exact reads, paths, and what memory the system grants.
 * Goal: errors name file and numbers. Method: a folder of
 * its own; /dev/full for a full disk; invented /proc and control groups. Ranks: 1. Needs: /tmp,
 * Linux. */
#include "tests/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"

static void whole_files(void **state)
{
    (void)state;
    scratch s;
    char *text = NULL;
    size_t bytes = 0;
    scratch_new(&s);
    scratch_write(&s, "a", "x\0y", 3);
    assert_int_equal(lt_file_read(scratch_path(&s, "a"), 3, &text, &bytes), LT_OK);
    assert_int_equal(bytes, 3);
    assert_memory_equal(text, "x\0y\0", 4); /* and one NUL after it */
    free(text);
    assert_int_equal(lt_file_read(scratch_path(&s, "a"), 2, &text, &bytes), LT_EDATA);
    assert_null(text);
    assert_non_null(strstr(lt_error_text(), "want at most 2 bytes, found 3"));
    scratch_write(&s, "empty", "", 0);
    assert_int_equal(lt_file_read(scratch_path(&s, "empty"), 10, &text, &bytes), LT_OK);
    assert_int_equal(bytes, 0);
    free(text);
    assert_int_equal(lt_file_read(scratch_path(&s, "none"), 10, &text, &bytes), LT_ENOINPUT);
    assert_non_null(strstr(lt_error_text(), "No such file"));
    assert_int_equal(lt_file_read(s.folder, 10, &text, &bytes), LT_ENOINPUT);
    assert_non_null(strstr(lt_error_text(), "found a folder"));
    /* A file whose size the system does not tell, longer than the first guess of 4 KiB. */
    assert_int_equal(lt_file_read("/proc/self/smaps", 1 << 26, &text, &bytes), LT_OK);
    assert_true(bytes > 4096 && strlen(text) == bytes);
    free(text);
    assert_int_equal(lt_file_read("/proc/self/smaps", 100, &text, &bytes), LT_EDATA);
    assert_int_equal(lt_file_read("/dev/zero", 100000, &text, &bytes), LT_EDATA); /* has no end */
    /* What others may have put there is not waited for. */
    assert_int_equal(mkfifo(scratch_path(&s, "pipe"), 0600), 0);
    assert_int_equal(lt_file_read_regular(scratch_path(&s, "pipe"), 10, &text, &bytes),
                     LT_ENOINPUT);
    assert_int_equal(lt_file_read_regular("/dev/zero", 10, &text, &bytes), LT_ENOINPUT);
    assert_non_null(strstr(lt_error_text(), "want a regular file"));
    assert_int_equal(lt_file_read_regular(scratch_path(&s, "a"), 3, &text, &bytes), LT_OK);
    assert_int_equal(bytes, 3);
    free(text);
    scratch_free(&s);
}

static void full_disks_are_told(void **state)
{
    (void)state;
    const int fd = open("/dev/full", O_WRONLY);
    if (fd < 0)
        skip();
    assert_int_equal(lt_file_write_full(fd, "the file", "abc", 3), LT_EIO);
    assert_non_null(strstr(lt_error_text(), "the file: writing: 0 of 3 bytes written"));
    (void)close(fd);
}

static void exact_reads(void **state)
{
    (void)state;
    scratch s;
    char buffer[8] = "";
    scratch_new(&s);
    scratch_text(&s, "a", "0123456789");
    const int fd = open(scratch_path(&s, "a"), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(lt_file_pread_full(fd, "a", buffer, 4, 6), LT_OK);
    assert_memory_equal(buffer, "6789", 4);
    assert_int_equal(lt_file_pread_full(fd, "a", buffer, 0, 100), LT_OK);
    assert_int_equal(lt_file_pread_full(fd, "a", buffer, 5, 6), LT_EIO);
    assert_string_equal(lt_error_text(),
                        "a: wanted 5 bytes at offset 6, found 4: the file ends there");
    (void)close(fd);
    assert_int_equal(lt_file_pread_full(fd, "a", buffer, 1, 0), LT_EIO);
    assert_non_null(strstr(lt_error_text(), strerror(EBADF)));
    scratch_free(&s);
}

static void paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *folder;
    } cases[] = {
        {"a/b", "a"},  {"b", "."}, {"/b", "/"}, {"/a/b/c", "/a/b"}, {"a//b", "a"},
        {"a/b/", "a"}, {"/", "/"}, {"", "."},   {"a/", "."},        {"//b", "/"},
    };
    char out[16];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(lt_path_folder(out, sizeof out, cases[i].path), LT_OK);
        if (strcmp(out, cases[i].folder) != 0)
            fail_msg("\"%s\": \"%s\"", cases[i].path, out);
    }
    assert_int_equal(lt_path_folder(out, sizeof out, "0123456789abcdef/x"), LT_EUSAGE);
    assert_int_equal(lt_path_join(out, sizeof out, "dir", "name"), LT_OK);
    assert_string_equal(out, "dir/name");
    assert_int_equal(lt_path_join(out, sizeof out, "dir/", "name"), LT_OK);
    assert_string_equal(out, "dir/name");
    assert_int_equal(lt_path_join(out, sizeof out, "0123456", "89abcde"), LT_OK); /* 15 and NUL */
    assert_int_equal(lt_path_join(out, sizeof out, "0123456", "89abcdef"), LT_EUSAGE);
}

static void folders_and_sizes(void **state)
{
    (void)state;
    scratch s;
    int64_t bytes = 0;
    scratch_new(&s);
    const char *dir = scratch_path(&s, "d"), *file = scratch_path(&s, "d/f");
    assert_int_equal(lt_file_exists(dir), 0);
    assert_int_equal(lt_dir_make(dir), LT_OK);
    assert_int_equal(lt_dir_make(dir), LT_OK); /* it is there: fine */
    assert_int_equal(lt_file_is_dir(dir), 1);
    scratch_text(&s, "d/f", "four");
    assert_int_equal(lt_dir_make(file), LT_ECREATE);
    assert_int_equal(lt_dir_make(scratch_path(&s, "no/d")), LT_ECREATE);
    assert_int_equal(lt_file_is_dir(file), 0);
    assert_int_equal(lt_file_exists(file), 1);
    assert_int_equal(lt_file_bytes(file, &bytes), LT_OK);
    assert_int_equal(bytes, 4);
    assert_int_equal(lt_file_bytes(dir, &bytes), LT_ENOINPUT);
    assert_int_equal(lt_disk_free_bytes(dir, &bytes), LT_OK);
    assert_true(bytes > 0);
    assert_int_equal(lt_disk_free_bytes(scratch_path(&s, "to-be-made"), &bytes), LT_OK);
    assert_int_equal(lt_disk_free_bytes(scratch_path(&s, "no/such/file"), &bytes), LT_ENOINPUT);
    scratch_free(&s);
}

/* A machine of 1 GB, and what groups of either version leave of it. */
static void memory_that_is_left(void **state)
{
    (void)state;
    scratch s;
    static const char *const folders[] = {"proc",
                                          "proc/self",
                                          "sys",
                                          "sys/fs",
                                          "sys/fs/cgroup",
                                          "sys/fs/cgroup/job",
                                          "sys/fs/cgroup/job/step",
                                          "sys/fs/cgroup/memory",
                                          "sys/fs/cgroup/memory/slurm"};
    scratch_new(&s);
    assert_int_equal(lt_memory_available_under(s.folder), -1); /* nothing says anything */
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        scratch_folder(&s, folders[i]);
    scratch_text(&s, "proc/meminfo",
                 "MemTotal: 2000000 kB\nMemFree: 7 kB\nMemAvailable: 1000000 kB\n");
    assert_int_equal(lt_memory_available_under(s.folder), 1024000000);
    /* Version 2: the step has no limit of its own, its job has. */
    scratch_text(&s, "proc/self/cgroup", "0::/job/step\n");
    scratch_text(&s, "sys/fs/cgroup/job/step/memory.max", "max\n");
    scratch_text(&s, "sys/fs/cgroup/job/step/memory.current", "100\n");
    assert_int_equal(lt_memory_available_under(s.folder), 1024000000);
    scratch_text(&s, "sys/fs/cgroup/job/memory.max", "5000000\n");
    scratch_text(&s, "sys/fs/cgroup/job/memory.current", "4000000\n");
    assert_int_equal(lt_memory_available_under(s.folder), 1000000);
    scratch_text(&s, "sys/fs/cgroup/job/memory.stat", "anon 9\ninactive_file 1500000\n");
    assert_int_equal(lt_memory_available_under(s.folder), 2500000);
    scratch_text(&s, "sys/fs/cgroup/job/memory.current", "9000000\n"); /* past its limit */
    assert_int_equal(lt_memory_available_under(s.folder), 0);
    /* Version 1; the path is the host's, so only the mount's own files are found. */
    scratch_text(&s, "proc/self/cgroup",
                 "5:cpu,cpuacct:/job\n4:memory:/docker/abc\n0::/elsewhere\n");
    scratch_text(&s, "sys/fs/cgroup/memory/memory.limit_in_bytes", "800000\n");
    scratch_text(&s, "sys/fs/cgroup/memory/memory.usage_in_bytes", "200000\n");
    assert_int_equal(lt_memory_available_under(s.folder), 600000);
    scratch_text(&s, "proc/self/cgroup", "4:memory:/slurm/gone\n");
    scratch_text(&s, "sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "700000\n");
    scratch_text(&s, "sys/fs/cgroup/memory/slurm/memory.usage_in_bytes", "400000\n");
    assert_int_equal(lt_memory_available_under(s.folder), 300000);
    scratch_text(&s, "proc/self/cgroup", "garbage\n:::\n7:memory\n");
    assert_int_equal(lt_memory_available_under(s.folder), 1024000000);
    assert_true(lt_memory_available_bytes() > 0); /* this machine */
    scratch_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files),       cmocka_unit_test(full_disks_are_told),
        cmocka_unit_test(exact_reads),       cmocka_unit_test(paths),
        cmocka_unit_test(folders_and_sizes), cmocka_unit_test(memory_that_is_left),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
