/* modules.c - PTX out of fat binaries, see modules.h.
 *
 * A wrapper is {magic, version, pointer}; what it points to has a header of 16 bytes (magic,
 * version, its size, the size of all that follows) and entries: kind (1: PTX, 2: machine code), the
 * header's size, the payload's size, and, where flag 0x8000 is set, zstd's bytes, whose length
 * stands at 16 and whose uncompressed size at 56. None of this is documented; found by looking at
 * what nvcc 13.0 makes, so an entry that looks otherwise ends the program, in words. */
#include "tests/emu/modules.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
    WRAPPER_MAGIC = 0x466243b1,
    FAT_MAGIC = 0xba55ed50,
    KIND_PTX = 1,
    IS_ZSTD = 0x8000,
    IS_PACKED = 0xf000
};

static emu_module *modules;
static emu_kernel *kernels;

__attribute__((noreturn)) static void end(const char *what)
{
    (void)fprintf(stderr, "emu: the fat binary of longtake_cuda.so: %s\n", what);
    abort();
}

static uint64_t field(const unsigned char *at, size_t offset, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, at + offset, bytes);
    return v;
}

static char *text_of(const unsigned char *entry)
{
    const size_t head = (size_t)field(entry, 4, 4), size = (size_t)field(entry, 8, 8);
    const size_t packed = (size_t)field(entry, 16, 4), flags = (size_t)field(entry, 40, 8);
    const size_t whole = flags & IS_PACKED ? (size_t)field(entry, 56, 8) : size;
    if ((flags & IS_PACKED) != 0 && (flags & IS_PACKED) != IS_ZSTD)
        end("want PTX as text or by zstd, found another compression");
    char *text = calloc(1, whole + 1);
    if (text == NULL)
        end("no memory for its PTX");
    if ((flags & IS_PACKED) == 0)
        memcpy(text, entry + head, size);
    else if (ZSTD_isError(ZSTD_decompress(text, whole, entry + head, packed)))
        end("its PTX cannot be unpacked");
    return text;
}

emu_module *emu_modules_register(const void *wrapper)
{
    const unsigned char *w = wrapper;
    const unsigned char *fat = NULL;
    emu_module *m = calloc(1, sizeof *m);
    if (m == NULL || field(w, 0, 4) != WRAPPER_MAGIC)
        end("want its wrapper, found another magic number");
    memcpy(&fat, w + 8, sizeof fat);
    if (field(fat, 0, 4) != FAT_MAGIC)
        end("want its magic number, found another");
    m->fat = wrapper;
    const unsigned char *at = fat + field(fat, 6, 2), *last = at + field(fat, 8, 8);
    while (at < last) {
        if (field(at, 0, 2) == KIND_PTX) {
            if (m->shipped != NULL)
                end("want PTX of one architecture, found more");
            m->shipped = text_of(at);
        }
        at += field(at, 4, 4) + field(at, 8, 8);
    }
    if (m->shipped == NULL)
        end("want PTX, found none");
    m->next = modules;
    modules = m;
    return m;
}

void emu_modules_remove(emu_module *m)
{
    for (emu_kernel **at = &kernels; *at != NULL;) {
        emu_kernel *k = *at;
        if (k->module != m) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        free(k->name);
        free(k);
    }
    for (emu_module **at = &modules; *at != NULL; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    ptx_free(&m->parsed);
    free(m->shipped);
    free(m->patched);
    free(m);
}

void emu_modules_kernel(emu_module *m, const void *host, const char *name)
{
    emu_kernel *k = calloc(1, sizeof *k);
    if (k == NULL || (k->name = strdup(name)) == NULL)
        end("no memory for its kernels");
    k->host = host;
    k->module = m;
    k->next = kernels;
    kernels = k;
}

emu_kernel *emu_modules_find(const void *host)
{
    for (emu_kernel *k = kernels; k != NULL; k = k->next)
        if (k->host == host)
            return k;
    return NULL;
}

const ptx_function *emu_modules_function(emu_kernel *k, char why[PTX_WHY])
{
    emu_module *m = k->module;
    if (m->parsed == NULL)
        m->parsed = ptx_parse(m->patched != NULL ? m->patched : m->shipped, why);
    if (m->parsed == NULL)
        return NULL;
    const ptx_function *f = ptx_find(m->parsed, k->name);
    if (f == NULL)
        (void)snprintf(why, PTX_WHY, "want kernel %s in its PTX, found none", k->name);
    return f;
}

/* ---- patches ---- */

enum { CAPTURES = 10 };

typedef struct capture {
    const char *at;
    size_t length;
} capture;

static int is_register(char c)
{
    return isalnum((unsigned char)c) || c == '%' || c == '_' || c == '.';
}

/* How long what stands at `at` is, if it is `from`, in which $1 to $9 are any register or number
 * (kept in captured); 0: it is not. */
static size_t matches(const char *at, const char *from, capture captured[CAPTURES])
{
    const char *c = at;
    for (; *from != '\0'; from++) {
        if (from[0] == '$' && from[1] >= '1' && from[1] <= '9') {
            capture *p = &captured[*++from - '0'];
            for (*p = (capture){c, 0}; is_register(*c); c++)
                p->length++;
            if (p->length == 0)
                return 0;
        } else if (*c++ != *from) {
            return 0;
        }
    }
    return (size_t)(c - at);
}

/* text, with the length bytes at `at` replaced by `to`. */
static char *replaced(const char *text, const char *at, size_t length, const char *to,
                      const capture captured[CAPTURES])
{
    const size_t room = strlen(text) + 16 * strlen(to) + 256;
    char *out = malloc(room);
    if (out == NULL)
        end("no memory for a patch");
    size_t used = (size_t)(at - text);
    memcpy(out, text, used);
    for (; *to != '\0'; to++) {
        if (to[0] == '$' && to[1] >= '1' && to[1] <= '9') {
            const capture *p = &captured[*++to - '0'];
            memcpy(out + used, p->at, p->length);
            used += p->length;
        } else {
            out[used++] = *to;
        }
    }
    (void)snprintf(out + used, room - used, "%s", at + length);
    return out;
}

/* Where the kernel's text begins and ends; NULL: the module has no such kernel. */
static const char *kernel_text(const char *text, const char *kernel, const char **end_at)
{
    for (const char *entry = strstr(text, ".entry "); entry != NULL;
         entry = strstr(entry + 1, ".entry ")) {
        const char *next = strstr(entry + 1, ".entry "), *paren = strchr(entry, '(');
        const char *named = strstr(entry, kernel);
        *end_at = next != NULL ? next : text + strlen(text);
        if (named != NULL && paren != NULL && named < paren)
            return entry;
    }
    return NULL;
}

static int patch_module(emu_module *m, const char *kernel, const char *from, const char *to,
                        int nth)
{
    const char *text = m->patched != NULL ? m->patched : m->shipped, *end_at = NULL;
    const char *at = kernel_text(text, kernel, &end_at);
    capture captured[CAPTURES] = {{NULL, 0}};
    for (; at != NULL && at < end_at; at++) {
        const size_t length = matches(at, from, captured);
        if (length == 0 || nth-- > 0)
            continue;
        char *out = replaced(text, at, length, to, captured);
        free(m->patched);
        m->patched = out;
        ptx_free(&m->parsed);
        return 1;
    }
    return 0;
}

int emu_modules_patch(const char *kernel, const char *from, const char *to, int nth)
{
    for (emu_module *m = modules; m != NULL; m = m->next) {
        if (from != NULL) {
            if (patch_module(m, kernel, from, to, nth))
                return 1;
        } else if (m->patched != NULL) {
            free(m->patched);
            m->patched = NULL;
            ptx_free(&m->parsed);
        }
    }
    return from == NULL;
}
