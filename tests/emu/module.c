/* module.c - what a parsed module is asked, and the table of all rows, see ptx.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emu/ptx.h"

void ptx_free(ptx_module **module_at)
{
    ptx_module *m = *module_at;
    *module_at = NULL;
    if (m == NULL)
        return;
    for (int k = 0; k < m->count; k++) {
        free(m->functions[k].name);
        free(m->functions[k].code);
        free(m->functions[k].constants);
        free(m->functions[k].param_at);
        free(m->functions[k].param_bytes);
    }
    free(m->functions);
    free(m->text);
    free(m);
}

const ptx_function *ptx_find(const ptx_module *m, const char *name)
{
    for (int k = 0; k < m->count; k++)
        if (strcmp(m->functions[k].name, name) == 0)
            return &m->functions[k];
    return NULL;
}

/* ---- rows ---- */

static int by_spelling(const void *a, const void *b)
{
    return strcmp((*(const ptx_row *const *)a)->spelling, (*(const ptx_row *const *)b)->spelling);
}

const ptx_row *ptx_row_of(const char *spelling, size_t length)
{
    enum { ROWS_MAX = 400, SPELLING = 96 };
    static const ptx_row *const tables[] = {ptx_rows_int, ptx_rows_float, ptx_rows_convert,
                                            ptx_rows_memory, ptx_rows_warp};
    static const ptx_row *rows[ROWS_MAX];
    static size_t count;
    char text[SPELLING];
    if (count == 0) {
        for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
            for (const ptx_row *r = tables[t]; r->spelling != NULL; r++) {
                assert(count < ROWS_MAX);
                rows[count++] = r;
            }
        qsort(rows, count, sizeof *rows, by_spelling);
    }
    if (length >= sizeof text)
        return NULL;
    memcpy(text, spelling, length);
    text[length] = '\0';
    const ptx_row key = {.spelling = text}, *key_at = &key;
    const ptx_row *const *found = bsearch(&key_at, rows, count, sizeof *rows, by_spelling);
    return found != NULL ? *found : NULL;
}
