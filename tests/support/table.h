/* table.h - rows of a test's table, kept in a file for tools/gpu_table.
 *
 * LT_TABLE names the file; it is begun anew by a process's first row, so that a folder of them is
 * what the last run of each test saw. Without it nothing is kept. Columns are tab-separated, the
 * first says of what kind the row is:
 *
 *     kind   OP                                            that there is
 *     op     OP[+OP] CASE SIZES ERROR SHARE INSTRUCTIONS   ERROR of the largest value, its SHARE of
 *                                                          what is allowed; - where not counted
 *     bug    WHAT CAUGHT-BY                                one that was put in; NOTHING
 *
 * Local. Tested: ctest -L 'shim|ptx', whose last test reads them. */
#ifndef LT_TEST_TABLE_H
#define LT_TEST_TABLE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((format(printf, 1, 2))) static inline void table_row(const char *format, ...)
{
    enum { ROW = 2000 };
    static FILE *file;
    char row[ROW];
    const char *path = getenv("LT_TABLE");
    va_list list;
    if (path == NULL)
        return;
    if (file == NULL && (file = fopen(path, "w")) == NULL) {
        (void)fprintf(stderr, "table: cannot write %s\n", path);
        abort();
    }
    va_start(list, format);
    (void)vsnprintf(row, sizeof row, format, list);
    va_end(list);
    for (char *c = row; *c != '\0'; c++)
        *c = *c == '\n' ? ' ' : *c; /* what a program said may have lines */
    (void)fprintf(file, "%s\n", row);
    (void)fflush(file);
}

#endif
