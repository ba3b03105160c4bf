/* bpe.c - encoding: added tokens, then words, then merges.
 *
 * Merging. A word starts as one symbol a byte, in a linked list over arrays. All neighbours that
 * have a merge lie in a heap, lowest rank first, the left one of equals. A pair that was changed
 * meanwhile is recognised when it comes up (its ids are no longer those of the list) and dropped.
 * Each merge adds at most two pairs, so a word of n bytes takes n log n: a prompt of 100,000
 * letters without a space is one word. */
#include "model/text/bpe_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* One symbol of the word at work. prev, next: -1 at the ends; id -1: merged into an earlier one. */
typedef struct symbol {
    int32_t id, prev, next;
} symbol;

/* A pair that may merge: at `at` and the symbol after it. */
typedef struct candidate {
    uint64_t pair;
    int32_t rank, id, at;
} candidate;

/* What one call of encode works with. */
typedef struct encoder {
    const lt_bpe *bpe;
    symbol *symbols;
    size_t symbol_room;
    candidate *heap;
    size_t heap_count, heap_room;
    int32_t *ids;
    size_t id_count, id_room;
} encoder;

/* *p has room for `want` things of `size` bytes, growing by doubling. */
static lt_status grow(void **p, size_t *room, size_t want, size_t size)
{
    if (want <= *room)
        return LT_OK;
    const size_t next = want > 2 * *room ? want + 64 : 2 * *room;
    void *more = realloc(*p, next * size);
    if (more == NULL)
        LT_FAIL(LT_ENOMEM, "tokenizer: no memory for %zu bytes", next * size);
    *p = more;
    *room = next;
    return LT_OK;
}

static lt_status put_id(encoder *e, int32_t id)
{
    LT_TRY(grow((void **)&e->ids, &e->id_room, e->id_count + 1, sizeof *e->ids));
    e->ids[e->id_count++] = id;
    return LT_OK;
}

/* ---- the heap ---- */

static int before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static lt_status heap_push(encoder *e, candidate c)
{
    LT_TRY(grow((void **)&e->heap, &e->heap_room, e->heap_count + 1, sizeof *e->heap));
    size_t i = e->heap_count++;
    for (; i > 0 && before(&c, &e->heap[(i - 1) / 2]); i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = c;
    return LT_OK;
}

static candidate heap_pop(encoder *e)
{
    const candidate top = e->heap[0], last = e->heap[--e->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < e->heap_count && before(&e->heap[child + 1], &e->heap[child]))
            child++;
        if (child >= e->heap_count || !before(&e->heap[child], &last))
            break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = last;
    return top;
}

/* ---- one word ---- */

static uint64_t pair_at(const encoder *e, int32_t at)
{
    const symbol *left = &e->symbols[at];
    return (uint64_t)left->id << 32 | (uint64_t)e->symbols[left->next].id;
}

/* If the symbol at `at` and its next have a merge, it joins the heap. */
static lt_status consider(encoder *e, int32_t at)
{
    if (at < 0 || e->symbols[at].next < 0)
        return LT_OK;
    const uint64_t pair = pair_at(e, at);
    const lt_bpe_merge *m = &e->bpe->merges[lt_bpe_slot(e->bpe, pair)];
    if (m->pair == LT_BPE_FREE)
        return LT_OK;
    LT_TRY(heap_push(e, (candidate){pair, m->rank, m->id, at}));
    return LT_OK;
}

static lt_status put_word(encoder *e, const char *word, size_t bytes)
{
    assert(bytes <= INT32_MAX);
    const int32_t count = (int32_t)bytes;
    LT_TRY(grow((void **)&e->symbols, &e->symbol_room, bytes, sizeof *e->symbols));
    for (int32_t i = 0; i < count; i++)
        e->symbols[i] =
            (symbol){e->bpe->byte_id[(unsigned char)word[i]], i - 1, i + 1 < count ? i + 1 : -1};
    e->heap_count = 0;
    for (int32_t i = 0; i + 1 < count; i++)
        LT_TRY(consider(e, i));
    while (e->heap_count > 0) {
        const candidate c = heap_pop(e);
        symbol *left = &e->symbols[c.at];
        if (left->id < 0 || left->next < 0 || pair_at(e, c.at) != c.pair)
            continue;
        symbol *right = &e->symbols[left->next];
        left->id = c.id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0)
            e->symbols[left->next].prev = c.at;
        LT_TRY(consider(e, left->prev));
        LT_TRY(consider(e, c.at));
    }
    for (int32_t i = 0; i >= 0; i = e->symbols[i].next)
        LT_TRY(put_id(e, e->symbols[i].id));
    return LT_OK;
}

/* ---- a text ---- */

static lt_status put_words(encoder *e, const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        const size_t n = lt_bpe_word(text + at, bytes - at);
        LT_TRY(put_word(e, text + at, n));
        at += n;
    }
    return LT_OK;
}

/* Text without added tokens. */
static lt_status put_span(encoder *e, const char *text, size_t bytes)
{
    size_t ascii = 0;
    while (ascii < bytes && (unsigned char)text[ascii] < 0x80)
        ascii++;
    if (ascii == bytes) { /* NFC as it is */
        LT_TRY(put_words(e, text, bytes));
        return LT_OK;
    }
    char *normal = NULL;
    size_t normal_bytes = 0;
    LT_TRY(lt_bpe_nfc(text, bytes, &normal, &normal_bytes));
    const lt_status st = put_words(e, normal, normal_bytes);
    free(normal);
    LT_TRY(st);
    return LT_OK;
}

/* The longest added token that begins at text[0], or NULL. Those that share the bytes seen so far
 * are neighbours in the sorted list, the shortest first. */
static const lt_bpe_added *added_at(const lt_bpe *bpe, const char *text, size_t bytes)
{
    const lt_bpe_added *found = NULL;
    size_t lo = 0, hi = bpe->added_count;
    for (size_t d = 0; d < bytes && lo < hi; d++) {
        const unsigned char want = (unsigned char)text[d];
        size_t end[2]; /* first token whose byte d is at least want; more than want */
        for (int over = 0; over < 2; over++) {
            size_t a = over ? end[0] : lo, b = hi;
            while (a < b) {
                const size_t mid = a + (b - a) / 2;
                const lt_bpe_added *t = &bpe->added[mid];
                const int below =
                    t->bytes <= d || (unsigned char)t->text[d] < want + (unsigned)over;
                if (below)
                    a = mid + 1;
                else
                    b = mid;
            }
            end[over] = a;
        }
        lo = end[0];
        hi = end[1];
        if (lo < hi && bpe->added[lo].bytes == d + 1)
            found = &bpe->added[lo];
    }
    return found;
}

static lt_status put_text(encoder *e, const char *text, size_t bytes)
{
    size_t begin = 0;
    for (size_t at = 0; at < bytes;) {
        const lt_bpe_added *token = added_at(e->bpe, text + at, bytes - at);
        if (token == NULL) {
            at++;
            continue;
        }
        LT_TRY(put_span(e, text + begin, at - begin));
        LT_TRY(put_id(e, token->id));
        at += token->bytes;
        begin = at;
    }
    LT_TRY(put_span(e, text + begin, bytes - begin));
    return LT_OK;
}

static lt_status check_text(const char *text, size_t bytes)
{
    if (bytes > LT_BPE_TEXT_BYTES_MAX)
        LT_FAIL(LT_EUSAGE, "text: want at most %d bytes, found %zu", LT_BPE_TEXT_BYTES_MAX, bytes);
    for (size_t at = 0; at < bytes;) {
        uint32_t code = 0;
        const size_t n = lt_utf8_next(text + at, bytes - at, &code);
        if (n == 0)
            LT_FAIL(LT_EUSAGE, "text: want UTF-8, found byte 0x%02x at offset %zu",
                    (unsigned)(unsigned char)text[at], at);
        at += n;
    }
    return LT_OK;
}

lt_status lt_bpe_encode(const lt_bpe *bpe, const char *text, size_t bytes, int32_t **ids,
                        int64_t *count)
{
    assert(bpe != NULL && (text != NULL || bytes == 0));
    encoder e = {.bpe = bpe};
    *ids = NULL;
    *count = 0;
    LT_TRY(check_text(text, bytes));
    lt_status st = grow((void **)&e.ids, &e.id_room, 1, sizeof *e.ids);
    if (st == LT_OK)
        st = put_text(&e, text, bytes);
    free(e.symbols);
    free(e.heap);
    if (st != LT_OK) {
        free(e.ids);
        return lt_error_trace(st, "put_text", __FILE__, __LINE__);
    }
    *ids = e.ids;
    *count = (int64_t)e.id_count;
    return LT_OK;
}

int64_t lt_bpe_vocab_size(const lt_bpe *bpe) { return bpe->vocab_size; }

void lt_bpe_close(lt_bpe **bpe)
{
    if (*bpe == NULL)
        return;
    for (size_t i = 0; i < (*bpe)->added_count; i++)
        free((*bpe)->added[i].text);
    free((*bpe)->added);
    free((*bpe)->merges);
    free(*bpe);
    *bpe = NULL;
}
