/* bpe_text.c - what the tokenizer must know of Unicode: NFC and words.
 *
 * Words. The published pattern is a list of alternatives, of which the first that fits here wins:
 *
 *     (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}
 *         |  ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 *
 * Every code point is one of four things (space, letter, number, other), so the pattern needs no
 * engine that backtracks: each alternative is decided by the next two code points and the run that
 * begins there. Written out it is linear in the text, has no limit that a long text could meet, and
 * does not depend on how an engine reads \s. A library's tables are used for \p{L} and \p{N}; what
 * Unicode assigned after them stands in `later` below, so that ids are the reference's whatever the
 * library's age.
 *
 * NFC. Decomposition and composition are utf8proc's; the order of combining marks between them is
 * ours, since utf8proc exchanges neighbours until all are in place: a text of nothing but marks
 * would take quadratic time. The reference's NFC knows Unicode 9: marks of later versions stay
 * where they are and end what may compose. Its ids are what the network was shown, so they are
 * `young` here. */
#include "model/text/bpe_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/text.h"

/* ---- classes ---- */

static int is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

/* Letters and numbers of Unicode 15.1 and 16, by code point (DerivedGeneralCategory.txt). */
static const struct {
    uint32_t first, last;
    lt_bpe_class class;
} later[] = {
    {0x01c89, 0x01c8a, LT_BPE_LETTER}, {0x0a7cb, 0x0a7cd, LT_BPE_LETTER},
    {0x0a7da, 0x0a7dc, LT_BPE_LETTER}, {0x105c0, 0x105f3, LT_BPE_LETTER},
    {0x10d40, 0x10d49, LT_BPE_NUMBER}, {0x10d4a, 0x10d65, LT_BPE_LETTER},
    {0x10d6f, 0x10d85, LT_BPE_LETTER}, {0x10ec2, 0x10ec4, LT_BPE_LETTER},
    {0x11380, 0x11389, LT_BPE_LETTER}, {0x1138b, 0x1138b, LT_BPE_LETTER},
    {0x1138e, 0x1138e, LT_BPE_LETTER}, {0x11390, 0x113b5, LT_BPE_LETTER},
    {0x113b7, 0x113b7, LT_BPE_LETTER}, {0x113d1, 0x113d1, LT_BPE_LETTER},
    {0x113d3, 0x113d3, LT_BPE_LETTER}, {0x116d0, 0x116e3, LT_BPE_NUMBER},
    {0x11bc0, 0x11be0, LT_BPE_LETTER}, {0x11bf0, 0x11bf9, LT_BPE_NUMBER},
    {0x13460, 0x143fa, LT_BPE_LETTER}, {0x16100, 0x1611d, LT_BPE_LETTER},
    {0x16130, 0x16139, LT_BPE_NUMBER}, {0x16d40, 0x16d6c, LT_BPE_LETTER},
    {0x16d70, 0x16d79, LT_BPE_NUMBER}, {0x18cff, 0x18cff, LT_BPE_LETTER},
    {0x1ccf0, 0x1ccf9, LT_BPE_NUMBER}, {0x1e5d0, 0x1e5ed, LT_BPE_LETTER},
    {0x1e5f0, 0x1e5f0, LT_BPE_LETTER}, {0x1e5f1, 0x1e5fa, LT_BPE_NUMBER},
    {0x2ebf0, 0x2ee5d, LT_BPE_LETTER},
};

/* What utf8proc (2.8: Unicode 15.0) takes for unassigned. */
static lt_bpe_class class_later(uint32_t code)
{
    size_t lo = 0, hi = sizeof later / sizeof *later;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (code > later[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof later / sizeof *later && code >= later[lo].first ? later[lo].class
                                                                        : LT_BPE_OTHER;
}

lt_bpe_class lt_bpe_class_of(uint32_t code)
{
    if (is_space(code))
        return LT_BPE_SPACE;
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return LT_BPE_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return LT_BPE_NUMBER;
    case UTF8PROC_CATEGORY_CN:
        return class_later(code);
    default:
        return LT_BPE_OTHER;
    }
}

/* ---- words ---- */

/* A code point of the text: its class, its bytes. bytes 0: the text has ended. */
typedef struct letter {
    uint32_t code;
    lt_bpe_class class;
    size_t bytes;
} letter;

static letter letter_at(const char *text, size_t bytes, size_t at)
{
    letter l = {.class = LT_BPE_SPACE};
    if (at < bytes) {
        l.bytes = lt_utf8_next(text + at, bytes - at, &l.code);
        assert(l.bytes > 0);
        l.class = lt_bpe_class_of(l.code);
    }
    return l;
}

/* Where the run of one class that goes on at `at` ends. */
static size_t run_end(const char *text, size_t bytes, size_t at, lt_bpe_class class)
{
    for (;;) {
        const letter l = letter_at(text, bytes, at);
        if (l.bytes == 0 || l.class != class)
            return at;
        at += l.bytes;
    }
}

static int is_newline(char c) { return c == '\r' || c == '\n'; }

static int lower(char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; }

/* Bytes of a contraction that begins at text[0] = an apostrophe, or 0. The long s (U+017F) is an s
 * whose case is disregarded. */
static size_t contraction(const char *text, size_t bytes)
{
    static const char *const ends[] = {"s", "t", "re", "ve", "m", "ll", "d", "\xc5\xbf"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t n = strlen(ends[i]);
        size_t same = 0;
        while (same < n && 1 + same < bytes && lower(text[1 + same]) == ends[i][same])
            same++;
        if (same == n)
            return 1 + n;
    }
    return 0;
}

/* White space that no letter or sign takes along: up to its last line end; else all of it at the
 * text's end; else all but the last, which may belong to the next word. */
static size_t space_word(const char *text, size_t bytes)
{
    size_t at = 0, last = 0, after_newline = 0;
    for (;;) {
        const letter l = letter_at(text, bytes, at);
        if (l.bytes == 0 || l.class != LT_BPE_SPACE)
            break;
        last = at;
        at += l.bytes;
        if (is_newline(text[last]))
            after_newline = at;
    }
    assert(at > 0);
    if (after_newline > 0)
        return after_newline;
    return at == bytes || last == 0 ? at : last;
}

size_t lt_bpe_word(const char *text, size_t bytes)
{
    assert(bytes > 0);
    const letter first = letter_at(text, bytes, 0);
    if (text[0] == '\'') {
        const size_t n = contraction(text, bytes);
        if (n > 0)
            return n;
    }
    if (first.class == LT_BPE_LETTER)
        return run_end(text, bytes, first.bytes, LT_BPE_LETTER);
    if (first.class == LT_BPE_NUMBER)
        return first.bytes;
    const letter second = letter_at(text, bytes, first.bytes);
    if (second.bytes > 0 && second.class == LT_BPE_LETTER && !is_newline(text[0]))
        return run_end(text, bytes, first.bytes + second.bytes, LT_BPE_LETTER);
    const int space_and_sign = text[0] == ' ' && second.bytes > 0 && second.class == LT_BPE_OTHER;
    if (first.class == LT_BPE_SPACE && !space_and_sign)
        return space_word(text, bytes);
    size_t at = run_end(text, bytes, first.bytes, LT_BPE_OTHER);
    while (at < bytes && is_newline(text[at]))
        at++;
    return at;
}

/* ---- NFC ---- */

typedef struct codes {
    utf8proc_int32_t *at;
    size_t count, room;
} codes;

static lt_status codes_room(codes *c, size_t more)
{
    if (c->room - c->count >= more)
        return LT_OK;
    const size_t room = 2 * c->room + more + 64;
    utf8proc_int32_t *at = realloc(c->at, room * sizeof *at);
    if (at == NULL)
        LT_FAIL(LT_ENOMEM, "tokenizer: no memory for %zu code points", room);
    c->at = at;
    c->room = room;
    return LT_OK;
}

/* Combining marks, and a letter that decomposes, of Unicode 10 to 15 (UnicodeData.txt, field 3). */
static const struct {
    utf8proc_int32_t first, last;
} young[] = {
    {0x007fd, 0x007fd}, {0x00898, 0x0089f}, {0x008ca, 0x008d3}, {0x009fe, 0x009fe},
    {0x00c3c, 0x00c3c}, {0x00d3b, 0x00d3c}, {0x00eba, 0x00eba}, {0x01715, 0x01715},
    {0x01abf, 0x01ace}, {0x01df6, 0x01dfa}, {0x0a82c, 0x0a82c}, {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193d, 0x1193e},
    {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
    {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
    {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
};

static int is_young(utf8proc_int32_t code)
{
    size_t lo = 0, hi = sizeof young / sizeof *young;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (code > young[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof young / sizeof *young && code >= young[lo].first;
}

static lt_status decompose(const char *text, size_t bytes, codes *out)
{
    enum { ONE_MAX = 32 }; /* the longest canonical decomposition has 4 */
    for (size_t at = 0; at < bytes;) {
        uint32_t code = 0;
        const size_t n = lt_utf8_next(text + at, bytes - at, &code);
        assert(n > 0);
        at += n;
        LT_TRY(codes_room(out, ONE_MAX));
        int boundary = 0;
        if (is_young((utf8proc_int32_t)code)) {
            out->at[out->count++] = (utf8proc_int32_t)code;
            continue;
        }
        const utf8proc_ssize_t got =
            utf8proc_decompose_char((utf8proc_int32_t)code, out->at + out->count, ONE_MAX,
                                    UTF8PROC_STABLE | UTF8PROC_COMPOSE, &boundary);
        assert(got >= 0 && got <= ONE_MAX);
        out->count += (size_t)got;
    }
    return LT_OK;
}

static int mark_class(utf8proc_int32_t code)
{
    const int class = (int)utf8proc_get_property(code)->combining_class;
    return class != 0 && is_young(code) ? 0 : class;
}

/* Compose between young code points; *c gets shorter. */
static void compose(codes *c)
{
    size_t kept = 0;
    for (size_t at = 0; at < c->count;) {
        size_t end = at;
        while (end < c->count && !is_young(c->at[end]))
            end++;
        const utf8proc_ssize_t got = utf8proc_normalize_utf32(
            c->at + at, (utf8proc_ssize_t)(end - at), UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        assert(got >= 0 && (size_t)got <= end - at);
        memmove(c->at + kept, c->at + at, (size_t)got * sizeof *c->at);
        kept += (size_t)got;
        if (end < c->count)
            c->at[kept++] = c->at[end++];
        at = end;
    }
    c->count = kept;
}

/* Sort a run of marks by combining class, equal ones as they stood: a counting sort. */
static void sort_marks(utf8proc_int32_t *run, size_t count, utf8proc_int32_t *scratch)
{
    size_t first[257] = {0};
    for (size_t i = 0; i < count; i++)
        first[mark_class(run[i]) + 1]++;
    for (size_t k = 1; k < 257; k++)
        first[k] += first[k - 1];
    for (size_t i = 0; i < count; i++)
        scratch[first[mark_class(run[i])]++] = run[i];
    memcpy(run, scratch, count * sizeof *run);
}

static lt_status order_marks(codes *c)
{
    utf8proc_int32_t *scratch = malloc((c->count + 1) * sizeof *scratch);
    if (scratch == NULL)
        LT_FAIL(LT_ENOMEM, "tokenizer: no memory for %zu code points", c->count);
    for (size_t at = 0; at < c->count;) {
        size_t end = at;
        int sorted = 1, class = 0;
        for (; end < c->count; end++) {
            const int next = mark_class(c->at[end]);
            if (next == 0)
                break;
            sorted &= next >= class;
            class = next;
        }
        if (!sorted)
            sort_marks(c->at + at, end - at, scratch);
        at = end > at ? end : at + 1;
    }
    free(scratch);
    return LT_OK;
}

lt_status lt_bpe_nfc(const char *text, size_t bytes, char **out, size_t *out_bytes)
{
    codes c = {0};
    lt_status st;
    *out = NULL;
    LT_TRY_GOTO(decompose(text, bytes, &c), st, done);
    LT_TRY_GOTO(order_marks(&c), st, done);
    compose(&c);
    char *text_out = malloc(4 * c.count + 1);
    if (text_out == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "tokenizer: no memory for %zu code points", c.count);
    size_t at = 0;
    for (size_t i = 0; i < c.count; i++)
        at += (size_t)utf8proc_encode_char(c.at[i], (utf8proc_uint8_t *)text_out + at);
    *out = text_out;
    *out_bytes = at;
done:
    free(c.at);
    return st;
}
