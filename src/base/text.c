/* text.c - UTF-8, what a terminal may see, edit distance, shortest numbers.
 * Sources: Unicode 15, table 3-7 (well-formed UTF-8); optimal string alignment is Damerau's
 * distance without overlapping edits. */
#include "base/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t lt_utf8_next(const char *text, size_t bytes, uint32_t *code)
{
    const unsigned char *s = (const unsigned char *)text;
    assert(bytes >= 1);
    if (s[0] < 0x80) {
        *code = s[0];
        return 1;
    }
    const size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || bytes < n)
        return 0;
    uint32_t c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0u) != 0x80u)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)) ||
        (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code = c;
    return n;
}

int lt_utf8_valid(const char *text, size_t bytes)
{
    uint32_t code;
    for (size_t i = 0, n; i < bytes; i += n) {
        n = lt_utf8_next(text + i, bytes - i, &code);
        if (n == 0)
            return 0;
    }
    return 1;
}

int lt_text_is_safe(uint32_t c)
{
    /* Unicode 15: what is Bidi_Control (UAX 9), ends a line (UAX 14, BK), or is Cf for machines. */
    static const uint32_t unsafe[][2] = {{0x0, 0x1f},      {0x7f, 0x9f},     {0x61c, 0x61c},
                                         {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069},
                                         {0xfff9, 0xfffb}, {0xfeff, 0xfeff}, {0xe0000, 0xe007f}};
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++)
        if (c >= unsafe[i][0] && c <= unsafe[i][1])
            return 0;
    return 1;
}

char *lt_text_printable(char *text)
{
    size_t to = 0;
    for (size_t i = 0, bytes = strlen(text), n; i<bytes; i += n> 0 ? n : 1) {
        uint32_t code = 0;
        n = lt_utf8_next(text + i, bytes - i, &code);
        if (n == 0 || !lt_text_is_safe(code)) {
            text[to++] = '?';
            continue;
        }
        memmove(text + to, text + i, n);
        to += n;
    }
    text[to] = '\0';
    return text;
}

const char *lt_text_quoted(const char *text, char *out, size_t bytes)
{
    static const char quote[] = "'\\''"; /* ends the quotes, a quote by itself, begins them again */
    size_t n = 0;
    assert(bytes >= 3);
    out[n++] = '\'';
    for (; *text != '\0'; text++) {
        const size_t more = *text == '\'' ? sizeof quote - 1 : 1;
        if (n + more + 2 > bytes)
            break;
        memcpy(out + n, *text == '\'' ? quote : text, more);
        n += more;
    }
    out[n++] = '\'';
    out[n] = '\0';
    return out;
}

int lt_text_is_blank(const char *text)
{
    /* Unicode 15, PropList.txt, White_Space; then what has no width. */
    static const uint32_t blank[][2] = {
        {0x9, 0xd},       {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
        {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000},
        {0xad, 0xad},     {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2060, 0x2064}, {0x2800, 0x2800},
        {0x3164, 0x3164}, {0xfeff, 0xfeff}};
    uint32_t code = 0;
    for (size_t i = 0, bytes = strlen(text), n; i < bytes; i += n) {
        n = lt_utf8_next(text + i, bytes - i, &code);
        if (n == 0)
            return 0;
        size_t k = 0;
        while (k < sizeof blank / sizeof *blank && (code < blank[k][0] || code > blank[k][1]))
            k++;
        if (k == sizeof blank / sizeof *blank)
            return 0;
    }
    return 1;
}

static int least(int a, int b) { return a < b ? a : b; }

int lt_edit_distance(const char *a, const char *b)
{
    enum { MAX = 63 };
    int rows[3][MAX + 1]; /* of the table: the one before last, the last, the present one */
    const size_t na = strlen(a), nb = strlen(b);
    if (na > MAX || nb > MAX)
        return LT_TEXT_FAR;
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= nb; j++)
        before[j] = last[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        int *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[nb];
}

const char *lt_real_text(double x, char buffer[32])
{
    for (int digits = 15; digits <= 17; digits++) { /* %g drops what 15 have too many */
        (void)snprintf(buffer, 32, "%.*g", digits, x);
        if (strtod(buffer, NULL) == x)
            break;
    }
    return buffer;
}

char *lt_text_digits(char *at, int64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + digits;
}
