/* lfs_pointer.c - what git-lfs leaves in place of a file that was not fetched. */
#include "model/files/lfs_pointer.h"

#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "model/files/remote/source.h"

enum { POINTER_BYTES_MAX = 1024 };

int lt_is_lfs_pointer(const char *path)
{
    static const char head[] = "version https://git-lfs";
    char found[sizeof head] = "";
    lt_source_file file;
    if (lt_source_open(path, &file) != LT_OK) {
        lt_error_clear();
        return 0;
    }
    int is = file.bytes >= (int64_t)sizeof head && file.bytes <= POINTER_BYTES_MAX;
    if (is && lt_source_pread(&file, path, found, sizeof head - 1, 0) != LT_OK) {
        lt_error_clear();
        is = 0;
    }
    lt_source_close(&file);
    return is && strcmp(found, head) == 0;
}

lt_status lt_lfs_pointer_fail(const char *path)
{
    char folder[LT_PATH_BYTES], word[LT_PATH_BYTES];
    if (lt_path_folder(folder, sizeof folder, path) == LT_OK)
        lt_hint("`git -C %s lfs pull` fetches the files themselves",
                lt_text_quoted(folder, word, sizeof word));
    LT_FAIL(LT_EDATA, "%s: want the file itself, found a git-lfs pointer to it", path);
}
