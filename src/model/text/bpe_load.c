/* bpe_load.c - a tokenizer from its three files, checked.
 * Formats and what goes wrong with them: spec/minimax-h3.md 2.1.
 *
 *     vocab.json              token -> id; tokens are spelled in the byte alphabet
 *     merges.txt              "left right" a line; the line's number is the merge's rank
 *     tokenizer_config.json   added_tokens_decoder: id -> token; special tokens by name and in
 * lists
 *
 * Every merge must join two known tokens into a third, every byte must have a token, no id may have
 * two tokens: what encodes can then never meet a hole. The dictionary of vocab.json is needed here
 * alone; encoding knows ids only. */
#include "model/text/bpe_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/files/remote/source.h"

enum {
    FILE_BYTES_MAX = 64 << 20,
    ADDED_MAX = 1 << 13,
    ADDED_BYTES_MAX = 1024,
    TOKEN_BYTES_MAX = 1 << 16
};

/* What loading works with. */
typedef struct loader {
    lt_bpe *bpe;
    json_t *vocab;
    unsigned char *taken; /* [LT_BPE_VOCAB_MAX]: 1 where an id has a token */
    size_t added_room;
    const char *config_name;
} loader;

/* ---- vocab.json ---- */

/* -1: no such token. */
static int32_t vocab_id(const loader *l, const char *token, size_t bytes)
{
    const json_t *value = json_object_getn(l->vocab, token, bytes);
    return value != NULL ? (int32_t)json_integer_value(value) : -1;
}

static void take_id(loader *l, int64_t id)
{
    l->taken[id] = 1;
    if (id >= l->bpe->vocab_size)
        l->bpe->vocab_size = id + 1;
}

static lt_status read_vocab(loader *l, const lt_bpe_source *file)
{
    const char *token;
    json_t *value;
    LT_TRY(lt_json_parse(file->text, file->bytes, file->name, &l->vocab));
    if (!json_is_object(l->vocab))
        LT_FAIL(LT_EDATA, "%s: want an object of tokens and ids", file->name);
    if (json_object_size(l->vocab) > LT_BPE_VOCAB_MAX)
        LT_FAIL(LT_EDATA, "%s: want at most %d tokens, found %zu", file->name, LT_BPE_VOCAB_MAX,
                json_object_size(l->vocab));
    json_object_foreach (l->vocab, token, value) {
        const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= LT_BPE_VOCAB_MAX)
            LT_FAIL(LT_EDATA, "%s: token \"%.80s\": want an id from 0 to %d", file->name, token,
                    LT_BPE_VOCAB_MAX - 1);
        if (l->taken[id])
            LT_FAIL(LT_EDATA, "%s: token \"%.80s\": want an id of its own, found %d again",
                    file->name, token, (int)id);
        take_id(l, id);
    }
    return LT_OK;
}

/* The byte alphabet: what prints stands for itself, the other 68 follow from U+0100 on. */
static lt_status read_bytes(loader *l, const char *name)
{
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        const int prints =
            (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        const unsigned code = prints ? byte : next++;
        char token[3];
        size_t n = 0;
        if (code >= 0x80)
            token[n++] = (char)(0xc0 | code >> 6);
        token[n] = (char)(code >= 0x80 ? 0x80 | (code & 0x3f) : code);
        n++;
        l->bpe->byte_id[byte] = vocab_id(l, token, n);
        if (l->bpe->byte_id[byte] < 0)
            LT_FAIL(LT_EDATA, "%s: want a token for each byte, found none for 0x%02x (U+%04X)",
                    name, byte, code);
    }
    return LT_OK;
}

/* ---- merges.txt ---- */

typedef struct line {
    const char *text;
    size_t bytes;
    int number; /* from 1 */
} line;

/* The line after *l; 0 at the end. Line ends are LF or CR LF. */
static int next_line(const lt_bpe_source *file, line *l)
{
    const char *end = file->text + file->bytes;
    const char *at = l->number == 0 ? file->text : l->text + l->bytes;
    if (l->number > 0)
        while (at < end && *at++ != '\n')
            ;
    if (at >= end)
        return 0;
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    l->text = at;
    l->bytes = (size_t)((stop != NULL ? stop : end) - at);
    if (l->bytes > 0 && at[l->bytes - 1] == '\r')
        l->bytes--;
    l->number++;
    return 1;
}

static int is_version(const line *l)
{
    static const char word[] = "#version";
    return l->bytes >= sizeof word - 1 && memcmp(l->text, word, sizeof word - 1) == 0;
}

static lt_status merge_token(const loader *l, const lt_bpe_source *file, const line *at,
                             const char *what, const char *token, size_t bytes, int32_t *id)
{
    *id = vocab_id(l, token, bytes);
    if (*id < 0)
        LT_FAIL(LT_EDATA, "%s:%d: %s \"%.*s\" is not in vocab.json", file->name, at->number, what,
                (int)(bytes < 80 ? bytes : 80), token);
    return LT_OK;
}

static lt_status read_merge(loader *l, const lt_bpe_source *file, const line *at, int32_t rank)
{
    char joined[TOKEN_BYTES_MAX];
    const char *space = memchr(at->text, ' ', at->bytes);
    const size_t left = space != NULL ? (size_t)(space - at->text) : 0;
    const size_t right = space != NULL ? at->bytes - left - 1 : 0;
    if (left == 0 || right == 0 || memchr(space + 1, ' ', right) != NULL)
        LT_FAIL(LT_EDATA, "%s:%d: want two tokens and one space, found \"%.*s\"", file->name,
                at->number, (int)(at->bytes < 80 ? at->bytes : 80), at->text);
    if (left + right > sizeof joined)
        LT_FAIL(LT_EDATA, "%s:%d: want at most %d bytes, found %zu", file->name, at->number,
                (int)sizeof joined, left + right);
    memcpy(joined, at->text, left);
    memcpy(joined + left, space + 1, right);
    int32_t left_id, right_id, id;
    LT_TRY(merge_token(l, file, at, "token", at->text, left, &left_id));
    LT_TRY(merge_token(l, file, at, "token", space + 1, right, &right_id));
    LT_TRY(merge_token(l, file, at, "merged token", joined, left + right, &id));
    const uint64_t pair = (uint64_t)left_id << 32 | (uint64_t)right_id;
    /* A pair that comes again gets its last rank, as in the reference. */
    l->bpe->merges[lt_bpe_slot(l->bpe, pair)] = (lt_bpe_merge){pair, rank, id};
    return LT_OK;
}

static lt_status read_merges(loader *l, const lt_bpe_source *file)
{
    size_t count = 0, slots = 16;
    line at = {0};
    while (next_line(file, &at))
        count++;
    if (count > LT_BPE_VOCAB_MAX)
        LT_FAIL(LT_EDATA, "%s: want at most %d lines, found %zu", file->name, LT_BPE_VOCAB_MAX,
                count);
    while (slots < 2 * count)
        slots *= 2;
    l->bpe->merges = malloc(slots * sizeof *l->bpe->merges);
    if (l->bpe->merges == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu merges", file->name, count);
    l->bpe->merge_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        l->bpe->merges[i].pair = LT_BPE_FREE;
    int32_t rank = 0;
    at = (line){0};
    while (next_line(file, &at))
        if (!is_version(&at) && at.bytes > 0)
            LT_TRY(read_merge(l, file, &at, rank++));
    return LT_OK;
}

/* ---- tokenizer_config.json ---- */

static lt_status check_content(const loader *l, const char *where, const char *text)
{
    const size_t bytes = strlen(text);
    if (bytes < 1 || bytes > ADDED_BYTES_MAX)
        LT_FAIL(LT_EDATA, "%s: %s: want 1 to %d bytes, found %zu", l->config_name, where,
                ADDED_BYTES_MAX, bytes);
    return LT_OK;
}

static int is_added(const loader *l, const char *text)
{
    for (size_t i = 0; i < l->bpe->added_count; i++)
        if (strcmp(l->bpe->added[i].text, text) == 0)
            return 1;
    return 0;
}

static lt_status keep_added(loader *l, const char *text, int32_t id)
{
    lt_bpe *bpe = l->bpe;
    if (bpe->added_count >= ADDED_MAX)
        LT_FAIL(LT_EDATA, "%s: want at most %d added tokens", l->config_name, ADDED_MAX);
    if (bpe->added_count == l->added_room) {
        const size_t room = 2 * l->added_room + 64;
        lt_bpe_added *more = realloc(bpe->added, room * sizeof *more);
        if (more == NULL)
            LT_FAIL(LT_ENOMEM, "%s: no memory for %zu added tokens", l->config_name, room);
        bpe->added = more;
        l->added_room = room;
    }
    char *copy = strdup(text);
    if (copy == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for an added token", l->config_name);
    bpe->added[bpe->added_count++] = (lt_bpe_added){copy, strlen(text), id};
    take_id(l, id);
    return LT_OK;
}

/* A special token that may be known already; if it isn't, the next id is its own. */
static lt_status add_special(loader *l, const char *where, const char *text)
{
    LT_TRY(check_content(l, where, text));
    if (is_added(l, text))
        return LT_OK;
    const int32_t known = vocab_id(l, text, strlen(text));
    if (known < 0 && l->bpe->vocab_size >= LT_BPE_VOCAB_MAX)
        LT_FAIL(LT_EDATA, "%s: %s: no id below %d is left", l->config_name, where,
                LT_BPE_VOCAB_MAX);
    LT_TRY(keep_added(l, text, known >= 0 ? known : (int32_t)l->bpe->vocab_size));
    return LT_OK;
}

/* One member of added_tokens_decoder. */
static lt_status add_decoded(loader *l, const lt_json_at *at, const char *key)
{
    static const char *const traits[] = {"lstrip", "rstrip", "single_word", "normalized"};
    lt_json_at token;
    const char *text = NULL;
    char *end = NULL;
    LT_TRY(lt_json_member(at, key, &token));
    const long id = key[0] >= '0' && key[0] <= '9' ? strtol(key, &end, 10) : -1;
    if (id < 0 || id >= LT_BPE_VOCAB_MAX || *end != '\0')
        LT_FAIL(LT_EDATA, "%s: %s: want an id from 0 to %d", l->config_name, token.path,
                LT_BPE_VOCAB_MAX - 1);
    LT_TRY(lt_json_string(&token, "content", &text));
    LT_TRY(check_content(l, token.path, text));
    for (size_t i = 0; i < sizeof traits / sizeof *traits; i++) {
        int value = 0;
        if (lt_json_has(&token, traits[i]))
            LT_TRY(lt_json_bool(&token, traits[i], &value));
        if (value)
            LT_FAIL(LT_EDATA, "%s: %s.%s: want false, found true", l->config_name, token.path,
                    traits[i]);
    }
    const int32_t known = vocab_id(l, text, strlen(text));
    if (is_added(l, text) || (known >= 0 ? known != id : l->taken[id]))
        LT_FAIL(LT_EDATA, "%s: %s: \"%.80s\" and another token share a name or the id %ld",
                l->config_name, token.path, text, id);
    LT_TRY(keep_added(l, text, (int32_t)id));
    return LT_OK;
}

/* "eos_token" and its like: a string, or an object with content. */
static lt_status add_named(loader *l, const lt_json_at *at, const char *key)
{
    lt_json_at member;
    const char *text = NULL;
    if (!lt_json_has(at, key))
        return LT_OK;
    LT_TRY(lt_json_member(at, key, &member));
    if (json_is_object(member.value))
        LT_TRY(lt_json_string(&member, "content", &text));
    else
        LT_TRY(lt_json_string(at, key, &text));
    LT_TRY(add_special(l, member.path, text));
    return LT_OK;
}

/* A list of strings, or of objects with content. */
static lt_status add_list(loader *l, const lt_json_at *at, const char *key)
{
    lt_json_at list, item;
    const char *text = NULL;
    if (!lt_json_has(at, key))
        return LT_OK;
    LT_TRY(lt_json_member(at, key, &list));
    if (!json_is_array(list.value))
        LT_FAIL(LT_EDATA, "%s: %s: want a list of tokens", l->config_name, list.path);
    for (size_t i = 0; i < json_array_size(list.value); i++) {
        LT_TRY(lt_json_element(&list, i, &item));
        if (json_is_object(item.value))
            LT_TRY(lt_json_string(&item, "content", &text));
        else if (json_is_string(item.value))
            text = json_string_value(item.value);
        else
            LT_FAIL(LT_EDATA, "%s: %s: want a token", l->config_name, item.path);
        LT_TRY(add_special(l, item.path, text));
    }
    return LT_OK;
}

/* What this tokenizer does not do must not be asked for. */
static lt_status check_class(const loader *l, const lt_json_at *root)
{
    static const char *const off[] = {"add_prefix_space", "add_bos_token", "add_eos_token"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        int value = 0;
        if (lt_json_has(root, off[i]))
            LT_TRY(lt_json_bool(root, off[i], &value));
        if (value)
            LT_FAIL(LT_EDATA, "%s: %s: want false, found true", l->config_name, off[i]);
    }
    const char *name = "Qwen2Tokenizer";
    if (lt_json_has(root, "tokenizer_class"))
        LT_TRY(lt_json_string(root, "tokenizer_class", &name));
    if (strcmp(name, "Qwen2Tokenizer") != 0 && strcmp(name, "Qwen2TokenizerFast") != 0)
        LT_FAIL(LT_EDATA, "%s: tokenizer_class: want Qwen2Tokenizer, found %.80s", l->config_name,
                name);
    return LT_OK;
}

static lt_status add_all(loader *l, const json_t *config)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    static const char *const lists[] = {"additional_special_tokens", "extra_special_tokens"};
    const lt_json_at root = lt_json_root(config, l->config_name);
    lt_json_at decoder;
    const char *key;
    json_t *value;
    if (!json_is_object(config))
        LT_FAIL(LT_EDATA, "%s: want an object", l->config_name);
    LT_TRY(check_class(l, &root));
    if (lt_json_has(&root, "added_tokens_decoder")) {
        LT_TRY(lt_json_member(&root, "added_tokens_decoder", &decoder));
        if (!json_is_object(decoder.value))
            LT_FAIL(LT_EDATA, "%s: %s: want an object", l->config_name, decoder.path);
        json_object_foreach ((json_t *)decoder.value, key, value)
            LT_TRY(add_decoded(l, &decoder, key));
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        LT_TRY(add_named(l, &root, names[i]));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        LT_TRY(add_list(l, &root, lists[i]));
    return LT_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const lt_bpe_added *)a)->text, ((const lt_bpe_added *)b)->text);
}

static lt_status read_config(loader *l, const lt_bpe_source *file)
{
    json_t *config = NULL;
    l->config_name = file->name;
    LT_TRY(lt_json_parse(file->text, file->bytes, file->name, &config));
    const lt_status st = add_all(l, config);
    json_decref(config);
    LT_TRY(st);
    if (l->bpe->added_count > 1)
        qsort(l->bpe->added, l->bpe->added_count, sizeof *l->bpe->added, by_text);
    return LT_OK;
}

/* ---- the whole ---- */

lt_status lt_bpe_parse(const lt_bpe_source *vocab, const lt_bpe_source *merges,
                       const lt_bpe_source *config, lt_bpe **out)
{
    loader l = {.bpe = calloc(1, sizeof *l.bpe), .taken = calloc(1, LT_BPE_VOCAB_MAX)};
    lt_status st = LT_OK;
    *out = NULL;
    if (l.bpe == NULL || l.taken == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "%s: no memory for a tokenizer", vocab->name);
    LT_TRY_GOTO(read_vocab(&l, vocab), st, done);
    LT_TRY_GOTO(read_bytes(&l, vocab->name), st, done);
    LT_TRY_GOTO(read_merges(&l, merges), st, done);
    LT_TRY_GOTO(read_config(&l, config), st, done);
    *out = l.bpe;
    l.bpe = NULL;
done:
    lt_bpe_close(&l.bpe);
    json_decref(l.vocab);
    free(l.taken);
    return st;
}

lt_status lt_bpe_open(const char *folder, lt_bpe **out)
{
    static const char *const names[3] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
    char path[3][LT_PATH_BYTES], other[LT_PATH_BYTES];
    char *text[3] = {NULL, NULL, NULL};
    lt_bpe_source file[3];
    lt_status st = LT_OK;
    *out = NULL;
    LT_TRY(lt_path_join(other, sizeof other, folder, "tokenizer.json"));
    for (int i = 0; i < 3; i++)
        LT_TRY(lt_path_join(path[i], sizeof path[i], folder, names[i]));
    for (int i = 0; i < 3; i++) {
        if (!lt_source_exists(path[i]) && lt_source_exists(other))
            LT_FAIL_GOTO(LT_ENOINPUT, st, done,
                         "%s: want vocab.json, merges.txt and tokenizer_config.json; a "
                         "tokenizer.json, which is there, cannot stand in for them",
                         path[i]);
        size_t bytes = 0;
        LT_TRY_GOTO(lt_source_read(path[i], FILE_BYTES_MAX, &text[i], &bytes), st, done);
        file[i] = (lt_bpe_source){text[i], path[i], bytes};
    }
    LT_TRY_GOTO(lt_bpe_parse(&file[0], &file[1], &file[2], out), st, done);
done:
    for (int i = 0; i < 3; i++)
        free(text[i]);
    return st;
}
